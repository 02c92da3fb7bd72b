"""Who is due by the clock: everybody at their time, nobody before, none forgotten, whatever was put in between."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.instants import Instants

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from([f"s{number}" for number in range(8)])
AT = st.one_of(st.none(), st.integers(0, 20))


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@given(st.lists(st.one_of(st.tuples(NAMES, AT), st.integers(0, 20)), max_size=60), st.integers(1, 9))
def test_they_are_due_when_a_plain_list_says_so(steps: list[tuple[str, int | None] | int], most: int) -> None:
    instants, plain = Instants(), dict[str, int]()
    for step in steps:
        if isinstance(step, int):
            due = []
            while some := instants.take(at(step), most):
                assert len(some) <= most
                due += some
            assert sorted(due) == sorted(name for name, minute in plain.items() if minute <= step)
            assert [plain[name] for name in due] == sorted(plain[name] for name in due)
            plain = {name: minute for name, minute in plain.items() if minute > step}
        else:
            name, minute = step
            instants.put(name, None if minute is None else at(minute))
            plain.pop(name, None)
            if minute is not None:
                plain[name] = minute
        assert len(instants) == len(plain)


def test_a_clock_that_jumps_brings_all_that_it_passed() -> None:
    instants = Instants()
    for number in range(100):
        instants.put(f"s{number}", at(number))
    assert instants.take(at(98), 100) == [f"s{number}" for number in range(99)]
    assert instants.take(at(10), 100) == []
    assert instants.take(at(99), 100) == ["s99"]


def test_who_came_and_went_leaves_nothing() -> None:
    """Ends are months away, and clients come and go all the while."""
    instants = Instants()
    for number in range(10_000):
        instants.put("s", at(number + 1_000_000))
        instants.put("s", None)
    assert len(instants) == 0
    assert len(instants._heap) < 100
