"""From a target to the login roles on its server: by the admin login that somebody gave for it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from gateway.access.model import Target
from gateway.custody.login_roles import Connect, LoginRoles
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection
from gateway.ports import SealedUse, SecretBox, TargetAdmin
from gateway.services.managed_work import Server, Servers
from gateway.services.target_admins import AdminBook, admin_of


def servers_of(book: AdminBook, box: SecretBox, gateway_id: str) -> Servers:
    """What asks for a server raises ServiceError when nobody gave the target's admin login."""

    async def server_of(target: Target) -> Server:
        return LoginRoles(gateway_id, target.dbname, connections_of(await admin_of(book, target), target, box))

    return server_of


def connections_of(admin: TargetAdmin, target: Target, box: SecretBox) -> Connect:
    """While its password is being rotated there are two; one of them works."""
    sealed = [each for each in (admin.sealed_secret, admin.pending_secret) if each is not None]

    @asynccontextmanager
    async def connect(dbname: str) -> AsyncIterator[AdminConnection]:
        async with AsyncExitStack() as stack:
            yield await enter(stack, replace(target, dbname=dbname))

    async def enter(stack: AsyncExitStack, place: Target) -> AdminConnection:
        for number, each in enumerate(sealed, 1):
            secret = box.open_for(SealedUse.TARGET_ADMIN, admin.target_id, each)
            try:
                return await stack.enter_async_context(admin_connection(place, admin.login, secret))
            except UpstreamAdminError as error:
                if number == len(sealed) or not error.wrong_password:
                    raise
        raise AssertionError("the last one returns or raises")

    return connect
