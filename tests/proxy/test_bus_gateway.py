"""The running gateway as administrators ask it: every worker's answer, or an error that says what is missing."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.bus.gateway import BusGateway
from gateway.bus.hub import BusHub
from gateway.bus.lines import JsonValue, Message, Payload
from gateway.bus.peer import BusPeer
from gateway.ports import CheckStep, GatewayUnavailable, RoleAudit, RoleFinding, Severity


def session(worker: int, number: int) -> Payload:
    return {
        "session": f"s{worker}{number}",
        "user": "ana",
        "target": "sales",
        "mode": "read_write",
        "options": ["no-ddl"],
        "max_changed_rows": 1000,
        "address": "127.0.0.1",
        "application": "psql",
        "state": "idle in transaction",
        "started_at": "2026-01-02T03:04:05+00:00",
        "worker": worker,
        "statements": 7,
        "bytes_in": 12,
    }


@dataclass
class Workers:
    path: Path
    hub: BusHub
    peers: list[BusPeer] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    async def add(self, number: int) -> None:
        name = f"worker:{number}"

        def cancel(message: Message) -> list[Payload]:
            if message.payload["session"] != f"s{number}0":
                return []
            self.cancelled.append(name)
            return [{"worker": number}]

        async def check(message: Message) -> list[Payload]:
            await asyncio.sleep(0.01)
            assert message.payload == {"target": "sales", "mode": "read_write"}
            return [
                {"name": "dns", "ok": True, "detail": "127.0.0.1"},
                {"name": "tcp", "ok": False, "detail": "no", "remedy": "do"},
            ]

        def audit(message: Message) -> list[Payload]:
            if message.payload["target"] != "sales":
                return []
            findings: list[JsonValue] = [
                {"check": "writing", "severity": "warning", "detail": "it may", "meaning": "so", "remedy": "REVOKE"},
                {"check": "new", "severity": "dire", "detail": "of a weight that we do not know"},
            ]
            return [{"login": "app_ro", "findings": findings, "obstacle": {"name": "role", "detail": "no", "remedy": "do"}}]

        async def silent(_: Message) -> list[Payload]:
            await asyncio.sleep(60)
            return []

        handlers = {
            "sessions": (lambda _: [session(number, 0), session(number, 1)]) if number < 9 else silent,
            "cancel-session": cancel,
            "check-target": check,
            "audit-target": audit,
            "counters": lambda _: {"sessions_live": 2, "audit_healthy": 1},
            "wake": lambda _: self.woken.append(name),
        }
        peer = BusPeer(self.path, name, handlers)
        await peer.start()
        self.peers.append(peer)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "bus.sock"
        hub = BusHub(path, {"rolling-restart": lambda _: {"workers": 2}})
        await hub.start()
        found = Workers(path, hub)
        await found.add(0)
        await found.add(1)
        yield found
        for peer in found.peers:
            await peer.close()
        await hub.close()


async def test_sessions_of_all_workers(workers: Workers) -> None:
    found = await BusGateway(workers.path).sessions()
    assert sorted(facts.session for facts in found) == ["s00", "s01", "s10", "s11"]
    assert found[0].state == "idle in transaction"
    assert found[0].statements == 7
    assert (found[0].options, found[0].max_changed_rows) == (("no-ddl",), 1000)


async def test_sessions_of_a_worker_of_an_earlier_version(workers: Workers) -> None:
    """During a rolling restart, say: it tells nothing of grants' options."""
    earlier = BusPeer(workers.path, "worker:2", {"sessions": lambda _: [{"session": "old"}]})
    await earlier.start()
    workers.peers.append(earlier)
    (found,) = (each for each in await BusGateway(workers.path).sessions() if each.session == "old")
    assert (found.options, found.max_changed_rows) == ((), None)


async def test_only_its_worker_cancels_a_session(workers: Workers) -> None:
    gateway = BusGateway(workers.path)
    assert await gateway.cancel("s10")
    assert workers.cancelled == ["worker:1"]
    assert not await gateway.cancel("nobody's")


async def test_one_worker_checks_a_target(workers: Workers) -> None:
    steps = await BusGateway(workers.path).check_target("sales", AccessMode.READ_WRITE)
    assert steps == [CheckStep("dns", True, "127.0.0.1"), CheckStep("tcp", False, "no", "do")]


async def test_one_worker_audits_a_targets_role(workers: Workers) -> None:
    found = await BusGateway(workers.path).audit_target("sales", AccessMode.READ_ONLY)
    finding = RoleFinding("writing", Severity.WARNING, "it may", "so", "REVOKE")
    unknown = RoleFinding("new", Severity.CRITICAL, "of a weight that we do not know", "", "")
    assert found == RoleAudit("app_ro", (finding, unknown), CheckStep("role", False, "no", "do"))
    assert await BusGateway(workers.path).audit_target("nobody's", AccessMode.READ_ONLY) is None


async def test_counters_come_one_mapping_per_worker(workers: Workers) -> None:
    assert await BusGateway(workers.path).counters() == [{"sessions_live": 2.0, "audit_healthy": 1.0}] * 2


async def test_a_rolling_restart_is_asked_of_the_supervisor(workers: Workers) -> None:
    assert await BusGateway(workers.path).roll() == 2


async def test_a_wake_reaches_everybody_and_costs_nothing_where_nobody_is(workers: Workers, tmp_path: Path) -> None:
    BusGateway(workers.path).wake()
    deadline = time.monotonic() + 2
    while sorted(workers.woken) != ["worker:0", "worker:1"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
    BusGateway(tmp_path / "bus.sock").wake()


async def test_a_worker_that_does_not_answer_is_said(workers: Workers) -> None:
    await workers.add(9)
    with pytest.raises(GatewayUnavailable, match="1 of the gateway's 3 workers did not answer"):
        await BusGateway(workers.path, answer_seconds=0.3).sessions()


async def test_without_a_gateway_everything_but_a_wake_says_so(tmp_path: Path) -> None:
    gateway = BusGateway(tmp_path / "bus.sock")
    for question in (gateway.sessions(), gateway.counters(), gateway.cancel("x"), gateway.roll()):
        with pytest.raises(GatewayUnavailable, match="not running here"):
            await question
    with pytest.raises(GatewayUnavailable):
        await gateway.check_target("sales", AccessMode.READ_ONLY)


async def test_a_supervisor_without_workers_is_said(workers: Workers) -> None:
    for peer in workers.peers:
        await peer.close()
    await asyncio.sleep(0.05)
    with pytest.raises(GatewayUnavailable, match="no worker"):
        await BusGateway(workers.path).sessions()
