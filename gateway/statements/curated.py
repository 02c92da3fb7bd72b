"""The curated list: functions of common extensions that need no entry of the target. See data/extensions.txt for the reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.statements.catalogue import lines


@dataclass(frozen=True, slots=True)
class Names:
    """Names one by one, by how they start, and those that are left out of the latter."""

    exact: frozenset[str]
    starts: tuple[str, ...]
    but: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.exact or (name.startswith(self.starts) and name not in self.but)


def _read() -> dict[str, Names]:
    words: dict[str, set[str]] = {}
    for line in lines("extensions.txt"):
        extension, *names = line.split()
        words.setdefault(extension, set()).update(names)
    return {
        extension: Names(
            frozenset(word for word in found if word[-1] != "*" and word[0] != "-"),
            tuple(sorted(word[:-1] for word in found if word[-1] == "*")),
            frozenset(word[1:] for word in found if word[0] == "-"),
        )
        for extension, found in words.items()
    }


CURATED: Final[Mapping[str, Names]] = _read()
"""The functions of each curated extension."""


def is_curated(extension: str, name: str) -> bool:
    """Whether the function `name` of `extension` is on the list."""
    names = CURATED.get(extension)
    return names is not None and name in names
