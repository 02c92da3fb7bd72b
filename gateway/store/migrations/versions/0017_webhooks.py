"""Who elsewhere is told of access requests, by HTTP."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("sealed_url_secret", sa.LargeBinary),
        sa.Column("former_secret", sa.LargeBinary),
        sa.Column("former_until", sa.Text),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("topics", sa.Text, nullable=False),
        sa.Column("environments", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("template", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
    )
