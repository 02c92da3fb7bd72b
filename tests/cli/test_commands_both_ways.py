"""Every admin command, on the gateway's machine and from elsewhere: the same words, the same answers."""

import pytest

from tests.cli.world import World

CANARY = "upstream-canary-5521"


def test_users(world: World) -> None:
    made = world.json("users", "create", "ana", "--expires", "8h", "--reason", "new here")
    assert set(made) == {"id", "name", "password"}
    assert len(made["password"]) == 64
    assert 'User "ben" created.' in world.run("users", "create", "ben", "--password-stdin", given="a good long one\n").stdout
    ana, ben = world.json("users", "list")
    assert (ana["name"], ana["enabled"], ana["allowlist"], ana["groups"], ana["grants"]) == ("ana", True, "inherit", [], 0)
    assert ben["valid_until"] is None
    assert world.run("users", "update", "ana", "--expires", "never").stdout == 'User "ana" expires: never.\n'
    assert "2030-01-31T17:00:00Z" in world.run("users", "update", "ana", "--expires", "2030-01-31T18:00+01:00").stdout
    assert world.run("users", "disable", "ana").stdout == 'User "ana" disabled.\n'
    assert world.json("users", "show", "ana")["enabled"] is False
    assert world.run("users", "enable", "ana").stdout == 'User "ana" enabled.\n'
    assert world.json("users", "passwd", "ana")["password"] != made["password"]
    assert world.run("users", "delete", "ben", "--yes", "--reason", "left").stdout == 'User "ben" deleted.\n'
    assert [user["name"] for user in world.json("users", "list")] == ["ana"]
    events = world.here().json_lines("audit", "search")
    mine = [event for event in events if event["actor"] == world.actor and event["action"].startswith("user.")]
    assert [event["action"] for event in mine] == [
        "user.created", "user.created", "user.expiry_changed", "user.expiry_changed", "user.disabled", "user.enabled",
        "user.password_changed", "user.deleted",
    ]  # fmt: skip
    assert (mine[0]["reason"], mine[-1]["reason"]) == ("new here", "left")


def test_a_broken_rule_is_a_sentence_with_a_hint(world: World) -> None:
    world.run("users", "create", "ana")
    for words, text in (
        (["users", "create", "ana"], 'User "ana" already exists'),
        (["users", "delete", "anna", "--yes"], "Did you mean ana?"),
        (["users", "show", "a b?#%"], 'there is no user "a b?#%"'),
        (["users", "show", "a/b"], "there is nothing of that name"),
        (["users", "show", ""], "cannot be empty"),
        (["users", "create", "bob", "--expires", "2020-01-01"], "is over already"),
        (["allowlist", "create", "10.0.0.1/8"], "did you mean 10.0.0.0/8"),
        (["allowlist", "delete", "10.0.0.0/8"], "is not on this list"),
        (["grants", "create", "--user", "ana", "--target", "shop", "--mode", "ro"], 'there is no target "shop"'),
        (["targets", "login", "x", "--mode", "ro", "--login", "y"], "--password-stdin"),
        (["sessions", "list"], "the gateway is not running here"),
        (["lockdown", "on"], "no terminal to ask on"),
        (["sessions", "terminate", "--all"], "no terminal to ask on"),
    ):
        done = world.run(*words, status=1)
        assert done.stdout == ""
        assert text in done.stderr, done
        assert done.stderr.startswith("error: ")


def test_wrong_usage_is_status_2(world: World) -> None:
    for words in (
        ["nothing"],
        ["users", "create"],
        ["users", "create", "bob", "--expires", "tomorrow"],
        ["grants", "create", "--user", "a", "--group", "b", "--target", "c", "--mode", "ro"],
        ["grants", "create", "--user", "a", "--target", "b", "--mode", "write"],
        ["grants", "create", "--user", "a", "--target", "b", "--mode", "rw", "--option", "ddl"],
        ["grants", "create", "--user", "a", "--target", "b", "--mode", "rw", "--max-changed-rows", "0"],
        ["grants", "update", "x"],
        ["grants", "update", "x", "--max-changed-rows", "many"],
        ["grants", "update", "x", "--max-rows", "0"],
        ["grants", "update", "x", "--max-bytes", "10 parsecs"],
        ["grants", "update", "x", "--table", "orders"],
        ["grants", "update", "x", "--schema", "a.b"],
        ["grants", "update", "x", "--table", "a.b", "--all-tables"],
        ["grants", "update", "x", "--option", "no-ddl", "--no-options"],
        ["grants", "revoke"],
        ["allowlist", "create", "10.0.0.0/8", "--user", "a", "--target", "b"],
        ["targets", "update", "shop"],
        ["sessions", "terminate"],
        ["sessions", "terminate", "x", "--all"],
        ["tokens", "create", "x", "--expires", "never"],
    ):
        assert world.run(*words, status=2).stdout == ""


def test_groups_and_what_they_are_granted(world: World) -> None:
    for name in ("ana", "ben", "eve"):
        world.run("users", "create", name)
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    assert world.json("groups", "create", "analysts", "--member", "ana")["members"] == ["ana"]
    world.run("groups", "add", "analysts", "ben", "eve")
    assert 'User "eve" is not in group "analysts" any more.' in world.run("groups", "remove", "analysts", "eve").stdout
    grant = world.json("grants", "create", "--group", "analysts", "--target", "shop", "--mode", "ro", "--expires", "30d")
    assert (grant["user"], grant["group"], grant["live"]) == (None, "analysts", True)
    shown = world.json("groups", "show", "analysts")
    assert (shown["members"], [each["id"] for each in shown["grant_list"]]) == (["ana", "ben"], [grant["id"]])
    user = world.json("users", "show", "ben")
    assert (user["groups"], [each["id"] for each in user["grant_list"]]) == (["analysts"], [grant["id"]])
    assert [each["id"] for each in world.json("targets", "show", "shop")["grant_list"]] == [grant["id"]]
    assert world.json("grants", "update", grant["id"], "--expires", "never")["valid_until"] is None
    assert "expires: 20" in world.run("grants", "update", grant["id"], "--expires", "2h").stdout
    assert "analysts" in world.run("groups", "list").stdout
    gone = world.run("grants", "revoke", "--group", "analysts", "--target", "shop", "--mode", "ro").stdout
    assert gone == 'Group "analysts" lost read_only on "shop".\n'
    world.run("groups", "delete", "analysts")
    assert world.json("groups", "list") == []


def test_grants_of_users(world: World) -> None:
    world.run("users", "create", "ana")
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    asked = ["grants", "create", "--user", "ana", "--target", "shop", "--mode", "rw"]
    first = world.json(*asked)
    assert "Add --replace" in world.error(*asked)
    second = world.json(*asked, "--replace", "--expires", "8h")
    assert [each["id"] for each in world.json("grants", "list", "--user", "ana", "--target", "shop")] == [second["id"]]
    assert world.json("grants", "list", "--user", "ben") == []
    assert [each["id"] for each in world.json("grants", "revoke", second["id"])] == [second["id"]]
    assert f'there is no grant "{first["id"]}"' in world.error("grants", "revoke", first["id"])
    world.run(*asked)
    assert [each["mode"] for each in world.json("grants", "revoke", "--user", "ana", "--target", "shop")] == ["read_write"]


def test_what_grants_carry(world: World) -> None:
    world.run("users", "create", "ana")
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    asked = ["grants", "create", "--user", "ana", "--target", "shop", "--mode"]
    made = world.json(*asked, "rw", "--option", "no-ddl", "--option", "unfiltered-writes", "--max-changed-rows", "1000")
    assert (made["options"], made["max_changed_rows"]) == (["no-ddl", "unfiltered-writes"], 1000)
    assert "no-ddl, unfiltered-writes, at most 1000 rows" in world.run("grants", "list").stdout
    for words in (["--option", "no-ddl"], ["--option", "report-only"], ["--max-changed-rows", "5"]):
        assert "means nothing in a read_only grant" in world.error(*asked, "ro", *words)
    said = world.run(*asked, "ro", "--option", "temporary-tables", "--expires", "never").stdout
    assert said == 'User "ana" may use "shop" read_only (temporary-tables), until revoked.\n'
    changed = world.run("grants", "update", made["id"], "--option", "report-only").stdout
    assert changed == 'User "ana": read_write on "shop" carries: report-only, at most 1000 rows; expires: never.\n'
    assert "is like that already" in world.error("grants", "update", made["id"], "--max-changed-rows", "1000")
    now = world.json("grants", "update", made["id"], "--no-options", "--max-changed-rows", "none", "--expires", "8h")
    assert (now["options"], now["max_changed_rows"], now["valid_until"] is None) == ([], None, False)
    stale = ["--option", "no-ddl", "--if-version", str(made["version"])]
    assert "was changed meanwhile" in world.error("grants", "update", made["id"], *stale)
    held = world.json("users", "show", "ana")["grant_list"]
    assert sorted((each["mode"], *each["options"]) for each in held) == [("read_only", "temporary-tables"), ("read_write",)]
    exported = world.json("export")["grants"]
    assert [(each["options"], each["max_changed_rows"]) for each in exported] == [(["temporary-tables"], None), ([], None)]
    (world.folder / "grants.yaml").write_text(
        "version: 1\ngrants:\n- {user: ana, target: shop, mode: read_write, options: [no-ddl], max_changed_rows: 10}\n"
    )
    shown = world.run("apply", str(world.folder / "grants.yaml"), "--yes").stdout
    assert "options: none -> no-ddl" in shown
    assert "max_changed_rows: none -> 10" in shown
    assert world.json("apply", str(world.folder / "grants.yaml"), "--yes")["changes"] == []
    (event,) = [each for each in world.here().json_lines("audit", "search") if each["action"] == "grant.changed"][-1:]
    assert (event["detail"]["options"], event["detail"]["before_options"]) == (["no-ddl"], [])


def test_targets(world: World) -> None:
    world.secrets.append(CANARY)
    made = world.run("targets", "create", "shop", "--host", "h", "--dbname", "webshop", "--tls", "require", "--allow-md5")
    assert "Next: pgbastion targets login shop" in made.stdout
    assert "tls is require" in made.stderr
    assert "md5" in made.stderr
    world.run("targets", "update", "shop", "--host", "db2", "--max-sessions", "20", "--forbid-md5", "--tls", "verify-full")
    world.run("targets", "update", "shop", "--open-ahead", "3")
    world.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--password-stdin", given=CANARY + "\n")
    world.run("targets", "login", "shop", "--mode", "rw", "--login", "writer", "--password-stdin", given=CANARY + "\n")
    world.run("targets", "logout", "shop", "--mode", "rw")
    for kind, item in (("function", "public.f"), ("function", "app.*"), ("schema", "app"), ("setting", "app.tenant")):
        world.run("targets", f"allow-{kind}", "shop", item)
    world.run("targets", "disallow-function", "shop", "app.*")
    world.run("targets", "disable", "shop")
    (target,) = world.json("targets", "list")
    assert (target["host"], target["port"], target["max_sessions"], target["allow_md5"]) == ("db2", 5432, 20, False)
    assert (target["logins"], target["enabled"], target["open_ahead"]) == ({"read_only": "reader"}, False, 3)
    assert target["allowed_functions"] == ["public.f"]
    assert (target["allowed_schemas"], target["allowed_settings"]) == (["app", "public"], ["app.tenant"])
    world.run("targets", "enable", "shop")
    world.run("targets", "update", "shop", "--no-max-sessions")
    assert world.json("targets", "show", "shop")["max_sessions"] is None
    sql = world.run("targets", "init-sql", "shop").stdout
    assert "reader" in sql
    assert "webshop" in sql
    world.run("targets", "delete", "shop")
    assert "No targets yet" in world.run("targets", "list").stdout


def test_allowlists(world: World) -> None:
    world.run("users", "create", "ana")
    world.run("allowlist", "create", "10.0.0.0/8", "--label", "office")
    own = world.run("allowlist", "create", "10.1.0.7", "--user", "ana")
    assert "10.1.0.7/32 added to the list: user ana." in own.stdout
    assert "mode inherit, so it is ignored" in own.stderr
    assert "is in mode restrict" in world.run("allowlist", "mode", "restrict", "--user", "ana").stdout
    assert [(each["level"], each["network"], each["label"]) for each in world.json("allowlist", "list")] == [
        ("global", "10.0.0.0/8", "office"),
        ("user ana", "10.1.0.7/32", ""),
    ]
    assert [each["level"] for each in world.json("users", "show", "ana")["allowlist_entries"]] == ["user ana"]
    entry = world.json("allowlist", "list", "--user", "ana")[0]["id"]
    world.run("allowlist", "delete", entry)
    world.run("allowlist", "mode", "inherit", "--user", "ana")
    assert "nobody is admitted" in world.run("allowlist", "mode", "restrict", "--user", "ana").stderr
    last = world.run("allowlist", "delete", "10.0.0.0/8")
    assert last.stdout == "10.0.0.0/8 removed from the list: global.\n"
    assert "nobody is admitted" in last.stderr
    assert "the global list always restricts" in world.error("allowlist", "mode", "restrict")


def test_tokens_are_shown_once(world: World) -> None:
    world.run("tokens", "create", "other")
    made = world.run("tokens", "create", "deploy", "--scope", "read", "--expires", "1d")
    token = made.stdout.strip()
    assert len(token) > 30
    assert "shown only now" in made.stderr
    assert token not in made.stderr
    listed = {each["name"]: each for each in world.json("tokens", "list")}
    assert (listed["deploy"]["scope"], listed["deploy"]["live"], listed["deploy"]["created_by"]) == ("read", True, world.actor)
    assert token not in world.run("tokens", "list").stdout
    world.run("tokens", "revoke", "deploy", "--reason", "in a log file")
    assert "deploy" not in {each["name"] for each in world.json("tokens", "list")}


def test_lockdown(world: World) -> None:
    assert world.run("lockdown", "status").stdout == "No lockdown.\n"
    world.run("lockdown", "on", "--yes", "--reason", "incident 42")
    assert world.json("lockdown", "status") == {"active": True, "reason": "incident 42"}
    assert world.run("lockdown", "status").stdout == "Locked down: incident 42\n"
    world.run("lockdown", "off")
    assert world.json("lockdown", "status")["active"] is False


@pytest.mark.parametrize(
    "words",
    [["users", "disable", "ana"], ["users", "delete", "ana", "--yes"], ["users", "passwd", "ana"], ["targets", "delete", "shop"],
     ["targets", "update", "shop", "--port", "1"], ["targets", "allow-schema", "shop", "s"], ["groups", "delete", "g"]],
)  # fmt: skip
def test_what_somebody_else_changed_meanwhile_is_not_lost(local: World, words: list[str]) -> None:
    local.run("users", "create", "ana")
    local.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    local.run("groups", "create", "g")
    seen = local.json(words[0], "show", words[2])["version"]
    assert "was changed meanwhile" in local.error(*words, "--if-version", str(seen + 7))
    local.run(*words, "--if-version", str(seen))


def test_versions_are_held_against_each_other_over_the_network_too(remote: World) -> None:
    remote.run("users", "create", "ana")
    seen = str(remote.json("users", "show", "ana")["version"])
    remote.here().run("users", "update", "ana", "--expires", "1h")
    assert "was changed meanwhile" in remote.error("users", "disable", "ana", "--if-version", seen)
    assert remote.json("users", "show", "ana")["enabled"] is True


def test_long_listings_come_in_pages(world: World) -> None:
    entries = "".join(f"  - network: 10.{number // 250}.{number % 250}.0/24\n" for number in range(1203))
    (world.folder / "many.yaml").write_text(f"version: 1\nallowlist:\n{entries}")
    world.run("apply", str(world.folder / "many.yaml"), "--yes")
    assert len({each["id"] for each in world.json("allowlist", "list")}) == 1203


def test_how_much_may_be_read(world: World) -> None:
    world.run("users", "create", "ana")
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    asked = ["grants", "create", "--user", "ana", "--target", "shop", "--mode", "ro"]
    limits = ["--max-rows", "1000", "--max-bytes", "10MB", "--max-bytes-per-day", "1GB"]
    made = world.json(*asked, *limits, "--table", "Public.Orders", "--table", '"Sales"."x"', "--schema", "app")
    assert (made["max_rows"], made["max_bytes"], made["max_bytes_per_day"]) == (1000, 10 * 2**20, 2**30)
    assert (made["schemas"], made["tables"]) == (["app"], ['"Sales".x', "public.orders"])
    listed = world.run("grants", "list").stdout
    assert "shows at most 1000 rows" in listed
    sql = world.run("targets", "init-sql", "shop", "--grant", made["id"]).stdout
    assert 'GRANT SELECT ON TABLE "Sales"."x" TO "grant_' in sql
    assert 'GRANT SELECT ON ALL TABLES IN SCHEMA "app" TO "grant_' in sql
    changed = world.run("grants", "update", made["id"], "--max-rows", "none", "--all-tables").stdout
    assert "at most 10MB a statement, at most 1GB a day;" in changed
    assert "no list" in world.error("targets", "init-sql", "shop", "--grant", made["id"])
