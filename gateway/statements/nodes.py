"""Which node classes and fields of the parse tree the read-only walk knows. What is not here is refused.

A new parser version that brings a new class or field therefore closes, and cannot open, something.
"""

from typing import Final

from gateway.statements.catalogue import lines


def _of(kind: str) -> frozenset[str]:
    return frozenset(name for group, name in (line.split() for line in lines("nodes.txt")) if group == kind)


PLAIN_NODES: Final = _of("plain")
"""Expression nodes that do nothing by themselves: only what is inside counts. (Some have a rule of their own as well.)"""

LEAF_NODES: Final = _of("leaf")
"""Nodes with nothing inside that matters."""

NESTED_FIELDS: Final = _of("nested")
"""Fields that hold nodes: walked."""

SCALAR_FIELDS: Final = _of("scalar")
"""Fields that hold plain values, or names that another rule reads."""
