"""What somebody may ask for, as the form offers it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.access_mode import AccessMode


class Kind(StrEnum):
    MODE = "mode"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Access:
    """The access type: a mode, or an existing database role in it."""

    kind: Kind
    mode: AccessMode

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.mode.value}"


@dataclass(frozen=True, slots=True)
class Way:
    """One mode of a place, and what its policy wants. `roles`: those that may be asked for. `emergency_seconds`: how long
    somebody may give it to themselves, at most; None: not at all.
    """

    mode: AccessMode
    default_seconds: int
    max_seconds: int
    roles: Sequence[str] = ()
    reason_required: bool = False
    ticket_required: bool = False
    emergency_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A database, by its target's name."""

    name: str
    environment: str
    ways: Sequence[Way]

    @property
    def accesses(self) -> list[Access]:
        """What can be chosen here, modes first."""
        modes = [Access(Kind.MODE, way.mode) for way in self.ways]
        return modes + [Access(Kind.ROLE, way.mode) for way in self.ways if way.roles]

    def way(self, access: Access) -> Way | None:
        found = next((way for way in self.ways if way.mode is access.mode), None)
        return None if found is None or (access.kind is Kind.ROLE and not found.roles) else found


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of it somebody has chosen so far."""

    place: Place | None = None
    access: Access | None = None

    @property
    def way(self) -> Way | None:
        return None if self.place is None or self.access is None else self.place.way(self.access)


def first_choice(places: Sequence[Place], wanted: str = "") -> Chosen:
    """Where there is nothing to choose, it is chosen. `wanted`: a place that was named already."""
    named = next((each for each in places if each.name == wanted), None)
    place = named or (places[0] if len(places) == 1 else None)
    return settled(Chosen(place))


def settled(chosen: Chosen) -> Chosen:
    """With the access type that is still there in this place: the one chosen, else the first."""
    if chosen.place is None or not chosen.place.ways:
        return Chosen(chosen.place)
    known = chosen.place.accesses
    return Chosen(chosen.place, chosen.access if chosen.access in known else known[0])


def read_access(value: str) -> Access | None:
    kind, _, mode = value.partition(":")
    try:
        return Access(Kind(kind), AccessMode(mode))
    except ValueError:
        return None
