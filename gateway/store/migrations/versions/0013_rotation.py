"""When upstream passwords were changed and how often they are to be, and who is at a work that one process does at a time.

How old a password is, is known from the record of changes, where it goes back far enough; else it counts as very old.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("targets", sa.Column("rotate_every_days", sa.Integer))
    op.add_column("target_roles", sa.Column("changed_at", sa.Text))
    op.execute(
        "UPDATE target_roles SET changed_at = COALESCE((SELECT max(audit_events.at) FROM audit_events "
        "WHERE audit_events.object_id = target_roles.target_id AND audit_events.action = 'target.login_changed'), "
        "'1970-01-01T00:00:00+00:00')"
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.Text, nullable=False),
    )
