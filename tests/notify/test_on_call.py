"""Who is on call is given what the policy's rule gives; whatever is not a plain yes leaves the request as it is."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access.asking import ModeWanted
from gateway.access.request_record import AccessRequest, State
from gateway.access_mode import AccessMode
from gateway.notify.delivering import Dead, Delivered, Later, Outcome
from gateway.notify.on_call import OnCall
from gateway.ports import OutboxMessage
from gateway.ports.outbox import MessageFilter
from gateway.secret import Secret
from gateway.services import approval_policies, targets, users
from gateway.services.access_requests import Asked, create_request
from gateway.services.approval_terms import NamedStep
from gateway.services.targets import Place
from gateway.settings.notify import PagerDuty
from tests.notify.world import BY, World
from tests.support.fakes.pagerduty import TOKEN, Account, pagerduty
from tests.support.fakes.receiver import receiver

SCHEDULE = "PSCHED1"
NOT_ON_CALL = Delivered(dropped="who asks is not on call")


@pytest.fixture
def provider() -> Iterator[Account]:
    with pagerduty() as account:
        yield account


@dataclass
class Asking:
    """alice_m asks for `orders`, where who is on call is given an hour."""

    world: World
    provider: Account
    request: AccessRequest
    question: OutboxMessage
    token_file: Path

    @property
    def section(self) -> dict[str, object]:
        return {"token_file": self.token_file, "base_url": self.provider.url, "ca_file": self.token_file.with_name("pd.pem")}

    async def asked(self, attempts: int = 1, **more: object) -> Outcome:
        section = PagerDuty(**{**self.section, "timeout_seconds": 5.0, "cache_seconds": 0.0, **more})
        on_call = OnCall(await self.world.means(pagerduty=section))
        try:
            return await on_call.deliver(replace(self.question, attempts=attempts))
        finally:
            await on_call.close()

    async def state(self) -> State:
        found = await self.world.store.access_request(self.request.id)
        assert found is not None
        return found.state


@pytest.fixture
async def asking(world: World, provider: Account) -> Asking:
    store = world.store
    await users.update_user(store, name="alice_m", email="Alice@corp.example", **BY)
    await targets.create_target(store, name="orders", place=Place("db.example", 5432, "orders"), **BY)
    mode = AccessMode.READ_ONLY
    await targets.set_login(store, world.vault, name="orders", mode=mode, login="reader", password=Secret("x" * 30), **BY)
    await approval_policies.create_policy(
        store,
        name="orders-read",
        environment="default",
        modes=frozenset({mode}),
        steps=(NamedStep(("user:bob_jones",)),),
        rules=(AutomaticRule(RuleKind.ON_CALL, 3600),),
        on_call=SCHEDULE,
        **BY,
    )
    asked = Asked(ModeWanted(mode), target_name="orders", duration_seconds=3600, reason="an alarm")
    request = await create_request(store, asked=asked, actor="user:alice_m")
    (question,) = await store.outbox.messages(MessageFilter(kind="on-call"))
    token_file = world.folder / "token"
    token_file.write_text(f"{TOKEN}\n")
    (world.folder / "pd.pem").write_bytes(provider.authority)
    return Asking(world, provider, request, question, token_file)


async def test_who_is_on_call_is_approved_by_the_rule(asking: Asking) -> None:
    asking.provider.shifts[SCHEDULE] = ["carol@corp.example", "dave@corp.example", "alice@corp.example"]  # on the second page
    assert asking.question.destination == f"on-call:{SCHEDULE}"
    assert await asking.asked() == Delivered(receipt="approved")
    assert asking.provider.asked == 2
    found = await asking.world.store.access_request(asking.request.id)
    assert found is not None
    assert found.state is State.ACTIVE
    assert [each.rule for each in found.decisions] == [RuleKind.ON_CALL.value]
    events = [each.event for each in await asking.world.store.read_events()]
    assert any(SCHEDULE in event.reason for event in events)
    again = await asking.asked()  # the process died before it could write that down
    assert again == Delivered(dropped="the request is not pending any more")


@pytest.mark.parametrize(
    "on_call",
    [
        {},
        {SCHEDULE: []},
        {SCHEDULE: ["bob@corp.example"]},
        {"PSCHED2": ["alice@corp.example"]},
    ],
)
async def test_who_is_not_on_call_waits(asking: Asking, on_call: dict[str, list[str]]) -> None:
    asking.provider.shifts |= on_call
    assert await asking.asked() == NOT_ON_CALL
    assert await asking.state() is State.PENDING


async def test_an_address_counts_when_it_is_one_living_accounts_alone(asking: Asking) -> None:
    store = asking.world.store
    asking.provider.shifts[SCHEDULE] = ["alice@corp.example"]
    asking.provider.invited = {"alice@corp.example"}  # who has not taken up that account may be anybody
    assert await asking.asked() == NOT_ON_CALL
    asking.provider.invited = set()
    await users.update_user(store, name="bob_jones", email="alice@CORP.example", **BY)
    assert await asking.asked() == NOT_ON_CALL
    await users.update_user(store, name="bob_jones", email="", **BY)
    await users.update_user(store, name="alice_m", email="", **BY)
    assert await asking.asked() == NOT_ON_CALL
    assert await asking.state() is State.PENDING


async def test_a_provider_that_is_down_or_slow_or_does_not_know_us_says_no(asking: Asking) -> None:
    asking.provider.shifts[SCHEDULE] = ["alice@corp.example"]
    asking.provider.faults = [500]
    assert await asking.asked() == Later(5.0, "PagerDuty answers with status 500")
    asking.provider.faults = [503]
    assert await asking.asked(attempts=3) == Dead("PagerDuty answers with status 503")  # nobody waits any more
    asking.provider.faults = [400]
    assert await asking.asked() == Dead("PagerDuty answers with status 400")
    asking.token_file.write_text("wrong-canary")
    refused = await asking.asked()
    assert isinstance(refused, Dead)
    assert "401" in refused.why
    assert "canary" not in refused.why
    asking.token_file.write_text(TOKEN)
    asking.provider.delay_seconds = 1.0
    assert await asking.asked(timeout_seconds=0.3) == Later(5.0, "PagerDuty does not answer in time")
    asking.provider.delay_seconds = 0.0
    assert await asking.asked(base_url="https://127.0.0.1:1") == Later(5.0, "PagerDuty cannot be reached")
    asking.token_file.unlink()
    assert isinstance(await asking.asked(), Dead)
    assert await asking.state() is State.PENDING


async def test_an_answer_is_used_for_a_moment(asking: Asking) -> None:
    section = PagerDuty(**{**asking.section, "cache_seconds": 60})
    on_call = OnCall(await asking.world.means(pagerduty=section))
    assert await on_call.deliver(asking.question) == NOT_ON_CALL
    asking.provider.shifts[SCHEDULE] = ["alice@corp.example"]
    assert await on_call.deliver(asking.question) == NOT_ON_CALL
    assert asking.provider.asked == 1
    await on_call.close()
    with pytest.raises(ValueError, match="60"):
        PagerDuty(cache_seconds=61)


async def test_what_is_no_pagerduty_says_no(asking: Asking) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(asking.world.folder / "other.pem"))
    with receiver(context, "localhost") as here:
        misled = await asking.asked(base_url=here.url, ca_file=asking.world.folder / "other.pem")
        stranger = await asking.asked(base_url=here.url)
    assert isinstance(misled, Later | Dead)
    assert stranger == Later(5.0, "PagerDuty cannot be reached")
    assert here.received == []
    with pytest.raises(ValueError, match="https"):
        PagerDuty(base_url="http://127.0.0.1:8080")
