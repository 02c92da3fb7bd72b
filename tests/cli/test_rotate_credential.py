"""What `pgbastion targets rotate-credential` says, on the gateway's machine, before there is a gateway that runs."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.main import run
from gateway.secret import Secret
from tests.support.gateway import write_config
from tests.support.rotating import RO, RW, Custody, Role, fresh_role
from tests.support.upstream import Database


@pytest.fixture
def role(database: Database) -> Iterator[Role]:
    with fresh_role(database) as made:
        yield made


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    write_config(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    return asyncio.run(Custody.made(tmp_path / "state"))


def command(custody: Custody, *words: str) -> int:
    try:
        run([*words, "--config", str(custody.folder.parent / "pgbastion.toml")])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_of_both_access_modes_then_on_a_schedule(custody: Custody, role: Role, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(custody.target("shop", role, RO, RW))
    assert command(custody, "targets", "rotate-credential", "shop", "--every", "30") == 0
    assert capsys.readouterr().out.splitlines() == [
        f'read_only, read_write: The password of "{role.name}" was changed. Nobody has seen the new one.',
        f'  The old password of "{role.name}" no longer logs in (28P01).',
        "From now on they are changed every 30 days.",
    ]
    assert asyncio.run(custody.store.read()).targets["shop"].rotate_every_days == 30
    assert command(custody, "targets", "update", "shop", "--no-rotate-every") == 0
    assert asyncio.run(custody.store.read()).targets["shop"].rotate_every_days is None


def test_what_fails_is_said_with_what_to_do(custody: Custody, role: Role, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(custody.target("shop", role, RO, password=Secret("another")))
    assert command(custody, "targets", "rotate-credential", "shop") == 1
    said = capsys.readouterr().out
    assert f'read_only: the password of "{role.name}" is as it was: the server refuses the password' in said
    assert "Set the right one: pgbastion targets login shop" in said
    assert command(custody, "targets", "rotate-credential", "shop", "--json") == 1
    assert json.loads(capsys.readouterr().out)["logins"][0]["state"] == "failed"
    assert command(custody, "targets", "rotate-credential", "shop", "--role", "admin") == 1
    assert "pgbastion targets adopt shop" in capsys.readouterr().err


def test_the_admins_and_who_is_still_there(
    custody: Custody, role: Role, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_role(database, "CREATEROLE") as boss:
        asyncio.run(custody.target("shop", role, RO))
        asyncio.run(custody.admin("shop", boss))
        tunnel = boss.log_in(boss.password, application_name="an old tunnel")
        assert command(custody, "targets", "rotate-credential", "shop", "--role", "admin") == 0
        said = capsys.readouterr().out
        assert f'The old password of "{boss.name}" no longer logs in (28P01).' in said
        assert "still there (--end-sessions ends them)" in said
        assert "an old tunnel" in said
        tunnel.close()
