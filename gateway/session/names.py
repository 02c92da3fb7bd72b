"""What a prepared statement's or portal's name stands for, at the point of the stream that is being *sent*.

Within the group of messages up to a Sync the sent order decides, since upstream runs a message only if all before it in the
group succeeded. Across groups only replies decide: a name whose definition in an earlier group is unanswered is UNSETTLED, and the
message that uses it must wait.
"""

from typing import Final, Generic, Never, TypeVar

T = TypeVar("T")


class Unsettled:
    """The type of UNSETTLED."""


UNSETTLED: Final = Unsettled()


class Names(Generic[T]):
    """One name space. A value of None: the name is not one that was defined by protocol messages."""

    __slots__ = ("_confirmed", "_group", "_in_flight")

    def __init__(self) -> None:
        self._confirmed: dict[bytes, T | None] = {}
        self._group: dict[bytes, T | None] = {}
        self._in_flight: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._confirmed) + len(self._group)

    @property
    def tables(self) -> tuple[dict[bytes, T | None], dict[bytes, T | None], dict[bytes, int]]:
        """What replies told, what was sent since the last Sync, and how often a name is in flight; the same all the time."""
        return self._confirmed, self._group, self._in_flight

    def send(self, name: bytes, value: T | None) -> None:
        """A definition (None: a Close) leaves; `confirm` or `abandon` follows with its reply."""
        self._group[name] = value
        self._in_flight[name] = self._in_flight.get(name, 0) + 1

    def send_with_sync(self, name: bytes) -> None:
        """A definition leaves together with the Sync that ends its group."""
        self._in_flight[name] = self._in_flight.get(name, 0) + 1
        if self._group:
            self._group.clear()

    def confirm(self, name: bytes, value: T | None) -> None:
        if value is None:
            self._confirmed.pop(name, None)
        else:
            self._confirmed[name] = value
        self._landed(name)

    def abandon(self, name: bytes) -> None:
        self._landed(name)

    def _landed(self, name: bytes) -> None:
        in_flight = self._in_flight
        left = in_flight.get(name, 1)
        if left > 1:
            in_flight[name] = left - 1
        elif name in in_flight:
            del in_flight[name]

    def group_sent(self) -> None:
        if self._group:
            self._group.clear()

    def will_drop(self, name: bytes) -> None:
        """What was just sent makes upstream drop it (a Query drops the unnamed statement)."""
        if self._confirmed or self._in_flight or self._group:
            self._group[name] = None

    def dropped(self, name: bytes) -> None:
        """A reply tells that upstream dropped it."""
        self._confirmed.pop(name, None)

    def will_drop_all(self) -> None:
        """What was just sent drops or redefines names by SQL text: none is known any more, until it is defined again."""
        for name in (*self._confirmed, *self._in_flight):
            self._group[name] = None

    def all_dropped(self) -> None:
        self._confirmed.clear()

    def renew(self, name: bytes, value: T) -> None:
        """What this name stands for is the same, and `value` knows it better. Nothing of the name may be in flight."""
        if name not in self._in_flight and name not in self._group and name in self._confirmed:
            self._confirmed[name] = value

    def lookup(self, name: bytes) -> T | Unsettled | None:
        if name in self._group:
            return self._group[name]
        if name in self._in_flight:
            return UNSETTLED
        return self._confirmed.get(name)


class _NothingNamed(Names[Never]):
    """Where nothing was ever defined, and nothing can be: one for all sessions of that kind, which most are."""

    __slots__ = ()

    @property
    def tables(self) -> Never:
        raise RuntimeError("a name was to be defined where none can be")

    def send(self, name: bytes, value: object) -> None:
        raise RuntimeError("a name was to be defined where none can be")

    def send_with_sync(self, name: bytes) -> None:
        raise RuntimeError("a name was to be defined where none can be")

    def confirm(self, name: bytes, value: object) -> None:
        if value is not None:
            raise RuntimeError("a name was to be defined where none can be")


NOTHING_NAMED: Final = _NothingNamed()


def names_will_change(names: Names[T], changes: tuple[str, ...], value: T) -> None:
    """A text was sent whose SQL prepares and deallocates (`Facts.names`), in the same name space, unseen by messages."""
    for change in changes:
        if change == "-":
            names.will_drop_all()
        elif not change.startswith("="):
            names.send(change[1:].encode(), value if change.startswith("+") else None)


def names_changed(names: Names[T], changes: tuple[str, ...], value: T, *, certain: bool) -> None:
    """Its reply came. Not `certain` (an error, or it was skipped): what these names stand for now is not known."""
    for change in changes:
        name = change[1:].encode()
        if change == "-":
            names.all_dropped()
        elif change.startswith("="):
            pass
        elif certain:
            names.confirm(name, value if change.startswith("+") else None)
        else:
            names.abandon(name)
            names.dropped(name)
