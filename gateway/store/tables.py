"""The schema, as SQLAlchemy Core tables. Migrations make it; a test holds the two against each other.

Ids are UUIDs as text and are never used again, so an account or a target that is created anew under an old name inherits
nothing. Columns named `version` hold the revision that last changed the row. Instants are text in UTC (`values.to_text`), sets of
names are JSON arrays.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("key_id", Text),
    Column("last_sequence", Integer, nullable=False, server_default="0"),
    Column("lockdown", Text),
    Column("gateway_id", Text),
    CheckConstraint("id = 1", name="meta_one_row"),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("verifier", Text, nullable=False),
    Column("enabled", Integer, nullable=False),
    Column("valid_until", Text),
    Column("allowlist", Text, nullable=False),
    Column("credential_version", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("kind", Text, nullable=False, server_default="person"),
    Column("protected", Integer, nullable=False, server_default="0"),
    Column("read_only", Integer, nullable=False, server_default="0"),
    Column("email", Text),
    Column("certificate_names", Text, nullable=False, server_default="[]"),
)

#: Bytes that users were sent on a day (UTC) under grants that limit it. Who is gone is forgotten with the day.
bytes_sent = Table(
    "bytes_sent",
    metadata,
    Column("day", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("grant_id", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)

user_activity = Table(
    "user_activity",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("last_login_at", Text, nullable=False),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", Text, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
)

admin_roles = Table(
    "admin_roles",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owners", Integer, nullable=False),
    Column("version", Integer, nullable=False),
)

admin_role_members = Table(
    "admin_role_members",
    metadata,
    Column("role_id", Text, ForeignKey("admin_roles.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
)

# Nothing refers to environments: the default one has a row only once somebody changed it.
admin_role_permissions = Table(
    "admin_role_permissions",
    metadata,
    Column("role_id", Text, ForeignKey("admin_roles.id", ondelete="CASCADE"), primary_key=True),
    Column("environment_id", Text, primary_key=True),
    Column("permission", Text, primary_key=True),
)

targets = Table(
    "targets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("dbname", Text, nullable=False),
    Column("tls", Text, nullable=False),
    Column("ca_pem", Text),
    Column("allow_md5", Integer, nullable=False),
    Column("enabled", Integer, nullable=False),
    Column("allowlist", Text, nullable=False),
    Column("allowed_functions", Text, nullable=False),
    Column("allowed_schemas", Text, nullable=False),
    Column("allowed_settings", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("max_sessions", Integer),
    Column("open_ahead", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("environment_id", Text, nullable=False, server_default="default"),
    Column("rotate_every_days", Integer),
    Column("managed", Text, nullable=False, server_default="off"),
)

target_roles = Table(
    "target_roles",
    metadata,
    Column("id", Text, primary_key=True),
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("login", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("pending_secret", LargeBinary),
    Column("reference", Text),
    Column("changed_at", Text),
    UniqueConstraint("target_id", "mode", name="target_roles_one_per_mode"),
)

# Who is at a work that one process of all gateways does at a time. No part of a snapshot.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Text, nullable=False),
)

# By which login a target's database is administered. No part of a snapshot: no worker has it.
target_admins = Table(
    "target_admins",
    metadata,
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("login", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("pending_secret", LargeBinary),
    Column("adopted_at", Text, nullable=False),
    Column("rotated_at", Text),
)

# What a target's logins were before it was adopted. The id is that of the row in target_roles, for which the secret is sealed.
former_logins = Table(
    "former_logins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("login", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("reference", Text),
    Column("replaced_at", Text, nullable=False),
)

# Whose databases are looked at again and again for others who use them, and what was seen. No part of a snapshot.
target_observations = Table(
    "target_observations",
    metadata,
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("every_seconds", Integer, nullable=False),
    Column("keep_days", Integer, nullable=False),
    Column("due_at", Text, nullable=False),
)

# `uses`: who, from where, how many; in JSON.
outside_looks = Table(
    "outside_looks",
    metadata,
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("at", Text, primary_key=True),
    Column("failure", Text, nullable=False),
    Column("uses", Text, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE")),
    Column("group_id", Text, ForeignKey("groups.id", ondelete="CASCADE")),
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("valid_until", Text),
    Column("version", Integer, nullable=False),
    Column("options", Text, nullable=False, server_default="[]"),
    Column("max_changed_rows", Integer),
    Column("valid_from", Text),
    Column("windows", Text, nullable=False, server_default="[]"),
    Column("max_sessions", Integer),
    Column("statement_timeout_ms", Integer),
    Column("idle_timeout_seconds", Integer),
    Column("idle_in_transaction_timeout_seconds", Integer),
    Column("max_rows", BigInteger),
    Column("max_bytes", BigInteger),
    Column("max_bytes_per_day", BigInteger),
    Column("schemas", Text, nullable=False, server_default="[]"),
    Column("tables", Text, nullable=False, server_default="[]"),
    Column("request_id", Text),
    Column("backers", Text, nullable=False, server_default="[]"),
    Column("only_these", Text),
    Column("database_role", Text),
    CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="grants_one_holder"),
)

# Why a grant that is gone was ended, for the sessions that stood on it. Kept for a day.
grant_endings = Table(
    "grant_endings",
    metadata,
    Column("grant_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)

# `document`: the rest of the policy, in JSON.
approval_policies = Table(
    "approval_policies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("environment_id", Text, nullable=False),
    Column("modes", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", Integer, nullable=False),
)

# History, too: nothing refers to it, and it outlives whom it is about. No part of a snapshot. `document`: the rest, in JSON.
access_requests = Table(
    "access_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("requester_id", Text, nullable=False),
    Column("holder_id", Text, nullable=False),
    Column("target_id", Text),
    Column("environment_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("likeness", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("decide_by", Text, nullable=False),
    Column("starts_at", Text),
    Column("ends_at", Text),
    Column("ended_at", Text),
    Column("awaits_review", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index("access_requests_state", "state"),
    Index("access_requests_requester", "requester_id"),
    Index("access_requests_holder", "holder_id"),
)

# What people and programs elsewhere are to be told: written with the change that it tells of, delivered afterwards. Changes of
# what became of it have no revision. No part of a snapshot.
outbox = Table(
    "outbox",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("topic", Text, nullable=False),
    Column("request_id", Text),
    Column("destination", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text, nullable=False),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("receipt", Text, nullable=False, server_default=""),
    Column("ended_at", Text),
    Index("outbox_due", "state", "next_at"),
    Index("outbox_request", "request_id"),
)

# Who is told by HTTP. `environments` and `topics`: JSON lists, an empty one for all.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("sealed_url_secret", LargeBinary),
    Column("former_secret", LargeBinary),
    Column("former_until", Text),
    Column("enabled", Integer, nullable=False),
    Column("topics", Text, nullable=False),
    Column("environments", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("template", Text),
    Column("version", Integer, nullable=False),
)

allowlist_entries = Table(
    "allowlist_entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("valid_until", Text),
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE")),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE")),
    Column("version", Integer, nullable=False, server_default="0"),
    CheckConstraint("target_id IS NULL OR user_id IS NULL", name="allowlist_entries_one_level"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("valid_until", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE")),
    Column("environments", Text),
    Column("permissions", Text),
    Column("networks", Text, nullable=False, server_default="[]"),
    Column("kind", Text, nullable=False, server_default="api"),
)

# How people sign in. The id is the user's.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("password_hash", Text),
    Column("sealed_secret", LargeBinary),
    Column("last_step", Integer, nullable=False),
    Column("recovery_hashes", Text, nullable=False),
    Column("issuer", Text),
    Column("subject", Text),
    Column("managed", Integer, nullable=False),
    Column("standing", Text, nullable=False),
    Column("version", Integer, nullable=False),
    CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="accounts_whole_identity"),
    UniqueConstraint("issuer", "subject", name="accounts_one_per_identity"),
)

claim_mappings = Table(
    "claim_mappings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("group_id", Text, ForeignKey("groups.id", ondelete="CASCADE")),
    Column("role_id", Text),
    Column("version", Integer, nullable=False),
    CheckConstraint("(group_id IS NULL) <> (role_id IS NULL)", name="claim_mappings_one_object"),
    UniqueConstraint("value", "group_id", name="claim_mappings_one_per_group"),
    UniqueConstraint("value", "role_id", name="claim_mappings_one_per_role"),
)

# What the identity provider is asked with, whether it still vouches for somebody. No part of a snapshot: no worker needs it, and
# it changes without a revision.
provider_checks = Table(
    "provider_checks",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("sealed_refresh", LargeBinary, nullable=False),
    Column("vouched_at", Text, nullable=False),
    Column("due_at", Text, nullable=False),
)

# When a token was last used. No part of a snapshot: it changes without a revision.
token_activity = Table(
    "token_activity",
    metadata,
    Column("token_id", Text, ForeignKey("api_tokens.id", ondelete="CASCADE"), primary_key=True),
    Column("last_used_at", Text, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("target_id", Text, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("valid_until", Text, nullable=False),
    Column("sessions_until", Text, nullable=False),
    Column("credential_version", Integer, nullable=False),
    Column("max_sessions", Integer, nullable=False),
    Column("network", Text),
    Column("version", Integer, nullable=False),
)

# Database roles of people's own. They outlive their accounts and grants: that these are gone is why they are dropped.
managed_logins = Table(
    "managed_logins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("target_id", Text, ForeignKey("targets.id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("grant_id", Text),
    Column("user_name", Text, nullable=False),
    Column("login", Text, nullable=False),
    Column("member_of", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("valid_until", Text),
    Column("state", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("finding", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    UniqueConstraint("target_id", "login", name="managed_logins_one_per_name"),
)

session_terminations = Table(
    "session_terminations",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("object_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("audit_events_at", "at"),
)

idempotency_claims = Table(
    "idempotency_claims",
    metadata,
    Column("key_hash", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("event_id", Text, ForeignKey("audit_events.id"), nullable=False),
    Column("at", Text, nullable=False),
)
