"""A rotation, broken off anywhere and begun again: of the passwords that the store knows, one is the server's at every moment."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.custody.rotation import Answer, Step, after, begin, next_step

YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN


@dataclass
class World:
    """A store and a server. `gate`: the server takes passwords and lets nobody in with the new one, as pg_hba.conf may."""

    current: int = 0
    pending: int | None = None
    server: int = 0
    made: int = 0
    promoted: set[int] = field(default_factory=set)

    @property
    def sound(self) -> bool:
        return self.server in (self.current, self.pending)

    @property
    def settled(self) -> bool:
        return self.pending is None and self.server == self.current

    def do(self, step: Step, fault: str, seen: tuple[int, int | None]) -> Answer:
        """`fault`: "" or what goes wrong in this step. `seen`: what this run believes to be in the store."""
        match step:
            case Step.TRY_CURRENT:
                return UNKNOWN if fault == "mute" else (YES if self.server == self.current else NO)
            case Step.TRY_PENDING:
                fits = self.server == self.pending and fault != "gate"
                return UNKNOWN if fault == "mute" else (YES if fits else NO)
            case Step.STAGE:
                self.made += 1
                self.pending = self.made
                return YES
            case Step.SET | Step.PUT_BACK:
                if fault == "refused":
                    return NO
                if fault != "lost before":
                    password = self.pending if step is Step.SET else self.current
                    assert password is not None
                    self.server = password
                return UNKNOWN if fault.startswith("lost") else YES
            case Step.PROMOTE | Step.UNSTAGE:
                if (self.current, self.pending) != seen:
                    return NO
                if step is Step.PROMOTE:
                    assert self.pending is not None
                    self.current = self.pending
                self.pending = None
                return YES
            case _:
                raise AssertionError(step)


def run(world: World, faults: Iterator[str], *, helped: bool = False) -> Iterator[Step]:
    """Yields before each step and at its end; whoever stops asking has killed it there."""
    known = begin(staged=world.pending is not None, helped=helped)
    while True:
        step = next_step(known)
        yield step
        if step.is_end:
            return
        known = after(known, step, world.do(step, next(faults, ""), (world.current, world.pending)))
        assert world.sound, step


FAULTS = st.lists(st.sampled_from(["", "", "", "mute", "gate", "refused", "lost before", "lost after"]), max_size=12)
RUNS = st.lists(st.tuples(FAULTS, st.integers(0, 12)), max_size=8)


@given(RUNS)
@settings(max_examples=500)
def test_killed_anywhere_with_anything_going_wrong(runs: list[tuple[list[str], int]]) -> None:
    world = World()
    for faults, lives in runs:
        for number, _ in enumerate(run(world, iter(faults))):
            if number >= lives:
                break
        assert world.sound
    *_, end = run(world, iter([]))  # nothing is in its way any more
    assert end is Step.DONE
    assert world.settled
    *_, again = run(world, iter([]))
    assert again is Step.DONE
    assert world.settled


@given(FAULTS)
@settings(max_examples=200)
def test_every_run_ends_as_it_says(faults: list[str]) -> None:
    world = World()
    *steps, end = run(world, iter(faults))
    assert len(steps) < 12
    match end:
        case Step.DONE:
            assert (world.current, world.pending, world.server) == (1, None, 1)
        case Step.FAILED:
            assert (world.current, world.pending, world.server) == (0, None, 0)
        case Step.HALF_DONE:
            assert world.pending == 1
        case _:
            raise AssertionError(end)


def test_the_usual_way() -> None:
    world = World()
    steps = list(run(world, iter([])))
    assert steps == [Step.TRY_CURRENT, Step.STAGE, Step.SET, Step.TRY_PENDING, Step.PROMOTE, Step.DONE]


def test_what_lets_nobody_in_is_put_back() -> None:
    world = World()
    steps = list(run(world, iter(["", "", "", "gate"])))
    assert steps[-4:] == [Step.TRY_PENDING, Step.PUT_BACK, Step.UNSTAGE, Step.FAILED]
    assert world.settled


@pytest.mark.parametrize("staged", [True, False])
def test_a_login_that_nobody_can_use_is_left_alone_or_set_by_another(staged: bool) -> None:
    known = begin(staged=staged, helped=False)
    known = after(known, Step.TRY_PENDING, NO) if staged else known
    assert next_step(after(known, Step.TRY_CURRENT, NO)) is (Step.STUCK if staged else Step.FAILED)
    known = after(begin(staged=staged, helped=True), Step.TRY_PENDING, NO) if staged else begin(staged=False, helped=True)
    known = after(known, Step.TRY_CURRENT, NO)
    assert next_step(known) is (Step.SET if staged else Step.STAGE)


def test_a_run_that_was_overtaken_has_no_say_any_more() -> None:
    """Somebody gave the login another password in the store while it was at work."""
    known = after(begin(staged=True, helped=False), Step.TRY_PENDING, YES)
    assert next_step(after(known, Step.PROMOTE, NO)) is Step.HALF_DONE
