"""Keys to the admin API. A token is shown once, when it is made; only its hash is kept. Every token ends by itself.

32 random bytes need no salt and no slow hash: SHA-256 of them can only be undone by guessing 256 bits.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.access.model import ApiToken, Permission, Snapshot, TokenKind, TokenScope, User
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.allowlist import read_network
from gateway.services.change import begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_environment, find_named_token, find_user, is_live
from gateway.services.naming import SYSTEM, check_expiry, check_token_name

FIRST_NAME: Final = "first-admin"
FIRST_LIFETIME: Final = timedelta(hours=24)

_PREFIX: Final = "pgb_"  # so that scanners of repositories and logs can tell what leaked
_RANDOM_BYTES: Final = 32
_SESSION_NAME_BYTES: Final = 6
_TEXT: Final = re.compile(r"pgb_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """`secret` is the token itself, to be shown once."""

    token: ApiToken
    secret: Secret


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a token is cut down to. `user`: whose it is; None: its maker's (of somebody at the machine itself: an owner's).

    `environments` by name; None: all. `permissions` None: all that its user has. `networks`: from where; empty: anywhere.
    """

    user: str | None = None
    environments: frozenset[str] | None = None
    permissions: frozenset[Permission] | None = None
    networks: Sequence[str] = ()


EVERYTHING: Final = Bounds()


async def create_token(
    store: Store,
    *,
    name: str,
    scope: TokenScope,
    valid_until: datetime,
    bounds: Bounds = EVERYTHING,
    actor: str,
    reason: str,
) -> NewToken:
    """A new key to the admin API. An expired one of the same name gives way.

    It can never do more than whose it is may at the moment of a request.
    """
    check_token_name(name)
    networks = tuple(read_network(text, "Examples: 10.1.0.0/16, 192.0.2.7") for text in bounds.networks)
    async with begin(store, actor, reason) as change:
        check_expiry(valid_until, change.now)
        tokens = change.whole.tokens
        check_name_is_free("token", name, (each for each in tokens if is_live(tokens[each].valid_until, change.now)))
        for old in tokens.values():
            if old.name.lower() == name.lower():
                change.also_remove(old)
        made, secret = _make(name, scope, change.now, valid_until, actor)
        token = replace(
            made,
            user_id=change.who.user_id if bounds.user is None else find_user(change.snapshot, bounds.user).id,
            environments=_ids(change.snapshot, bounds.environments),
            permissions=bounds.permissions,
            networks=networks,
        )
        detail = _detail(token) | _bounds_detail(bounds, change.snapshot, token)
        return NewToken(await change.save(token, "token.created", name, detail), secret)


async def ensure_first_token(store: Store) -> NewToken | None:
    """A token to begin with, when nobody ever had one or could sign in. Of several starts at once exactly one gets it."""
    async with begin(store, SYSTEM, "first start") as change:
        if change.snapshot.tokens or change.snapshot.accounts:
            return None
        token, secret = _make(FIRST_NAME, TokenScope.ADMIN, change.now, change.now + FIRST_LIFETIME, SYSTEM)
        return NewToken(await change.save(token, "token.created", token.name, _detail(token)), secret)


async def revoke_token(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> ApiToken:
    """It opens nothing any more.

    The last token is ended but stays listed: with no token at all, the next start would hand out a first one again.
    """
    async with begin(store, actor, reason) as change:
        token = find_named_token(change.snapshot, name, expected_version)
        if len(change.snapshot.tokens) > 1:
            return await change.drop(token, "token.revoked", name, _detail(token))
        if not is_live(token.valid_until, change.now):
            raise ServiceError("token-ended-already", f'token "{name}" has ended already', "The last token stays listed.")
        return await change.save(replace(token, valid_until=change.now), "token.revoked", name, _detail(token))


def find_token(snapshot: Snapshot, presented: Secret, now: datetime) -> ApiToken | None:
    """Whose token this is; None for an unknown, expired or malformed one. How long it takes says nothing about which."""
    text = presented.reveal()
    if not _TEXT.fullmatch(text):
        return None
    digest = _hash(text)
    found = None
    for token in snapshot.tokens.values():
        if hmac.compare_digest(token.token_hash, digest):
            found = token
    return found if found is not None and now < found.valid_until else None


def make_session_token(
    now: datetime, valid_until: datetime, user: User, actor: str, scope: TokenScope
) -> tuple[ApiToken, Secret]:
    """For somebody who signed in; not stored yet. Its name is one that nobody chose: what it stands for is in `user_id`."""
    name = f"session-{secrets.token_hex(_SESSION_NAME_BYTES)}"
    token, secret = _make(name, scope, now, valid_until, actor)
    return replace(token, user_id=user.id, kind=TokenKind.SESSION), secret


def _make(name: str, scope: TokenScope, now: datetime, valid_until: datetime, actor: str) -> tuple[ApiToken, Secret]:
    text = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return ApiToken(new_id(), name, _hash(text), scope, now, valid_until, actor), Secret(text)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()


def _ids(snapshot: Snapshot, names: frozenset[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(find_environment(snapshot, name).id for name in names)


def _bounds_detail(bounds: Bounds, snapshot: Snapshot, token: ApiToken) -> dict[str, DetailValue]:
    """What it is cut down to, as far as it is."""
    whose = next((user.name for user in snapshot.users.values() if user.id == token.user_id), None)
    named: dict[str, DetailValue] = {
        "user": whose,
        "environments": None if bounds.environments is None else tuple(sorted(bounds.environments)),
        "permissions": None if token.permissions is None else tuple(sorted(each.value for each in token.permissions)),
        "networks": tuple(str(network) for network in token.networks) or None,
    }
    return {key: value for key, value in named.items() if value is not None}


def _detail(token: ApiToken) -> dict[str, DetailValue]:
    return {"scope": token.scope.value, "valid_until": shown(token.valid_until)}
