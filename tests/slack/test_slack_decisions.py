"""Who may press, what is refused, and that one word counts: group R of the security cases, by way of Slack."""

import asyncio

import pytest

from gateway.access.request_record import State, Word
from gateway.notify.slack import names
from gateway.services import users
from gateway.services.access_requests import decide_request
from tests.slack.world import BY, SlackWorld


async def test_nobody_approves_their_own_request(world: SlackWorld) -> None:
    await world.policy(steps=(await world.policy()).steps)
    snapshot = await world.snapshot()
    step = (await world.policy()).steps[0]
    everybody = frozenset(user.id for user in snapshot.users.values())
    await world.policy(steps=(type(step)(everybody),))
    posting = await world.asked()
    await world.acting("ana").press(posting, names.APPROVE)
    await world.hears("ana", "Nobody decides about their own request")
    assert (await world.request()).state is State.PENDING
    assert set(posting.buttons) == {names.APPROVE, names.DENY}


async def test_whoever_is_no_approver_is_refused(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.acting("eve").press(posting, names.APPROVE)
    await world.hears("eve", ":no_entry_sign:")
    assert (await world.request()).state is State.PENDING


@pytest.mark.parametrize(
    ("email", "flags", "said"),
    [
        ("stranger@example.com", {}, "There is no account in pgbastion with your address stranger@example.com"),
        ("ben@example.com", {"confirmed": False}, "no confirmed e-mail address"),
        ("ben@example.com", {"is_restricted": True}, "Only full members"),
        ("ben@example.com", {"is_ultra_restricted": True}, "Only full members"),
        ("ben@example.com", {"is_bot": True}, "Only full members"),
        ("ben@example.com", {"deleted": True}, "Only full members"),
        ("ben@example.com", {"is_stranger": True}, "Only full members"),
        ("ben@example.com", {"team": "T0OTHER01"}, "Only full members"),
    ],
)
async def test_who_is_nobody_here_is_refused_and_told_what_to_do(
    world: SlackWorld, email: str, flags: dict[str, bool], said: str
) -> None:
    posting = await world.asked()
    world.members["other"] = world.slack.state.member("ben", email, **flags)
    world.slack.state.channels[world.channel].add(world.members["other"])
    for action in (names.APPROVE, names.DENY):
        await world.acting("other").press(posting, action)
        await world.hears("other", said)
        world.slack.state.postings = [
            each for each in world.slack.state.postings if each.ephemeral_to != world.members["other"]
        ]
    await world.acting("other").slash("request shop", world.channel)
    await world.hears("other", said)
    assert not world.slack.state.modals or all(
        each.member != world.members["other"] for each in world.slack.state.modals.values()
    )
    assert (await world.request()).state is State.PENDING


async def test_an_address_that_two_accounts_have_is_nobody_s(world: SlackWorld) -> None:
    posting = await world.asked()
    await users.update_user(world.store, name="eve", email="BEN@example.com", **BY)
    await world.acting("ben").press(posting, names.APPROVE)
    await world.hears("ben", "Several accounts")
    assert (await world.request()).state is State.PENDING


async def test_an_account_that_is_disabled_is_nobody_s_at_once(world: SlackWorld) -> None:
    """What Slack said is remembered for a while, what the gateway says is not."""
    posting = await world.asked()
    await world.acting("ben").slash("help", world.channel)
    await world.acting("ben").press(posting, names.APPROVE, value="0/0")
    await users.disable_user(world.store, name="ben", **BY)
    await world.acting("ben").press(posting, names.APPROVE)
    await world.hears("ben", "There is no account")
    assert (await world.request()).state is State.PENDING


async def test_a_press_on_something_else_than_was_shown_is_refused(world: SlackWorld) -> None:
    posting = await world.asked()
    request = await world.request()
    for value in (f"{request.id}/{'0' * 64}", f"{request.id}/", "nonsense", f"{'0' * 36}/{request.wanted.fingerprint}"):
        await world.acting("ben").press(posting, names.APPROVE, value=value)
    await world.hears("ben", "What you looked at is not what is asked for")
    assert (await world.request()).state is State.PENDING


async def test_a_press_that_is_replayed_decides_nothing_and_its_button_goes(world: SlackWorld) -> None:
    posting = await world.asked()
    button = dict(posting.buttons[names.APPROVE])
    blocks = list(posting.blocks)
    await world.acting("ben").press(posting, names.APPROVE)
    await world.until(lambda: not posting.buttons)
    request = await world.request()
    await world.acting("ana").slash("requests")
    posting.blocks = blocks  # a screen that is behind
    for name in ("ben", "cleo"):
        await world.acting(name).press_as_shown(posting, names.APPROVE, button["value"])
        await world.hears(name, "The request is active")
    await world.until(lambda: not posting.buttons)
    assert await world.request() == request


async def test_of_two_approvers_at_the_same_moment_one_is_heard(world: SlackWorld) -> None:
    posting = await world.asked()
    value = posting.buttons[names.APPROVE]["value"]
    await asyncio.gather(
        *(world.acting(name).press_as_shown(posting, names.APPROVE, value) for name in ("ben", "cleo", "ben", "cleo"))
    )
    await world.until(lambda: not posting.buttons)
    await world.hears("ben", "equest")
    await world.hears("cleo", "equest")
    request = await world.request()
    assert request.state is State.ACTIVE
    assert len(request.decisions) == 1
    approved = [event for event in await world.store.read_events() if event.event.action == "access_request.approved"]
    assert len(approved) == 1


async def test_two_people_are_needed_and_the_message_counts_them(world: SlackWorld) -> None:
    await world.policy(needed=2)
    posting = await world.asked()
    assert "0 of 2 approvals" in posting.words
    await world.acting("ben").press(posting, names.APPROVE)
    await world.hears("ben", "It takes more approvals")
    await world.until(lambda: "1 of 2 approvals" in posting.words)
    await world.acting("ben").press(posting, names.APPROVE)
    await world.hears("ben", "You have decided about this request")
    await world.acting("cleo").press(posting, names.APPROVE)
    await world.until(lambda: not posting.buttons)
    assert [each.name for each in (await world.request()).decisions] == ["ben", "cleo"]


async def test_denied_with_a_comment(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.acting("ben").press(posting, names.DENY)
    assert (await world.form("ben")).view["callback_id"] == names.DENY_FORM
    modal = await world.acting("ben").submit(comment="use the replica <!channel> *now*")
    assert "You denied request 1" in modal.words
    await world.until(lambda: not posting.buttons)
    assert "denied by *ben*: use the replica &lt;!channel&gt; *now*" in posting.words
    told = await world.hears("ana", "was denied by ben")
    assert "use the replica" in told.words
    assert (await world.request()).state is State.DENIED


async def test_a_form_that_denies_too_late_says_so(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.acting("ben").press(posting, names.DENY)
    await world.form("ben")
    await world.acting("cleo").press(posting, names.APPROVE)
    await world.until(lambda: not posting.buttons)
    modal = await world.acting("ben").submit(comment="no")
    assert modal.errors == {names.COMMENT: "The request is active. Nothing is left to decide."}
    assert (await world.request()).state is State.ACTIVE


async def test_a_store_that_is_held_up_keeps_nobody_waiting(world: SlackWorld) -> None:
    """Slack gives three seconds: a press is acknowledged at once, a form with "one moment"; then it goes on."""
    posting = await world.asked()
    await world.acting("ben").press(posting, names.DENY)
    await world.form("ben")
    world.store.free.clear()
    answer = await world.acting("cleo").press(posting, names.APPROVE, value=f"0/{'0' * 64}")
    assert answer.seconds < 1
    modal = await world.acting("ben").submit(comment="no")
    assert "One moment" in modal.words
    assert (await world.request()).state is State.PENDING
    world.store.free.set()
    await world.until(lambda: "You denied request 1" in modal.words)
    assert (await world.request()).state is State.DENIED


async def test_slack_is_down_while_somebody_decides_elsewhere(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.hears("ben", "Access request 1")
    world.slack.down = True
    request = await world.request()
    await decide_request(
        world.store, request=1, word=Word.YES, fingerprint=request.wanted.fingerprint, actor="user:ben", reason="by command"
    )
    assert (await world.request()).state is State.ACTIVE
    failed = world.slack.calls.total()
    await world.until(lambda: world.slack.calls.total() > failed + 1)
    assert posting.buttons
    world.slack.down = False
    await world.until(lambda: not posting.buttons)
    await world.hears("ana", "is approved")


async def test_slack_asks_to_wait_and_is_waited_for(world: SlackWorld) -> None:
    world.slack.limits.times["chat.postMessage"] = 2
    started = asyncio.get_running_loop().time()
    posting = await world.asked()
    assert asyncio.get_running_loop().time() - started >= 1
    assert len(world.in_channel()) == 1
    assert posting.buttons
