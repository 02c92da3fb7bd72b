"""What signs and leads to webhooks, the mail server's password, PagerDuty's key: while all goes well and while all goes wrong,
with every library saying all that it can say.
"""

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access.asking import ModeWanted
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import OutboxMessage, OutboxState
from gateway.ports.outbox import MessageFilter
from gateway.secret import Secret
from gateway.services import approval_policies, targets, users, webhooks
from gateway.services.access_requests import Asked, create_request
from gateway.services.approval_terms import NamedStep
from gateway.services.targets import Place as TargetPlace
from gateway.store.sql_store import SqlStore
from tests.canary.canaries import Canaries
from tests.canary.places import file_places, process_places
from tests.canary.scanner import Figures, Place, Scanner
from tests.notify.world import BY, World, message, small_world
from tests.support.fakes.mail import PASSWORD, USER, Mailbox, mail_server
from tests.support.fakes.pagerduty import TOKEN, Account, pagerduty
from tests.support.fakes.receiver import Receiver, receiver

DEBUGGED = Path(__file__).with_name("debugged")
SCHEDULE = "PSCHED1"


@dataclass
class Others:
    """Who is told and asked."""

    receiver: Receiver
    mail: Mailbox
    pagerduty: Account


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        yield Others(
            stack.enter_context(receiver(context, "localhost")),
            stack.enter_context(mail_server(context, login=True)),
            stack.enter_context(pagerduty()),
        )


async def test_the_courier_tells_nobody(tmp_path: Path, others: Others, figures: Figures) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    world = await small_world(state)
    scanner = Scanner(Canaries(), figures)
    await fill(world, others, scanner.canaries)
    config, log = tmp_path / "pgbastion.toml", tmp_path / "log"
    config.write_text(written(tmp_path, others))
    environment = {**os.environ, "PYTHONPATH": f"{DEBUGGED}:{Path.cwd()}", "PYTHONASYNCIODEBUG": "1"}
    with log.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.notify", "--config", str(config), stdout=out, stderr=out, env=environment
        )
    try:
        await good_and_bad_days(world, others)
        assert not scanner.look(process_places([process.pid]))
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
    said = log.read_text()
    assert "DEBUG" in said, "nobody was talkative"
    assert not scanner.look([Place("log", "courier", said.encode())])
    assert not scanner.look(file_places(state, "state file", but=[]))


async def fill(world: World, others: Others, canaries: Canaries) -> None:
    url_secret = canaries.make_plain("secret in a webhook's URL")
    made = await webhooks.create_webhook(
        world.store, world.vault, name="siem", url=f"{others.receiver.url}/{{secret}}", url_secret=Secret(url_secret), **BY
    )
    canaries.note("signing secret of a webhook", made.secret.reveal())
    canaries.note("password of the mail server", PASSWORD)
    canaries.note("key of PagerDuty", TOKEN)
    folder = world.folder.parent
    (folder / "mail-password").write_text(PASSWORD)
    (folder / "pagerduty-token").write_text(TOKEN)
    (folder / "pagerduty.pem").write_bytes(others.pagerduty.authority)
    await users.update_user(world.store, name="alice_m", email="alice@corp.example", **BY)
    await targets.create_target(world.store, name="orders", place=TargetPlace("db.example", 5432, "orders"), **BY)
    mode = AccessMode.READ_ONLY
    login = {"name": "orders", "mode": mode, "login": "reader", "password": Secret(canaries.make("upstream password"))}
    await targets.set_login(world.store, world.vault, **login, **BY)
    await approval_policies.create_policy(
        world.store,
        name="orders-read",
        environment="default",
        modes=frozenset({mode}),
        steps=(NamedStep(("user:bob_jones",)),),
        rules=(AutomaticRule(RuleKind.ON_CALL, 3600),),
        on_call=SCHEDULE,
        announce=("mail:dba@corp.example",),
        **BY,
    )


async def good_and_bad_days(world: World, others: Others) -> None:
    asked = Asked(ModeWanted(AccessMode.READ_ONLY), target_name="orders", duration_seconds=600, reason="an alarm")
    await create_request(world.store, asked=asked, actor="user:alice_m")
    found = await settled(world.store)
    assert {each.destination.partition(":")[0]: each.state for each in found} == dict.fromkeys(
        ("webhook", "mail", "person", "on-call"), OutboxState.DELIVERED
    )
    assert others.pagerduty.asked == 1
    others.receiver.answers = [(500, {}), (302, {"location": "https://elsewhere.example/"}), (410, {})]
    others.mail.refuse = "550 no"
    others.pagerduty.faults = [401]
    await write(
        world.store,
        *(message("webhook:siem", number=number, topic="webhook.test", attempts=0) for number in range(10, 13)),
        message("mail:nobody@corp.example", number=20, topic="webhook.test", attempts=0),
    )
    await settled(world.store)
    (world.folder.parent / "mail-password").write_text("not-that-one")
    others.mail.refuse = ""
    await write(world.store, message("mail:dba@corp.example", number=30, topic="webhook.test", attempts=0))
    dead = [each.last_error for each in await settled(world.store) if each.state is OutboxState.DEAD]
    assert len(dead) == 5


async def write(store: SqlStore, *messages: OutboxMessage) -> None:
    async with store.begin() as work:
        for each in messages:
            work.put(each)
        await work.commit(AdminEvent("os:test", "webhook.tested", "w", "siem", ""))


async def settled(store: SqlStore) -> list[OutboxMessage]:
    async with asyncio.timeout(60):
        while True:
            found = await store.outbox.messages(MessageFilter(limit=100))
            if found and all(each.state is not OutboxState.PENDING for each in found):
                return found
            await asyncio.sleep(0.1)


def written(folder: Path, others: Others) -> str:
    return f"""
state_dir = "{folder}/state"
[notify]
timeout_seconds = 10
ca_file = "{folder}/ca.pem"
[mail]
host = "localhost"
port = {others.mail.port}
ca_file = "{folder}/ca.pem"
username = "{USER}"
password_file = "{folder}/mail-password"
sender = "pgbastion@corp.example"
[pagerduty]
token_file = "{folder}/pagerduty-token"
base_url = "{others.pagerduty.url}"
ca_file = "{folder}/pagerduty.pem"
"""
