"""Environments, admin roles with their permissions, whose an API token is and what cuts it down, and when it was last used.

The environment `default` and the role `owners` need no rows: they are there as long as nobody changes them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "admin_roles",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("owners", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "admin_role_members",
        sa.Column("role_id", sa.Text, sa.ForeignKey("admin_roles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    )
    op.create_table(
        "admin_role_permissions",
        sa.Column("role_id", sa.Text, sa.ForeignKey("admin_roles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("permission", sa.Text, primary_key=True),
    )
    op.add_column("targets", sa.Column("environment_id", sa.Text, nullable=False, server_default="default"))
    _recreate_tokens()
    op.create_table(
        "token_activity",
        sa.Column("token_id", sa.Text, sa.ForeignKey("api_tokens.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("last_used_at", sa.Text, nullable=False),
    )


def _recreate_tokens() -> None:
    # SQLite cannot add constraints in place; nothing refers to tokens yet, so making the table anew is safe.
    op.execute("CREATE TABLE api_tokens_before AS SELECT * FROM api_tokens")
    op.drop_table("api_tokens")
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
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE")),
        sa.Column("environments", sa.Text),
        sa.Column("permissions", sa.Text),
        sa.Column("networks", sa.Text, nullable=False, server_default="[]"),
    )
    columns = "id, name, token_hash, scope, created_at, valid_until, created_by, version"
    op.execute(f"INSERT INTO api_tokens ({columns}) SELECT {columns} FROM api_tokens_before")  # noqa: S608 - constants
    op.drop_table("api_tokens_before")
