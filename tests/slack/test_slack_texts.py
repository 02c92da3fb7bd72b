"""What stands in messages and forms: within Slack's limits, escaped, whatever people wrote. Pure."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from gateway.durations import write_duration
from gateway.notify.slack import text
from gateway.notify.slack.announcements import announcement, thread_note
from gateway.notify.slack.facts import Decided, PayloadError, Shown, Told, read
from gateway.notify.slack.modal import ask_view
from gateway.notify.slack.names import read_pressed
from gateway.notify.slack.people import Member, member_in
from gateway.notify.slack.personal import Connecting, personal, settled
from gateway.notify.slack.places import Place, Way, first_choice
from gateway.notify.slack.quiet import redacted
from gateway.notify.slack.spans import read_span
from gateway.services.request_messages import Topic
from tests.support.fakes.slack import kit
from tests.support.fakes.slack.state import words_of

NOW = datetime(2030, 1, 31, 18, 0, tzinfo=UTC)
STATES = ("pending", "approved", "active", "denied", "cancelled", "expired", "relinquished", "revoked", "errored", "new one")
written = st.text(max_size=600) | st.text("<>&`*\n", max_size=600)
requests = st.builds(
    Shown,
    id=st.just("3f0e"),
    number=st.integers(1, 10**9),
    state=st.sampled_from(STATES),
    requester=written,
    holder=written,
    place=written,
    mode=st.sampled_from(["read_only", "read_write", "other"]),
    fingerprint=st.just("0" * 64),
    duration_seconds=st.integers(1, 10**8),
    database_role=st.none() | written,
    statements=st.integers(0, 100),
    reason=st.text(max_size=3000) | st.text("<>&\n", max_size=3000),
    ticket=st.none() | written,
    wanted_from=st.none() | st.just(NOW),
    starts_at=st.none() | st.just(NOW),
    ends_at=st.none() | st.just(NOW),
    decisions=st.lists(st.builds(Decided, written, st.sampled_from(["approve", "deny"]), written, st.none() | written)).map(
        tuple
    ),
    ended_because=written,
    break_glass=st.booleans(),
    awaits_review=st.booleans(),
    reviewed_by=st.none() | written,
    approvers=st.lists(written, max_size=60).map(tuple),
    needed=st.integers(1, 5),
    steps=st.integers(1, 5),
)


def json_of(blocks: object) -> list[dict[str, object]]:
    assert isinstance(blocks, list | tuple)
    return [each.to_dict() for each in blocks]


@given(requests, st.sampled_from(Topic))
def test_every_message_is_one_that_slack_takes(request: Shown, topic: Topic) -> None:
    told = Told(topic, NOW, request)
    messages = [announcement(request, topic), personal(told, lambda _: Connecting("c" * 600, "u" * 2000)), settled(request)]
    for message in messages:
        blocks = kit.check_message(message.text, json_of(message.blocks))
        for marked in [message.text, *words_of(blocks), thread_note(request, topic) or ""]:
            assert "<@" not in marked
            assert "<http" not in marked
            assert marked.count("<!") == marked.count("<!date^") + marked.count("<!channel>")
            assert "<!channel>" not in marked or (request.break_glass and topic is Topic.BREAK_GLASS)


@given(written, st.integers(3, 100))
def test_what_is_escaped_is_short_enough_and_whole(given_text: str, most: int) -> None:
    for found in (text.escaped(given_text, most), text.quoted(given_text, most + 200)):
        assert len(found) <= most + 200
        assert "<" not in found
        assert found.count("&") == sum(found.count(each) for each in ("&amp;", "&lt;", "&gt;"))
        assert not any(each in found for each in "\u202e\u200b\x00\r")


@settings(max_examples=20)
@given(st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", fullmatch=True), unique=True, min_size=1, max_size=150))
def test_every_form_is_one_that_slack_takes(targets: list[str]) -> None:
    roles = [f"role{number}" for number in range(120)]
    ways = [Way(mode, 3600, 7200, roles, ticket_required=True, emergency_seconds=600) for mode in AccessMode]
    places = [Place(name, f"place{index % 7}", ways) for index, name in enumerate(targets)]
    for choice in (first_choice(places), first_choice(places, targets[0])):
        kit.check_view(ask_view(places, choice).to_dict())


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("45m", 2700),
        ("4 hours", 14_400),
        ("1d12h", 129_600),
        ("90 min", 5400),
        ("1 Day", 86_400),
        ("0m", None),
        ("2 months", None),
    ],
)
def test_lengths_of_time_as_people_write_them(written: str, seconds: int | None) -> None:
    assert read_span(written) == seconds


@given(st.integers(1, 10_000))
def test_a_length_of_time_is_read_as_it_is_shown(minutes: int) -> None:
    assert read_span(write_duration(minutes * 60)) == minutes * 60


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"type": "access_request.created", "at": "now", "request": {}}', "null"])
def test_a_payload_that_nobody_wrote(payload: str) -> None:
    with pytest.raises(PayloadError):
        read(payload)


@given(st.text(max_size=300))
def test_what_no_button_of_ours_says(value: str) -> None:
    found = read_pressed(value)
    assert found is None or str(found) == value


@pytest.mark.parametrize(
    "flag", ["deleted", "is_bot", "is_workflow_bot", "is_restricted", "is_ultra_restricted", "is_stranger"]
)
def test_who_is_no_full_member(flag: str) -> None:
    whole = {"id": "U1", "team_id": "T1", "is_email_confirmed": True, "profile": {"email": "Ana@Example.com "}}
    assert member_in(whole, "T1") == Member("U1", "ana@example.com")
    assert not isinstance(member_in({**whole, flag: True}, "T1"), Member)
    for wrong in (
        {"team_id": "T2"},
        {"is_email_confirmed": None},
        {"is_email_confirmed": "true"},
        {"profile": {}},
        {"id": None},
    ):
        assert not isinstance(member_in({**whole, **wrong}, "T1"), Member)
    assert not isinstance(member_in({}, "T1"), Member)
    grid = {**whole, "team_id": "E1", "enterprise_user": {"teams": ["T0", "T1"]}}
    assert isinstance(member_in(grid, "T1"), Member)


def test_the_library_s_texts_are_logged_without_what_opens_something() -> None:
    said = "403, message='Invalid', url='wss://wss-primary.slack.com/link/?ticket=abc' xoxb-1-2-abc xapp-1-A-9 https://hooks.slack.com/x/y"
    shown = redacted(said)
    assert not any(each in shown for each in ("ticket", "xoxb", "xapp", "hooks"))
    assert "403" in shown
