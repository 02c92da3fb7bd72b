"""The form to ask by: what it offers, what it says is wrong and where, and what it makes; one's own requests; emergencies."""

import time
from dataclasses import replace

from gateway.access.asking import RoleWanted
from gateway.access.managed import ManagedMode
from gateway.access.request_record import State
from gateway.audit.admin_event import AdminEvent
from gateway.notify.slack import names
from gateway.ports import RequestFilter
from tests.slack.world import RW, SlackWorld
from tests.support.fakes.slack.kit import inputs
from tests.support.fakes.slack.state import Modal

_ALL = RequestFilter()


def fields(modal: Modal) -> list[str]:
    """The last parts of their names, in order."""
    return [each["element"]["action_id"].rpartition(".")[2] for each in inputs(modal.view)]


async def test_the_form_follows_what_is_chosen(world: SlackWorld) -> None:
    ana = world.acting("ana")
    await ana.slash("request")
    modal = await world.form("ana")
    assert fields(modal) == ["place"]
    await ana.choose(names.PLACE, "books")
    await world.until(lambda: fields(modal) == ["place", "access", "duration", "reason", "start"])
    await world.policy(ticket_required=True, reason_required=True)
    await ana.choose(names.ACCESS, "mode:read_write")
    await world.until(lambda: "ticket" in fields(modal))
    sent = await ana.submit(duration="45 min", reason="month's end", ticket="OPS-1")
    assert not sent.errors
    assert "Request 1" in sent.words
    wanted = (await world.request()).wanted
    assert (wanted.mode, wanted.duration_seconds, wanted.ticket, wanted.reason) == (RW, 2700, "OPS-1", "month's end")


async def test_what_is_wrong_stands_at_its_field(world: SlackWorld) -> None:
    await world.policy(reason_required=True, max_seconds=7200)
    ana = world.acting("ana")
    await ana.slash("request shop")
    await world.form("ana")
    modal = await ana.submit(duration="a while", reason=" ", start=int(time.time()) - 60)
    wrong = {block.partition(":")[0]: said for block, said in modal.errors.items()}
    assert wrong == {
        names.DURATION: "Write a length of time, such as 45m, 4h or 2d.",
        names.REASON: "Say what it is for.",
        names.START: "This is over. Leave it empty to begin as soon as it is approved.",
    }
    modal = await ana.submit(duration="3h", reason="x", start=int(time.time()) + 3600)
    assert list(modal.errors.values()) == ["At most 2h."]
    modal = await ana.submit(duration="2h")
    assert not modal.errors
    again = world.acting("ana")
    await again.slash("request shop")
    await world.form("ana")
    modal = await again.submit(duration="1h", reason="y")
    assert "waits for an answer already" in next(iter(modal.errors.values()))
    assert len(await world.store.access_requests(_ALL)) == 1


async def test_a_policy_that_changes_meanwhile_is_the_one_that_holds(world: SlackWorld) -> None:
    ana = world.acting("ana")
    await ana.slash("request shop")
    await world.form("ana")
    await world.policy(modes=frozenset({RW}))
    modal = await ana.submit(reason="x")
    assert list(modal.errors.values()) == ["This cannot be asked for any more."]
    assert await world.store.access_requests(_ALL) == []


async def test_a_database_role_is_asked_for(world: SlackWorld) -> None:
    async with world.store.begin() as work:
        shop = work.snapshot.targets["shop"]
        work.put(replace(shop, managed=ManagedMode.PER_USER))
        await work.commit(AdminEvent("os:admin", "target.updated", shop.id, "shop", "set up", {}))
    await world.policy(database_roles=frozenset({"reporting", "pg_read_all_data"}))
    ana = world.acting("ana")
    await ana.slash("request shop")
    modal = await world.form("ana")
    assert "role" not in fields(modal)
    await ana.choose(names.ACCESS, "role:read_only")
    await world.until(lambda: "role" in fields(modal))
    modal = await ana.submit(role="reporting", duration="1h")
    assert not modal.errors
    right = (await world.request()).wanted.right
    assert isinstance(right, RoleWanted)
    assert right.database_role == "reporting"
    posting = await world.until(world.announced)
    assert "as database role `reporting`" in posting.words


async def test_more_databases_than_a_list_may_hold(world: SlackWorld) -> None:
    async with world.store.begin() as work:
        shop = work.snapshot.targets["shop"]
        for number in range(110):
            work.put(replace(shop, id=f"target-{number}", name=f"db{number:03}", roles={}))
        await work.commit(AdminEvent("os:admin", "target.created", "target-0", "db000", "set up", {}))
    ana = world.acting("ana")
    await ana.slash("request")
    modal = await world.form("ana")
    assert inputs(modal.view)[0]["element"]["type"] == "external_select"
    assert [each["value"] for each in await ana.options(names.PLACE, "DB09")] == [f"db09{each}" for each in range(10)]
    assert len(await ana.options(names.PLACE, "")) == 100
    await ana.choose(names.PLACE, "db042")
    await world.until(lambda: "duration" in fields(modal))
    await ana.submit(reason="x")
    assert (await world.request()).names.place == "db042"


async def test_slack_that_is_slow_to_say_who_it_is_does_not_cost_the_form(world: SlackWorld) -> None:
    """It can be opened for three seconds."""
    world.slack.slow_seconds["users.info"] = 2.0
    answer = await world.acting("ana").slash("request shop")
    assert answer.seconds < 1
    modal = await world.view("ana", lambda modal: "One moment" in modal.words)
    await world.until(lambda: "duration" in fields(modal))


async def test_nothing_to_ask_for(world: SlackWorld) -> None:
    await world.policy(modes=frozenset())
    await world.acting("ana").slash("request")
    await world.view("ana", lambda modal: "nothing that you may ask for" in modal.words)


async def test_an_emergency_is_loud(world: SlackWorld) -> None:
    await world.policy(glass="ana")
    ana = world.acting("ana")
    await ana.slash("request shop")
    modal = await world.form("ana")
    assert "emergency" in fields(modal)
    modal = await ana.submit(duration="1h", emergency=["yes"])
    assert sorted(modal.errors.values()) == ["At most 30m in an emergency.", "Say what happened."]
    modal = await ana.submit(duration="30m", reason="checkout is down")
    assert not modal.errors
    posting = await world.until(lambda: next(iter(world.in_channel()), None))
    assert "BREAK-GLASS" in posting.text
    assert "<!channel>" in posting.words
    assert not posting.buttons
    given = await world.hears("ana", "Emergency access")
    assert (await world.request()).state is State.ACTIVE
    await ana.press(given, names.RELINQUISH)
    due = await world.until(lambda: posting if names.REVIEW in posting.buttons else None)
    await ana.press(due, names.REVIEW)
    await world.form("ana")
    modal = await ana.submit(comment="all good, says who did it")
    assert modal.errors
    assert names.REVIEW in posting.buttons
    await world.acting("cleo").press(due, names.REVIEW)
    await world.form("cleo")
    modal = await world.acting("cleo").submit(comment="seen")
    assert "You reviewed request 1" in modal.words
    await world.until(lambda: not posting.buttons)
    assert "reviewed by *cleo*" in posting.words


async def test_one_s_own_requests(world: SlackWorld) -> None:
    await world.acting("ana").slash("requests")
    await world.hears("ana", "no requests yet")
    await world.asked()
    await world.acting("ana").slash("requests")
    listed = await world.hears("ana", "Your requests")
    assert "*1* `shop` (read only)" in listed.words
    await world.acting("ben").slash("requests")
    await world.hears("ben", "no requests yet")
    await world.acting("ana").press(listed, names.CANCEL)
    await world.hears("ana", "You took back request 1")
    posting = await world.until(world.announced)
    await world.until(lambda: not posting.buttons)
    assert (await world.request()).state is State.CANCELLED


async def test_help_and_what_is_no_command(world: SlackWorld) -> None:
    for said in ("", "help", "drop table"):
        await world.acting("eve").slash(said, world.channel)
    await world.until(lambda: world.told("eve").count("/pgbastion request [DATABASE]") == 3)


async def test_what_people_write_mentions_nobody_and_hides_nothing(world: SlackWorld) -> None:
    reason = "<!channel> <@U1> <https://evil.example|ok> & \u202eevil\u200b `code`" + "<" * 440
    posting = await world.asked(reason=reason[:500])
    marked = [block["text"]["text"] for block in posting.blocks if block["type"] == "section" and block.get("text")]
    assert not any(each in text for text in marked for each in ("<!", "<@", "<http", "\u202e", "\u200b"))
    assert any(text.startswith("> &lt;!channel&gt; &lt;@U1&gt;") for text in marked)
