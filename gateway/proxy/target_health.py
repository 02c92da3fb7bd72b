"""How targets answered this worker's sessions lately: what a person wants to know before they ask why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.access_mode import AccessMode
from gateway.bus.lines import JsonValue, Payload


@dataclass(slots=True)
class _Outcomes:
    answered_at: datetime | None = None
    failed_at: datetime | None = None
    kind: str = ""


class TargetHealth:
    """The last success and the last failure to open an upstream session, by target and access mode. `now`: aware UTC.

    Bounded by what is configured: `describe` forgets what no longer exists.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._outcomes: dict[tuple[str, AccessMode], _Outcomes] = {}

    def answered(self, target_id: str, mode: AccessMode) -> None:
        self._of(target_id, mode).answered_at = self._now()

    def failed(self, target_id: str, mode: AccessMode, kind: str) -> None:
        """`kind`: why, as in the counters (never upstream's own words)."""
        outcomes = self._of(target_id, mode)
        outcomes.failed_at, outcomes.kind = self._now(), kind

    def describe(self, names: Mapping[str, str]) -> list[Payload]:
        """One record per target and mode that was tried. `names`: the targets there are now, name by id."""
        self._outcomes = {key: outcomes for key, outcomes in self._outcomes.items() if key[0] in names}
        return [
            {
                "target": names[target_id],
                "mode": mode.value,
                "answered_at": _text(outcomes.answered_at),
                "failed_at": _text(outcomes.failed_at),
                "kind": outcomes.kind,
            }
            for (target_id, mode), outcomes in self._outcomes.items()
        ]

    def _of(self, target_id: str, mode: AccessMode) -> _Outcomes:
        return self._outcomes.setdefault((target_id, mode), _Outcomes())


def _text(instant: datetime | None) -> JsonValue:
    return None if instant is None else instant.isoformat()
