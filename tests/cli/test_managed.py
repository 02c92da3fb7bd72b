"""A database role for each person, by its commands: what it takes, what there is, what is cleaned up."""

import asyncio
from dataclasses import replace

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access_mode import AccessMode
from gateway.cli.doctor_managed import look_at_managed
from gateway.cli.findings import State
from gateway.cli.local import operator
from gateway.services.target_admins import keep_admin
from tests.cli.world import World
from tests.support.snapshots import ALICE, NOW, SALES
from tests.support.snapshots import world as snapshot_of
from tests.support.upstream import Database

ORPHAN = "pgb_gone_0a1b2c"


def test_managed_logins(world: World, database: Database) -> None:
    upstream = database.upstream
    tls = ("--tls", "verify-full", "--ca-file", str(upstream.ca_file)) if upstream.has_tls else ("--tls", "disable")
    place = ("--host", upstream.host, "--port", str(upstream.port), "--dbname", database.name)
    world.run("targets", "create", "shop", *place, *tls)
    managed = ("targets", "managed", "shop", "--mode")
    assert "has no login yet" in world.error(*managed, "per-user")
    secret = database.app_ro.password.reveal() + "\n"
    world.run("targets", "login", "shop", "--mode", "ro", "--login", database.app_ro.name, "--password-stdin", given=secret)
    assert "has no admin login" in world.error(*managed, "per-user")
    admin = operator(world.config)
    facts = {"name": "shop", "login": upstream.superuser, "password": upstream.superuser_password}
    admin.change(keep_admin(admin.store, admin.vault, **facts, actor="os:test", reason="a test"))
    world.run("targets", "update", "shop", "--open-ahead", "2")
    assert "opened ahead" in world.error(*managed, "per-user")
    world.run("targets", "update", "shop", "--open-ahead", "0")
    assert "each person has a database role of their own" in world.run(*managed, "per-user", "--reason", "one name each").stdout
    assert world.json("targets", "show", "shop")["managed"] == "per-user"
    assert "is like that already" in world.error(*managed, "per-user")
    assert "opened ahead" in world.error("targets", "update", "shop", "--open-ahead", "2")
    assert world.json("targets", "managed-logins", "shop") == []
    assert "There is nothing to clean up." in world.run("targets", "clean", "shop").stdout

    gateway_id = asyncio.run(admin.store.gateway_id())
    with upstream.connect() as root:
        root.execute(f"CREATE ROLE {ORPHAN}")
        root.execute(f"COMMENT ON ROLE {ORPHAN} IS 'pgbastion:{gateway_id}:22222222-2222-4222-8222-222222222222 of a test'")
        found = world.json("targets", "clean", "shop", "--dry-run", status=1)
        assert found["logins"] == [{"login": ORPHAN, "kind": "orphan", "left": None, "reason": ""}]
        assert root.execute("SELECT FROM pg_roles WHERE rolname = %s", [ORPHAN]).fetchone() is not None
        assert [each["left"] for each in world.json("targets", "clean", "shop", "--reason", "tidy")["logins"]] == ["nothing"]
        assert root.execute("SELECT FROM pg_roles WHERE rolname = %s", [ORPHAN]).fetchone() is None
    assert "uses its own logins" in world.run(*managed, "off").stdout
    events = world.here().json_lines("audit", "search")
    assert [event["action"] for event in events if "managed" in event["action"]] == [
        "target.managed_changed",
        "managed_login.orphan_dropped",
        "target.managed_changed",
    ]


def test_doctor_says_which_are_amiss() -> None:
    """Nothing where nobody has one; else whether each is as it should be, and why not."""
    assert list(look_at_managed(snapshot_of(), NOW)) == []
    managed = snapshot_of(target=replace(SALES, managed=ManagedMode.PER_USER))
    key = ManagedKey(SALES.id, AccessMode.READ_ONLY, ALICE.id)
    login = ManagedLogin("m", key, "alice", "pgb_alice_000000", "app_ro", b"", None, ManagedState.ACTIVE, NOW)
    (fine,) = look_at_managed(replace(managed, managed_logins=(login,)), NOW)
    assert (fine.state, fine.detail) == (State.OK, "per-user, 1 on the server")
    for amiss in (
        replace(login, state=ManagedState.KEPT, finding="somebody gave it more"),
        replace(login, state=ManagedState.CREATING, finding="unreachable: no answer in time"),
        replace(login, key=replace(key, user_id="u-gone"), state=ManagedState.DROPPING),
    ):
        (found,) = look_at_managed(replace(managed, managed_logins=(amiss,)), NOW)
        assert found.state is State.WARNING
        assert amiss.login in found.detail
        assert amiss.finding in found.detail
        assert "targets clean sales" in found.remedy
