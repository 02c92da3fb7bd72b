"""The judging children: verdicts are the policy's own, no text kills more than its own child, nothing waits without bound."""

import asyncio
import functools
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.judging.codec import CATALOGS_KEPT, CodecError, Requests, decode_reply, decode_sought, encode_reply, encode_request
from gateway.judging.judge import Judge
from gateway.judging.ways_out import Search, Sought, WayOut, look
from gateway.statements.addressed import Show, Shown
from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.limits import Bounds, Caps
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Facts, LabelEdit, ValueEdit, Verdict

READ_ONLY = Policy(AccessMode.READ_ONLY)
LISTED = Policy(
    AccessMode.READ_WRITE,
    frozenset({"a.b"}),
    frozenset({"é"}),
    frozenset({"x.y"}),
    15,
    1000,
    Caps(timeout_milliseconds=5),
    hide_activity=True,
    bounds=Bounds(900, 90, 9),
)
TEXTS = [
    "SELECT 1",
    "SELECT lower(a) FROM public.t; DELETE FROM é",
    "SET application_name = 'x'; SET statement_timeout = 0",
    "SELECT (",
    "",
]
SLOW = b"SELECT 1" + (b" " + b"+" * 5000) * 190 + b"1"  # refused by the children's own bounds; never slow for the parser


@pytest.fixture
async def judging() -> AsyncIterator[Judge]:
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    yield instance
    await instance.close()


async def ask(instance: Judge, sql: bytes, policy: Policy = READ_ONLY) -> Verdict:
    answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    instance.submit(sql, policy, answer.set_result)
    return await answer


def child_pids() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def open_files(pid: int) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("policy", [READ_ONLY, LISTED], ids=["plain", "listed"])
def test_nothing_is_lost_on_the_pipe(text: str, policy: Policy) -> None:
    request = encode_request(text.encode(), policy)
    assert Requests().decode(request[4:]) == (text.encode(), policy)
    verdict = judge(text.encode(), policy)
    assert decode_reply(encode_reply(verdict)[4:]) == verdict


def test_no_field_of_a_verdict_is_lost_on_the_pipe() -> None:
    """Also those that no text above sets."""
    plain = judge(b"SELECT 1", READ_ONLY)
    for each in fields(Verdict):
        match getattr(plain, each.name):
            case bool(value):
                other: object = not value
            case int(value):
                other = value + 7
            case str(value):
                other = f"{value}é"
            case tuple() if each.name == "edits":
                other = (LabelEdit(1, 2, "a", "b"), ValueEdit(3, 4, "c"))
            case tuple():
                other = ("é", "")
            case None:
                assert each.name == "addressed"
                other = Show(Shown.GRANTS)
            case _:
                other = Facts("kind", ("t",), ("f",), ("+a", "-"))
        verdict = replace(plain, **{each.name: other})
        assert verdict != plain
        assert decode_reply(encode_reply(verdict)[4:]) == verdict


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"null", b"[1,2,3,4,5,6,7,8,9]", b"\xff", b'["yes","",["",[],[]],"","","",0,[],""]']
)
def test_a_broken_reply_is_no_verdict(payload: bytes) -> None:
    with pytest.raises(CodecError):
        decode_reply(payload)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\5abcd", b"\0\0\0\2{}SELECT 1", b"J\0\0\0\2{}SELECT 1", b"C[]", b"C{"])
def test_a_broken_request_is_no_text(payload: bytes) -> None:
    with pytest.raises(CodecError):
        Requests().decode(payload)


async def test_verdicts_are_the_policys_own(judging: Judge) -> None:
    for text in TEXTS:
        for policy in (READ_ONLY, LISTED):
            assert await ask(judging, text.encode(), policy) == judge(text.encode(), policy)


async def test_deep_and_large_texts_are_answered_and_the_loop_goes_on(judging: Judge) -> None:
    gaps = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    deep = [b"SELECT 1" + b"+1" * 64_000, b"SELECT 1" + b"::int" * 30_000, b"SELECT " + b"(" * 20_000 + b"1" + b")" * 20_000]
    for sql in deep:
        assert (await ask(judging, sql)).sqlstate == "54001"
    assert (await ask(judging, b"SELECT 1" + b"+1" * 1_500)).allowed
    assert (await ask(judging, b"SELECT 1 IN (1" + b",1" * 100_000 + b")")).allowed
    assert (await ask(judging, SLOW)).sqlstate == "54001"
    ticking.cancel()
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.1


async def test_a_text_beyond_the_limit_never_leaves(judging: Judge) -> None:
    verdicts: list[Verdict] = []
    judging.submit(b"SELECT '" + b"x" * 2_000_000 + b"'", READ_ONLY, verdicts.append)
    assert [verdict.sqlstate for verdict in verdicts] == ["54000"]


async def test_a_dead_child_refuses_its_text_and_is_replaced_within_a_second() -> None:
    before = child_pids()
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    waiting = asyncio.ensure_future(ask(instance, b"SELECT 1"))
    await asyncio.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    killed_at = time.monotonic()
    verdict = await waiting
    assert (verdict.rule, verdict.sqlstate) == ("statement-too-complex", "54001")
    assert (await ask(instance, b"SELECT 1")).allowed
    assert time.monotonic() - killed_at < 2  # a second, on a machine of its own
    assert child not in child_pids()
    await instance.close()
    assert child_pids() <= before


async def test_a_late_child_is_replaced() -> None:
    before = child_pids()
    instance = Judge(1024 * 1024, 0.5)
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    assert (await ask(instance, b"SELECT 1")).sqlstate == "54001"
    for _ in range(50):
        verdict = await ask(instance, b"SELECT 1")
        if verdict.allowed:
            break
    assert verdict.allowed
    await instance.close()


async def test_what_waits_is_bounded_and_each_is_answered_once() -> None:
    before = child_pids()
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    verdicts: list[tuple[int, Verdict]] = []
    answered = asyncio.Event()

    def note(number: int, verdict: Verdict) -> None:
        verdicts.append((number, verdict))
        if len(verdicts) == 200:
            answered.set()

    for number in range(200):
        instance.submit(b"SELECT 1", READ_ONLY, functools.partial(note, number))
    assert verdicts == []  # however many were refused: who is told goes on, and may ask again
    await asyncio.sleep(0)
    busy = [number for number, verdict in verdicts if verdict.sqlstate == "53400"]
    assert 100 < len(busy) < 200
    os.kill(child, signal.SIGCONT)
    await answered.wait()
    assert sorted(number for number, _ in verdicts) == list(range(200))
    assert sum(verdict.allowed for _, verdict in verdicts) == 200 - len(busy)
    await instance.close()


# -- ways out of refusals


UPDATE = b"UPDATE public.orders SET paid = true WHERE id = 7"


def search(sql: bytes, policy: Policy = READ_ONLY) -> Search:
    reading = Policy(AccessMode.READ_ONLY)
    return Search(sql, policy, reading, Policy(AccessMode.READ_WRITE), replace(reading, catalog=policy.catalog))


async def seek(instance: Judge, wanted: Search) -> Sought | None:
    answer: asyncio.Future[Sought | None] = asyncio.get_running_loop().create_future()
    instance.seek(wanted, answer.set_result)
    assert not answer.done()
    return await answer


@pytest.mark.parametrize(
    "sql",
    [UPDATE, UPDATE.replace(b"7", b"$1"), b"ALTER SYSTEM SET work_mem = '1GB'", b"ALTER ROLE a PASSWORD 'x'", b"\xff", b"("],
)
async def test_a_way_out_is_sought_in_a_child(judging: Judge, sql: bytes) -> None:
    assert await seek(judging, search(sql)) == look(search(sql))


async def test_with_the_catalog_of_the_session(judging: Judge) -> None:
    catalog = build_catalog(CatalogRows(), 16)
    policy = Policy(AccessMode.READ_ONLY, catalog=catalog, granted=GrantedRelations(frozenset({"app"}), frozenset()))
    wanted = search(b"SELECT * FROM public.orders", policy)
    assert await seek(judging, wanted) == look(wanted) == Sought(WayOut(AccessMode.READ_ONLY, exact=True))


@pytest.mark.parametrize("payload", [b"", b"[]", b'["read_only"]', b'["no_mode", true]', b'["read_only", 1]', b"7", b"\xff"])
def test_a_broken_answer_is_no_way_out(payload: bytes) -> None:
    with pytest.raises(CodecError):
        decode_sought(payload)


async def test_statements_go_before_ways_out() -> None:
    """A few may wait; then nobody looks, and it may be looked for again."""
    before = child_pids()
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    answers = [asyncio.ensure_future(seek(instance, search(UPDATE))) for _ in range(40)]
    await asyncio.sleep(0.05)
    assert sum(answer.done() for answer in answers) > 20
    assert {answer.result() for answer in answers if answer.done()} == {None}
    verdict = asyncio.ensure_future(ask(instance, b"SELECT 1"))
    os.kill(child, signal.SIGCONT)
    assert (await verdict).allowed
    assert await seek(instance, search(UPDATE)) == look(search(UPDATE))
    await instance.close()
    assert await seek(instance, search(UPDATE)) is None


async def test_what_kills_a_child_has_no_way_out() -> None:
    instance = Judge(1024 * 1024, 0.5)
    before = child_pids()
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    assert await seek(instance, search(UPDATE)) == Sought(None)
    for _ in range(100):  # by another one, when it is there
        if (await ask(instance, b"SELECT 1")).allowed:
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("no child took its place")
    await instance.close()


async def test_closing_answers_what_waits() -> None:
    before = child_pids()
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    (child,) = child_pids() - before
    os.kill(child, signal.SIGSTOP)
    answers = [asyncio.ensure_future(ask(instance, b"SELECT 1")) for _ in range(3)]
    await asyncio.sleep(0.05)
    await instance.close()
    await instance.close()
    assert {(await answer).sqlstate for answer in answers} == {"53400"}
    assert (await ask(instance, b"SELECT 1")).sqlstate == "53400"


async def test_a_child_holds_no_secrets_and_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGBASTION_CANARY", "canary-1f3a")
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    before = child_pids()
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    (child,) = child_pids() - before
    assert b"canary-1f3a" not in environment(child)
    targets = open_files(child)
    assert len(targets) <= 4  # its three pipes, and what the interpreter may hold for itself
    listening = f"socket:[{os.fstat(server.sockets[0].fileno()).st_ino}]"
    assert listening not in targets
    await instance.close()
    server.close()


def catalog(number: int = 0) -> Catalog:
    """A database with one function of its owner's, f<number>(int)."""
    row = (str(20_000 + number), "public", f"f{number}", "f", "1", "1", "23", "sql", None, "false", None)
    return build_catalog(CatalogRows(functions=(row,)), 16)


async def test_a_child_judges_by_the_catalog_of_the_policy(judging: Judge) -> None:
    """However many there are: it keeps the last few, and gets again what it no longer has."""
    for number in [*range(CATALOGS_KEPT + 2), 0, 1, 0]:
        with_catalog = Policy(AccessMode.READ_ONLY, catalog=catalog(number))
        for policy in (with_catalog, Policy(AccessMode.READ_ONLY)):
            for sql in (b"SELECT t.f%d FROM t" % number, b"SELECT (1).f%d" % number, b"SELECT 1"):
                assert await ask(judging, sql, policy) == judge(sql, policy)
    assert not (await ask(judging, b"SELECT (1).f0", Policy(AccessMode.READ_ONLY, catalog=catalog()))).allowed
    stale = Policy(AccessMode.READ_ONLY, catalog=catalog().as_stale())
    assert await ask(judging, b"SELECT (1).f0", stale) == judge(b"SELECT (1).f0", stale)


async def test_a_new_child_knows_no_catalog() -> None:
    others = child_pids()  # servers of other tests among them
    instance = Judge(1024 * 1024, 10.0)
    await instance.start()
    policy = Policy(AccessMode.READ_ONLY, catalog=catalog())
    before = await ask(instance, b"SELECT (1).f0", policy)
    (child,) = child_pids() - others
    os.kill(child, signal.SIGKILL)
    await ask(instance, b"SELECT 1", policy)  # the dead child's
    assert await ask(instance, b"SELECT (1).f0", policy) == before
    await instance.close()
