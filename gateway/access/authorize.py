"""`authorize` is the only maker of a Lease. Pure: the snapshot, the address and the instant are arguments.

A new login and a live session take the same way: the reconciler calls `renew`, which calls `authorize` with the session's
facts. So whatever ends a right (expiry, revocation, leaving a group, an edited allowlist, a disabled user, an admin's terminate,
a lockdown) ends the session.
"""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.denials import address_refused, grant_ended, locked_down, session_terminated
from gateway.access.endings import why_ended
from gateway.access.managed import ManagedMode
from gateway.access.model import DatabaseRole, Denial, Lease, ListMode, Snapshot, Target, User
from gateway.access.networks import AddressList, Admission
from gateway.access.proof import Credential, Proof
from gateway.access.proof_checks import check_proof, out_of_bounds
from gateway.access.rights import ANY, Which, earliest, is_steady, right_to
from gateway.access_mode import NO_OPTIONS, OPTIONS_OF, AccessMode

_NO_GRANT: Final = "mode-not-granted"
_RIGHT_ENDED: Final = frozenset({_NO_GRANT, "target-unknown", "grant-not-open"})
_SUFFIXES: Final = {"rw": AccessMode.READ_WRITE, "ro": AccessMode.READ_ONLY}


def parse_database_name(database: str) -> tuple[str, AccessMode]:
    """What the startup packet's `database` asks for: `target` and `target:ro` read only, `target:rw` read and write.

    Any other suffix stays part of the name, which then names no target (a target's name has no colon).
    """
    name, colon, suffix = database.rpartition(":")
    if colon and (mode := _SUFFIXES.get(suffix)) is not None:
        return name, mode
    return database, AccessMode.READ_ONLY


def user_by_id(snapshot: Snapshot, user_id: str) -> User | None:
    """The account with this id, whatever it is called now. Linear: for control verbs, not for logins."""
    return next((user for user in snapshot.users.values() if user.id == user_id), None)


def admits_globally(snapshot: Snapshot, address: IPv4Address | IPv6Address, now: datetime) -> bool:
    """The check before a byte is answered: the global list alone. An empty one admits nobody."""
    return snapshot.global_list.admission(address, now) is not None


def authorize(
    snapshot: Snapshot,
    *,
    user_name: str,
    target_name: str,
    mode: AccessMode,
    address: IPv4Address | IPv6Address,
    now: datetime,
    session_id: str,
    user_id: str | None = None,
    credential_version: int | None = None,
    proof: Proof | None = None,
    is_live: bool = False,
    which: Which = ANY,
) -> Lease | Denial:
    """May this proven user use this target in this mode from this address now, and until when?

    `user_id` and `credential_version`, when given, are those the session logged in with: another account under the same name,
    or another password, is a denial. A target that does not exist and one without a grant that is or may come to life give the
    same Denial. What a group holds, its members hold; the lease names the one grant that it stands on: of several that may be
    used now, the widest, and of equally wide ones the longest (see `selection`). When that one ends, or its window closes,
    `renew` finds the next. A lockdown goes before everything.

    `proof`: how they proved it, if not by their own password. It takes away: the session has what both allow, while both are
    there. `is_live`: the session was let in before. `which`: by these grants alone.
    """
    if snapshot.lockdown is not None:
        return locked_down("57P03", snapshot.lockdown)
    user = living_user(snapshot, user_name, user_id, credential_version, now)
    if isinstance(user, Denial):
        return user
    if (reason := snapshot.terminated.get(session_id)) is not None:
        return session_terminated(reason)
    proved_until = check_proof(snapshot, proof, user, now, is_live=is_live)
    if isinstance(proved_until, Denial):
        return proved_until
    everywhere = snapshot.global_list.admission(address, now)
    if everywhere is None:
        return address_refused("address-not-admitted", address, "the gateway")
    own = _restricted(user.allowlist, snapshot.user_lists.get(user.id), address, now)
    if own is None:
        return address_refused("address-not-admitted-for-user", address, f'user "{user.name}"')
    target = snapshot.targets.get(target_name)
    if isinstance(proof, Credential) and (bound := out_of_bounds(snapshot, proof, target, mode, address)) is not None:
        return bound
    right = right_to(snapshot, user, target_name, mode, now, which)
    if isinstance(right, Denial):
        return right
    target, grant = right.target, right.chosen.grant
    local = _restricted(target.allowlist, snapshot.target_lists.get(target.id), address, now)
    if local is None:
        return address_refused("address-not-admitted-for-target", address, f'target "{target.name}"')
    role = open_role(target, mode)
    if isinstance(role, Denial):
        return role
    if grant.database_role is not None:
        role = DatabaseRole(f"grant:{grant.id}", grant.database_role, b"")
    admissions = (everywhere.valid_until, own.valid_until, local.valid_until)
    until = earliest(proved_until, user.valid_until, *(each.validity.until for each in right.counts), *admissions)
    # Those of the other mode mean nothing, and would only tell equal policies apart.
    options = grant.options & OPTIONS_OF[mode] or NO_OPTIONS
    ceiling = grant.max_changed_rows if mode is AccessMode.READ_WRITE else None
    return Lease(
        user,
        target,
        mode,
        role,
        grant.id,
        until,
        snapshot.revision,
        options,
        ceiling,
        proof=proof,
        limits=grant.limits,
        reading=grant.reading,
        changes_at=earliest(until, right.coming),
        only=tuple(each.grant.only for each in right.counts if each.grant.only is not None),
        database_role=grant.database_role,
        request=None if grant.request_id is None else grant.request_number or 0,
    )


def reachable(snapshot: Snapshot, *, user: User, target_name: str, mode: AccessMode, now: datetime) -> Target | Denial:
    """The target, if this user may use it in this mode now from somewhere. The same denials as of `authorize`."""
    living = living_user(snapshot, user.name, user.id, None, now)
    right = living if isinstance(living, Denial) else right_to(snapshot, living, target_name, mode, now)
    return right if isinstance(right, Denial) else right.target


def renew(
    snapshot: Snapshot, lease: Lease, *, address: IPv4Address | IPv6Address, now: datetime, session_id: str
) -> Lease | Denial:
    """`authorize` again for a live session. The new lease replaces the old one: its end and its target's lists may differ.

    Ends the session too when the target now means another place (host, port, database, TLS mode or database role: the session
    would go on where the admin no longer sends anybody), or when a schema or setting was taken off the target's lists (the
    session may be using it already). A function taken off ends nothing: prepared statements are judged anew when they are used.
    Neither does a new upstream password or CA. Where each grant has a database role of its own, a session stays on its grant; and
    no session comes to a database role that it did not begin with, nor to what only keeps its meaning in a session that
    could not set its search_path (certain statements; operations that write), once it could.
    """
    by_grant = lease.target.managed is ManagedMode.PER_GRANT or lease.database_role is not None
    renewed = authorize(
        snapshot,
        user_name=lease.user.name,
        target_name=lease.target.name,
        mode=lease.mode,
        address=address,
        now=now,
        session_id=session_id,
        user_id=lease.user.id,
        credential_version=lease.user.credential_version,
        proof=lease.proof,
        is_live=True,
        which=Which(
            lease.grant_id if by_grant else None,
            database_roles=by_grant,
            steady=any(is_steady(each, lease.mode) for each in lease.only),
        ),
    )
    if isinstance(renewed, Denial) and renewed.rule == "lockdown":
        return locked_down("57P01", snapshot.lockdown or "")
    if isinstance(renewed, Denial) and renewed.rule in _RIGHT_ENDED and (why := why_ended(snapshot, lease, now)):
        return grant_ended(lease.target, why)
    if isinstance(renewed, Denial) and (renewed.rule == "target-unknown" or (by_grant and renewed.rule == _NO_GRANT)):
        return grant_ended(lease.target)
    if isinstance(renewed, Denial) or _same_place(lease, renewed):
        return renewed
    return Denial(
        "target-changed",
        "57P01",
        f'the settings of target "{lease.target.name}" were changed',
        "Connect again to use the new settings.",
    )


def living_user(
    snapshot: Snapshot, user_name: str, user_id: str | None, credential_version: int | None, now: datetime
) -> User | Denial:
    user = snapshot.users.get(user_name)
    if user is None or (user_id is not None and user.id != user_id):
        return Denial("user-unknown", "28000", f'user "{user_name}" does not exist any more', "Ask your administrator.")
    if not user.enabled:
        return Denial("user-disabled", "28000", f'user "{user_name}" is disabled', "Ask your administrator.")
    if user.valid_until is not None and now >= user.valid_until:
        return Denial("user-expired", "28000", f'user "{user_name}" has expired', "Ask your administrator to extend it.")
    if user.id in snapshot.held_back:
        text = f'the identity provider does not vouch for user "{user_name}"'
        return Denial("user-held-back", "28000", text, "Sign in with it again: pgbastion login --oidc")
    if credential_version is not None and user.credential_version != credential_version:
        return Denial(
            "password-changed", "28000", f'the password of user "{user_name}" was changed', "Connect again with the new one."
        )
    return user


def _restricted(
    mode: ListMode, entries: AddressList | None, address: IPv4Address | IPv6Address, now: datetime
) -> Admission | None:
    if mode is ListMode.INHERIT:
        return Admission(None)
    return None if entries is None else entries.admission(address, now)


def open_role(target: Target, mode: AccessMode) -> DatabaseRole | Denial:
    if not target.enabled:
        return Denial(
            "target-disabled", "55000", f'target "{target.name}" is disabled', "Ask your administrator when it will be back."
        )
    role = target.roles.get(mode)
    if role is None:
        return Denial(
            "target-without-login",
            "55000",
            f'target "{target.name}" has no upstream login for the access mode {mode}',
            f"Ask your administrator to run: pgbastion targets login {target.name} --mode {mode}",
        )
    return role


def _same_place(old: Lease, new: Lease) -> bool:
    before, after = old.target, new.target
    return (
        (before.id, before.host, before.port, before.dbname, before.tls)
        == (after.id, after.host, after.port, after.dbname, after.tls)
        and (old.role.id, old.role.login) == (new.role.id, new.role.login)
        and before.managed is after.managed
        and before.allowed_schemas <= after.allowed_schemas
        and before.allowed_settings <= after.allowed_settings
    )
