"""Workers stay on CPUs of their own; what works beside them does not."""

import multiprocessing
import os

import pytest

from gateway.affinity import pin, unpin

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")


def _pinned(
    number: int, workers: int, mode: str, answers: "multiprocessing.Queue[tuple[int | None, set[int], set[int]]]"
) -> None:
    chosen = pin(number, workers, mode, "one gateway")  # type: ignore[arg-type]
    during = os.sched_getaffinity(0)
    unpin()
    answers.put((chosen, during, os.sched_getaffinity(0)))


def in_a_process(number: int, workers: int, mode: str) -> tuple[int | None, set[int], set[int]]:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_pinned, args=(number, workers, mode, answers))
    process.start()
    answer = answers.get(timeout=30)
    process.join(10)
    return answer


def test_each_worker_has_its_own_cpu_and_helpers_have_all():
    allowed = os.sched_getaffinity(0)
    workers = len(allowed)
    answers = [in_a_process(number, workers, "auto") for number in range(min(workers, 2))]
    if workers == 1:
        assert answers[0][0] is None
        return
    assert len({chosen for chosen, _, _ in answers}) == len(answers)
    for chosen, during, after in answers:
        assert during == {chosen}
        assert after >= allowed


@pytest.mark.parametrize(("workers", "mode"), [(10_000, "auto"), (1, "off")])
def test_nothing_is_pinned_without_room_or_when_told_so(workers, mode):
    chosen, during, _ = in_a_process(0, workers, mode)
    assert chosen is None
    assert during == os.sched_getaffinity(0)
