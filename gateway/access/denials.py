"""Why access says no, put for the person it says it to. Pure; `authorize` decides."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.backing import backing
from gateway.access.holding import holders, is_usable, stands
from gateway.access.model import Denial, Grant, Snapshot, Target, User
from gateway.access.selection import Weighed
from gateway.access.validity import When, validity
from gateway.access.windows import told
from gateway.access_mode import AccessMode

_LISTED_TARGETS: Final = 20


def locked_down(sqlstate: str, reason: str) -> Denial:
    why = f": {reason}" if reason else ""
    return Denial("lockdown", sqlstate, f"the gateway is closed for everybody{why}", "Try again when it was opened again.")


def session_terminated(reason: str) -> Denial:
    why = f": {reason}" if reason else ""
    return Denial("session-terminated", "57P01", f"an administrator ended this session{why}", "")


def address_refused(rule: str, address: IPv4Address | IPv6Address, place: str) -> Denial:
    return Denial(
        rule,
        "28000",
        f"address {address} is not on the allowlist of {place}",
        "Connect from an admitted network, or ask your administrator to add this address.",
    )


def no_such_target(snapshot: Snapshot, target_name: str, user: User, now: datetime) -> Denial:
    """One text for a target that does not exist and for one without a grant: what exists is not for everybody to know."""
    targets = {target.id: target for target in snapshot.targets.values()}
    held: dict[str, bool] = {}
    for grant in (grant for holder in holders(snapshot, user) for grant in snapshot.grants.get(holder, ())):
        if (target := targets.get(grant.target_id)) is not None and _opens(snapshot, grant, target, now):
            writes = grant.mode is AccessMode.READ_WRITE and not user.read_only
            held[target.name] = held.get(target.name, False) or writes
    if snapshot.standing:
        held |= {each.name: held.get(each.name, False) for each in snapshot.targets.values() if stands(snapshot, user, each)}
    if not held:
        hint = f"You have no targets yet: {ask_for(snapshot, 'a grant')}."
    else:
        shown = [f"{name} and {name}:rw" if held[name] else name for name in sorted(held)]
        more = f", and {len(shown) - _LISTED_TARGETS} more" if len(shown) > _LISTED_TARGETS else ""
        hint = f"Connect to one of your targets by its name as the database: {', '.join(shown[:_LISTED_TARGETS])}{more}."
        hint += f" For another, {ask_for(snapshot, 'a grant')}." if snapshot.approval_policies else ""
    named = f'target "{target_name}" does not exist, or you have no grant for it' if target_name else "no target is named"
    return Denial("target-unknown", "3D000", named, hint)


def _opens(snapshot: Snapshot, grant: Grant, target: Target, now: datetime) -> bool:
    is_live = validity(grant, now).when is When.LIVE and not backing(snapshot, grant, now).lost
    return is_live and is_usable(grant, target)


def not_open(target: Target, fitting: Sequence[Weighed], opens_at: datetime) -> Denial:
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


def user_only_reads(user: User, target: Target) -> Denial:
    return Denial(
        "user-read-only",
        "42501",
        f'user "{user.name}" may only read, whatever is granted',
        f'Connect to "{target.name}" to read.',
    )


def grant_ended(target: Target, why: str = "") -> Denial:
    """`why`: as `endings` tells it, for people."""
    words = f'your access to target "{target.name}" has ended'
    if not why:
        return Denial(
            "grant-ended", "57P01", words, "It was revoked, or it expired; ask your administrator if you still need it."
        )
    # "request 17 was revoked by ana: ..." is about this very right.
    words = f"your access {why}" if why.startswith("request ") else f"{words}: {why}"
    return Denial("grant-ended", "57P01", words, f"Ask again if you still need it: pgbastion request create {target.name}")


def ask_for(snapshot: Snapshot, what: str) -> str:
    """How somebody gets it. The same for everybody: what may be asked for here is said only to who asks that."""
    if snapshot.approval_policies:
        return f"ask for {what} (pgbastion request targets lists what you may ask for)"
    return f"ask your administrator for {what}"


def mode_not_granted(snapshot: Snapshot, target: Target) -> Denial:
    return Denial(
        "mode-not-granted",
        "42501",
        f'you may only read from target "{target.name}"',
        f'Connect to "{target.name}" to read, or {ask_for(snapshot, "a read_write grant")}.',
    )
