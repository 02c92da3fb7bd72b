"""What belongs to a token: when it was last used, from where it is taken, and that what it has opened ends with its rights."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from admin_api.token_uses import TokenUses
from gateway.access.model import Permission, TokenScope
from gateway.services import admin_roles, environments, groups, users
from gateway.services.tokens import Bounds, create_token
from gateway.store.errors import StoreUnavailableError
from tests.api.conftest import WHY, Api
from tests.api.test_api_streams import streaming

AUDIT = "/v1/audit/stream"


async def token_of(api: Api, name: str, **bounds: object) -> str:
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = await create_token(
        api.store,
        name=name,
        scope=TokenScope.ADMIN,
        valid_until=soon,
        bounds=Bounds(**bounds),
        **WHY,  # type: ignore[arg-type]
    )
    return made.secret.reveal()


async def shown(api: Api, name: str) -> dict[str, object]:
    items = (await api.admin.get("/v1/tokens")).json()["items"]
    return next(each for each in items if each["name"] == name)


@pytest.fixture
def uses(api: Api) -> TokenUses:
    """As the process wires them."""
    made = TokenUses(api.store)
    object.__setattr__(api.context, "token_used", made.note)
    return made


# --- the last use


async def test_the_last_use_is_told_without_a_new_revision(api: Api, uses: TokenUses) -> None:
    text = await token_of(api, "deploy")
    assert (await shown(api, "deploy"))["last_used_at"] is None
    revision = (await api.store.read()).revision
    before = datetime.now(UTC).replace(microsecond=0)
    async with api.client(text) as client:
        assert (await client.get("/v1/whoami")).status_code == 200
    await uses.write()
    used = datetime.fromisoformat(str((await shown(api, "deploy"))["last_used_at"]))
    assert before <= used <= datetime.now(UTC)
    assert (await api.store.read()).revision == revision
    assert (await shown(api, "watcher"))["last_used_at"] is None


async def test_what_was_refused_is_no_use(api: Api, uses: TokenUses) -> None:
    elsewhere = await token_of(api, "elsewhere", networks=("10.1.0.0/16",))
    async with api.client(elsewhere) as client, api.client("pgb_" + "x" * 43) as stranger:
        assert (await client.get("/v1/whoami")).status_code == 403
        assert (await stranger.get("/v1/whoami")).status_code == 401
    await uses.write()
    assert (await shown(api, "elsewhere"))["last_used_at"] is None


async def test_a_use_that_the_store_does_not_take_is_told_later() -> None:
    """And a newer one goes before it."""
    written: list[dict[str, datetime]] = []
    broken = True

    class Store:
        async def record_token_uses(self, found: object) -> None:
            if broken:
                raise StoreUnavailableError("away")
            written.append(dict(found))  # type: ignore[call-overload]

    first, second = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    made = TokenUses(Store())
    made.note("one", first)
    made.note("two", first)
    await made.write()
    made.note("one", second)
    broken = False
    await made.write()
    await made.write()
    assert written == [{"one": second, "two": first}]


# --- from where


@pytest.mark.parametrize(
    ("networks", "address", "taken"),
    [
        (("127.0.0.5",), "127.0.0.5", True),
        (("127.0.0.5",), "127.0.0.1", False),
        (("127.0.0.5",), "::ffff:127.0.0.5", True),
        (("127.0.0.0/30", "127.0.0.9"), "127.0.0.9", True),
        (("::1",), "127.0.0.1", False),
        (("::1", "127.0.0.0/8"), "::1", True),
        ((), "127.0.0.1", True),
    ],
)
async def test_a_token_is_taken_from_its_own_networks(api: Api, networks: tuple[str, ...], address: str, taken: bool) -> None:
    text = await token_of(api, "bound", networks=networks)
    async with api.client(text, address) as client:
        answer = await client.get("/v1/whoami")
    assert (answer.status_code == 200) is taken
    if not taken:
        assert (answer.status_code, answer.json()["rule"]) == (403, "address-not-admitted-for-token")
    async with streaming(api, AUDIT, text, address) as stream:
        assert (stream.status == 200) is taken


async def test_the_apis_own_list_goes_before_a_tokens(api: Api) -> None:
    text = await token_of(api, "wide", networks=("0.0.0.0/0",))
    async with api.client(text, "192.0.2.7") as client:
        answer = await client.get("/v1/whoami")
    assert (answer.status_code, answer.json()["rule"]) == (403, "address-not-admitted")


async def test_networks_are_listed_and_wrong_ones_refused(api: Api) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"name": "ci", "scope": "read", "valid_until": until}
    made = await api.admin.post("/v1/tokens", json={**body, "networks": ["10.1.0.0/16", "2001:db8::7"]})
    assert made.json()["networks"] == ["10.1.0.0/16", "2001:db8::7/128"]
    assert (await shown(api, "ci"))["networks"] == ["10.1.0.0/16", "2001:db8::7/128"]
    wrong = await api.admin.post("/v1/tokens", json={**body, "name": "cd", "networks": ["10.1.0.1/16"]})
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "network-invalid")


# --- what it has opened


@pytest.fixture
async def watching(api: Api) -> str:
    """The token of ana, who may read the audit of what is in `prod`, where shop is."""
    await users.create_user(api.store, name="ana", **WHY)
    await environments.create_environment(api.store, name="prod", **WHY)
    await environments.create_environment(api.store, name="other", **WHY)
    await api.target("shop", environment="prod")
    await admin_roles.create_admin_role(api.store, name="watch", members=("ana",), **WHY)
    ops = frozenset({Permission.OBSERVABILITY})
    await admin_roles.grant_permissions(api.store, name="watch", environment="prod", permissions=ops, **WHY)
    return await token_of(api, "anas", user="ana")


Ends = Callable[[Api], Awaitable[object]]

ENDINGS: dict[str, Ends] = {
    "the permission is taken": lambda api: admin_roles.revoke_permissions(
        api.store, name="watch", environment="prod", permissions=frozenset({Permission.OBSERVABILITY}), **WHY
    ),
    "out of the role": lambda api: admin_roles.change_members(api.store, name="watch", remove=("ana",), **WHY),
    "the role is deleted": lambda api: admin_roles.delete_admin_role(api.store, name="watch", **WHY),
    "the target is elsewhere": lambda api: environments.move_to_environment(api.store, name="shop", environment="other", **WHY),
    "the person is disabled": lambda api: users.disable_user(api.store, name="ana", **WHY),
    "more is given": lambda api: admin_roles.change_members(api.store, name="owners", add=("ana",), **WHY),
}


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_running_audit_stream_ends_when_rights_change(api: Api, watching: str, how: str) -> None:
    """Within some two seconds. Whoever has rights left opens another, and sees what these show."""
    async with streaming(api, AUDIT, watching) as stream:
        assert stream.status == 200
        await ENDINGS[how](api)
        kind, said, _ = await stream.next(4)
        assert (kind, said) == ("end", {"reason": "your rights have changed"})
        await asyncio.wait_for(stream.ended.wait(), 1)


async def test_it_ends_with_a_deleted_person_as_with_the_token(api: Api, watching: str) -> None:
    async with streaming(api, AUDIT, watching) as stream:
        await users.delete_user(api.store, name="ana", **WHY)
        assert (await stream.next(4))[:2] == ("end", {"reason": "the token has ended"})


async def test_what_changes_nothing_for_them_ends_nothing(api: Api, watching: str) -> None:
    async with streaming(api, AUDIT, watching) as stream:
        await groups.create_group(api.store, name="others", **WHY)
        await admin_roles.create_admin_role(api.store, name="else", **WHY)
        await api.target("elsewhere", environment="other")
        with pytest.raises(TimeoutError):
            await stream.next(2.5)


async def test_a_token_that_was_cut_down_keeps_its_stream_when_only_its_user_gains(api: Api, watching: str) -> None:
    cut = await token_of(api, "cut", user="ana", environments=frozenset({"prod"}))
    more = frozenset({Permission.DEPLOY})
    async with streaming(api, AUDIT, cut) as stream:
        await admin_roles.grant_permissions(api.store, name="watch", environment="other", permissions=more, **WHY)
        with pytest.raises(TimeoutError):
            await stream.next(2.5)
