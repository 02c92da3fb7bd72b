"""Requests for statements: what they need, as the parser finds it, and what cannot be asked for by them.

Reading them takes time, so it is done before the store is held, in a thread; what was found counts as long as it still fits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.access.asking import Right, Scope, StatementsWanted
from gateway.access.model import Target
from gateway.access.requested import Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.services.errors import ServiceError

if TYPE_CHECKING:
    from gateway.statements.asked import AskedStatement, Derived


@dataclass(frozen=True, slots=True)
class Needed:
    """What these texts need on this target. `statements`: one by one, for who decides; their operations as people read them."""

    texts: tuple[str, ...]
    scope: Scope
    target: Target
    mode: AccessMode
    only: Only
    statements: "tuple[AskedStatement, ...]"

    def fits(self, right: Right, target: Target) -> bool:
        """Whether it is of these statements, on a target that still means the same by them."""
        same = isinstance(right, StatementsWanted) and (right.texts, right.scope) == (self.texts, self.scope)
        return same and target.id == self.target.id and _lists(target) == _lists(self.target)


async def needed_by(texts: Sequence[str], scope: Scope, target: Target) -> Needed:
    """Raises ServiceError for what cannot be asked for."""
    from gateway.services.policy import target_policy  # the parser is large, and few who import this ask for statements
    from gateway.statements.asked import NotDerived, derive

    found = await asyncio.to_thread(derive, tuple(texts), lambda mode: target_policy(target, mode), exact=scope is Scope.EXACT)
    if isinstance(found, NotDerived):
        place = f"statement {found.statement}: " if found.statement else ""
        raise ServiceError(found.rule, f"{place}{found.message}", found.hint)
    return Needed(tuple(texts), scope, target, found.mode, _only(found), found.statements)


def _only(derived: "Derived") -> Only:
    operations = frozenset(Operation(Command(command), schema, table) for command, schema, table in derived.only.operations)
    return Only(derived.only.statements, operations)


def _lists(target: Target) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return target.allowed_functions, target.allowed_schemas, target.allowed_settings
