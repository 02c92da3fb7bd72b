"""What `doctor` looks at in the store: does it answer, does the key fit, can anybody use anything, are the targets there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.access.model import ApiToken, Snapshot, Target, TokenScope
from gateway.access_mode import AccessMode
from gateway.cli.findings import Finding, ok, problem, warning
from gateway.ports import TargetAdmin
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.info import StoreInfo

_AT_ONCE: Final = 8


async def look_at_store(settings: "Settings") -> tuple[list[Finding], Snapshot | None]:
    """The snapshot is None when there is nothing to look into."""
    from gateway.store.info import read_info
    from gateway.store.places import SqlitePlace, locate
    from gateway.store.sql_store import SqlStore

    try:
        place = locate(settings)
        if isinstance(place, SqlitePlace) and not place.path.exists():
            return [warning("store", f"{place} is not there yet", "The first start makes it: pgbastion serve")], None
        info = await read_info(settings)
        found = [_schema(info), *_key_fits(settings, info)]
        if info.schema != info.newest_schema:
            return found, None
        return found, await SqlStore(settings).read()
    except StoreError as error:
        return [problem("store", str(error), "Nobody can log in without it. Is the disk full, or the server away?")], None


async def last_change(settings: "Settings") -> datetime | None:
    from gateway.store.sql_store import SqlStore

    newest = await SqlStore(settings).read_events(limit=1)
    return newest[0].at if newest else None


async def admin_logins(settings: "Settings", snapshot: Snapshot) -> list[TargetAdmin]:
    """By which targets are administered."""
    from gateway.store.sql_store import SqlStore

    store = SqlStore(settings)
    found = [await store.target_admin(target.id) for target in snapshot.targets.values()]
    return [each for each in found if each is not None]


def look_at_rights(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    if snapshot.lockdown is not None:
        yield warning("lockdown", f"nobody is let in: {snapshot.lockdown or 'no reason was given'}", "pgbastion lockdown off")
    entries = [entry for entry in snapshot.global_entries if _live(entry.valid_until, now)]
    if entries:
        yield ok("allowlist", f"{_counted(len(entries), 'live entry', 'live entries')}")
    else:
        yield problem("allowlist", "it is empty: nobody is admitted", "pgbastion allowlist create NETWORK")
    grants = [grant for held in snapshot.grants.values() for grant in held if _live(grant.valid_until, now)]
    if grants:
        yield ok("grants", _counted(len(grants), "live grant", "live grants"))
    else:
        yield problem("grants", "there is none: nobody may use anything", "pgbastion grants create --help")
    yield _tokens([token for token in snapshot.tokens.values() if _live(token.valid_until, now)])


async def look_at_targets(settings: "Settings", snapshot: Snapshot) -> AsyncIterator[Finding]:
    """All at once, in the order of their names."""
    from gateway.cli.here import LocalGateway, TellingStore
    from gateway.store.sql_store import SqlStore
    from gateway.store.vault import SealedVault

    gateway = LocalGateway(settings, TellingStore(SqlStore(settings), []), SealedVault.load(settings.key_file))
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(target: Target, mode: AccessMode) -> Finding:
        check = f"target {target.name} ({mode})"
        async with room:
            try:
                steps = await gateway.check_target(target.name, mode)
            except StoreError as error:
                return problem(check, str(error), "Set the login again: pgbastion targets login --help")
        failed = next((step for step in steps if not step.ok), None)
        if failed is not None:
            return problem(check, f"{failed.name}: {failed.detail}", failed.remedy)
        advice = next((step for step in steps if step.remedy), None)
        return ok(check, "a session could be opened") if advice is None else warning(check, advice.detail, advice.remedy)

    targets = [target for _, target in sorted(snapshot.targets.items()) if target.enabled]
    for target in targets:
        if not target.roles:
            how = f"pgbastion targets login {target.name} --mode read_only --login ROLE"
            yield warning(f"target {target.name}", "it has no login: nobody can use it", how)
    for finding in asyncio.as_completed([look(target, mode) for target in targets for mode in sorted(target.roles)]):
        yield await finding


def _schema(info: "StoreInfo") -> Finding:
    where = f"{info.kind}, {info.place}"
    if info.schema is None:
        return warning("store", f"{where}: not set up yet", "The first start does it: pgbastion serve")
    if info.schema != info.newest_schema:
        text = f"{where}: schema {info.schema}; this version wants {info.newest_schema}"
        return warning("store", text, "Take a backup, then restart the gateway: it migrates.")
    return ok("store", f"{where}: schema {info.schema}, revision {info.revision}")


def _key_fits(settings: "Settings", info: "StoreInfo") -> Iterator[Finding]:
    from gateway.store.vault import SealedVault

    if info.key_id is None:
        return
    if not settings.key_file.exists():
        yield problem(
            "key fits store", f"the store wants key {info.key_id}; there is none", f"Put it into {settings.key_file}."
        )
        return
    try:
        vault = SealedVault.load(settings.key_file)
    except StoreError:
        return  # the key's own finding says what is wrong with it
    if missing := [key for key in {info.key_id, *info.sealed_with} if not vault.knows(key)]:
        text = f"the store wants key {', '.join(missing)}, and {settings.key_file} holds {', '.join(vault.key_ids)}"
        yield problem("key fits store", text, "Put the key of the store's time in its place.")
    elif set(info.sealed_with) - {vault.key_id}:
        text = f"not everything is sealed with the newest key {vault.key_id}"
        yield warning(
            "key fits store",
            text,
            "A rotation of keys was not finished, or an old backup restored: run pgbastion secrets rotate-key",
        )
    else:
        yield ok("key fits store", info.key_id)


def _tokens(live: list[ApiToken]) -> Finding:
    admins = [token for token in live if token.scope is TokenScope.ADMIN]
    if not admins:
        return ok("api tokens", "none for admins; this machine needs none: pgbastion tokens create NAME")
    return ok("api tokens", f"{_counted(len(admins), 'live token', 'live tokens')} for admins")


def _live(valid_until: datetime | None, now: datetime) -> bool:
    return valid_until is None or now < valid_until


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
