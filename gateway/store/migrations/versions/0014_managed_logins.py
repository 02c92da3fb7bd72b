"""Database roles of people's own, and the gateway's own id, by which it knows them on a server."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("targets", sa.Column("managed", sa.Text, nullable=False, server_default="off"))
    op.add_column("meta", sa.Column("gateway_id", sa.Text))
    op.execute(sa.text("UPDATE meta SET gateway_id = :id").bindparams(id=str(uuid.uuid4())))
    op.create_table(
        "managed_logins",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("grant_id", sa.Text),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("login", sa.Text, nullable=False),
        sa.Column("member_of", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("valid_until", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("finding", sa.Text, nullable=False, server_default=""),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("target_id", "login", name="managed_logins_one_per_name"),
    )
