"""Upstream secrets that are being rotated, or that are kept elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_roles", sa.Column("pending_secret", sa.LargeBinary))
    op.add_column("target_roles", sa.Column("reference", sa.Text))
