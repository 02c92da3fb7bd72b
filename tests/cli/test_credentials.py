"""Short-lived credentials and certificate names, on this machine and from elsewhere: what is printed."""

from pathlib import Path

import pytest

from tests.cli.world import World


@pytest.fixture
def site(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """ana_diaz may write to shop; the gateway has made its CA."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    here = world.here()
    here.run("users", "create", "ana_diaz", "--generate")
    here.run("targets", "create", "shop", "--host", "db.internal", "--dbname", "webshop")
    here.run("grants", "create", "--user", "ana_diaz", "--target", "shop", "--mode", "rw")
    tls = world.state / "tls"
    tls.mkdir()
    (tls / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return world


def test_issue_list_and_revoke(site: World, tmp_path: Path) -> None:
    done = site.run("credentials", "issue", "shop:rw", "--user", "ana_diaz", "--for", "30m", "--address", "10.0.0.0/8")
    first, username, password, *strings = done.stdout.splitlines()
    login = username.removeprefix("Username: ")
    secret = password.removeprefix("Password (shown only now): ")
    assert first.startswith('Credential for "shop" (read_write), until ')
    assert first.endswith(", for 10 sessions at a time, only from 10.0.0.0/8.")
    assert login.startswith("ana_diaz~")
    (ca_file,) = (tmp_path / "cache" / "pgbastion").iterdir()
    place = f"127.0.0.1:6432/shop:rw?sslmode=verify-full&sslrootcert={str(ca_file).replace('/', '%2F')}"
    assert f"  postgresql://{login}@{place}" in strings
    assert f"  127.0.0.1:6432:shop\\:rw:{login}:{secret}" in strings
    assert done.stdout.count(secret) == 2
    (listed,) = site.json("credentials", "list")
    assert (listed["login"], listed["target"], listed["mode"], listed["network"]) == (login, "shop", "read_write", "10.0.0.0/8")
    assert secret not in site.run("credentials", "list").stdout
    assert site.run("credentials", "revoke", login).stdout == f'Credential "{login}" revoked.\n'
    assert site.run("credentials", "list").stdout == "No credentials. Issue one: pgbastion credentials issue TARGET\n"
    assert f'there is no credential "{login}"' in site.error("credentials", "revoke", login)


def test_refusals(site: World) -> None:
    assert "say for whom: --user NAME" in site.error("credentials", "issue", "shop")
    nowhere = site.error("credentials", "issue", "nowhere", "--user", "ana_diaz")
    assert 'target "nowhere" does not exist, or you have no grant for it' in nowhere
    assert "60 to 43200 seconds" in site.error("credentials", "issue", "shop", "--user", "ana_diaz", "--for", "13h")
    site.run("credentials", "issue", "shop", "--user", "ana_diaz", "--for", "never", status=2)


def test_certificate_names(site: World) -> None:
    site.run("users", "create", "nightly_etl", "--machine", "--generate")
    none = 'User "nightly_etl" logs in with its password only.\n'
    assert site.run("users", "certificates", "nightly_etl").stdout == none
    shown = site.run("users", "certificates", "nightly_etl", "--add", "cn:etl", "--add", "uri:spiffe://prod/etl").stdout
    assert shown == "cn:etl\nuri:spiffe://prod/etl\n"
    assert site.json("users", "certificates", "nightly_etl", "--remove", "cn:etl") == ["uri:spiffe://prod/etl"]
    assert "has no certificate name cn:etl" in site.error("users", "certificates", "nightly_etl", "--remove", "cn:etl")
    assert "is a person" in site.error("users", "certificates", "ana_diaz", "--add", "cn:ana")
