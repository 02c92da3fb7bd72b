"""Sign-ins through the provider: begun here, finished here."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from admin_api.context import AdminContext
from admin_api.oidc.flow import begin_flow, seal, unseal
from admin_api.oidc.http import ProviderError, ProviderRefused, ProviderUnavailable
from admin_api.oidc.provider import Provider
from admin_api.oidc.watch import seal_refresh
from admin_api.problems import ApiError
from gateway.secret import Secret
from gateway.services.identities import Newcomers, sign_in_vouched
from gateway.services.signing_in import SignedIn, SignInRefused, Terms
from gateway.store.provider_checks import ProviderCheck

_NOTHING: Final = Secret("")
_NOT_ACCEPTED: Final = "what the identity provider said cannot be accepted"

_log: Final = structlog.stdlib.get_logger("admin_api")


@dataclass(frozen=True, slots=True)
class Begun:
    url: str
    state: str
    flow: str


class ProviderDesk:
    """The provider that the settings name now, if they do: it is made anew when they change."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._provider: Provider | None = None

    def provider(self) -> Provider | None:
        settings = self._context.settings.now.oidc
        if not settings.issuer:
            return None
        if self._provider is None or self._provider.settings != settings:
            try:
                self._provider = Provider(settings, self._context.clock)
            except ProviderError as error:
                _log.error("the identity provider cannot be asked", error=str(error))
                return None
        return self._provider

    async def begin(self, redirect_uri: str) -> Begun:
        """Raises ApiError, and ServiceError for a redirect that leads elsewhere."""
        provider = self._needed()
        flow = begin_flow(redirect_uri, self._context.clock())
        try:
            url = await provider.authorization_url(flow)
        except ProviderError as error:
            raise _unusable(error) from error
        return Begun(url, flow.state, seal(flow, self._context.sealer, provider.settings.issuer))

    async def finish(self, *, flow: str, state: str, code: Secret, issuer: str | None, terms: Terms, address: str) -> SignedIn:
        """Raises ApiError, SignInRefused, and ServiceError for a stranger."""
        context, provider = self._context, self._needed()
        settings = provider.settings
        known = unseal(flow, state, context.sealer, settings.issuer, context.clock())
        try:
            said = await provider.redeem(code, known, issuer)
        except ProviderUnavailable as error:
            raise _unusable(error) from error
        except (ProviderRefused, ProviderError) as error:
            _log.warning("a sign-in through the identity provider was refused", error=str(error))
            raise SignInRefused(None, "identity provider", _NOT_ACCEPTED) from error
        newcomers = Newcomers(settings.managed, context.settings.now.users.rules) if settings.create_users else None
        made = await sign_in_vouched(context.store, vouched=said.vouched, terms=terms, newcomers=newcomers, address=address)
        await self._remember(made, said.refresh, provider)
        return made

    async def end_session_url(self) -> str | None:
        """None: there is no provider, it has no such place, or it does not answer: then its own sign-in ends by itself."""
        provider = self.provider()
        try:
            return None if provider is None else await provider.end_session_url()
        except ProviderError as error:
            _log.info("the identity provider does not say where one signs out", error=str(error))
            return None

    async def close(self) -> None:
        if self._provider is not None:
            await self._provider.close()

    async def _remember(self, made: SignedIn, refresh: Secret | None, provider: Provider) -> None:
        """To ask again. Without a refresh token what this sign-in is good for lasts as long as the provider may be silent."""
        minutes = provider.settings.unverified_minutes if refresh is None else provider.settings.recheck_minutes
        now = self._context.clock()
        sealed = seal_refresh(self._context.sealer, made.user.id, refresh or _NOTHING)
        await self._context.store.put_provider_check(ProviderCheck(made.user.id, sealed, now), now + timedelta(minutes=minutes))

    def _needed(self) -> Provider:
        if (provider := self.provider()) is None:
            hint = "Sign in with your password, or ask the operator to set oidc.issuer."
            raise ApiError(404, "provider-unknown", "no identity provider is set up here", hint)
        return provider


def _unusable(error: ProviderError) -> ApiError:
    _log.error("the identity provider cannot be used", error=str(error))
    text = "the identity provider does not answer as it should"
    return ApiError(503, "provider-unavailable", text, "The operators' log says why.")
