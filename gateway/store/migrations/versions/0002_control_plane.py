"""Groups, API tokens, lockdown, versions of rows, claims of the API's requests, and several audit events per revision."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_VERSIONED = ("users", "targets", "allowlist_entries")


def upgrade() -> None:
    op.add_column("meta", sa.Column("last_sequence", sa.Integer, nullable=False, server_default="0"))
    op.add_column("meta", sa.Column("lockdown", sa.Text))
    op.add_column("targets", sa.Column("max_sessions", sa.Integer))
    for table in _VERSIONED:
        op.add_column(table, sa.Column("version", sa.Integer, nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET version = (SELECT revision FROM meta)")  # noqa: S608 - constants
    _create_groups()
    _recreate_grants()
    _create_tokens()
    _recreate_events()


def _create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Text, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    )


def _recreate_grants() -> None:
    # SQLite cannot change constraints in place; nothing refers to grants, so making the table anew is safe.
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
        sa.CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="grants_one_holder"),
        sa.UniqueConstraint("user_id", "target_id", "mode", name="grants_one_per_user"),
        sa.UniqueConstraint("group_id", "target_id", "mode", name="grants_one_per_group"),
    )
    op.execute(
        "INSERT INTO grants (id, user_id, target_id, mode, valid_until, version) "
        "SELECT id, user_id, target_id, mode, valid_until, (SELECT revision FROM meta) FROM grants_before"
    )
    op.drop_table("grants_before")


def _create_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )


def _recreate_events() -> None:
    op.execute("CREATE TABLE audit_events_before AS SELECT * FROM audit_events")
    op.drop_table("audit_events")  # with its index
    op.create_table(
        "audit_events",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("object_name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("audit_events_at", "audit_events", ["at"])
    columns = "revision, id, at, actor, action, object_id, object_name, reason, detail"
    # There was one event per revision so far.
    op.execute(
        f"INSERT INTO audit_events (sequence, {columns}) "  # noqa: S608 - a constant
        f"SELECT row_number() OVER (ORDER BY revision), {columns} FROM audit_events_before"
    )
    op.drop_table("audit_events_before")
    op.execute("UPDATE meta SET last_sequence = (SELECT count(*) FROM audit_events)")
    op.create_table(
        "idempotency_claims",
        sa.Column("key_hash", sa.Text, primary_key=True),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, sa.ForeignKey("audit_events.id"), nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
