"""Approval policies by command: what is typed, what is shown, and that one is the other."""

import pytest
import typer

from gateway.cli.approval_terms import break_glass_text, read_break_glass, read_rule, read_step, rule_text, step_text
from gateway.cli.instants import away, exactly, moment, roughly
from tests.cli.world import World


@pytest.fixture
def site(world: World) -> World:
    here = world.here()
    for name in ("ana", "ben"):
        here.run("users", "create", name)
    here.run("groups", "create", "leads", "--member", "ben")
    here.run("roles", "create", "dba", "--member", "ben")
    here.run("environments", "create", "production")
    return world


@pytest.mark.parametrize(
    "text",
    [
        "role:dba",
        "2 of role:dba, group:leads",
        "user:ana else role:dba after 30m",
        "3 of group:a else user:b, user:c after 1d12h",
    ],
)
def test_a_step_is_shown_as_it_is_typed(text: str) -> None:
    assert step_text({"needed": 1, "escalation": [], "escalates_after_seconds": None, **read_step(text)}) == text


@pytest.mark.parametrize("text", ["short-read 1h", "again 2h since 30d", "on-call 45m"])
def test_a_rule_is_shown_as_it_is_typed(text: str) -> None:
    assert rule_text({"since_seconds": 0, **read_rule(text)}) == text


def test_an_emergency_is_shown_as_it_is_typed() -> None:
    assert break_glass_text(read_break_glass("role:on-call, user:ana for 30m")) == "role:on-call, user:ana for 30m"
    assert read_break_glass("none") is None
    assert break_glass_text(None) == "none"


@pytest.mark.parametrize(
    "text", ["", "dba", "2 of", "0x of role:a", "role:dba after 30m", "role:a else role:b", "role:a,, role:b"]
)
def test_what_is_no_step(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_step(text)


@pytest.mark.parametrize("text", ["short-read", "again 2h", "short-read 2h since 1d", "never 1h", "on-call soon"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_rule(text)


def test_times_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
    for seconds, text in ((42, "in 42 s"), (2520, "in 42 min"), (3900, "in 1 h 5 min"), (-90_061, "1 d 1 h ago"), (0, "now")):
        assert away((now + timedelta(seconds=seconds)).isoformat(), now) == text
    assert "(in 6 h)" in moment("2030-01-31T18:00:00Z", now)
    assert moment(None, now) == ""
    assert (exactly(5400), exactly(86_400), exactly(None), roughly(119)) == ("1 h 30 min", "1 d", "", "119 s")


def test_created_listed_shown_changed_and_deleted(site: World) -> None:
    words = ["--environment", "production", "--mode", "ro", "--mode", "rw", "--step", "2 of role:dba, group:leads"]
    more = [
        "--step",
        "user:ana else role:dba after 30m",
        "--rule",
        "short-read 1h",
        "--rule",
        "again 2h since 30d",
        "--max",
        "8h",
    ]
    said = site.run("approvals", "create", "production", *words, *more, "--break-glass", "role:dba for 30m").stdout
    assert said == 'Approval policy "production" created: read_only and read_write can be asked for in "production".\n'
    (listed,) = site.json("approvals", "list")
    assert listed == site.json("approvals", "show", "production")
    assert listed["steps"][0] == {
        "approvers": ["group:leads", "role:dba"], "needed": 2, "escalates_after_seconds": None, "escalation": [],
    }  # fmt: skip
    assert (listed["max_seconds"], listed["default_seconds"], listed["bound_to_approvers"]) == (28_800, 3600, False)
    shown = site.run("approvals", "show", "production").stdout
    for text in ("user:ana else role:dba after 30m", "again 2h since 30d", "role:dba for 30m", "1 h, at most 8 h"):
        assert text in shown
    site.run(
        "approvals", "update", "production", "--no-rules", "--break-glass", "none", "--bound", "--require-ticket", "--max", "4h"
    )
    changed = site.json("approvals", "show", "production")
    assert (changed["rules"], changed["break_glass"], changed["bound_to_approvers"], changed["max_seconds"]) == (
        [],
        None,
        True,
        14_400,
    )
    assert changed["steps"] == listed["steps"]
    assert "was changed meanwhile" in site.error("approvals", "update", "production", "--max", "1h", "--if-version", "1")
    assert site.run("approvals", "delete", "production").stdout == 'Approval policy "production" deleted.\n'
    assert "nobody can ask for anything" in site.run("approvals", "list").stdout


def test_refusals(site: World) -> None:
    words = ["--environment", "production", "--mode", "ro"]
    assert "nobody" in site.error("approvals", "create", "p", *words, "--step", "group:nobody")
    assert "nowhere" in site.error("approvals", "create", "p", "--environment", "nowhere", "--mode", "ro", "--step", "role:dba")
    site.run("approvals", "create", "p", *words, status=2)
    site.run("approvals", "create", "p", *words, "--step", "dba", status=2)
    site.run("approvals", "update", "p", status=2)
    assert 'there is no approval policy "p"' in site.error("approvals", "show", "p")
    site.run("approvals", "create", "first", *words, "--step", "role:dba")
    assert "first" in site.error("approvals", "create", "second", *words, "--step", "role:dba")
