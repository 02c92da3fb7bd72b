"""What a grant adds to its access mode or takes from it: options (a JSON list of names), and a ceiling for changed rows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("options", sa.Text, nullable=False, server_default="[]"))
    op.add_column("grants", sa.Column("max_changed_rows", sa.Integer))
