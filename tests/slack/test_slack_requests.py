"""From the slash command to the end of the right, in a workspace on loopback: real services, a real store, the vendor's client."""

from gateway.access.request_record import State
from gateway.notify.slack import names
from tests.slack.world import SlackWorld


async def test_asked_approved_and_given_back(world: SlackWorld) -> None:
    posting = await world.asked(duration="2 hours")
    assert "ana" in posting.words
    assert "orders are stuck" in posting.words
    assert set(posting.buttons) == {names.APPROVE, names.DENY}
    first = await world.hears("ana", "Your request 1")
    assert set(first.buttons) == {names.CANCEL}
    assert names.APPROVE in (await world.hears("ben", "Access request 1")).buttons

    answer = await world.acting("ben").press(posting, names.APPROVE)
    assert answer.status == 200
    await world.hears("ben", "You approved request 1")
    await world.until(lambda: not posting.buttons)
    assert "Approved" in posting.words
    assert "by *ben*" in posting.words
    request = await world.request()
    assert (request.state, request.wanted.duration_seconds) == (State.ACTIVE, 7200)

    given = await world.hears("ana", "is approved")
    assert "It expires <!date^" in given.words
    assert "postgresql://ana@db.example.com:6432/shop?sslmode=verify-full&amp;sslrootcert=system" in given.words
    assert set(given.buttons) == {names.RELINQUISH}
    await world.until(lambda: not first.buttons)
    await world.until(lambda: not any(each.buttons for name in ("ben", "cleo") for each in world.acting(name).told()))

    await world.acting("ana").press(given, names.RELINQUISH)
    await world.hears("ana", "is given back")
    await world.until(lambda: "Given back" in posting.words)
    assert (await world.request()).state is State.RELINQUISHED
    await world.until(lambda: not any(each.buttons for each in world.acting("ana").told()))
    assert world.told("eve") == ""
