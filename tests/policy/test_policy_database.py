"""Judging with the catalog of a real database: the corpus entries that need users' objects, our own and the study's.

PGBASTION_POLICY_STUDY=/path names the folder of the study (corpus.jsonl, template.sql ...); without it only ours are run.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from gateway.access_mode import AccessMode
from gateway.statements.catalog import Catalog
from gateway.statements.policy import Policy, judge, judge_parameter_types
from gateway.statements.verdict import Verdict
from tests.policy.catalogs import load_catalog
from tests.support.upstream import Upstream

_FOLDER = Path(__file__).parent
_STUDY = os.environ.get("PGBASTION_POLICY_STUDY")
_OWN = [
    entry for entry in map(json.loads, (_FOLDER / "own.jsonl").read_text().splitlines()) if entry.get("database") == "objects"
]


class Prepared:
    """A database with users' objects. Entries with a set-up of their own get a copy."""

    def __init__(self, upstream: Upstream, name: str) -> None:
        self.upstream = upstream
        self.name = name
        with upstream.connect(name) as connection:
            self.catalog = load_catalog(connection)
        self.reader = upstream.connect(name)

    def catalog_with(self, setup: str) -> Catalog:
        copy = f"{self.name}_copy"
        self.reader.close()
        with self.upstream.connect() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(self.name)))
            try:
                with self.upstream.connect(copy) as connection:
                    connection.execute(setup.encode())
                    return load_catalog(connection)
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))
                self.reader = self.upstream.connect(self.name)

    def oids(self, step: dict[str, Any]) -> list[int]:
        named = [self.reader.execute("SELECT %s::regtype::oid", [name]).fetchone()[0] for name in step.get("oid_types", [])]
        return [*step.get("oids", []), *named]


@pytest.fixture(scope="module")
def objects(postgres: Upstream) -> Iterator[Prepared]:
    yield from _prepared(postgres, "objects", [(_FOLDER / "objects.sql").read_text()])


def _prepared(upstream: Upstream, name: str, scripts: list[str]) -> Iterator[Prepared]:
    with upstream.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with upstream.connect(name) as connection:
            for script in scripts:
                connection.execute(script.encode())
        prepared = Prepared(upstream, name)
        try:
            yield prepared
        finally:
            prepared.reader.close()
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _policy(entry: dict[str, Any], catalog: Catalog) -> Policy:
    return Policy(
        AccessMode.READ_ONLY,
        frozenset(entry.get("lists", [])),
        frozenset(entry.get("schemas", ["public"])),
        server_major=catalog.server_major,
        catalog=catalog,
    )


def _refusal(text: bytes, oids: list[int], policy: Policy) -> Verdict | None:
    verdict = judge(text, policy)
    return judge_parameter_types(oids, policy) if verdict.allowed else verdict


@pytest.mark.parametrize("entry", _OWN, ids=lambda entry: entry["id"])
def test_own_entries(objects: Prepared, entry: dict[str, Any]) -> None:
    if objects.upstream.major < entry.get("min_major", 0):
        return  # what it is about is not in this server
    catalog = objects.catalog_with(entry["setup"]) if "setup" in entry else objects.catalog
    policy = _policy(entry, catalog)
    for step in entry["steps"]:
        refused = _refusal(step["sql"].encode(), objects.oids(step), policy)
        if entry["expect"] == "refuse":
            assert refused is not None, f"passes, but {entry['why']}: {step['sql']}"
            assert refused.rule not in ("internal-error", "syntax-error"), refused
            assert refused.hint
            assert refused.node or "oid" in str(step)
        else:
            assert refused is None, f"{refused.message}, but {entry['why']}: {step['sql']}"


def test_what_passes_of_our_entries_changes_nothing_even_for_a_superuser(objects: Prepared) -> None:
    """The entries are what they say: the allowed ones run, and leave no trace in the journal."""
    worked = 0
    with objects.upstream.connect(objects.name) as connection:
        before = connection.execute("SELECT count(*), (SELECT last_value FROM journal_id_seq) FROM journal").fetchone()
        for entry in _OWN:
            if entry["expect"] != "allow" or "setup" in entry or "lists" in entry or "oid" in str(entry["steps"]):
                continue
            text = entry["steps"][0]["sql"]
            if "pg_stat_statements" in text:
                continue  # its library must be preloaded
            with connection.transaction(force_rollback=True):
                if text.startswith("COPY"):
                    with connection.cursor().copy(text) as copied:
                        list(copied)
                else:
                    connection.execute(text)
                after = connection.execute("SELECT count(*), (SELECT last_value FROM journal_id_seq) FROM journal").fetchone()
            assert after == before, text
            worked += 1
    assert worked > 50


@pytest.fixture(scope="module")
def study(postgres: Upstream) -> Iterator[Prepared]:
    folder = Path(_STUDY or "")
    with postgres.connect() as admin:
        admin.execute((folder / "roles.sql").read_bytes())
        if postgres.superuser != "postgres":
            admin.execute("CREATE ROLE postgres SUPERUSER")
    names = ["template.sql", *(["template15.sql"] if postgres.major == 15 else []), "grants.sql"]
    try:
        yield from _prepared(postgres, "study", [(folder / name).read_text() for name in names])
    finally:
        with postgres.connect() as admin:
            admin.execute("DROP ROLE IF EXISTS app_owner, analyst, other_user, grp")


@pytest.mark.skipif(_STUDY is None, reason="PGBASTION_POLICY_STUDY names no folder")
def test_the_studys_entries(study: Prepared) -> None:
    missed, refused = [], []
    for entry in map(json.loads, (Path(_STUDY or "") / "corpus.jsonl").read_text().splitlines()):
        if entry.get("choice") or entry["layer"] == "protocol" or not _applies(entry, study.upstream.major):
            continue
        setup = entry.get("setup") or ""
        catalog = study.catalog_with(setup) if "CREATE" in setup else study.catalog
        verdicts = [_refusal(text, study.oids(step), _policy({}, catalog)) for text, step in _texts(entry)]
        if entry["expect"] == "block" and verdicts and not any(verdicts):
            missed.append((entry["id"], entry.get("sql")))
        if entry["expect"] == "allow" and any(verdicts):
            refused.append((entry["id"], entry.get("sql"), [verdict.message for verdict in verdicts if verdict]))
    assert (missed, refused) == ([], [])


def _applies(entry: dict[str, Any], major: int) -> bool:
    if not entry.get("min_pg", 0) <= major <= entry.get("max_pg", 99):
        return False
    return major == 15 or not entry.get("needs")


def _texts(entry: dict[str, Any]) -> list[tuple[bytes, dict[str, Any]]]:
    if entry.get("generate"):
        return [("".join(text * times for text, times in entry["generate"]).encode(), {})]
    if "messages" not in entry:
        return [(entry["sql"].encode(), {})]
    steps = [step for step in entry["messages"] if step["op"] in ("query", "parse")]
    if len(steps) == len(entry["messages"]) or entry["expect"] == "allow" or entry["layer"] == "catalog":
        return [(bytes.fromhex(step["hex"]) if "hex" in step else step["sql"].encode(), step) for step in steps]
    return []  # other messages decide, not a text
