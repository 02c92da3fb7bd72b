"""How people sign in to the admin API, what their groups at an identity provider mean here, and how a token came to be."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_tokens", sa.Column("kind", sa.Text, nullable=False, server_default="api"))
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("password_hash", sa.Text),
        sa.Column("sealed_secret", sa.LargeBinary),
        sa.Column("last_step", sa.Integer, nullable=False),
        sa.Column("recovery_hashes", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("managed", sa.Integer, nullable=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="accounts_whole_identity"),
        sa.UniqueConstraint("issuer", "subject", name="accounts_one_per_identity"),
    )
    op.create_table(
        "claim_mappings",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("group_id", sa.Text, sa.ForeignKey("groups.id", ondelete="CASCADE")),
        sa.Column("role_id", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.CheckConstraint("(group_id IS NULL) <> (role_id IS NULL)", name="claim_mappings_one_object"),
        sa.UniqueConstraint("value", "group_id", name="claim_mappings_one_per_group"),
        sa.UniqueConstraint("value", "role_id", name="claim_mappings_one_per_role"),
    )
    op.create_table(
        "provider_checks",
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sealed_refresh", sa.LargeBinary, nullable=False),
        sa.Column("vouched_at", sa.Text, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
    )
