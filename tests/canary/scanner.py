"""Looks for canaries in everything that comes out, and counts where it has looked."""

import hashlib
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tests.canary.canaries import Canaries

_EMPTY = bytes(64)


@dataclass(frozen=True)
class Place:
    """Something that somebody can read. `kind`: of which sort, for the figures; `name`: for whoever has to mend it."""

    kind: str
    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Leak:
    """What of which secret was found where; not the secret."""

    slot: str
    form: str
    kind: str
    name: str
    around: str


@dataclass
class Figures:
    """`places` and `bytes` by kind; `searches`: for how many forms of secrets, summed over all places."""

    places: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    searches: int = 0
    most_secrets: int = 0
    most_forms: int = 0

    def lines(self) -> Iterator[str]:
        total = sum(self.places.values())
        yield (
            f"canaries: {total} places searched ({sum(self.bytes.values()) / 1e6:.1f} MB), up to {self.most_secrets} secrets in "
            f"{self.most_forms} forms at a time: {self.searches} searches"
        )
        for kind, count in sorted(self.places.items()):
            yield f"  {kind}: {count} ({self.bytes[kind] / 1e3:.0f} kB)"


@dataclass
class Scanner:
    """Of one world. `figures` are everybody's."""

    canaries: Canaries
    figures: Figures
    leaks: list[Leak] = field(default_factory=list)
    _clean: dict[tuple[bytes, frozenset[str]], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, places: Iterable[Place], *, but: Collection[str] = ()) -> list[Leak]:
        """What was found, which is remembered, too. `but`: slots whose secrets are meant to be there."""
        found = []
        for place in places:
            content = place.content.replace(_EMPTY, b"")  # a journal is mostly that
            known = (hashlib.sha256(content).digest(), frozenset(but))
            begin = self._clean.get(known, 0)  # what was searched before need only be searched for what is new
            needles = [needle for needle in self.canaries.needles[begin:] if needle.slot not in but]
            with self._lock:
                self.figures.places[place.kind] += 1
                self.figures.bytes[place.kind] += len(place.content)
                self.figures.searches += len(needles)
                self.figures.most_secrets = max(self.figures.most_secrets, self.canaries.count)
                self.figures.most_forms = max(self.figures.most_forms, len(needles))
            leaks = []
            for needle in needles:
                at = content.find(needle.content)
                if at >= 0:
                    around = _around(content, at, len(needle.content))
                    leaks.append(Leak(needle.slot, needle.form, place.kind, place.name, around))
            if not leaks:
                self._clean[known] = len(self.canaries.needles)
            found += leaks
        self.leaks += found
        return found

    def shown(self, kind: str, name: str, content: str, slot: str, secret: str) -> None:
        """An answer that shows one new secret, on purpose and once: nothing else is in it, and from now on it is nowhere."""
        assert content.count(secret) == 1, f"{name} does not show its secret once"
        assert not self.look([Place(kind, name, content.replace(secret, "").encode())])
        self.canaries.note(slot, secret)


def _around(content: bytes, at: int, length: int) -> str:
    before, behind = content[max(0, at - 60) : at], content[at + length : at + length + 30]
    return f"{before.decode('utf-8', 'replace')}<...>{behind.decode('utf-8', 'replace')}"
