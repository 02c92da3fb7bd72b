"""Every operator verb: its audit events, one revision, no secret in them; a refusal leaves no trace."""

import asyncio
import inspect
import shutil
from importlib import import_module

import pytest

from gateway.services.accounts import AccountPassword
from gateway.services.allowlist import NamedEntry
from gateway.services.approval_terms import NamedPolicy
from gateway.services.errors import ServiceError
from gateway.services.grants import NamedGrant
from gateway.services.tokens import NewToken
from gateway.services.users import Credentials
from tests.services.verbs import NOT_IN_THE_SMALL_WORLD, VERBS
from tests.services.world import PASSWORD_CANARY, UPSTREAM_CANARY, opened

MODULES = (
    *("users", "groups", "targets", "grants", "allowlist", "tokens", "sessions", "lockdown"),
    *("environments", "admin_roles", "certificates", "accounts", "claim_mappings", "secret_references", "approval_policies"),
)
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
VERSIONED = [verb for verb in VERBS.values() if verb.row is not None]
every_versioned_verb = pytest.mark.parametrize("verb", VERSIONED, ids=lambda verb: verb.name)


@pytest.fixture
def world(template_with_admins, tmp_path):
    shutil.copytree(template_with_admins, tmp_path / "state")
    return opened(tmp_path / "state")


def test_no_verb_is_missing_here():
    modules = [import_module(f"gateway.services.{name}") for name in MODULES]
    public = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    }
    assert public == set(VERBS) | NOT_IN_THE_SMALL_WORLD


@every_verb
def test_every_change_of_one_row_can_be_held_against_a_version(verb):
    assert ("expected_version" in inspect.signature(verb.function).parameters) == (verb.row is not None)


@every_verb
async def test_a_verb_leaves_its_events_and_one_revision(world, verb):
    before, snapshot = await world.events(), await world.read()
    await verb(world)
    after = await world.events()
    assert (await world.read()).revision == snapshot.revision + 1
    new = [each.event for each in after[len(before) :]]
    assert tuple(event.action for event in new) == verb.actions
    for event in new:
        assert (event.actor, event.reason) == ("os:admin", "ticket 17")
        assert event.object_id
        assert event.object_name


def row_of(result):
    """What a verb gives back, without what it wraps."""
    match result:
        case (
            Credentials(user=row)
            | NewToken(token=row)
            | NamedGrant(grant=row)
            | NamedEntry(entry=row)
            | AccountPassword(account=row)
            | NamedPolicy(policy=row)
        ):
            return row
    return result


def rows_of(snapshot):
    entries = (
        *snapshot.global_entries,
        *(e for level in (snapshot.user_entries, snapshot.target_entries) for e in level.values()),
    )
    named = (
        *(snapshot.users, snapshot.groups, snapshot.targets, snapshot.tokens),
        *(snapshot.environments, snapshot.admin_roles, snapshot.accounts, snapshot.approval_policies),
    )
    return [
        *(row for rows in named for row in rows.values()),
        *(g for held in snapshot.grants.values() for g in held),
        *flat(entries),
        *snapshot.claim_mappings,
    ]


def flat(entries):
    return [each for entry in entries for each in (entry if isinstance(entry, tuple) else (entry,))]


@every_verb
async def test_what_a_verb_gives_back_is_the_row_as_it_stands_or_stood(world, verb):
    before = await world.read()
    row = row_of(await verb(world))
    after = await world.read()
    if hasattr(row, "version"):
        assert row in (rows_of(after) if row.version == after.revision else rows_of(before))


@every_versioned_verb
async def test_who_looked_at_an_older_version_changes_nothing(world, verb):
    snapshot, events = await world.read(), await world.events()
    version = verb.row(snapshot).version
    assert version > 0
    with pytest.raises(ServiceError, match=f"at revision {version}, and you looked at revision {version - 1}") as caught:
        await verb(world, expected_version=version - 1)
    assert caught.value.rule == "changed-meanwhile"
    assert "Read it again" in caught.value.hint
    assert (await world.read(), await world.events()) == (snapshot, events)
    await verb(world, expected_version=version)


@every_versioned_verb
async def test_of_two_admins_at_once_exactly_one_wins(world, verb):
    version = verb.row(await world.read()).version
    asked = [verb(world, expected_version=version, reason=reason) for reason in ("one", "other")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    (lost,) = [answer for answer in answers if isinstance(answer, BaseException)]
    assert isinstance(lost, ServiceError)
    assert lost.rule == "changed-meanwhile" or lost.rule.endswith("-unknown")
    events = await world.events()
    assert sum(each.event.reason in ("one", "other") for each in events) == len(verb.actions)


async def test_no_event_holds_a_secret(world):
    made = []
    for verb in VERBS.values():
        try:
            made.append(await verb(world))
        except (ServiceError, LookupError, ValueError):
            continue  # an earlier verb took away what this one wants
    written = repr(await world.events())
    assert written.count("action=") > 40
    shown_once = [each.generated for each in made if isinstance(each, Credentials | AccountPassword) and each.generated]
    shown_once += [each.secret for each in made if isinstance(each, NewToken)]
    assert len(shown_once) == 5
    snapshot = await world.read()
    hidden = [secret.reveal() for secret in shown_once]
    hidden += [user.verifier for user in snapshot.users.values()]
    hidden += [repr(token.token_hash)[2:-1] for token in snapshot.tokens.values()]
    hidden += [token.token_hash.hex() for token in snapshot.tokens.values()]
    hidden += [each.account.password_hash for each in made if isinstance(each, AccountPassword)]
    hidden += [role.sealed_secret.hex() for target in snapshot.targets.values() for role in target.roles.values()]
    for secret in (*hidden, UPSTREAM_CANARY, PASSWORD_CANARY, "SCRAM-SHA-256", "StoredKey", "pgb_", "argon2"):
        assert secret not in written


UNSIGNED = [
    ("text-invalid", {"reason": "two\nlines"}),
    ("text-invalid", {"reason": "x" * 501}),
    ("text-invalid", {"reason": "\x1b[2J"}),
    ("actor-invalid", {"actor": ""}),
    ("actor-invalid", {"actor": "ana"}),
]


@every_verb
async def test_what_cannot_be_written_down_is_not_done(world, verb):
    before = await world.read(), await world.events()
    for rule, signature in UNSIGNED:
        with pytest.raises(ServiceError) as caught:
            await verb(world, **signature)
        assert caught.value.rule == rule
    assert (await world.read(), await world.events()) == before
