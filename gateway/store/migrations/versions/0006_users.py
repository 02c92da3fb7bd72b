"""Whose account it is, whether it is protected, may only read, its e-mail address; and when each user logged in last."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("kind", sa.Text, nullable=False, server_default="person"))
    op.add_column("users", sa.Column("protected", sa.Integer, nullable=False, server_default="0"))
    op.add_column("users", sa.Column("read_only", sa.Integer, nullable=False, server_default="0"))
    op.add_column("users", sa.Column("email", sa.Text))
    op.create_table(
        "user_activity",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("last_login_at", sa.Text, nullable=False),
    )
