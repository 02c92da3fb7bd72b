"""The settings in force in a running process. Whoever needs one asks for it when it needs it, and so sees a reload.

What cannot change while it runs (ports, places, what was opened at the start) stays as it was until a restart, here too: a worker
that is replaced in between must be like its siblings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from gateway.settings.model import Settings

#: The rest takes effect at once; what a session is told at its start (message and prepared statement limits), with new sessions.
NEED_RESTART: Final = frozenset(
    {
        "state_dir",
        "listen.host",
        "listen.port",
        "listen.workers",
        "listen.pin_workers",
        "listen.backlog",
        "limits.max_statement_bytes",
        "policy.judge_timeout_seconds",
        "audit.directory",
        "audit.durability",
        "audit.rotate_bytes",
        "audit.also",
        "audit.syslog_address",
        "store.url",
        "store.password_file",
        "store.poll_seconds",
        "admin_api.enabled",
        "admin_api.host",
        "admin_api.port",
        "admin_api.tls",
        "admin_api.cert_file",
        "admin_api.key_file",
    }
)


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys ("limits.max_sessions") whose value is another now, and those whose new value waits for a restart."""

    live: tuple[str, ...]
    waiting: tuple[str, ...]


class CurrentSettings:
    """Ask for `now` each time, and do not keep it. It is only ever set here: logins read it often, and a property costs a call."""

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        self._subscribers: list[Callable[[Settings], None]] = []

    def subscribe(self, callback: Callable[[Settings], None]) -> None:
        """For those few that cannot ask each time. Called after each change, with the new ones."""
        self._subscribers.append(callback)

    def replace(self, wanted: Settings) -> Changes:
        """Take over what can change in a running process."""
        before = self.now
        different = [key for key in _keys(before) if _value(before, key) != _value(wanted, key)]
        changes = Changes(
            tuple(key for key in different if key not in NEED_RESTART), tuple(key for key in different if key in NEED_RESTART)
        )
        self.now = _with(before, wanted, changes.live)
        if changes.live:
            for callback in self._subscribers:
                callback(self.now)
        return changes


def _keys(settings: Settings) -> list[str]:
    found = []
    for name, value in settings:
        found += [f"{name}.{inner}" for inner, _ in value] if isinstance(value, BaseModel) else [name]
    return found


def _value(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _with(before: Settings, wanted: Settings, live: tuple[str, ...]) -> Settings:
    """`before`, with these keys as they are in `wanted`."""
    sections: dict[str, dict[str, object]] = {}
    for key in live:  # none of them is outside a section
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = _value(wanted, key)
    return before.model_copy(
        update={section: getattr(before, section).model_copy(update=values) for section, values in sections.items()}
    )
