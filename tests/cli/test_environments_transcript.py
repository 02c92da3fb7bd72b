"""Environments and the eight permissions, as hosted access control has them: each thing that an admin does, tried by somebody with
each permission alone, on the command line with a token of their own and over HTTP. (Every route and command against every
permission: tests/matrix.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.access.model import Permission
from tests.cli.world import World, served

UPSTREAM = "upstream-canary-of-prod-19c4"
P = Permission
EVERYBODY = frozenset(P)


@dataclass(frozen=True)
class Act:
    """Something to do, as people put it. `{me}` stands for a name that is the person's own. `body` is the request's JSON."""

    words: str
    method: str
    path: str
    body: dict[str, Any] | None
    allowed: frozenset[Permission]
    given: str = ""


LOGIN = {"login": "app_ro", "password": UPSTREAM}
ACTS = {
    "see that a database is there": Act("targets list", "GET", "/v1/targets/shop", None, EVERYBODY),
    "restart it: close and open": Act(
        "targets disable its_{me}",
        "PATCH",
        "/v1/targets/its_{me}",
        {"enabled": False},
        frozenset({P.ADMIN, P.DEPLOY, P.OBSERVABILITY}),
    ),
    "create one": Act(
        "targets create new_{me} --host db.internal --dbname x --environment prod",
        "POST",
        "/v1/targets",
        {"name": "new_{me}", "host": "db.internal", "dbname": "x", "environment": "prod"},
        frozenset({P.ADMIN, P.DEPLOY}),
    ),
    "read its configuration": Act(
        "grants list --target shop", "GET", "/v1/targets/shop/init-sql", None, frozenset({P.ADMIN, P.READ, P.SENSITIVE})
    ),
    "set its credentials": Act(
        "targets login its_{me} --mode ro --login app_ro --password-stdin",
        "PUT",
        "/v1/targets/its_{me}/logins/read_only",
        LOGIN,
        frozenset({P.ADMIN, P.SENSITIVE}),
        UPSTREAM,
    ),
    "open an endpoint to a network": Act(
        "allowlist create 192.0.2.0/24 --target its_{me}",
        "POST",
        "/v1/allowlist",
        {"network": "192.0.2.0/24", "level": {"target": "its_{me}"}},
        frozenset({P.ADMIN, P.DEPLOY}),
    ),
    "give somebody a right": Act(
        "grants create --user analyst --target its_{me} --mode ro",
        "POST",
        "/v1/grants",
        {"user": "analyst", "target": "its_{me}", "mode": "read_only"},
        frozenset({P.ADMIN}),
    ),
    "give themselves one": Act(
        "grants create --user with_{me} --target its_{me} --mode rw",
        "POST",
        "/v1/grants",
        {"user": "with_{me}", "target": "its_{me}", "mode": "read_write"},
        frozenset(),
    ),
    "rename the environment": Act(
        "environments rename room_{me} hall_{me}",
        "PATCH",
        "/v1/environments/room_{me}",
        {"name": "hall_{me}"},
        frozenset({P.ADMIN}),
    ),
    "remove a database": Act(
        "targets delete its_{me}", "DELETE", "/v1/targets/its_{me}", None, frozenset({P.ADMIN, P.DESTROY})
    ),
    "remove an environment": Act(
        "environments delete hut_{me}", "DELETE", "/v1/environments/hut_{me}", None, frozenset({P.ADMIN, P.DESTROY})
    ),
    "create an environment": Act(
        "environments create more_{me}", "POST", "/v1/environments", {"name": "more_{me}"}, frozenset()
    ),
    "touch what is in another environment": Act(
        "targets disable till", "PATCH", "/v1/targets/till", {"enabled": False}, frozenset()
    ),
    "make an admin role": Act("roles create mine_{me}", "POST", "/v1/roles", {"name": "mine_{me}"}, frozenset()),
}


@dataclass(frozen=True)
class Admin:
    """Somebody with one permission in prod, and in rooms of their own: as the command line and as HTTP know them."""

    permission: Permission
    me: str
    cli: World
    http: httpx.Client

    def tries(self, act: Act, how: str) -> bool:
        """Whether it is done. What is not, is refused for want of a right, or is not there for them."""
        allowed = self.permission in act.allowed
        if how == "cli":
            words = act.words.format(me=f"{self.me}_cli").replace(f"with_{self.me}_cli", f"with_{self.me}").split()
            done = self.cli.run(*words, given=act.given, status=0 if allowed else 1)
            assert allowed or any(said in done.stderr for said in ("may not do this", "there is no", "to themselves")), done
            return allowed
        own = f"{self.me}_api"
        body = None if act.body is None else {key: _named(value, own, self.me) for key, value in act.body.items()}
        answer = self.http.request(act.method, act.path.format(me=own), json=body)
        assert UPSTREAM not in answer.text
        assert answer.is_success or answer.status_code in (403, 404, 409, 422), answer.text
        return answer.is_success


def _named(value: Any, own: str, me: str) -> Any:
    if isinstance(value, dict):
        return {key: _named(each, own, me) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    return value.format(me=me) if value.startswith("with_") else value.format(me=own)


@dataclass(frozen=True)
class Site:
    owner: World
    admins: dict[Permission, Admin]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PGBASTION_URL", "PGBASTION_TOKEN", "PGBASTION_TOKEN_FILE", "PGBASTION_CA_FILE"):
            patch.delenv(name, raising=False)
        patch.setenv("COLUMNS", "200")
        from tests.cli.world import make_world

        local = make_world(tmp_path_factory.mktemp("site"))
        with served(local) as owner:
            owner.secrets.append(UPSTREAM)
            admins = _set_up(owner)
            yield Site(owner, admins)
            for admin in admins.values():
                admin.http.close()


def _set_up(owner: World) -> dict[Permission, Admin]:
    url = owner.options[1]
    for name in ("prod", "elsewhere"):
        owner.run("environments", "create", name)
    owner.run("targets", "create", "shop", "--host", "db.internal", "--dbname", "x", "--environment", "prod")
    owner.run("targets", "login", "shop", "--mode", "ro", "--login", "app_ro", "--password-stdin", given=UPSTREAM)
    owner.run("targets", "create", "till", "--host", "db.internal", "--dbname", "y", "--environment", "elsewhere")
    owner.run("users", "create", "analyst")
    made = {}
    for permission in P:
        me = permission.value
        owner.run("users", "create", f"with_{me}")
        owner.run("roles", "create", f"only_{me}", "--member", f"with_{me}")
        rooms = [f"{kind}_{me}_{how}" for kind in ("room", "hut") for how in ("cli", "api")]
        for room in rooms:
            owner.run("environments", "create", room)
        for place in ("prod", *rooms):
            owner.run("roles", "grant", f"only_{me}", "--environment", place, "--permission", me)
        for how in ("cli", "api"):
            owner.run("targets", "create", f"its_{me}_{how}", "--host", "db.internal", "--dbname", "x", "--environment", "prod")
        token = owner.json("tokens", "create", f"of_{me}", "--user", f"with_{me}", "--expires", "1h")["token"]
        file = owner.folder / f"token_{me}"
        file.touch(mode=0o600)
        file.write_text(token)
        cli = World(owner.folder, ("--url", url, "--token-file", str(file)), f"token:of_{me}", [token, UPSTREAM])
        http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"})
        made[permission] = Admin(permission, me, cli, http)
    return made


@pytest.mark.parametrize("how", ["cli", "api"])
@pytest.mark.parametrize("permission", P)
def test_what_each_permission_alone_allows(site: Site, permission: Permission, how: str) -> None:
    admin = site.admins[permission]
    done = {name for name, act in ACTS.items() if name != "read its configuration" and admin.tries(act, how)}
    assert done == {name for name, act in ACTS.items() if name != "read its configuration" and permission in act.allowed}


@pytest.mark.parametrize("permission", P)
def test_what_each_sees(site: Site, permission: Permission) -> None:
    """Basic facts with any permission; facts and configuration with Full Visibility; credentials of databases never."""
    admin = site.admins[permission]
    listed = admin.cli.json("targets", "list")
    assert "shop" in {each["name"] for each in listed}
    assert "till" not in {each["name"] for each in listed}
    sees_all = permission in ACTS["read its configuration"].allowed
    assert (admin.cli.json("targets", "show", "shop")["host"] == "db.internal") is sees_all
    assert (admin.http.get("/v1/targets/shop").json()["host"] == "db.internal") is sees_all
    assert admin.http.get("/v1/targets/shop/init-sql").is_success is sees_all
    assert admin.http.get("/v1/targets/till").status_code == 404
    assert "there is no target" in admin.cli.error("targets", "show", "till")


@pytest.mark.parametrize("permission", P)
def test_who_may_connect(site: Site, permission: Permission) -> None:
    """Tunnel connects to databases and shows nothing; Environment Admin includes it."""
    reasons = site.owner.json("permissions", "why", "--user", f"with_{permission}", "tunnel.connect", "shop")
    assert reasons["allowed"] is (permission in (P.TUNNEL, P.ADMIN))


def test_permissions_add_up_and_default_is_deny(site: Site) -> None:
    owner = site.owner
    owner.run("users", "create", "newcomer")
    token = owner.json("tokens", "create", "of_newcomer", "--user", "newcomer", "--expires", "1h")["token"]
    with httpx.Client(base_url=owner.options[1], headers={"Authorization": f"Bearer {token}"}) as http:
        assert http.get("/v1/targets").json()["items"] == []
        assert http.get("/v1/targets/shop").status_code == 404
        owner.run("roles", "members", "only_tunnel", "--add", "newcomer")
        owner.run("roles", "members", "only_destroy", "--add", "newcomer")
        assert http.get("/v1/targets/shop").json()["host"] == ""
        assert http.delete("/v1/targets/its_tunnel_api").status_code == 204
        owner.run("roles", "members", "only_read", "--add", "newcomer")
        assert http.get("/v1/targets/shop").json()["host"] == "db.internal"
        for role in ("only_tunnel", "only_destroy", "only_read"):
            owner.run("roles", "members", role, "--remove", "newcomer")
        assert http.get("/v1/targets/shop").status_code == 404


def test_what_is_implied_is_told_as_such(site: Site) -> None:
    def held(permission: Permission) -> dict[str, bool]:
        rights = site.owner.json("permissions", "show", "--user", f"with_{permission}")
        (there,) = [each for each in rights["environments"] if each["environment"] == "prod"]
        return {each["permission"]: each["explicit"] for each in there["permissions"]}

    assert held(P.BASIC_READ) == {"basic_read": True}
    assert held(P.DEPLOY) == {"basic_read": False, "deploy": True, "observability": False}
    assert held(P.SENSITIVE) == {"basic_read": False, "read": False, "sensitive": True}
    assert held(P.TUNNEL) == {"basic_read": False, "tunnel": True}
    assert held(P.ADMIN) == {each.value: each is P.ADMIN for each in P}


def test_an_account_owner_is_admin_everywhere_and_the_last_one_stays(site: Site) -> None:
    owner = site.owner
    owner.run("users", "create", "founder")
    owner.run("roles", "members", "owners", "--add", "founder")
    token = owner.json("tokens", "create", "of_founder", "--user", "founder", "--expires", "1h")["token"]
    with httpx.Client(base_url=owner.options[1], headers={"Authorization": f"Bearer {token}"}) as http:
        assert http.post("/v1/environments", json={"name": "annex"}).status_code == 201
        assert http.get("/v1/targets/till").json()["host"] == "db.internal"
        last = http.patch("/v1/roles/owners/members", json={"remove": ["founder"]})
        assert (last.status_code, last.json()["rule"]) == (422, "last-owner")
    assert "no owner" in owner.error("users", "disable", "founder")
