"""A string that cannot be printed by accident."""

from typing import Final, NoReturn

_MASK: Final = "***"


class Secret:
    """Holds an upstream credential. `repr`, `str` and formatting give `***`; `reveal()` is the one way out.

    It cannot be pickled or hashed, and compares only by identity, so that it can neither travel nor leak by a log line.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return _MASK

    def __format__(self, _spec: str) -> str:
        return _MASK

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be serialised")
