"""How much may be read under a grant, and of which relations: verbs, files, the audit, which grant counts."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml

from gateway.access.model import ALL_READING, Reading
from gateway.access.relations import RelationNameError, parse_schema, parse_table, write_table
from gateway.access.selection import weigh, widest
from gateway.services import grants
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import read_schemas, read_tables
from gateway.services.manifest import export_manifest
from tests.services.test_manifest_apply import apply
from tests.services.world import ALICE, BY, RO, World

FULL = Reading(
    10, 20, 2**40, frozenset({"app", "Über"}), frozenset({("app", "orders"), ("Sales", "Orders 2030"), ("a.b", 'x"y')})
)


async def test_everything_travels(world: World) -> None:
    named = await grants.create_grant(
        world.store,
        holder=ALICE,
        target_name="sales",
        mode=RO,
        replace_live=True,
        max_rows=10,
        max_bytes=20,
        max_bytes_per_day=2**40,
        schemas=read_schemas(["App", '"Über"']),
        tables=read_tables(["app.ORDERS", '"Sales"."Orders 2030"', '"a.b"."x""y"']),
        **BY,
    )
    assert named.grant.reading == FULL
    snapshot = await world.read()
    assert next(each for each in grants.name_grants(snapshot) if each.grant.id == named.grant.id).grant.reading == FULL
    detail = next(each for each in await world.events() if each.event.object_id == named.grant.id).event.detail
    assert (detail["max_rows"], detail["max_bytes_per_day"], detail["schemas"]) == (10, 2**40, ('"Über"', "app"))
    assert detail["tables"] == ('"Sales"."Orders 2030"', '"a.b"."x""y"', "app.orders")
    exported = yaml.safe_load(yaml.safe_dump(export_manifest(snapshot)))
    (part,) = [each for each in exported["grants"] if each.get("user") == "alice"]
    assert (part["max_rows"], part["tables"]) == (10, ['"Sales"."Orders 2030"', '"a.b"."x""y"', "app.orders"])
    assert (await apply(world, exported, prune=True)).changes == ()
    part |= {"max_rows": None, "tables": ["PUBLIC.t"], "schemas": []}
    await apply(world, exported, prune=True)
    (after,) = (await world.read()).grants[named.grant.holder_id]
    assert after.reading == Reading(None, 20, 2**40, frozenset(), frozenset({("public", "t")}))


async def test_what_is_not_given_stays(world: World) -> None:
    (grant,) = (await world.read()).grants[next(u.id for u in (await world.read()).users.values() if u.name == "alice")]
    assert grant.reading is ALL_READING
    await grants.update_grant(world.store, grant_id=grant.id, max_rows=5, tables=read_tables(["app.t"]), **BY)
    changed = await grants.update_grant(world.store, grant_id=grant.id, max_rows=None, **BY)
    assert changed.grant.reading == Reading(tables=frozenset({("app", "t")}))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"max_rows": 0}, "limit-invalid"),
        ({"max_bytes": -1}, "limit-invalid"),
        ({"max_bytes_per_day": 2**60}, "limit-invalid"),
        ({"schemas": frozenset(f"s{n}" for n in range(1001))}, "relations-invalid"),
    ],
)
async def test_what_is_refused(world: World, given: dict[str, object], rule: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await grants.create_grant(world.store, holder=ALICE, target_name="sales", mode=RO, beside=True, **given, **BY)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    "text", ["", ".", "t", "a.b.c", "a..b", "a.", 'a."', 'a.""', "a b.c", "1.a", f"a.{'x' * 64}", 'a."\0"']
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(RelationNameError):
        parse_table(text)
    with pytest.raises(ServiceError):
        read_tables([text])


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("Public.Orders", ("public", "orders")),
        ('"Public"."Or.ders"', ("Public", "Or.ders")),
        ("a$1._b", ("a$1", "_b")),
        ("ÄPFEL.straße", ("Äpfel", "straße")),
        ('"a""b".c', ('a"b', "c")),
    ],
)
def test_names_as_sql_writes_them(text: str, table: tuple[str, str]) -> None:
    """Folded as PostgreSQL folds them in UTF-8: ASCII letters alone."""
    assert parse_table(text) == table
    assert parse_table(write_table(table)) == table
    with pytest.raises(RelationNameError):
        parse_schema(text)


async def test_which_counts(world: World) -> None:
    """No list before any, then the longer one, then more rows."""
    snapshot = await world.read()
    (grant,) = snapshot.grants[next(u.id for u in snapshot.users.values() if u.name == "alice")]
    one, two = frozenset({("a", "b")}), frozenset({("a", "b"), ("a", "c")})
    in_order = [
        Reading(max_rows=1),
        Reading(schemas=frozenset({"a"})),
        Reading(tables=two, max_rows=5),
        Reading(tables=one),
        Reading(tables=one, max_rows=7, max_bytes=1),
        Reading(tables=one, max_rows=6),
    ]
    several = [replace(grant, id=str(number), reading=each) for number, each in enumerate(in_order)]
    while several:
        counts = widest(weigh(snapshot, reversed(several), datetime.now(UTC)), RO)
        assert counts is not None
        assert counts.grant is several.pop(0)
