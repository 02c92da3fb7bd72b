"""pg_dump in its formats, and what of pg_dumpall a reader may have: the same as directly, and nothing refused."""

import os
import re
from pathlib import Path

import pytest

from tests.support.doors import Door, direct_environment, program, run

_WAYS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "schema only": ("--schema-only",),
    "inserts": ("--inserts",),
    "column inserts": ("--column-inserts", "--rows-per-insert=2"),
    "one table": ("--table=app.customers",),
    "tables by pattern": ("--table=app.b*", "--exclude-table=app.bookings_rest"),
    "one schema": ("--schema=app",),
    "odd schema": ('--schema="Odd ""Name"""',),
    "clean": ("--clean", "--if-exists", "--create", "--schema-only"),
    "deferrable": ("--serializable-deferrable", "--lock-wait-timeout=5s", "--no-synchronized-snapshots"),
    "quoted": ("--quote-all-identifiers", "--disable-dollar-quoting", "--schema-only"),
    "partition root": ("--load-via-partition-root", "--data-only", "--table=app.bookings*"),
}


def pg_dump(door: Door) -> str:
    found = program("pg_dump", "postgresql-client")
    version = re.search(r"(\d+)", run([found, "--version"], {}).stdout)
    assert version is not None
    return found if int(version[1]) >= door.database.upstream.major else ""


def plain(script: str) -> str:
    return re.sub(r"^\\(un)?restrict .*", "", script, flags=re.MULTILINE)


def options_for(way: str) -> list[str]:
    """A subscription is for superusers to dump; a table under row security wants to be asked for; large objects use the fast
    path.
    """
    options = [*_WAYS[way], "--no-subscriptions", "--enable-row-security", "--no-blobs"]
    return [option for option in options if option != "--no-synchronized-snapshots"]


@pytest.mark.parametrize("way", _WAYS)
def test_a_dump_is_the_one_made_directly(door: Door, way: str) -> None:
    command = pg_dump(door)
    if not command:
        return  # a newer server is not dumped by it
    through = run([command, *options_for(way)], door.environment(PGAPPNAME=f"dump {way}"))
    direct = run([command, *options_for(way)], direct_environment(door))
    assert (through.returncode, through.stderr) == (direct.returncode, direct.stderr)
    assert direct.returncode == 0, direct.stderr
    named = plain(through.stdout).replace(door.target, door.database.name)
    assert named == plain(direct.stdout)
    assert door.denials(f"dump {way}") == []


@pytest.mark.parametrize("form", ["custom", "directory", "tar"])
def test_archives(door: Door, tmp_path: Path, form: str) -> None:
    """What an archive holds is the same script."""
    command = pg_dump(door)
    if not command:
        return
    made = tmp_path / "dump"
    done = run([command, f"--format={form}", "-f", made, *options_for("plain")], door.environment(PGAPPNAME="archives"))
    assert done.returncode == 0, done.stderr
    shown = run([program("pg_restore", "postgresql-client"), "--enable-row-security", "-f", "-", made], {**os.environ})
    direct = run([command, *options_for("plain")], direct_environment(door))
    assert without_comments(shown.stdout) == without_comments(direct.stdout)
    assert door.denials("archives") == []


def without_comments(script: str) -> list[str]:
    lines = plain(script).splitlines()
    return [line for line in lines if line and not line.startswith("--")]


def test_dumpall_is_for_superusers(door: Door) -> None:
    """Roles come with password hashes, directly too; without them they are no secret."""
    command = pg_dump(door)
    if not command:
        return
    dumpall = program("pg_dumpall", "postgresql-client")
    # It connects to the database that it is told to, and asks all of them for their names.
    for options in (("--globals-only",), ("--roles-only",)):
        shown = run([dumpall, f"--database={door.dbname}", *options], door.environment())
        assert shown.returncode != 0
        assert "secret-column" in shown.stderr or "secret-relation" in shown.stderr, shown.stderr
    shown = run(
        [dumpall, f"--database={door.dbname}", "--roles-only", "--no-role-passwords"], door.environment(PGAPPNAME="dumpall")
    )
    direct = run([dumpall, f"--database={door.database.name}", "--roles-only", "--no-role-passwords"], direct_environment(door))
    assert plain(shown.stdout) == plain(direct.stdout), shown.stderr
    assert shown.returncode == direct.returncode
