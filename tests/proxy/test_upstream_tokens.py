"""Tokens in the place of passwords: a server that asks for them as they are gets one inside verified TLS, and no password ever."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trustme

from gateway.access.model import DatabaseRole, ListMode, Target, TlsMode
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.custody.references.fetching import Fetching
from gateway.custody.references.provider import Provider, Wanted
from gateway.custody.sources import KeptSecrets
from gateway.demo.postgres import TlsFiles, start_postgres
from gateway.ports import CheckStep
from gateway.proxy.target_check import check_target
from gateway.proxy.upstream import UpstreamDialer
from gateway.secret import Secret
from gateway.settings import CurrentSettings, Settings

TOKEN = "db.internal:5432/?Action=connect&X-Amz-Signature=canary"
ASKS_AS_IT_IS = "hostssl all tokened 127.0.0.1/32 password\nhost all all 127.0.0.1/32 scram-sha-256\n"


class Tokens:
    """A keeper that gives a new token each time; `stale` ones the server does not know."""

    def __init__(self, *given: str) -> None:
        self.given = list(given)

    def fetch(self, _wanted: Wanted) -> Secret:
        return Secret(self.given.pop(0) if len(self.given) > 1 else self.given[0])


class Sealed:
    """A vault with the very same text as a password."""

    def open(self, _role: DatabaseRole) -> Secret:
        return Secret(TOKEN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder, authority = tmp_path_factory.mktemp("tokens"), trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    files = TlsFiles(folder / "server.pem", folder / "server.key")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(files.cert_file, append=True)
    certificate.private_key_pem.write_to_path(files.key_file)
    with start_postgres(folder / "pg", tls=files) as running:
        if not running.has_tls:
            pytest.skip("this PostgreSQL was built without TLS")
        where = {"host": running.host, "port": running.port, "dbname": "postgres", "autocommit": True}
        with psycopg.connect(user=running.superuser, password=running.superuser_password.reveal(), **where) as admin:
            admin.execute(f"CREATE ROLE tokened LOGIN PASSWORD '{TOKEN}'")
            admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            (running.data_dir / "pg_hba.conf").write_text(ASKS_AS_IT_IS)
            admin.execute("SELECT pg_reload_conf()")
        ca_pem = authority.cert_pem.bytes().decode()
        yield Target(
            "t", "shop", running.host, running.port, "postgres", TlsMode.VERIFY_FULL, ca_pem, False, True, ListMode.INHERIT, {}
        )


def look(target: Target, keeper: Provider | None, *, again_seconds: float = 0.0) -> list[CheckStep]:
    """With a token that `keeper` gives, or with a sealed password."""

    async def check() -> list[CheckStep]:
        settings = Settings.model_validate({"state_dir": Path("/nowhere"), "secrets": {"allowed": ["rds-iam:"]}})
        fetching = Fetching(CurrentSettings(settings), lambda *_: keeper or Tokens(TOKEN), again_seconds=again_seconds)
        reference = SecretReference.parse("rds-iam:eu-central-1")
        role = DatabaseRole("r", "tokened", b"" if keeper else b"sealed", reference=reference if keeper else None)
        dialer = UpstreamDialer(KeptSecrets(Sealed(), fetching))
        try:
            return await check_target(
                dialer, target, role, mode=AccessMode.READ_ONLY, timeout_seconds=5.0, iterations_max=100_000
            )
        finally:
            fetching.close()

    found = asyncio.run(check())
    assert "canary" not in repr(found)
    return found


def login_step(steps: list[CheckStep]) -> CheckStep:
    return next(step for step in steps if step.name == "login")


def test_a_token_is_given_as_it_is(server: Target) -> None:
    step = login_step(look(server, Tokens(TOKEN)))
    assert step.ok
    assert "token" in step.detail


def test_a_token_that_has_expired_is_replaced_by_a_new_one(server: Target) -> None:
    assert login_step(look(server, Tokens("expired-canary", TOKEN))).ok


def test_a_token_that_stays_wrong_is_a_refusal(server: Target) -> None:
    step = login_step(look(server, Tokens("wrong-canary")))
    assert not step.ok
    assert "refused the password" in step.detail


def test_a_password_is_never_given_as_it_is(server: Target) -> None:
    """Though it is the right one, and TLS is verified."""
    step = login_step(look(server, None))
    assert not step.ok
    assert "another proof than a SCRAM password" in step.detail


@pytest.mark.parametrize("tls", [TlsMode.REQUIRE, TlsMode.DISABLE])
def test_no_token_without_knowing_the_server(server: Target, tls: TlsMode) -> None:
    from dataclasses import replace

    target = replace(server, tls=tls, ca_pem=None)
    step = login_step(look(target, Tokens(TOKEN)))
    assert not step.ok
    assert "verify-full" in step.detail
