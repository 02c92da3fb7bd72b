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
    # Alembic would add the constraint by a statement that SQLite does not have.
    op.execute("ALTER TABLE api_tokens ADD COLUMN user_id TEXT REFERENCES users (id) ON DELETE CASCADE")
    op.add_column("api_tokens", sa.Column("environments", sa.Text))
    op.add_column("api_tokens", sa.Column("permissions", sa.Text))
    op.add_column("api_tokens", sa.Column("networks", sa.Text, nullable=False, server_default="[]"))
    op.create_table(
        "token_activity",
        sa.Column("token_id", sa.Text, sa.ForeignKey("api_tokens.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("last_used_at", sa.Text, nullable=False),
    )
