"""Memory over churn: growth is told per login, without what a start costs; table and chart say what was read."""

import xml.etree.ElementTree as ET

from tests.bench.churn import Course, Point, churn_chart, churn_table, default_builds


def course(name: str, *megabytes: float) -> Course:
    """A thousand logins between two readings, half a minute each."""
    return Course(name, tuple(Point(30.0 * n, 1000 * n, int(size * 1_000_000)) for n, size in enumerate(megabytes, 1)))


def test_what_stands_still_after_its_start_has_not_grown() -> None:
    assert course("flat", 50, 60, 70, 72, 72, 72, 72, 72, 72, 72).bytes_per_login == 0


def test_growth_is_told_per_login() -> None:
    grows = course("grows", *(50 + n for n in range(12)))
    assert grows.bytes_per_login == 1000
    assert "| grows | 12,000 | 50.0 | 56.0 | 61.0 | 1000.0 | 0 |" in churn_table([grows])


def test_turns_that_a_refused_login_cut_short_are_told() -> None:
    assert churn_table([Course("busy", course("busy", 50, 50).points, refused_turns=3)]).endswith("| 3 |")


def test_a_single_reading_says_nothing_of_growth() -> None:
    assert course("short", 50).bytes_per_login == 0


def test_the_chart_is_well_formed_and_names_everybody() -> None:
    words = "".join(ET.fromstring(churn_chart([course("a <b>", 50, 60), course("flat", 50, 50)])).itertext())
    assert "a <b>" in words
    assert "flat" in words
    ET.fromstring(churn_chart([]))


def test_the_gateway_is_watched_without_tls_and_with_it() -> None:
    assert [build.secure for build in default_builds()] == [False, True]
