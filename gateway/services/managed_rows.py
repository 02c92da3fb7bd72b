"""What the store knows of managed logins, step by step: each step is one change with its audit event.

The store is first when a login is made, and last when one is dropped: so there is never a role on a server that no row speaks of,
unless the store itself was put back to an earlier day.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedState, login_name
from gateway.access.managed_rights import Behind, Rights
from gateway.audit.admin_event import DetailValue
from gateway.ports import Sealer, Store
from gateway.secret import Secret
from gateway.services.change import Change, begin, new_id, shown
from gateway.services.errors import ServiceError

SYSTEM: Final = "system"
_SECRET_BYTES: Final = 32
_MAX_FINDING: Final = 500
_ENDING: Final = (ManagedState.DROPPING, ManagedState.KEPT)


class Marked(Protocol):
    """Where the gateway's own id is read."""

    async def gateway_id(self) -> str:
        """The same for every process of a gateway, and as long as its store lives."""
        ...


class MarkedStore(Store, Marked, Protocol):
    """A store that knows whose it is."""


class ManagedRows:
    """`gateway_id` goes into the names of logins."""

    def __init__(self, store: Store, sealer: Sealer, gateway_id: str) -> None:
        self._store = store
        self._sealer = sealer
        self.gateway_id: Final = gateway_id

    async def begin(self, key: ManagedKey, refused: bytes | None, reason: str, attempt: int = 0) -> tuple[ManagedLogin, Behind]:
        """The login of this key, as it is to be on the server: ACTIVE when it is there already, else CREATING.

        `refused`: the sealed secret which the server did not take; if that is still the login's, it gets another. `attempt`: under
        another name than the first. Raises ServiceError when there is no right to one.
        """
        async with begin(self._store, SYSTEM, reason) as change:
            behind = Rights(change.whole).behind(key, change.now)
            if behind is None:
                raise ServiceError("managed-right-ended", "there is no right to a login of one's own on this target")
            known = change.whole.managed.get(key)
            if known is not None and known.member_of == behind.member_of and attempt == 0:
                if known.state is ManagedState.ACTIVE and known.sealed_secret != refused:
                    return known, behind
                if known.state is ManagedState.CREATING:  # whoever began it may be about to give it this very password
                    return known, behind
            row_id = new_id() if known is None else known.id
            name = login_name(self.gateway_id, key, behind.user.name, attempt)
            row = ManagedLogin(
                id=row_id,
                key=key,
                user_name=behind.user.name,
                login=name if known is None or attempt else known.login,
                member_of=behind.member_of,
                sealed_secret=self._sealer.seal(row_id, Secret(secrets.token_urlsafe(_SECRET_BYTES))),
                valid_until=behind.until,
                state=ManagedState.CREATING,
                created_at=change.now if known is None else known.created_at,
            )
            detail = {"before": None if known is None else known.state.value}
            return await _save(change, row, "managed_login.begun", behind.target.name, detail), behind

    async def made(self, row: ManagedLogin, until: datetime | None) -> ManagedLogin:
        """The server has it, until then. Raises ServiceError when something else was decided meanwhile."""
        async with begin(self._store, SYSTEM, "made on the server") as change:
            known = change.whole.managed.get(row.key)
            if known is None or known.sealed_secret != row.sealed_secret or known.login != row.login:
                raise ServiceError("managed-right-ended", "the login was changed while it was made", "Connect again.")
            if known.state is ManagedState.ACTIVE:  # another process made the same
                return known
            if known.state is not ManagedState.CREATING:
                raise ServiceError("managed-right-ended", "the right to this login ended while it was made")
            whole = replace(known, state=ManagedState.ACTIVE, valid_until=until, finding="")
            return await _save(change, whole, "managed_login.made", _target_name(change, row))

    async def prolonged(self, row: ManagedLogin, until: datetime | None) -> None:
        """Or shortened."""
        async with begin(self._store, SYSTEM, "the right was changed") as change:
            known = change.whole.managed.get(row.key)
            if known is not None and known.state is ManagedState.ACTIVE and known.valid_until != until:
                detail = {"before": shown(known.valid_until)}
                changed = replace(known, valid_until=until, finding="")
                await _save(change, changed, "managed_login.prolonged", _target_name(change, row), detail)

    async def ending(self, row: ManagedLogin) -> ManagedLogin | None:
        """It is to be dropped. None: it is not, there is a right again, or it is gone."""
        async with begin(self._store, SYSTEM, "the right ended") as change:
            known = change.whole.managed.get(row.key)
            if known is None or known.state in _ENDING:
                return known
            if Rights(change.whole).still(known, change.now) is not None:
                return None
            return await _save(
                change, replace(known, state=ManagedState.DROPPING), "managed_login.ending", _target_name(change, row)
            )

    async def is_ending(self, row: ManagedLogin) -> bool:
        """As of now."""
        known = (await self._store.read()).managed.get(row.key)
        return known is not None and known.login == row.login and known.state in _ENDING

    async def dropped(self, row: ManagedLogin) -> None:
        """Nothing is left of it on the server."""
        async with begin(self._store, SYSTEM, "the right ended") as change:
            known = change.whole.managed.get(row.key)
            if known is not None and known.state in _ENDING:
                detail: dict[str, DetailValue] = {"login": known.login, "user": known.user_name, "mode": known.key.mode.value}
                change.remove(known, "managed_login.dropped", _target_name(change, row), detail)
                await change.commit()

    async def kept(self, row: ManagedLogin, finding: str) -> None:
        """It cannot log in, and cannot be dropped."""
        await self._note(row, finding, ManagedState.KEPT, "managed_login.kept")

    async def failed(self, row: ManagedLogin, finding: str) -> None:
        """What was tried did not come off, and is tried again."""
        await self._note(row, finding, None, "managed_login.failed")

    async def _note(self, row: ManagedLogin, finding: str, state: ManagedState | None, action: str) -> None:
        """Said again and again, it is written once."""
        finding = finding[:_MAX_FINDING]
        async with begin(self._store, SYSTEM, "on the server") as change:
            known = change.whole.managed.get(row.key)
            if known is None or (state is ManagedState.KEPT and known.state not in _ENDING):
                return
            changed = replace(known, state=state or known.state, finding=finding)
            if changed != known:
                await _save(change, changed, action, _target_name(change, row), {"finding": finding})


async def _save(
    change: Change, row: ManagedLogin, action: str, target: str, more: Mapping[str, DetailValue] | None = None
) -> ManagedLogin:
    detail: dict[str, DetailValue] = {
        "login": row.login,
        "user": row.user_name,
        "mode": row.key.mode.value,
        "member_of": row.member_of,
        "valid_until": shown(row.valid_until),
    }
    if row.key.grant_id is not None:
        detail["grant"] = row.key.grant_id
    return await change.save(row, action, target, {**detail, **(more or {})})


def _target_name(change: Change, row: ManagedLogin) -> str:
    return next((each.name for each in change.whole.targets.values() if each.id == row.key.target_id), "")
