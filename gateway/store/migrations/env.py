"""What Alembic runs to migrate. The connection is given by store/migrate.py; there is no alembic.ini."""

from alembic import context

from gateway.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
