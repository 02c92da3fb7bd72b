"""Access requests: who asked for what, who may decide, what a grant has from them, and what is to be told elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("request_id", sa.Text))
    op.add_column("grants", sa.Column("backers", sa.Text, nullable=False, server_default="[]"))
    op.add_column("grants", sa.Column("only_these", sa.Text))
    op.add_column("grants", sa.Column("database_role", sa.Text))
    op.create_table(
        "grant_endings",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_table(
        "approval_policies",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("environment_id", sa.Text, nullable=False),
        sa.Column("modes", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    _create_requests()
    _create_outbox()


def _create_requests() -> None:
    op.create_table(
        "access_requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("requester_id", sa.Text, nullable=False),
        sa.Column("holder_id", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text),
        sa.Column("environment_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("likeness", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Text, nullable=False),
        sa.Column("decide_by", sa.Text, nullable=False),
        sa.Column("starts_at", sa.Text),
        sa.Column("ends_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("awaits_review", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("access_requests_state", "access_requests", ["state"])
    op.create_index("access_requests_requester", "access_requests", ["requester_id"])
    op.create_index("access_requests_holder", "access_requests", ["holder_id"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Text, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False, server_default=""),
        sa.Column("receipt", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_at", sa.Text),
    )
    op.create_index("outbox_due", "outbox", ["state", "next_at"])
    op.create_index("outbox_request", "outbox", ["request_id"])
