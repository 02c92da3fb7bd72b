"""The corpora through the real gateway, judged by the server: nothing that must be refused passes, nothing honest is refused.

The upstream role is a superuser and the server's own read-only mode is off (see relay.py), so only the gateway's reading of the
statements is left. PGBASTION_ORACLE=full tries every way on every server there is; otherwise each entry takes a few of them.
PGBASTION_POLICY_STUDY=/path runs a larger set as well. Tables are written to a folder: see report.py.

pending.txt lists entries that are known to go wrong, one "template id" a line. It is exact: an entry that goes right is to be
taken off. PGBASTION_ORACLE_PENDING=write makes it anew from what is found (without xdist).
"""

import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.oracle import report
from tests.oracle.conftest import Worlds, full, servers
from tests.oracle.entries import Entry, business_entries, object_entries, study_entries, study_folder
from tests.oracle.run import Result, run_all
from tests.oracle.ways import WAYS, Way

_ALWAYS = WAYS[:3]
_IN_TURN = 2  # of the others, for each entry
_SHARDS = {"business": 2, "objects": 1, "study": 2}
_PENDING = Path(__file__).with_name("pending.txt")


def pending(template: str) -> frozenset[str]:
    lines = _PENDING.read_text().splitlines() if _PENDING.exists() else []
    return frozenset(line.split()[1] for line in lines if line.split()[:1] == [template])


def cases() -> list[tuple[str, str, int]]:
    templates = [template for template in _SHARDS if template != "study" or study_folder()]
    return [(server, template, shard) for server in servers() for template in templates for shard in range(_SHARDS[template])]


def entries_of(template: str) -> list[Entry]:
    if template == "study":
        folder = study_folder()
        assert folder is not None
        return study_entries(folder)
    return object_entries() if template == "objects" else business_entries()


def ways_of(entry: Entry, *, listed: bool) -> tuple[Way, ...]:
    if full() or listed:
        return WAYS
    others = WAYS[len(_ALWAYS) :]
    start = zlib.crc32(entry.id.encode())
    return (*_ALWAYS, *(others[(start + step * 5) % len(others)] for step in range(_IN_TURN)))


@pytest.mark.parametrize(("server", "template", "shard"), cases())
def test_corpus(worlds: Worlds, server: str, template: str, shard: int) -> None:
    world = worlds(server, template)
    cluster = world.cluster
    entries = [entry for entry in entries_of(template) if entry.runs_on(cluster.major, cluster.templates[template])]
    entries = entries[shard :: _SHARDS[template]]
    listed = pending(template)
    results: list[Result] = []
    started = time.monotonic()
    run_all(world, template, lambda entry: ways_of(entry, listed=entry.id in listed), entries, results.append)
    name = f"{cluster.major}-{template}-{shard}"
    table = report.table_of(f"PostgreSQL {cluster.major}, {template}, part {shard}", results, time.monotonic() - started)
    report.write(f"table-{name}", table)
    report.write(f"wrong-{name}", report.worst_of(results, most=10_000))
    print(table)
    if os.environ.get("PGBASTION_ORACLE_PENDING") == "write":
        _rewrite(template, entries, results)
    _exactly_as_listed(template, entries, results)


def _rewrite(template: str, entries: Sequence[Entry], results: Sequence[Result]) -> None:
    judged = {f"{template} {entry.id}" for entry in entries}
    old = _PENDING.read_text().splitlines() if _PENDING.exists() else []
    wrong = {
        f"{template} {result.entry.id}"
        for result in results
        if result.wrong and not result.entry.optional and result.entry.layer == "catalog"
    }
    lines = sorted({line for line in old if line not in judged} | wrong)
    _PENDING.write_text("".join(f"{line}\n" for line in lines))


def _exactly_as_listed(template: str, entries: Sequence[Entry], results: Sequence[Result]) -> None:
    listed = pending(template) & {entry.id for entry in entries}
    wrong = {result.entry.id for result in results if result.wrong and not result.entry.optional}
    new = [result for result in results if result.entry.id in wrong - listed]
    assert not new, "\n" + report.worst_of(new)
    assert wrong == listed, f"go right now, take them off {_PENDING.name}: {' '.join(sorted(listed - wrong))}"


def test_the_list_of_what_is_pending_names_entries_that_need_the_catalog() -> None:
    for template in ("business", "objects"):
        layers = {entry.id: entry.layer for entry in entries_of(template)}
        assert {layers.get(name) for name in pending(template)} <= {"catalog"}
