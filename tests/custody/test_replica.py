"""On a read replica no role is made: it says so, before anything is tried. With a real one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gateway.access.model import ListMode, Target, TlsMode
from gateway.custody.inspection import inspect
from gateway.custody.login_roles import LoginRoleRefused, LoginRoles
from gateway.custody.upstream_admin import AdminConnection, admin_connection
from gateway.services.adoption_plan import Wishes, plan_adoption
from gateway.services.errors import ServiceError
from tests.support.standby import standby_of
from tests.support.upstream import Database, Upstream


@pytest.fixture(scope="module")
def replica(postgres: Upstream) -> Iterator[Upstream]:
    with standby_of(postgres) as made:
        yield made


def target_on(server: Upstream, dbname: str) -> Target:
    tls = TlsMode.VERIFY_FULL if server.has_tls else TlsMode.DISABLE
    ca_pem = server.ca_file.read_text() if server.has_tls else None
    return Target("t", "shop", server.host, server.port, dbname, tls, ca_pem, False, True, ListMode.INHERIT, {})


async def test_nothing_is_adopted_on_a_replica(replica: Upstream) -> None:
    target = target_on(replica, "postgres")
    async with admin_connection(target, replica.superuser, replica.superuser_password) as connection:
        found = await inspect(connection, "shop_ro", "shop_rw")
    assert found.admin.in_recovery
    with pytest.raises(ServiceError, match="read replica") as refused:
        plan_adoption(found, target, Wishes("shop_ro", "shop_rw"), frozenset())
    assert refused.value.rule == "adopt-replica"


async def test_nobody_gets_a_role_of_their_own_on_a_replica(replica: Upstream, database: Database) -> None:
    target = target_on(replica, "postgres")

    @asynccontextmanager
    async def connect(_name: str) -> AsyncIterator[AdminConnection]:
        async with admin_connection(target, replica.superuser, replica.superuser_password) as connection:
            yield connection

    with pytest.raises(LoginRoleRefused, match="read replica") as refused:
        await LoginRoles("g", "postgres", connect).check([database.app_ro.name])
    assert refused.value.rule == "managed-on-replica"
