"""The first schema: users, targets and their logins, grants, allowlists, session terminations, audit events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.CheckConstraint("id = 1", name="meta_one_row"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("verifier", sa.Text, nullable=False),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("valid_until", sa.Text),
        sa.Column("allowlist", sa.Text, nullable=False),
        sa.Column("credential_version", sa.Integer, nullable=False),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("dbname", sa.Text, nullable=False),
        sa.Column("tls", sa.Text, nullable=False),
        sa.Column("ca_pem", sa.Text),
        sa.Column("allow_md5", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("allowlist", sa.Text, nullable=False),
        sa.Column("allowed_functions", sa.Text, nullable=False),
        sa.Column("allowed_schemas", sa.Text, nullable=False),
        sa.Column("allowed_settings", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    _create_rights()
    _create_records()
    op.bulk_insert(meta, [{"id": 1, "revision": 1, "key_id": None}])


def _create_rights() -> None:
    op.create_table(
        "target_roles",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("login", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("target_id", "mode", name="target_roles_one_per_mode"),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Text),
        sa.UniqueConstraint("user_id", "target_id", "mode", name="grants_one_per_mode"),
    )
    op.create_table(
        "allowlist_entries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Text),
        sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id", ondelete="CASCADE")),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE")),
        sa.CheckConstraint("target_id IS NULL OR user_id IS NULL", name="allowlist_entries_one_level"),
    )


def _create_records() -> None:
    op.create_table(
        "session_terminations",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_table(
        "audit_events",
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
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
