"""What is asked of the gateway by SQL as JSON takes it: between its processes. Pure."""

from collections.abc import Mapping
from dataclasses import asdict

from gateway.access_mode import AccessMode
from gateway.statements.addressed import Addressed, AskAccess, GiveBack, Show, Shown


def write_plain(asked: Addressed) -> dict[str, str | int | None]:
    """As JSON takes it."""
    match asked:
        case Show(shown):
            return {"show": shown.value}
        case GiveBack(number):
            return {"give_back": number}
        case AskAccess():
            return {"ask": "", **asdict(asked)}


def read_plain(plain: Mapping[str, object]) -> Addressed:
    """What `write_plain` wrote. Raises ValueError, TypeError and KeyError."""
    match plain:
        case {"show": str(shown)}:
            return Show(Shown(shown))
        case {"give_back": int(number)}:
            return GiveBack(number)
        case {"ask": _, "mode": mode, "duration_seconds": seconds, "reason": reason, **others}:
            return AskAccess(
                None if mode is None else AccessMode(str(mode)),
                seconds if isinstance(seconds, int) else None,
                str(reason),
                **{name: None if value is None else str(value) for name, value in others.items()},
            )
    raise ValueError("nothing that is addressed to the gateway")
