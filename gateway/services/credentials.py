"""Short-lived database credentials: a person who has signed in gets a login and a password for one target, minutes to hours.

The password is shown once, to whoever issues; only a verifier is kept. A credential adds no right: see `access/proof.py`.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from gateway.access.authorize import reachable, user_by_id
from gateway.access.model import Denial, Snapshot, User
from gateway.access.networks import NetworkError, parse_network
from gateway.access.proof import MARK, Credential, handle_of, login_name
from gateway.access.verifiers import make_verifier
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.change import Change, begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_version, find_user, is_live
from gateway.settings import Credentials as Rules

_RANDOM_BYTES: Final = 32
_SHORTEST: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """`password`: to be shown once. `login`: what to log in as."""

    credential: Credential
    login: str
    password: Secret


async def issue_credential(
    store: Store,
    *,
    target: str,
    mode: AccessMode = AccessMode.READ_ONLY,
    user: str | None = None,
    seconds: int | None = None,
    network: str | None = None,
    max_sessions: int | None = None,
    rules: Rules,
    actor: str,
    reason: str,
) -> Issued:
    """For the actor's own account, or as an owner for another `user`. `network`: from there alone, a CIDR or an address.

    `rules`: what the settings allow. Refuses what the person could not connect to now, in the words of a login.
    """
    lifetime = _lifetime(seconds, rules)
    place = _network(network)
    places = _max_sessions(max_sessions, rules)
    password = Secret(secrets.token_urlsafe(_RANDOM_BYTES))
    verifier = make_verifier(password.reveal(), secrets.token_bytes(16))
    async with begin(store, actor, reason) as change:
        whose = _whose(change, user)
        change.require("credentials.own", user_id=whose.id)
        # What a person may connect to is another matter than what they may administrate.
        found = reachable(change.whole, user=whose, target_name=target, mode=mode, now=change.now)
        if isinstance(found, Denial):
            raise ServiceError(found.rule, found.message, found.hint)
        _check_room(change, whose, rules)
        until = change.now + lifetime
        credential = Credential(
            id=_free_id(change.whole),
            user_id=whose.id,
            target_id=found.id,
            mode=mode,
            verifier=verifier,
            created_at=change.now,
            created_by=actor,
            valid_until=until,
            sessions_until=until + timedelta(seconds=rules.sessions_outlive_seconds),
            credential_version=whose.credential_version,
            max_sessions=places,
            network=place,
        )
        login = login_name(whose.name, credential)
        detail: dict[str, DetailValue] = {
            "user": whose.name,
            "target": found.name,
            "mode": mode.value,
            "valid_until": shown(until),
            "sessions_until": shown(credential.sessions_until),
            "max_sessions": places,
            "network": None if place is None else str(place),
        }
        return Issued(await change.save(credential, "credential.issued", login, detail), login, password)


async def revoke_credential(
    store: Store, *, credential: str, actor: str, reason: str, expected_version: int | None = None
) -> Credential:
    """`credential`: its id, its handle or its login name. No login with it any more, and its sessions end."""
    async with begin(store, actor, reason) as change:
        found = find_credential(change.whole, credential)
        if not change.who.owner and found.user_id != change.who.user_id:
            raise _unknown(credential)  # what others have is not for everybody to know
        change.require("credentials.own", user_id=found.user_id)
        check_version(f'credential "{credential}"', found.version, expected_version)
        user = user_by_id(change.whole, found.user_id)
        name = found.handle if user is None else login_name(user.name, found)
        return await change.drop(found, "credential.revoked", name, {"valid_until": shown(found.valid_until)})


def find_credential(snapshot: Snapshot, text: str) -> Credential:
    """By its id, its handle or its login name."""
    handle = handle_of(text.rpartition(MARK)[2])
    found = snapshot.credentials.get(handle)
    known = () if found is None else (found.id, found.handle, *_logins(snapshot, found))
    if found is None or text not in known:
        raise _unknown(text)
    return found


def live_credentials(snapshot: Snapshot, user: User, now: datetime) -> list[Credential]:
    return [each for each in snapshot.credentials.values() if each.user_id == user.id and is_live(each.valid_until, now)]


def _logins(snapshot: Snapshot, credential: Credential) -> tuple[str, ...]:
    user = user_by_id(snapshot, credential.user_id)
    return () if user is None else (login_name(user.name, credential),)


def _unknown(text: str) -> ServiceError:
    return ServiceError("credential-unknown", f'there is no credential "{text}"', "See: pgbastion credentials list")


def _whose(change: Change, user: str | None) -> User:
    own = None if change.who.user_id is None else user_by_id(change.whole, change.who.user_id)
    if own is not None and user in (None, own.name):
        return own
    if user is None:
        text = "a credential belongs to a person, and nobody is signed in"
        raise ServiceError("credential-for-nobody", text, "Sign in (pgbastion login), or say for whom: --user NAME")
    if not change.who.owner:  # before the name is looked up: who is there is not for everybody to know
        change.require("credentials.own")
    return find_user(change.whole, user)


def _check_room(change: Change, user: User, rules: Rules) -> None:
    live = len(live_credentials(change.whole, user, change.now))
    if live >= rules.max_per_user:
        raise ServiceError(
            "too-many-credentials",
            f'user "{user.name}" has {live} live credentials already',
            "Revoke one: pgbastion credentials revoke LOGIN; or wait until one expires.",
        )


def _free_id(snapshot: Snapshot) -> str:
    while True:
        made = new_id()
        if handle_of(made) not in snapshot.credentials:
            return made


def _lifetime(seconds: int | None, rules: Rules) -> timedelta:
    wanted = timedelta(seconds=rules.default_seconds if seconds is None else seconds)
    longest = timedelta(seconds=rules.max_seconds)
    if not _SHORTEST <= wanted <= longest:
        raise ServiceError(
            "credential-lifetime",
            f"a credential lives {_SHORTEST.total_seconds():.0f} to {rules.max_seconds} seconds",
            "Whoever runs the gateway can raise credentials.max_seconds.",
        )
    return wanted


def _max_sessions(wanted: int | None, rules: Rules) -> int:
    if wanted is None:
        return rules.max_sessions
    if not 1 <= wanted <= rules.max_sessions:
        raise ServiceError(
            "credential-sessions",
            f"a credential opens 1 to {rules.max_sessions} sessions at a time",
            "Whoever runs the gateway can raise credentials.max_sessions.",
        )
    return wanted


def _network(text: str | None) -> IPv4Network | IPv6Network | None:
    if text is None:
        return None
    try:
        return parse_network(text)
    except NetworkError as error:
        raise ServiceError("network-invalid", str(error)) from None
