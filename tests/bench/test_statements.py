"""The statements of the workloads are what they claim to be."""

import pytest

from tests.bench.workloads.statements import LITERALS, TRACED, fresh_text, report, report_names


@pytest.mark.parametrize("name", report_names())
def test_reports_are_of_two_to_ten_kilobytes(name: str) -> None:
    assert 2_000 <= len(report(name).encode()) <= 10_000


@pytest.mark.parametrize("name", report_names())
def test_a_fresh_text_is_another_one_and_its_comment_is_inside(name: str) -> None:
    first, second = fresh_text(report(name), "1"), fresh_text(report(name), "2")
    assert first != second
    assert first.split()[0] in ("WITH", "SELECT")
    assert first.replace(" /* 1 */", "", 1) == report(name)


def test_there_are_enough_reports_and_the_shortest_comes_first() -> None:
    sizes = [len(report(name)) for name in report_names()]
    assert len(sizes) >= 8
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("script", [*LITERALS, TRACED])
def test_each_script_changes_its_literals(script: str) -> None:
    names = [line.split()[1] for line in script.splitlines() if line.startswith("\\set")]
    query = script.splitlines()[-1]
    assert names
    assert all(f":{name}" in query for name in names)
