"""How many upstream sessions of a target are opened ahead, per access mode."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("targets", sa.Column("open_ahead", sa.Integer, nullable=False, server_default="0"))
