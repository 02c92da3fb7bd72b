"""`authorize` is the only maker of a Lease. Pure: the snapshot, the address and the instant are arguments.

A new login and a live session take the same way: the reconciler calls `renew`, which calls `authorize` with the session's
facts. So whatever ends a right (expiry, revocation, leaving a group, an edited allowlist, a disabled user, an admin's terminate,
a lockdown) ends the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.model import DatabaseRole, Denial, Grant, Lease, ListMode, Snapshot, Target, User, UserKind
from gateway.access.networks import AddressList, Admission
from gateway.access.proof import ClientCertificate, Credential, Proof, bears_one_of
from gateway.access.selection import Weighed, includes, weigh, widest
from gateway.access.validity import When, validity
from gateway.access.windows import told
from gateway.access_mode import NO_OPTIONS, OPTIONS_OF, AccessMode

_SUFFIXES: Final = {"rw": AccessMode.READ_WRITE, "ro": AccessMode.READ_ONLY}
_LISTED_TARGETS: Final = 20
_ISSUE_AGAIN: Final = "Issue another one: pgbastion credentials issue TARGET"


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
) -> Lease | Denial:
    """May this proven user use this target in this mode from this address now, and until when?

    `user_id` and `credential_version`, when given, are those the session logged in with: another account under the same name,
    or another password, is a denial. A target that does not exist and one without a grant that is or may come to life give the
    same Denial. What a group holds, its members hold; the lease names the one grant that it stands on: of several that may be
    used now, the widest, and of equally wide ones the longest (see `selection`). When that one ends, or its window closes,
    `renew` finds the next. A lockdown goes before everything.

    `proof`: how they proved it, if not by their own password. It takes away: the session has what both allow, while both are
    there. `is_live`: the session was let in before.
    """
    if snapshot.lockdown is not None:
        return _locked_down("57P03", snapshot.lockdown)
    user = living_user(snapshot, user_name, user_id, credential_version, now)
    if isinstance(user, Denial):
        return user
    if (reason := snapshot.terminated.get(session_id)) is not None:
        return _session_terminated(reason)
    proved_until = _check_proof(snapshot, proof, user, now, is_live=is_live)
    if isinstance(proved_until, Denial):
        return proved_until
    everywhere = snapshot.global_list.admission(address, now)
    if everywhere is None:
        return _address_refused("address-not-admitted", address, "the gateway")
    own = _restricted(user.allowlist, snapshot.user_lists.get(user.id), address, now)
    if own is None:
        return _address_refused("address-not-admitted-for-user", address, f'user "{user.name}"')
    target = snapshot.targets.get(target_name)
    if isinstance(proof, Credential) and (bound := _out_of_bounds(snapshot, proof, target, mode, address)) is not None:
        return bound
    right = _right_to(snapshot, user, target_name, mode, now)
    if isinstance(right, Denial):
        return right
    target, chosen, grant = right.target, right.chosen, right.chosen.grant
    local = _restricted(target.allowlist, snapshot.target_lists.get(target.id), address, now)
    if local is None:
        return _address_refused("address-not-admitted-for-target", address, f'target "{target.name}"')
    role = open_role(target, mode)
    if isinstance(role, Denial):
        return role
    admissions = (everywhere.valid_until, own.valid_until, local.valid_until)
    until = _earliest(proved_until, user.valid_until, chosen.validity.until, *admissions)
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
        changes_at=_earliest(until, right.coming),
    )


def reachable(snapshot: Snapshot, *, user: User, target_name: str, mode: AccessMode, now: datetime) -> Target | Denial:
    """The target, if this user may use it in this mode now from somewhere. The same denials as of `authorize`."""
    living = living_user(snapshot, user.name, user.id, None, now)
    right = living if isinstance(living, Denial) else _right_to(snapshot, living, target_name, mode, now)
    return right if isinstance(right, Denial) else right.target


def renew(
    snapshot: Snapshot, lease: Lease, *, address: IPv4Address | IPv6Address, now: datetime, session_id: str
) -> Lease | Denial:
    """`authorize` again for a live session. The new lease replaces the old one: its end and its target's lists may differ.

    Ends the session too when the target now means another place (host, port, database, TLS mode or database role: the session
    would go on where the admin no longer sends anybody), or when a schema or setting was taken off the target's lists (the
    session may be using it already). A function taken off ends nothing: prepared statements are judged anew when they are used.
    Neither does a new upstream password or CA.
    """
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
    )
    if isinstance(renewed, Denial) and renewed.rule == "lockdown":
        return _locked_down("57P01", snapshot.lockdown or "")
    if isinstance(renewed, Denial) and renewed.rule == "target-unknown":
        return Denial(
            "grant-ended",
            "57P01",
            f'your access to target "{lease.target.name}" has ended',
            "It was revoked, or it expired; ask your administrator if you still need it.",
        )
    if isinstance(renewed, Denial) or _same_place(lease, renewed):
        return renewed
    return Denial(
        "target-changed",
        "57P01",
        f'the settings of target "{lease.target.name}" were changed',
        "Connect again to use the new settings.",
    )


@dataclass(frozen=True, slots=True)
class _Right:
    """The grant that counts now. `coming`: when another one that could count begins."""

    target: Target
    chosen: Weighed
    coming: datetime | None


def _right_to(snapshot: Snapshot, user: User, target_name: str, mode: AccessMode, now: datetime) -> _Right | Denial:
    target = snapshot.targets.get(target_name)
    held = [] if target is None else weigh(held_grants(snapshot, user, target), now)
    if target is None or not any(each.is_live or each.comes is not None for each in held):
        return _no_such_target(snapshot, target_name, user, now)
    if user.read_only and mode is AccessMode.READ_WRITE:
        return _user_only_reads(user, target)
    fitting = [each for each in held if includes(each.grant.mode, mode)]
    chosen = widest([each for each in fitting if each.is_live], mode)
    coming = _earliest(*(each.comes for each in fitting))
    if chosen is None:
        return _mode_not_granted(target) if coming is None else _not_open(target, fitting, coming)
    return _Right(target, chosen, coming)


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


def _check_proof(
    snapshot: Snapshot, proof: Proof | None, user: User, now: datetime, *, is_live: bool
) -> datetime | Denial | None:
    """Until when it is one; None: for good."""
    match proof:
        case None:
            return None
        case Credential():
            known = snapshot.credentials.get(proof.handle)
            if known is None or known.id != proof.id or known.user_id != user.id:
                return Denial("credential-revoked", "28000", "this short-lived credential was revoked", _ISSUE_AGAIN)
            if known.credential_version != user.credential_version:
                text = f'this short-lived credential ended when the password of user "{user.name}" was changed'
                return Denial("credential-revoked", "28000", text, _ISSUE_AGAIN)
            if now >= (known.sessions_until if is_live else known.valid_until):
                return Denial("credential-expired", "28000", "this short-lived credential has expired", _ISSUE_AGAIN)
            return known.sessions_until
        case ClientCertificate():
            if user.kind is not UserKind.MACHINE or not bears_one_of(proof, user.certificate_names):
                text = f'this client certificate is not one of user "{user.name}" any more'
                return Denial("certificate-revoked", "28000", text, "Ask your administrator.")
            if now >= proof.valid_until:
                return Denial("certificate-expired", "28000", "this client certificate has expired", "Connect with a new one.")
            return proof.valid_until


def _out_of_bounds(
    snapshot: Snapshot, credential: Credential, target: Target | None, mode: AccessMode, address: IPv4Address | IPv6Address
) -> Denial | None:
    """What the person may do otherwise, but not with this credential."""
    own = next((each.name for each in snapshot.targets.values() if each.id == credential.target_id), "")
    if target is None or target.id != credential.target_id:
        hint = f"Connect to {own}, or issue one for the other target: pgbastion credentials issue TARGET"
        return Denial("credential-for-other-target", "28000", f'this short-lived credential is for target "{own}" alone', hint)
    if not includes(credential.mode, mode):
        hint = f"Connect to {own}, or issue one that may: pgbastion credentials issue {own} --mode {mode.value}"
        return Denial("credential-mode", "28000", "this short-lived credential only reads", hint)
    if credential.network is not None and address not in credential.network:
        return _address_refused("address-not-admitted-for-credential", address, "this short-lived credential")
    return None


def _restricted(
    mode: ListMode, entries: AddressList | None, address: IPv4Address | IPv6Address, now: datetime
) -> Admission | None:
    if mode is ListMode.INHERIT:
        return Admission(None)
    return None if entries is None else entries.admission(address, now)


def _holders(snapshot: Snapshot, user: User) -> tuple[str, ...]:
    """Whose grants the user may use: their own and those of their groups."""
    return (user.id, *snapshot.memberships.get(user.id, ()))


def held_grants(snapshot: Snapshot, user: User, target: Target) -> list[Grant]:
    """All that the user holds on the target, whether or not it may be used now: own, groups', and what an admin role is."""
    held = [grant for holder in _holders(snapshot, user) for grant in snapshot.held.get((holder, target.id), ())]
    standing = standing_right(snapshot, user.id, target)
    return held if standing is None else [*held, standing]


def standing_right(snapshot: Snapshot, user_id: str, target: Target) -> Grant | None:
    """What an admin role that may connect in the target's environment is: a grant to read, as long as the role is held."""
    role_id = snapshot.standing.get((user_id, target.environment_id))
    if role_id is None:
        return None
    return Grant(f"role:{role_id}:{target.environment_id}", user_id, target.id, AccessMode.READ_ONLY, None)


def _stands(snapshot: Snapshot, user: User, target: Target) -> bool:
    return (user.id, target.environment_id) in snapshot.standing


def _earliest(*ends: datetime | None) -> datetime | None:
    return min((end for end in ends if end is not None), default=None)


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
        and before.allowed_schemas <= after.allowed_schemas
        and before.allowed_settings <= after.allowed_settings
    )


def _locked_down(sqlstate: str, reason: str) -> Denial:
    why = f": {reason}" if reason else ""
    return Denial("lockdown", sqlstate, f"the gateway is closed for everybody{why}", "Try again when it was opened again.")


def _session_terminated(reason: str) -> Denial:
    why = f": {reason}" if reason else ""
    return Denial("session-terminated", "57P01", f"an administrator ended this session{why}", "")


def _address_refused(rule: str, address: IPv4Address | IPv6Address, place: str) -> Denial:
    return Denial(
        rule,
        "28000",
        f"address {address} is not on the allowlist of {place}",
        "Connect from an admitted network, or ask your administrator to add this address.",
    )


def _no_such_target(snapshot: Snapshot, target_name: str, user: User, now: datetime) -> Denial:
    """One text for a target that does not exist and for one without a grant: what exists is not for everybody to know."""
    names = {target.id: target.name for target in snapshot.targets.values()}
    held: dict[str, bool] = {}
    for grant in (grant for holder in _holders(snapshot, user) for grant in snapshot.grants.get(holder, ())):
        if validity(grant, now).when is When.LIVE and (name := names.get(grant.target_id)) is not None:
            held[name] = held.get(name, False) or (grant.mode is AccessMode.READ_WRITE and not user.read_only)
    if snapshot.standing:
        held |= {each.name: held.get(each.name, False) for each in snapshot.targets.values() if _stands(snapshot, user, each)}
    if not held:
        hint = "You have no targets yet: ask your administrator for a grant."
    else:
        shown = [f"{name} and {name}:rw" if held[name] else name for name in sorted(held)]
        more = f", and {len(shown) - _LISTED_TARGETS} more" if len(shown) > _LISTED_TARGETS else ""
        hint = f"Connect to one of your targets by its name as the database: {', '.join(shown[:_LISTED_TARGETS])}{more}."
    named = f'target "{target_name}" does not exist, or you have no grant for it' if target_name else "no target is named"
    return Denial("target-unknown", "3D000", named, hint)


def _not_open(target: Target, fitting: Sequence[Weighed], opens_at: datetime) -> Denial:
    """There is a grant, and it is not its time: said openly, for who holds it may know of the target."""
    first = next(each for each in fitting if each.comes == opens_at)
    if first.validity.when is When.NOT_YET:
        words = f'your access to target "{target.name}" has not begun: it does at {told(opens_at, first.grant.windows)}'
    else:
        words = (
            f'your access to target "{target.name}" is closed at this hour: it opens at {told(opens_at, first.grant.windows)}'
        )
    windows = "; ".join(str(window) for window in first.grant.windows)
    hint = f"It is open {windows}." if windows else "Connect then, or ask your administrator."
    return Denial("grant-not-open", "28000", words, hint)


def _user_only_reads(user: User, target: Target) -> Denial:
    return Denial(
        "user-read-only",
        "42501",
        f'user "{user.name}" may only read, whatever is granted',
        f'Connect to "{target.name}" to read.',
    )


def _mode_not_granted(target: Target) -> Denial:
    return Denial(
        "mode-not-granted",
        "42501",
        f'you may only read from target "{target.name}"',
        f'Connect to "{target.name}" to read, or ask your administrator for a read_write grant.',
    )
