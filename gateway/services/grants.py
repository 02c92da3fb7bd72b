"""Grants: who may use which target, in which access mode, until when."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from gateway.access.model import Grant, Snapshot
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent, DetailValue
from gateway.ports import Store
from gateway.services.errors import ServiceError
from gateway.services.lookup import all_grants, find_target, find_user
from gateway.services.naming import check_expiry, check_remark


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant with the names that people know."""

    grant: Grant
    user_name: str
    target_name: str


async def create_grant(
    store: Store,
    *,
    user_name: str,
    target_name: str,
    mode: AccessMode,
    valid_until: datetime | None = None,
    replace_live: bool = False,
    actor: str,
    reason: str,
) -> NamedGrant:
    """A standing right. read_write includes read_only. An expired one of the same kind gives way, a live one if asked."""
    check_remark("reason", reason)
    async with store.begin() as work:
        check_expiry(valid_until, work.now)
        user, target = find_user(work.snapshot, user_name), find_target(work.snapshot, target_name)
        held = work.snapshot.grants.get(user.id, ())
        old = next((grant for grant in held if grant.target_id == target.id and grant.mode is mode), None)
        if old is not None:
            if not replace_live and (old.valid_until is None or work.now < old.valid_until):
                raise ServiceError(
                    "grant-exists",
                    f'user "{user_name}" has a {mode} grant for "{target_name}" already, {_until(old.valid_until)}',
                    "Add --replace to change when it ends.",
                )
            work.remove(old)
        grant = Grant(str(uuid.uuid4()), user.id, target.id, mode, valid_until)
        work.put(grant)
        detail = {
            "user": user_name,
            "target": target_name,
            "mode": mode.value,
            "valid_until": valid_until.isoformat() if valid_until else None,
            "replaced": old.id if old else None,
        }
        await work.commit(AdminEvent(actor, "grant.created", grant.id, f"{user_name} on {target_name}", reason, detail))
    return NamedGrant(grant, user_name, target_name)


async def revoke_grant(store: Store, *, grant_id: str, actor: str, reason: str) -> NamedGrant:
    """One grant by its id; sessions that stood on it end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        found = next((named for named in name_grants(work.snapshot) if named.grant.id == grant_id), None)
        if found is None:
            raise ServiceError("grant-unknown", f'there is no grant "{grant_id}"', "See: pgbastion grants list")
        work.remove(found.grant)
        what = f"{found.user_name} on {found.target_name}"
        detail = {"user": found.user_name, "target": found.target_name, "mode": found.grant.mode.value}
        await work.commit(AdminEvent(actor, "grant.revoked", grant_id, what, reason, detail))
    return found


async def revoke_grants(
    store: Store, *, user_name: str, target_name: str, mode: AccessMode | None = None, actor: str, reason: str
) -> tuple[NamedGrant, ...]:
    """All that a user holds on a target (of one access mode, if given), in one change. At least one, or it is an error."""
    check_remark("reason", reason)
    async with store.begin() as work:
        user, target = find_user(work.snapshot, user_name), find_target(work.snapshot, target_name)
        found = tuple(
            NamedGrant(grant, user_name, target_name)
            for grant in work.snapshot.grants.get(user.id, ())
            if grant.target_id == target.id and (mode is None or grant.mode is mode)
        )
        if not found:
            kind = f"{mode} " if mode else ""
            raise ServiceError("grant-unknown", f'user "{user_name}" has no {kind}grant for "{target_name}"')
        for named in found:
            work.remove(named.grant)
        ids = tuple(named.grant.id for named in found)
        modes = tuple(named.grant.mode.value for named in found)
        detail: dict[str, DetailValue] = {"user": user_name, "target": target_name, "modes": modes, "grants": ids}
        await work.commit(AdminEvent(actor, "grant.revoked", ids[0], f"{user_name} on {target_name}", reason, detail))
    return found


def name_grants(snapshot: Snapshot) -> list[NamedGrant]:
    """All grants, by user and target name."""
    users = {user.id: user.name for user in snapshot.users.values()}
    targets = {target.id: target.name for target in snapshot.targets.values()}
    named = [NamedGrant(grant, users[grant.holder_id], targets[grant.target_id]) for grant in all_grants(snapshot)]
    return sorted(named, key=lambda each: (each.user_name, each.target_name, each.grant.mode))


def _until(valid_until: datetime | None) -> str:
    return "without end" if valid_until is None else f"until {valid_until.isoformat(timespec='seconds')}"
