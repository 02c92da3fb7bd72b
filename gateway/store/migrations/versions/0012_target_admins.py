"""By which login a target's database is administered, and what its logins were before it was adopted."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "target_admins",
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("login", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("pending_secret", sa.LargeBinary),
        sa.Column("adopted_at", sa.Text, nullable=False),
        sa.Column("rotated_at", sa.Text),
    )
    op.create_table(
        "former_logins",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("login", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("replaced_at", sa.Text, nullable=False),
    )
