"""Grants with times and limits: the verbs, several of one kind, files, and why."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.access.explain import Part
from gateway.access.model import Grant
from gateway.access.windows import parse_window
from gateway.services import grants
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import MAX_OF_LIMIT, read_windows
from gateway.services.manifest import Plan, apply_manifest, export_manifest
from gateway.services.manifest_model import parse_manifest
from tests.services.world import ALICE, BY, RO, RW, World, in_days

OFFICE = "Mon-Fri 08:00-18:00 Europe/Zurich"
LIMITS = {"max_sessions": 5, "statement_timeout_ms": 30_000, "idle_timeout_seconds": 600}
KEY = {"user": "alice", "target": "sales", "mode": "read_only"}


async def alices(world: World) -> list[Grant]:
    snapshot = await world.read()
    return sorted(snapshot.grants.get(snapshot.users["alice"].id, ()), key=lambda grant: grant.id)


async def apply(world: World, *parts: dict[str, Any], **options: Any) -> Plan:
    data = parse_manifest({"version": 1, "grants": list(parts)})
    return await apply_manifest(world.store, world.vault, data, **options, **BY)


async def create(world: World, **given: Any) -> Grant:
    made = await grants.create_grant(world.store, holder=ALICE, target_name="sales", mode=RO, **given, **BY)
    return made.grant


async def test_what_is_given_is_stored_changed_and_told_to_the_audit(world: World) -> None:
    begins, ends = in_days(1), in_days(2)
    grant = await create(
        world, replace_live=True, valid_from=begins, valid_until=ends, windows=read_windows([OFFICE]), **LIMITS
    )
    (stored,) = await alices(world)
    assert stored == grant
    assert (stored.valid_from, stored.valid_until, list(map(str, stored.windows))) == (begins, ends, [OFFICE])
    detail = (await world.events())[-1].event.detail
    assert {name: detail[name] for name in ("windows", *LIMITS)} == {"windows": (OFFICE,), **LIMITS}
    changed = await grants.update_grant(world.store, grant_id=grant.id, idle_timeout_seconds=None, windows=(), **BY)
    assert (changed.grant.limits.idle_timeout_seconds, changed.grant.limits.max_sessions) == (None, 5)
    assert (changed.grant.windows, changed.grant.valid_from) == ((), begins)
    detail = (await world.events())[-1].event.detail
    assert (detail["before_windows"], detail["before_idle_timeout_seconds"]) == ((OFFICE,), 600)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        *(({name: wrong}, "limit-invalid") for name, most in MAX_OF_LIMIT.items() for wrong in (0, most + 1)),
        ({"valid_from": in_days(2), "valid_until": in_days(1)}, "never-valid"),
        ({"valid_until": in_days(-1)}, "expiry-in-the-past"),
    ],
)
async def test_what_cannot_be_is_refused(world: World, given: dict[str, Any], rule: str) -> None:
    with pytest.raises(ServiceError) as refused:
        await create(world, replace_live=True, **given)
    assert refused.value.rule == rule
    with pytest.raises(ServiceError, match="not a weekly window"):
        read_windows(["always"])


async def test_a_second_one_of_a_kind_is_made_only_on_purpose(world: World) -> None:
    (first,) = await alices(world)
    with pytest.raises(ServiceError) as refused:
        await create(world, valid_from=in_days(1))
    assert refused.value.rule == "grant-exists"
    second = await create(world, beside=True, valid_until=in_days(1))
    assert {grant.id for grant in await alices(world)} == {first.id, second.id}
    third = await create(world, replace_live=True)  # in place of both
    assert [grant.id for grant in await alices(world)] == [third.id]
    assert set(str((await world.events())[-1].event.detail["replaced"]).split(", ")) == {first.id, second.id}


async def test_what_has_ended_gives_way_and_what_has_not_begun_does_not(world: World) -> None:
    soon = await create(world, replace_live=True, valid_until=in_days(1))
    coming = await create(world, beside=True, valid_from=in_days(3))
    later = world.at(in_days(2))
    made = await grants.create_grant(later, holder=ALICE, target_name="sales", mode=RO, beside=True, **BY)
    assert {grant.id for grant in await alices(world)} == {coming.id, made.grant.id}
    assert soon.id not in {grant.id for grant in await alices(world)}


async def test_a_file_states_several_of_one_kind(world: World) -> None:
    (first,) = await alices(world)
    parts = [{**KEY, "windows": [OFFICE]}, {**KEY, "max_sessions": 5}]
    await apply(world, *parts)
    held = await alices(world)
    assert first.id in {grant.id for grant in held}
    assert sorted((list(map(str, grant.windows)), grant.limits.max_sessions) for grant in held) == [([], 5), ([OFFICE], None)]
    assert (await apply(world, *parts)).changes == ()
    assert (await apply(world, *reversed(parts))).changes == ()
    (change,) = (await apply(world, {**parts[0], "idle_timeout_seconds": 60}, parts[1])).changes
    assert change.after == {"idle_timeout_seconds": 60}
    plan = await apply(world, parts[1], prune=True)
    assert [change.action.value for change in plan.changes if change.name.startswith("alice")] == ["remove"]
    with pytest.raises(ServiceError) as refused:
        await apply(world, parts[1], parts[1])
    assert refused.value.rule == "manifest-duplicate"


async def test_an_export_is_applied_without_a_change(world: World) -> None:
    await create(world, beside=True, valid_from=in_days(1), windows=read_windows([OFFICE, "Sat 09:00-12:00 UTC"]), **LIMITS)
    exported = export_manifest(await world.read())
    assert (await apply_manifest(world.store, world.vault, parse_manifest(dict(exported)), **BY)).changes == ()  # type: ignore[arg-type]


async def test_why_names_each_grant_with_its_part(world: World) -> None:
    limited = await create(world, beside=True, max_sessions=1)
    closed = await create(world, beside=True, windows=(parse_window(OFFICE),))
    snapshot, now = await world.read(), in_days(0)
    now += timedelta(days=(6 - now.weekday()) % 7)  # a Sunday
    found = grants.why(snapshot, user_name="alice", target_name="sales", mode=RO, now=now)
    assert found.explanation.admitted
    parts = {named.grant.id: each.part for each, named in found.considered}
    assert (parts[limited.id], parts[closed.id]) == (Part.LOSES, Part.CLOSED)
    assert next(iter(parts.values())) is Part.COUNTS
    refused = grants.why(snapshot, user_name="alice", target_name="sales", mode=RW, now=now)
    assert {each.part for each, _ in refused.considered} == {Part.OTHER_MODE}
    assert not refused.explanation.admitted
    disabled = grants.why(snapshot, user_name="bob", target_name="sales", mode=RO, now=now)
    assert [named.holder.name for _, named in disabled.considered] == ["analysts"]
    assert [each.rule for each in disabled.explanation.obstacles] == ["user-disabled"]
