"""From an empty database to a person's query: the script of init-sql, the check, and a session, as an admin would do it."""

import secrets
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database

PGBASTION = (sys.executable, "-c", "from gateway.cli.main import run; run()")


def command(gateway: RunningGateway, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PGBASTION, *arguments, "--config", str(gateway.config)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_target_made_as_the_manual_says(database: Database) -> None:
    with running_gateway() as gateway, database.superuser() as admin:
        admin.execute(
            "CREATE TABLE wares (id int); INSERT INTO wares VALUES (1), (2); REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        )
        person, target = gateway.person(), gateway.target(database, modes=())
        script = command(gateway, "targets", "init-sql", target)
        assert script.returncode == 0, script.stderr
        # Other tests on this server have roles of these names already.
        names = {role: f"{role}_{secrets.token_hex(4)}" for role in ("app_ro", "app_rw")}
        text = script.stdout
        for role, name in names.items():
            assert role in text
            text = text.replace(role, name)
        try:
            admin.execute(text)
            admin.execute(text)
            for mode, name in zip((AccessMode.READ_ONLY, AccessMode.READ_WRITE), names.values(), strict=True):
                password = Secret(secrets.token_urlsafe(18))
                admin.execute(f"ALTER ROLE {name} PASSWORD '{password.reveal()}'")
                gateway.login(target, mode, name, password)
            gateway.grant(person, target, AccessMode.READ_WRITE)
            gateway.settle(person, target)
            checked = command(gateway, "targets", "test", target)
            assert checked.returncode == 0, checked.stdout + checked.stderr
            with gateway.client(person, target) as reading:
                assert reading.execute("SELECT count(*) FROM wares").fetchone() == (2,)
                with pytest.raises(psycopg.Error) as raised:
                    reading.execute("INSERT INTO wares VALUES (3)")
                assert raised.value.sqlstate in ("25006", "42501")
            with gateway.client(person, f"{target}:rw") as writing:
                writing.execute("INSERT INTO wares VALUES (3)")
            assert admin.execute("SELECT count(*) FROM wares").fetchone() == (3,)
            wrong(gateway, target, names["app_ro"])
        finally:
            gateway.close_clients()
            for name in names.values():
                admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def wrong(gateway: RunningGateway, target: str, role: str) -> None:
    """A password that is not the server's: the step, the way out, exit status 1, and no password on the screen."""
    password = Secret(secrets.token_urlsafe(18))
    gateway.login(target, AccessMode.READ_ONLY, role, password)
    for _ in range(2):
        checked: Any = command(gateway, "targets", "test", target, "--mode", "read_only", "--json")
        assert checked.returncode == 1
        assert "refused the password" in checked.stdout
        assert f"pgbastion targets login {target}" in checked.stdout
        assert password.reveal() not in checked.stdout + checked.stderr
