"""Whether the identity provider still vouches for those who signed in through it: the admin API's process asks, again and again.

A no ends sign-ins at once, and access to databases of who is managed; so does no answer for too long, until there is one. How
long it takes at most: `oidc.recheck_minutes`, and a few seconds.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from admin_api.context import ClaimStore
from admin_api.oidc.http import ProviderError, ProviderRefused, ProviderUnavailable
from admin_api.oidc.provider import Provider
from gateway.access.accounts import Account, Standing
from gateway.access.model import TokenKind
from gateway.ports import SealedUse, SecretBox
from gateway.secret import Secret
from gateway.services.identities import hold_back, vouch_again
from gateway.store.errors import StoreError, VaultError
from gateway.store.provider_checks import ProviderCheck

_AT_ONCE: Final = 50
_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_REFUSED: Final = "the identity provider does not vouch for them any more"
_SILENT: Final = "the identity provider has not vouched for them for too long"

_log: Final = structlog.stdlib.get_logger("admin_api")


class ProviderWatch:
    def __init__(
        self, store: ClaimStore, box: SecretBox, provider: Callable[[], Provider | None], clock: Callable[[], datetime]
    ) -> None:
        """`provider`: the one that the settings name now; None: none."""
        self._store = store
        self._box = box
        self._provider = provider
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            provider = self._provider()
            pause = _LONGEST_PAUSE_SECONDS
            try:
                if provider is not None:
                    pause = min(max(provider.settings.recheck_minutes * 6, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                    await self.look(provider)
            except StoreError as error:
                _log.error("the identity provider cannot be asked again: the store does not answer", error=str(error))
            except Exception:  # whatever it was, this loop goes on: people's rights hang on it
                _log.exception("the identity provider could not be asked again")
            await asyncio.sleep(pause)

    async def look(self, provider: Provider) -> int:
        """Ask about everybody who is due; how many. Raises StoreError."""
        next_due_at = self._clock() + timedelta(minutes=provider.settings.recheck_minutes)
        asked = 0
        while due := await self._store.take_provider_checks(next_due_at, _AT_ONCE):
            asked += len(due)
            await asyncio.gather(*(self._ask(provider, check, next_due_at) for check in due))
        return asked

    async def _ask(self, provider: Provider, check: ProviderCheck, next_due_at: datetime) -> None:
        account = (await self._store.read()).accounts.get(check.account_id)
        if account is None or account.identity is None or account.identity.issuer != provider.settings.issuer:
            await self._store.drop_provider_check(check.account_id)
            return
        refresh = self._refresh_token(check)
        if refresh is None or not await self._is_needed(account):
            await self._leave(provider, check, account, refresh)
            return
        try:
            said = await provider.ask_again(refresh, account.identity)
        except ProviderRefused as error:
            if error.code == "invalid_grant":
                _log.warning("the identity provider does not vouch for somebody any more", account=account.id)
                await self._store.drop_provider_check(account.id)
                await hold_back(self._store, account_id=account.id, standing=Standing.REFUSED, why=_REFUSED)
                return
            await self._silent(provider, check, error)
        except (ProviderUnavailable, ProviderError) as error:
            await self._silent(provider, check, error)
        else:
            kept = check.sealed_refresh if said.refresh is None else seal_refresh(self._box, account.id, said.refresh)
            # First of all: the one that was used may be good no more.
            await self._store.put_provider_check(ProviderCheck(account.id, kept, self._clock()), next_due_at)
            await vouch_again(self._store, account_id=account.id, groups=said.vouched.groups)

    def _refresh_token(self, check: ProviderCheck) -> Secret | None:
        """None: the provider gave none, or it cannot be opened any more."""
        try:
            found = self._box.open_for(SealedUse.REFRESH_TOKEN, check.account_id, check.sealed_refresh)
        except VaultError as error:
            _log.error("a refresh token cannot be opened", error=str(error))
            return None
        return found if found.reveal() else None

    async def _is_needed(self, account: Account) -> bool:
        """Whether anything hangs on the answer: databases of who is managed, or a sign-in that is live."""
        now, snapshot = self._clock(), await self._store.read()
        live = (token for token in snapshot.tokens.values() if token.kind is TokenKind.SESSION and now < token.valid_until)
        return account.managed or any(token.user_id == account.id for token in live)

    async def _leave(self, provider: Provider, check: ProviderCheck, account: Account, refresh: Secret | None) -> None:
        """Without a refresh token nobody can be asked: what hangs on it ends. One that is not needed any more is revoked."""
        await self._store.drop_provider_check(check.account_id)
        if refresh is None:
            await hold_back(self._store, account_id=account.id, standing=Standing.UNVERIFIED, why=_SILENT)
            return
        try:
            await provider.revoke(refresh)
        except ProviderError as error:
            _log.info("a refresh token could not be revoked", error=str(error))

    async def _silent(self, provider: Provider, check: ProviderCheck, error: ProviderError) -> None:
        _log.warning("the identity provider was asked in vain", error=str(error))
        if self._clock() - check.vouched_at > timedelta(minutes=provider.settings.unverified_minutes):
            await hold_back(self._store, account_id=check.account_id, standing=Standing.UNVERIFIED, why=_SILENT)


def seal_refresh(box: SecretBox, account_id: str, refresh: Secret) -> bytes:
    """An empty one stands for none."""
    return box.seal_for(SealedUse.REFRESH_TOKEN, account_id, refresh)
