"""The bus: prompt, routed to whom it is for, back by itself, and closed to strangers."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.bus.hub import BusHub
from gateway.bus.lines import BusError, BusIncomplete, BusUnavailable, Handler, Message, Payload
from gateway.bus.peer import BusPeer, ask, notify


class Bus:
    """A hub, and peers that write down what they hear."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hub = BusHub(path, {"ready": lambda message: self.ready.append(message.sender)})
        self.ready: list[str] = []
        self.heard: list[tuple[str, Message]] = []
        self._peers: list[BusPeer] = []

    async def peer(self, name: str, **handlers: Handler) -> BusPeer:
        def hear(message: Message) -> None:
            self.heard.append((name, message))

        def sessions(_: Message) -> list[Payload]:
            return [{"worker": name, "n": 1}, {"worker": name, "n": 2}]

        peer = BusPeer(self.path, name, {"wake": hear, "cancel": hear, "sessions": sessions, **handlers})
        self._peers.append(peer)
        await peer.start()
        peer.send("hub", "ready", {})
        await until(lambda: name in self.ready)
        return peer

    async def close(self) -> None:
        for peer in self._peers:
            await peer.close()
        await self.hub.close()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    bus = Bus(tmp_path / "bus.sock")
    await bus.hub.start()
    yield bus
    await bus.close()


async def until(true: Callable[[], object], seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.002)


async def test_a_wake_from_a_command_reaches_every_worker(bus: Bus) -> None:
    for number in range(3):
        await bus.peer(f"worker:{number}")
    assert await asyncio.to_thread(notify, bus.path, "wake", {"revision": 7})
    await until(lambda: len(bus.heard) == 3)
    assert {name for name, _ in bus.heard} == {"worker:0", "worker:1", "worker:2"}
    assert all(message.kind == "wake" and message.payload == {"revision": 7} for _, message in bus.heard)


async def test_a_wake_is_prompt(bus: Bus) -> None:
    at: list[float] = []

    def wake(_: Message) -> None:
        at.append(time.perf_counter())

    await bus.peer("worker:0", wake=wake)
    took = []
    for number in range(30):
        start = time.perf_counter()
        assert notify(bus.path, "wake", {})
        await until(lambda number=number: len(at) == number + 1)
        took.append(at[-1] - start)
    assert statistics.median(took) < 0.005


async def test_a_message_to_one_worker_reaches_that_one(bus: Bus) -> None:
    sender = await bus.peer("worker:0")
    await bus.peer("worker:1")
    await bus.peer("worker:11")
    assert sender.send("worker:1", "cancel", {"key": "ab" * 32})
    await until(lambda: bus.heard)
    await asyncio.sleep(0.02)
    assert [(name, message.sender) for name, message in bus.heard] == [("worker:1", "worker:0")]


async def test_all_means_the_others(bus: Bus) -> None:
    sender = await bus.peer("worker:0")
    await bus.peer("worker:1")
    sender.send("all", "wake", {})
    await until(lambda: bus.heard)
    await asyncio.sleep(0.02)
    assert [name for name, _ in bus.heard] == ["worker:1"]


async def test_a_command_gets_every_workers_answers(bus: Bus) -> None:
    assert await asyncio.to_thread(ask, bus.path, "sessions", {}) == []
    await bus.peer("worker:0")
    await bus.peer("worker:1")
    answers = await asyncio.to_thread(ask, bus.path, "sessions", {})
    assert sorted((str(answer["worker"]), answer["n"]) for answer in answers) == [
        ("worker:0", 1),
        ("worker:0", 2),
        ("worker:1", 1),
        ("worker:1", 2),
    ]


async def test_a_worker_can_ask_the_others(bus: Bus) -> None:
    asker = await bus.peer("worker:0")
    await bus.peer("worker:1")
    answers = await asker.gather("sessions", {}, 1.0)
    assert [answer["worker"] for answer in answers] == ["worker:1", "worker:1"]


async def test_an_answer_may_take_its_time_and_holds_nothing_up(bus: Bus) -> None:
    async def slow(_: Message) -> Payload:
        await asyncio.sleep(0.2)
        return {"ok": True}

    await bus.peer("worker:0", slow=slow)
    asking = asyncio.create_task(asyncio.to_thread(ask, bus.path, "slow", {}))
    await asyncio.sleep(0.05)
    assert len(await asyncio.to_thread(ask, bus.path, "sessions", {}, 0.1)) == 2
    assert await asking == [{"ok": True}]


async def test_a_question_to_nobody_is_answered_at_once(bus: Bus) -> None:
    asker = await bus.peer("worker:0")
    start = time.monotonic()
    with pytest.raises(BusUnavailable):
        await asker.ask("hub", "no such question", {}, 5.0)
    with pytest.raises(BusUnavailable):
        await asker.ask("worker:7", "sessions", {}, 5.0)
    assert time.monotonic() - start < 1


async def test_a_question_ends_with_the_hub(bus: Bus) -> None:
    asker = await bus.peer("worker:0")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(bus.path))
        silent.sendall(b'{"to":"hub","kind":"hello","from":"worker:1"}\n{"to":"hub","kind":"ready"}\n')
        await until(lambda: "worker:1" in bus.ready)
        asking = asyncio.create_task(asker.ask("worker:1", "sessions", {}, 5.0))
        await asyncio.sleep(0.05)
        await bus.hub.close()
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(asking, 1)


async def test_a_big_answer_comes_whole(bus: Bus) -> None:
    await bus.peer("worker:0", sessions=lambda _: [{"session": "x" * 300} for _ in range(10_000)])
    answers = await asyncio.to_thread(ask, bus.path, "sessions", {}, 10.0)
    assert len(answers) == 10_000


async def test_a_worker_that_does_not_answer_is_said_and_the_rest_is_there(bus: Bus) -> None:
    await bus.peer("worker:0")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(bus.path))
        silent.sendall(b'{"to":"hub","kind":"hello","from":"worker:1"}\n{"to":"hub","kind":"ready"}\n')
        await until(lambda: "worker:1" in bus.ready)
        with pytest.raises(BusIncomplete, match="1 of 2 workers") as raised:
            await asyncio.to_thread(ask, bus.path, "sessions", {}, 0.2)
        assert len(raised.value.answers) == 2


def test_without_a_gateway_a_command_is_told(tmp_path: Path) -> None:
    assert not notify(tmp_path / "bus.sock", "wake", {})
    with pytest.raises(BusUnavailable):
        ask(tmp_path / "bus.sock", "sessions", {})


async def test_a_broken_handler_ends_nothing(bus: Bus) -> None:
    def broken(_: Message) -> None:
        raise RuntimeError("a fault")

    await bus.peer("worker:0", broken=broken)
    assert notify(bus.path, "broken", {})
    assert notify(bus.path, "wake", {})
    await until(lambda: len(bus.heard) == 1)
    assert await asyncio.to_thread(ask, bus.path, "broken", {}) == []


async def test_a_peer_comes_back_when_the_hub_does(tmp_path: Path) -> None:
    bus = Bus(tmp_path / "bus.sock")
    connected: list[Message] = []
    early = BusPeer(bus.path, "worker:0", {"connected": connected.append})
    await early.start()
    assert not early.connected
    assert not early.send("all", "wake", {})
    await bus.hub.start()
    await until(lambda: early.connected)
    await bus.hub.close()
    await until(lambda: not early.connected)
    again = BusHub(bus.path)
    await again.start()
    await until(lambda: early.connected)
    assert len(connected) == 2
    await early.close()
    await again.close()


async def test_the_socket_is_ours_alone_and_one_hub_lives_at_a_path(bus: Bus) -> None:
    assert stat.S_IMODE(bus.path.stat().st_mode) == 0o600
    with pytest.raises(BusError, match="another gateway"):
        await BusHub(bus.path).start()
    await bus.peer("worker:0")  # and the first is unharmed


async def test_a_stale_socket_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "bus.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    hub = BusHub(path)
    await hub.start()
    await hub.close()
    assert not path.exists()
    path.write_text("not a socket")
    with pytest.raises(BusError, match="in the way"):
        await hub.start()
    assert path.read_text() == "not a socket"


async def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    bus = Bus(directory / "bus.sock")
    await bus.hub.start()
    await bus.peer("worker:0")
    assert notify(bus.path, "wake", {})
    await until(lambda: bus.heard)
    assert len(await asyncio.to_thread(ask, bus.path, "sessions", {})) == 2
    await bus.close()


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"to":1,"kind":"wake"}',
        b'{"to":"all","kind":"wake","body":"x"}',
        b'{"to":"all","kind":"wake","id":"x"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_a_line_that_is_none_of_ours_ends_only_its_connection(bus: Bus, line: bytes) -> None:
    await bus.peer("worker:0")
    reader, writer = await asyncio.open_unix_connection(bus.path)
    writer.write(line + b"\n")
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
    assert notify(bus.path, "wake", {})
    await until(lambda: bus.heard)


async def test_an_endless_line_is_cut_off(bus: Bus) -> None:
    _, writer = await asyncio.open_unix_connection(bus.path)
    with pytest.raises(ConnectionError):
        await _write_for_ever(writer)
    writer.close()


async def test_a_connection_cannot_speak_in_anothers_name(bus: Bus) -> None:
    await bus.peer("worker:0")
    _, writer = await asyncio.open_unix_connection(bus.path)
    writer.write(json.dumps({"to": "all", "kind": "wake", "from": "worker:7"}).encode() + b"\n")
    await until(lambda: bus.heard)
    assert bus.heard[0][1].sender.startswith("anonymous:")
    writer.close()


async def test_a_peer_that_does_not_read_is_given_up_and_the_hub_lives(bus: Bus) -> None:
    sender = await bus.peer("worker:0")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(bus.path))
        deaf.sendall(b'{"to":"hub","kind":"hello","from":"worker:1"}\n{"to":"hub","kind":"ready"}\n')
        await until(lambda: "worker:1" in bus.ready)
        for _ in range(50):
            sender.send("worker:1", "wake", {"text": "x" * 1_000_000})
            await asyncio.sleep(0.001)
        await until(lambda: _is_closed(deaf), 5)
    assert sender.connected


async def _write_for_ever(writer: asyncio.StreamWriter) -> None:
    for _ in range(64):
        writer.write(b"x" * 1_000_000)
        await writer.drain()


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.5)
    try:
        while connection.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.settimeout(3)
    try:
        connection.sendall(b'{"to":"all","kind":"wake"}\\n')
        print("said", connection.recv(1))
    except ConnectionError:
        print("refused")
"""


async def test_another_user_is_refused_even_where_the_files_modes_would_let_them_in() -> None:
    if os.geteuid() != 0:  # only root can become somebody else; the mode of the socket is tested above
        return
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        bus = Bus(directory / "bus.sock")
        await bus.hub.start()
        await bus.peer("worker:0")
        os.chmod(directory, 0o755)
        os.chmod(bus.path, 0o666)
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STRANGER, str(bus.path), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(stranger.communicate(), 10)
        assert said in (b"refused\n", b"said b''\n")
        assert not bus.heard
        await bus.close()
