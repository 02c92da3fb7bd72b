"""When grants may be used and what their sessions may not exceed; a holder may have several for one target and access mode."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = "id, user_id, group_id, target_id, mode, valid_until, version, options, max_changed_rows"


def upgrade() -> None:
    # SQLite cannot drop a constraint in place; nothing refers to grants, so making the table anew is safe.
    op.execute("CREATE TABLE grants_before AS SELECT * FROM grants")
    op.drop_table("grants")
    op.create_table(
        "grants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE")),
        sa.Column("group_id", sa.Text, sa.ForeignKey("groups.id", ondelete="CASCADE")),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("options", sa.Text, nullable=False, server_default="[]"),
        sa.Column("max_changed_rows", sa.Integer),
        sa.Column("valid_from", sa.Text),
        sa.Column("windows", sa.Text, nullable=False, server_default="[]"),
        sa.Column("max_sessions", sa.Integer),
        sa.Column("statement_timeout_ms", sa.Integer),
        sa.Column("idle_timeout_seconds", sa.Integer),
        sa.Column("idle_in_transaction_timeout_seconds", sa.Integer),
        sa.CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="grants_one_holder"),
    )
    op.execute(f"INSERT INTO grants ({_KEPT}) SELECT {_KEPT} FROM grants_before")  # noqa: S608 - a constant
    op.drop_table("grants_before")
