"""From what grants of access requests open to what the statement policy knows of it."""

from collections.abc import Sequence

from gateway.access.requested import Only
from gateway.statements.only_these import OnlyThese


def only_these(several: Sequence[Only]) -> OnlyThese | None:
    """All of it together; None: the session's grant opens more than certain statements or operations."""
    if not several:
        return None
    statements = frozenset().union(*(each.statements for each in several))
    operations = frozenset((each.command.value, each.schema, each.table) for only in several for each in only.operations)
    return OnlyThese(statements, operations)
