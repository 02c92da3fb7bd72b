"""Messages to a person, wherever they are reached: where they talk, else by e-mail, else not at all."""

from collections.abc import Sequence

from gateway.notify.delivering import Delivered, Means, Outcome, PersonalDeliverer
from gateway.ports import OutboxMessage


class People:
    """Implements Deliverer, for "person:<user id>"."""

    def __init__(self, means: Means, ways: Sequence[PersonalDeliverer]) -> None:
        """`ways`: the first that knows the person is used."""
        self._means = means
        self._ways = ways

    async def deliver(self, message: OutboxMessage) -> Outcome:
        user_id = message.destination.partition(":")[2]
        snapshot = self._means.snapshot()
        user = next((each for each in snapshot.users.values() if each.id == user_id), None)
        if user is None:
            return Delivered(dropped="the account is gone")
        if not user.enabled or user.id in snapshot.held_back:
            return Delivered(dropped="the account is disabled")
        for way in self._ways:
            outcome = await way.deliver_to(message, user)
            if outcome is not None:
                return outcome
        return Delivered(dropped="there is no way to reach this person: no e-mail address, or nothing that would take it there")
