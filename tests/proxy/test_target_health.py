"""How targets answered lately: the last word counts, and nothing is kept of targets that are gone."""

from datetime import UTC, datetime, timedelta

from gateway.access_mode import AccessMode
from gateway.ports import TargetHealth as Shown
from gateway.proxy.target_health import TargetHealth

START = datetime(2030, 1, 1, tzinfo=UTC)
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def shown(health: TargetHealth, names: dict[str, str]) -> list[Shown]:
    return [Shown(**record) for record in health.describe(names)]


def test_the_last_word_counts() -> None:
    health = TargetHealth(Clock())
    health.answered("1", RO)
    health.failed("1", RO, "unreachable")
    health.failed("1", RW, "password")
    (ro, rw) = shown(health, {"1": "shop"})
    assert (ro.target, ro.mode, ro.state, ro.kind) == ("shop", "read_only", "failing", "unreachable")
    assert (rw.state, rw.answered_at) == ("failing", None)
    health.answered("1", RO)
    assert shown(health, {"1": "shop"})[0].state == "ok"


def test_what_is_gone_is_forgotten_for_good() -> None:
    health = TargetHealth(Clock())
    health.answered("1", RO)
    assert health.describe({}) == []
    assert health.describe({"1": "shop"}) == []


def test_nobody_tried() -> None:
    assert Shown("shop", "read_only", None, None, "").state == "unknown"
