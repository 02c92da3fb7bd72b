"""How much may be sent under a grant, and of which relations; what was sent on a day."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("max_rows", "max_bytes", "max_bytes_per_day"):
        op.add_column("grants", sa.Column(name, sa.BigInteger))
    for name in ("schemas", "tables"):
        op.add_column("grants", sa.Column(name, sa.Text, nullable=False, server_default="[]"))
    op.create_table(
        "bytes_sent",
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
