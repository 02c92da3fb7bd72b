"""Names and texts as SQL that this program writes itself. Nothing else may put them between quotes."""

from collections.abc import Iterable


def quoted(name: str) -> str:
    """As an identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_all(names: Iterable[str]) -> str:
    """As a list of identifiers."""
    return ", ".join(quoted(name) for name in names)


def literal(text: str) -> str:
    """For standard_conforming_strings = on."""
    return "'" + text.replace("'", "''") + "'"
