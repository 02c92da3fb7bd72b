"""The clock of rights follows the wall clock on, and never back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.rights_clock import RightsClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clocks:
    """A machine's two clocks."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 1000.0

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds


def test_left_alone_it_is_the_wall_clock() -> None:
    clocks = Clocks()
    clock = RightsClock(lambda: clocks.wall, lambda: clocks.steady)
    for _ in range(3):
        assert clock.now() == clocks.wall
        clocks.pass_time(1.5)


def test_an_hour_back_changes_nothing_and_an_hour_on_counts() -> None:
    clocks = Clocks()
    clock = RightsClock(lambda: clocks.wall, lambda: clocks.steady)
    clock.now()
    clocks.wall -= timedelta(hours=1)
    clocks.pass_time(10)
    assert abs(clock.now() - (START + timedelta(seconds=10))) < timedelta(milliseconds=1)
    clocks.wall += timedelta(hours=3)
    assert clock.now() == clocks.wall == START + timedelta(hours=2, seconds=10)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e6, 1e6)), max_size=30))
def test_it_never_goes_back_and_is_never_behind(steps: list[tuple[float, float]]) -> None:
    """Whatever is done to the wall clock."""
    clocks = Clocks()
    clock = RightsClock(lambda: clocks.wall, lambda: clocks.steady)
    last = clock.now()
    for passed, jump in steps:
        clocks.pass_time(passed)
        clocks.wall += timedelta(seconds=jump)
        shown = clock.now()
        slack = timedelta(milliseconds=1)  # of floating point
        assert shown >= last + timedelta(seconds=passed) - slack
        assert shown >= clocks.wall - slack
        last = shown
