"""A day of a gateway in which every secret is a canary: all that people and operators do, well and badly.

The tests are one day: each adds secrets to the world, the last ones look everywhere.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
import trustme

from gateway.cli.main import COMMANDS, GROUPS, _load
from tests.canary.keys import note_private_key
from tests.canary.places import family, process_places
from tests.canary.scanner import Figures, Place
from tests.canary.talkative import upstream_database
from tests.canary.world import TYPED, TYPED_SQL, TYPED_VALUE, World, made_world
from tests.support import wire
from tests.support.commands import PROGRAM
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Served, provider
from tests.support.upstream import Upstream
from tests.support.wire import SYNC, Closed, Refused, extended, parse, query

RO, RW, NEXT, PERSON = (
    "upstream password (read only)",
    "upstream password (read write)",
    "upstream password (new)",
    "a person's",
)
SIGN_IN, TOTP, RECOVERY = "password for signing in", "TOTP secret", "recovery code"
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture(scope="module")
def idp() -> Iterator[Served]:
    with provider() as served:
        yield served


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, talkative: Upstream, figures: Figures, idp: Served) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("day")
    secret = tmp_path_factory.mktemp("idp") / "client-secret"
    secret.write_text(CLIENT_SECRET)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "client-ca.pem")
    oidc = {"issuer": idp.issuer, "client_id": CLIENT_ID, "client_secret_file": str(secret), "recheck_minutes": 0.01}
    tls = {"client_ca_file": str(folder / "client-ca.pem")}
    with made_world(folder, talkative, figures, oidc=oidc, tls=tls) as world:
        world.canaries.note("OIDC client secret", CLIENT_SECRET)
        note_private_key(world.canaries, "TLS key of a client CA", authority.private_key_pem.bytes())
        made = authority.issue_cert("robot.internal", common_name="robot_r")
        made.cert_chain_pems[0].write_to_path(world.given / "robot.pem")
        made.private_key_pem.write_to_path(world.given / "robot.key")
        (world.given / "robot.key").chmod(0o600)
        note_private_key(world.canaries, "TLS key of a client", made.private_key_pem.bytes())
        yield world


class People:
    """Whose passwords are what, for the tests that follow."""

    ana = ""
    rotated = ""
    sign_in = ""
    recovery = ""
    token = ""


def secret_of(world: World, slot: str) -> str:
    return world.canaries.slots[slot][-1].decode()


def place_of(world: World) -> wire.Place:
    return wire.Place(world.gateway.host, world.gateway.port, world.gateway.ca_file)


def settled(world: World, user: str, password: str, database: str) -> None:
    deadline = time.monotonic() + 10
    while "yes-it-is" not in world.psql("SELECT 'yes-it-' || 'is'", user=user, password=password, database=database):
        assert time.monotonic() < deadline
        time.sleep(0.1)


# -- operators --------------------------------------------------------------------------------------------------------------


def test_operators_enter_secrets(world: World) -> None:
    """By standard input, from files, over the API; made by the gateway and shown once."""
    upstream, canaries = world.upstream, world.canaries
    ro, rw = canaries.make(RO), canaries.make(RW)
    upstream_database(upstream, "shop", canary_ro=ro, canary_rw=rw)
    tls = ("--tls", "verify-full", "--ca-file", str(upstream.ca_file)) if upstream.has_tls else ("--tls", "disable")
    where = ("--host", upstream.host, "--port", str(upstream.port), "--dbname", "shop", *tls)
    world.command("targets", "create", "shop", *where)
    world.command("targets", "login", "shop", "--mode", "ro", "--login", "canary_ro", "--password-stdin", given=f"{ro}\n")
    file = str(world.secret_file(rw))
    world.command("targets", "login", "shop", "--mode", "rw", "--login", "canary_rw", "--password-file", file)
    People.ana = canaries.make(PERSON)
    world.command("users", "create", "ana_a", "--password-stdin", given=f"{People.ana}\n")
    world.command("users", "create", "ben_b", "--json", shows="a person's (made)")
    world.command("users", "create", "robot_r", "--generate", shows="a person's (made)")
    world.command("users", "update", "robot_r", "--kind", "machine")
    world.command("users", "certificates", "robot_r", "--add", "cn:robot_r")
    for user in ("ana_a", "ben_b", "robot_r"):
        for mode in ("ro", "rw"):
            world.command("grants", "create", "--user", user, "--target", "shop", "--mode", mode)
    world.command("tokens", "create", "deploy", "--json", shows="API token")
    world.command("tokens", "create", "look", "--scope", "read", shows="API token")
    # over the API: chosen ones
    chosen = canaries.make(PERSON)
    world.ask("POST", "/v1/users", json={"name": "carl_c", "password": chosen})
    world.ask(
        "POST", "/v1/users/carl_c/password", json={"password": canaries.make(PERSON)}, headers={"Idempotency-Key": "once"}
    )
    world.ask("POST", "/v1/users/carl_c/password", json={}, shows=("a person's (made)", "password"))
    world.ask("PUT", "/v1/targets/shop/logins/read_only", json={"login": "canary_ro", "password": ro})
    passwords = {"read_only": ro, "read_write": rw}
    moved = world.ask("PATCH", "/v1/targets/shop", json={"allow_md5": True, "passwords": passwords})
    assert moved.status_code == 200, moved.text
    assert world.ask("POST", "/v1/users", json={"name": "dora_d"}, token=secret_of(world, "API token")).status_code == 403
    settled(world, "ana_a", People.ana, "shop")


def test_passwords_are_changed(world: World) -> None:
    """By an operator, by the person with psql's own command, upstream; the former ones are secrets still."""
    canaries = world.canaries
    world.command("users", "update-password", "ben_b", "--generate", "--json", shows="a person's (made)")
    People.rotated = canaries.make(PERSON)
    world.command("users", "passwd", "ben_b", "--password-stdin", given=f"{People.rotated}\n")
    settled(world, "ben_b", People.rotated, "shop")
    uri = f"postgresql://ana_a@127.0.0.1:{world.gateway.port}/shop?sslmode=verify-full&sslrootcert={world.gateway.ca_file}"
    former, People.ana = People.ana, canaries.make_plain(PERSON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(world.environment, "PGPASSWORD", former)
        world.command("passwd", uri, "--password-stdin", given=f"{People.ana}\n")
    settled(world, "ana_a", People.ana, "shop")
    # typed as plain text, which is refused: it is a secret all the same
    plain = canaries.make_plain(TYPED_SQL)
    for text in (f"ALTER USER ana_a PASSWORD '{plain}'", f"ALTER USER ana_a PASSWORD {plain}"):
        world.psql(text, user="ana_a", password=People.ana, database="shop")


def test_people_sign_in(world: World, idp: Served) -> None:
    """With a password, an authenticator and recovery codes; and through the provider."""
    canaries = world.canaries
    People.sign_in = canaries.make(SIGN_IN)
    world.command("accounts", "create", "ana_a", "--password-stdin", given=f"{People.sign_in}\n")
    world.command("accounts", "create", "ben_b", "--generate", "--json", shows=SIGN_IN)
    proofs = {"name": "ana_a", "password": People.sign_in}
    begun = httpx.post(f"{world.api_url}/v1/sign-in/enrolment", json=proofs).json()
    canaries.note(TOTP, begun["secret"])
    confirm = {**proofs, "pending": begun["pending"]}
    wrong = world.ask("POST", "/v1/sign-in/enrolment/confirm", token=None, json={**confirm, "code": "000000"})
    assert wrong.status_code == 401
    code = pyotp.TOTP(begun["secret"]).now()
    made = httpx.post(f"{world.api_url}/v1/sign-in/enrolment/confirm", json={**confirm, "code": code}).json()
    for each in made["recovery_codes"]:
        canaries.note(RECOVERY, each)
        canaries.note(RECOVERY, each.replace("-", ""))
    canaries.note("API token (sign-in)", made["token"])
    spent, People.recovery = made["recovery_codes"][:2]
    people = {**proofs, "code": spent}
    answer = world.ask("POST", "/v1/sign-in", token=None, json=people, shows=("API token (sign-in)", "token"))
    People.token = answer.json()["token"]
    for body in (people, {**proofs, "code": "000000"}, {**proofs, "password": canaries.make(SIGN_IN)}, proofs):
        assert world.ask("POST", "/v1/sign-in", token=None, json=body).status_code == 401
    changed = canaries.make(SIGN_IN)
    answer = world.ask(
        "POST", "/v1/sign-in/password", token=None, json={**proofs, "code": People.recovery, "new_password": changed}
    )
    assert answer.status_code == 204, answer.text
    through_the_provider(world, idp)


def through_the_provider(world: World, idp: Served) -> None:
    canaries = world.canaries
    there = canaries.make("password at the provider")
    idp.put("s-1", there, preferred_username="ben_b")
    world.command("accounts", "link", "ben_b", "--subject", "s-1", "--managed")
    begun = world.ask("POST", "/v1/sign-in/provider", token=None, json={"redirect_uri": "http://127.0.0.1:9/callback"}).json()
    sent = httpx.post(begun["url"], data={"sub": "s-1", "password": there})
    back = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    canaries.note("OIDC code", back["code"])
    body = {"flow": begun["flow"], "state": back["state"], "code": back["code"]}
    assert world.ask("POST", "/v1/sign-in/provider/finish", token=None, json={**body, "state": "no"}).status_code >= 400
    made = world.ask("POST", "/v1/sign-in/provider/finish", token=None, json=body, shows=("API token (sign-in)", "token"))
    assert made.status_code == 201, made.text
    assert world.ask("POST", "/v1/sign-in/provider/finish", token=None, json=body).status_code >= 400
    deadline = time.monotonic() + 10
    while len(idp.handled()) < 6:  # the provider is asked again with the refresh token
        assert time.monotonic() < deadline
        time.sleep(0.2)
    idp.err(silent=True)
    time.sleep(1.0)
    idp.err()
    for secret in idp.handled():
        canaries.note("OIDC tokens and PKCE verifier", secret)


# -- sessions ---------------------------------------------------------------------------------------------------------------

SQL = (
    "CREATE ROLE a PASSWORD '{}'",
    "ALTER USER b ENCRYPTED PASSWORD '{}'",
    "ALTER ROLE a PASSWORD {}",
    "SELECT dblink_connect('host=h user=u password={}')",
    "SELECT * FROM dblink('postgresql://u:{}@h/d', 'SELECT 1') AS t(a int)",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', password '{}')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password={}' PUBLICATION p",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''{}'''; END $$",
    "/* password={} */ SELECT 1",
    "SELECT set_config('my.password', '{}', false)",
    "SET my.password = '{}'",
    "UPDATE accounts SET password = '{}'",
    "COPY accounts FROM PROGRAM 'PGPASSWORD={} psql'",
    "SELECT 'password={}' FROM not_there",
    "CREATE ROLE a PASSWORD '{}",
    "SELEC password '{}'",
)


def test_sessions_of_all_kinds(world: World) -> None:
    """Queries, catalogs, errors, refusals, binary noise; statements with passwords in them, values that are bound."""
    asked = ("SELECT 1", "SHOW ALL", "TABLE pg_roles", "SELECT * FROM pg_stat_activity", "SELECT current_user, session_user")
    refused = ("SELECT * FROM pg_authid", "SELECT * FROM pg_shadow", "DELETE FROM accounts", "SELEC", "SELECT 1/0")
    for database in ("shop", "shop:rw"):
        world.psql(*asked, *refused, user="ana_a", password=People.ana, database=database)
        secret = world.canaries.make_plain(TYPED_SQL)
        world.psql(*(each.replace("{}", secret) for each in SQL), user="ana_a", password=People.ana, database=database)
        value = world.canaries.make(TYPED_VALUE).encode()
        with place_of(world).log_in("ana_a", People.ana, database) as client:
            statements = (
                "SELECT $1::text",
                "SELECT dblink_connect($1)",
                "SELECT $1::int",
                "SELECT set_config('my.password', $1, true)",
            )
            for statement in statements:
                client.ask(extended(statement, value) + SYNC)
            client.send(
                parse("SELEC $1"), SYNC, query("SELECT * FROM pg_user_mappings"), wire.packet("F", b"x"), wire.packet("?")
            )
            client.quiet(0.3)
            world.look("client bytes", "raw", b"".join(m.body for m in client.transcript), but=TYPED)
    records = world.gateway.events(event="statement", user="ana_a")
    assert sum(record["redacted"] for record in records) >= len(SQL)
    assert any(record["parameters"] == 1 for record in records)


@pytest.mark.parametrize(
    ("user", "database", "more"),
    [
        ("ana_a", "shop", {}),
        ("nobody_n", "shop", {}),
        ("ana_a", "no_such_target", {}),
        ("ana_a", "shop", {"replication": "true"}),
        ("ana_a", "shop", {"role": "postgres"}),
        ("ana_a", "shop", {"options": "-c session_authorization=x"}),
    ],
)
def test_logins_that_fail(world: World, user: str, database: str, more: dict[str, str]) -> None:
    """The password that was typed is somebody's, perhaps for elsewhere."""
    typed = world.canaries.make("mistyped password") if not more else People.ana
    client = place_of(world).tls()
    try:
        client.send(wire.startup(user, database, **more))
        wire.answer_scram(client, typed)
        wire.welcome(client)
    except (Refused, Closed, OSError):
        pass
    finally:
        world.look("client bytes", f"login {user} {database} {more}", b"".join(m.body for m in client.transcript))
        client.close()


def test_a_password_sent_too_early(world: World) -> None:
    """Without TLS, in the place of a user's name's neighbours, as the first packet: closed without a word of it."""
    secret = world.canaries.make("mistyped password")
    for data in (
        wire.startup("ana_a", "shop", password=secret),
        wire.startup("ana_a", "shop") + wire.packet("p", wire.text(secret)),
        secret.encode() * 10,
        f"GET / HTTP/1.1\r\nAuthorization: Bearer {secret}\r\n\r\n".encode(),
    ):
        for client in (place_of(world).tcp(), place_of(world).tls()):
            try:
                client.send(data)
                client.quiet(0.2)
            except OSError:
                pass
            world.look("client bytes", "too early", b"".join(m.body for m in client.transcript) + bytes(client._buffer))
            client.close()


def test_a_machine_with_a_certificate(world: World) -> None:
    files = {"PGSSLCERT": str(world.given / "robot.pem"), "PGSSLKEY": str(world.given / "robot.key")}
    said = world.psql("SELECT 'yes-it-' || 'is'", user="robot_r", password="", database="shop", **files)
    assert "yes-it-is" in said


def test_short_lived_credentials(world: World) -> None:
    """Issued and used by `connect`, whose psql is a process that others of the machine see; `tunnel` prints it once."""
    made = world.ask(
        "POST", "/v1/credentials", json={"target": "shop", "user": "ana_a"}, shows=("short-lived credential", "password")
    )
    assert made.status_code == 201, made.text
    settled(world, made.json()["login"], made.json()["password"], "shop")
    world.command("credentials", "list", "--json")
    words = ["connect", "shop", "--user", "ana_a", "--", "-Xc", r"\! sleep 1.5", "-c", "SELECT 'yes-it-' || 'is'"]
    known = {process.pid for process in family(world.gateway.process.pid)}
    with subprocess.Popen(
        [PROGRAM, *words], env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        deadline = time.monotonic() + 15
        while b"psql" not in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        found = re.search(rb"PGPASSWORD=([^\0]+)", environment)
        assert found is not None
        assert process.pid not in known
        world.canaries.note("short-lived credential", found[1])
        # psql has it from its environment, which only its own account sees; others see the rest
        rest = [each for each in process_places([process.pid]) if each.kind != "environment"]
        assert not world.scanner.look(rest)
        said, _ = process.communicate(timeout=30)
    world.look("command output", "connect", said)
    assert b"yes-it-is" in said


def test_tunnels_show_it_once(world: World) -> None:
    words = ["tunnel", "shop", "--user", "ana_a"]
    with subprocess.Popen(
        [PROGRAM, *words], env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        said = b""
        while b"Ctrl-C to close" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        found = re.search(rb"Password \(shown only now\): (\S+)", said)
        assert found is not None
        world.look("command output", "tunnel", said)
        world.canaries.note("short-lived credential", found[1])
        assert not world.scanner.look(process_places([process.pid]))
        process.terminate()
        rest, _ = process.communicate(timeout=30)
    world.look("command output", "tunnel's end", rest)


# -- looking ----------------------------------------------------------------------------------------------------------------

LOOKS = (
    "users list", "users show ana_a", "groups list", "targets list", "targets show shop", "targets test shop --mode ro",
    "targets audit shop --mode ro", "targets health", "targets refresh shop", "targets init-sql shop", "environments list",
    "grants list", "grants why --user ana_a --target shop", "allowlist list", "roles list", "permissions show --user ana_a",
    "permissions verbs", "permissions report", "accounts list", "accounts show ana_a", "oidc mappings list", "tokens list",
    "credentials list", "sessions list", "lockdown status", "audit search", "audit search --denied", "audit tail -n 500",
    "policy rules", "store info", "whoami", "doctor", "export",
)  # fmt: skip


@pytest.mark.parametrize("words", LOOKS)
def test_commands_that_look(world: World, words: str) -> None:
    for more in ((), ("--json",)):
        world.command(*words.split(), *more, status=None)


def test_every_group_has_help(world: World) -> None:
    for name in {**GROUPS, **COMMANDS}:
        inside = getattr(_load(name), "commands", None) or {None: None}
        for each in inside:
            world.command(name, *([each] if each else []), "--help")


def test_the_api_is_read_whole(world: World) -> None:
    """Every route that shows something; once more with a name that is not there, and for who may not."""
    document = world.ask("GET", "/openapi.json").json()
    names = {
        "/users/": "ana_a", "/groups/": "none", "/targets/": "shop", "/environments/": "default", "/roles/": "owners",
        "/tokens/": "deploy", "/accounts/": "ana_a",
    }  # fmt: skip
    tokens = [world.first_token, People.token, None]
    count = 0
    for path, item in document["paths"].items():
        if "get" not in item or path.endswith("/stream"):
            continue
        named = next((name for start, name in names.items() if start in path), "no-such-id")
        for filled in {re.sub(r"\{[a-z_]+\}", named, path), re.sub(r"\{[a-z_]+\}", "no-such-id", path)}:
            query_string = "?target=shop&user=ana_a" if path.endswith("/why") else ""
            for token in tokens:
                world.ask("GET", filled + query_string, token=token)
                count += 1
    assert count > 80
    assert "pgbastion_up" in world.ask("GET", "/metrics").text


def test_the_api_is_asked_wrongly(world: World) -> None:
    """Secrets where they do not belong: wrong tokens, broken bodies, unknown fields, too long, malformed HTTP."""
    secret, token = world.canaries.make(PERSON), f"pgb_{world.canaries.make_plain('API token (wrong)')}"
    world.ask("GET", "/v1/users", token=token)
    world.ask("GET", "/v1/users", token=token, headers={"X-Other": secret.encode()})
    body = json.dumps({"name": "eva_e", "password": secret})
    for content, kind in (
        (body[:-1], "application/json"),
        (body, "text/plain"),
        (json.dumps([body]), "application/json"),
        (json.dumps(secret), "application/json"),
        (json.dumps({"name": "eva_e", "password": [secret]}), "application/json"),
        (json.dumps({"name": "eva_e", "password": {"a": secret}}), "application/json"),
        (json.dumps({"name": 7, "password": secret}), "application/json"),
        (json.dumps({"name": "eva_e", "password": secret, "port": secret}), "application/json"),
        (json.dumps({"name": "eva_e", "password": secret * 20}), "application/json"),
        (json.dumps({"name": "eva_e", "password": secret + "\ud800"}), "application/json"),
        (json.dumps({"name": "ana_a", "password": secret}), "application/json"),
    ):
        answer = world.ask("POST", "/v1/users", content=content, headers={"Content-Type": kind})
        assert answer.status_code >= 400, content
    port = int(world.api_url.rpartition(":")[2])
    for data in (
        f"GET / HTTP/9\r\nAuthorization: Bearer {token}\r\n\r\n",
        f"GET /v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer {token}\r\n\r\n",
        f"{token}\r\n\r\n",
        f"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nAuthorization: Bearer {token}\r\n\r\n{body}",
    ):
        client = wire.Place("127.0.0.1", port).tcp()
        client.send(data.encode())
        client.quiet(0.3)
        world.look("API answer", "malformed HTTP", bytes(client._buffer) + b"".join(m.body for m in client.transcript))
        client.close()


def test_files_in_and_out(world: World) -> None:
    """Manifests with references, backups, a copy of the store: no secret but those that are meant, where they are meant."""
    canaries = world.canaries
    secret, other, signing = canaries.make(PERSON), canaries.make(NEXT), canaries.make(SIGN_IN)
    world.environment["CANARY_PASSWORD"] = secret  # the operator's shell has it; the gateway was started without
    manifest = world.given / "manifest.yaml"
    manifest.write_text(
        "version: 1\n"
        "users: [{name: fay_f, password: {env: CANARY_PASSWORD}}]\n"
        f"accounts: [{{user: fay_f, password: {{file: {world.secret_file(signing)}}}}}]\n"
        "targets: [{name: shop, logins: {read_write: {login: canary_rw, "
        f"password: {{file: {world.secret_file(other)}}}}}}}}}]\n"
    )
    for more in (("--dry-run",), ("--yes", "--json"), ("--yes",)):
        world.command("apply", str(manifest), *more)
    for text in (
        f"version: 1\nusers: [{{name: gus_g, password: '{secret}'}}]\n",
        f"version: 1\nusers: [{{name: gus_g, password: {{file: {world.given}/none}}}}]\n",
        "version: 1\nusers: [{name: gus_g, password: *" + canaries.make_plain(PERSON) + "}]\n",
        "version: 1\nusers: [{name: gus_g, password: !" + canaries.make_plain(PERSON) + "}]\n",
        "version: 1\nusers: [{name: gus_g, password: &" + canaries.make_plain(PERSON) + "}]\n",
        f'version: 1\nusers: [{{name: gus_g, passwort: "{secret[:10]}"\n',
        f"version: 1\nusers: {canaries.make_plain(PERSON)}\n",
        f"version: 1\nusers: [{{name: gus_g, verifier: {canaries.make_plain(PERSON)}}}]\n",
    ):
        manifest.write_text(text)
        world.command("apply", str(manifest), "--yes", status=1)
    del world.environment["CANARY_PASSWORD"]
    world.command("targets", "login", "shop", "--mode", "rw", "--login", "canary_rw", "--password-stdin",
                  given=f"{canaries.slots[RW][0].decode()}\n")  # fmt: skip
    backups = world.own / "backups"
    backups.mkdir(mode=0o700)
    world.command("backup", str(backups / "one.sqlite3"))
    world.command("backup", str(backups / "two.sqlite3"), "--key-file", str(world.given / "key"), "--json")
    world.command("store", "migrate-to", f"sqlite+aiosqlite:///{backups}/three.sqlite3", "--yes")
    world.command("export", "--output", str(backups / "export.yaml"), status=None)
    secret = canaries.make_plain("store URL's password")
    for url in (
        f"postgresql://u:{secret}@h/d",
        f"postgresql://u@h/d?password={secret}",
        f"mysql://u:{secret}@h/d",
        f"u:{secret}@h",
    ):
        world.command("store", "migrate-to", url, "--yes", status=1)


# -- afterwards -------------------------------------------------------------------------------------------------------------


def test_no_process_shows_a_secret(world: World) -> None:
    """Arguments, environment, titles and open files of the supervisor, the workers, the API and the judges."""
    names = {Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in world.pids()}
    for program in ("serve", "gateway.app", "admin_api", "gateway.judging.child"):
        assert any(program in name for name in names), (program, names)
    world.look_at_processes()


def test_nothing_stays_behind(world: World) -> None:
    """Files, store pages, backups, audit, logs, temporary files, upstream's log and statistics."""
    leaks = world.look_everywhere()
    assert not leaks, leaks
    kinds = world.scanner.figures.places
    for kind in ("audit file", "store page", "log", "upstream's log", "pg_stat_activity", "pg_stat_statements", "open file"):
        assert kinds[kind], kind


def test_nor_after_the_end(world: World) -> None:
    """What is written last; and what the next start says of it."""
    world.end()
    assert not world.look_everywhere()
    world.start()
    settled(world, "ana_a", People.ana, "shop")
    assert not world.look_everywhere()
    assert not [each for each in world.own.rglob("core*") if each.is_file()]
    assert world.scanner.look([Place("log", "self-test", world.log.encode() + secret_of(world, RO).encode())])
