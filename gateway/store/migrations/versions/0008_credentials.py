"""Short-lived database credentials; which client certificates a machine may log in with."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("certificate_names", sa.Text, nullable=False, server_default="[]"))
    op.create_table(
        "credentials",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("verifier", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Text, nullable=False),
        sa.Column("sessions_until", sa.Text, nullable=False),
        sa.Column("credential_version", sa.Integer, nullable=False),
        sa.Column("max_sessions", sa.Integer, nullable=False),
        sa.Column("network", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
    )
