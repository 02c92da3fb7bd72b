"""Who else is in a target's database: how often somebody looks, and what was seen."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "target_observations",
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("every_seconds", sa.Integer, nullable=False),
        sa.Column("keep_days", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
    )
    op.create_table(
        "outside_looks",
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.Text, primary_key=True),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("uses", sa.Text, nullable=False),
    )
