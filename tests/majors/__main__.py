"""The read-only guarantee on each supported major version of PostgreSQL, and a table of what came of it.

    python -m tests.majors                          all of them: the corpora, generated statements, the protocol, captures
    python -m tests.majors 13 18 -- tests/oracle    these two; what follows -- goes to pytest, and paths replace the usual ones

What is not installed is fetched once: see packages.toml. PGBASTION_ORACLE=full, PGBASTION_POLICY_STUDY and PGBASTION_GENERATED
work as ever.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.demo.binaries import OLDEST_MAJOR, server_account
from tests.majors.figures import Figures, Row, figures_of, table_of
from tests.majors.servers import NoServer, Server, cache_folder, find_server, pins
from tests.oracle.report import REPORT_VARIABLE

USUAL: Final = (
    "tests/policy",
    "tests/oracle",
    "tests/generated",
    "tests/e2e",
    "tests/captures",
    "tests/proxy/test_role_audit.py",
    "tests/services/test_target_sql.py",
    "tests/services/test_adoption.py",
)
_ROOT: Final = Path(__file__).parents[2]
_SOME_FAILED: Final = 1


def main(arguments: Sequence[str]) -> int:
    own, more = _apart(arguments)
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tests.majors", description=__doc__, formatter_class=form)
    parser.add_argument("majors", nargs="*", type=int, metavar="MAJOR", help=f"{OLDEST_MAJOR} and up")
    majors = parser.parse_args(own).majors or sorted(pins())
    cache = cache_folder()
    rows: list[Row] = []
    try:
        for major in majors:
            rows.append(_row(major, cache, more))
    finally:
        print(f"\n{table_of(rows)}", flush=True)
    return 0 if all(row.good for row in rows) else _SOME_FAILED


def _apart(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What is ours, and what stands behind `--`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut + 1 :]


def _row(major: int, cache: Path, more: Sequence[str]) -> Row:
    try:
        server = find_server(major, cache, server_account())
    except NoServer as error:
        return Row(str(major), "-", Figures(), 0, str(error))
    print(f"\nPostgreSQL {server.version} ({server.origin}: {server.bin_dir})", flush=True)
    folder = cache / "results" / str(major)
    shutil.rmtree(folder, ignore_errors=True)
    reports = folder / "reports"
    reports.mkdir(parents=True)
    started = time.monotonic()
    status = _pytest(server, folder / "results.xml", reports, more)
    seconds = time.monotonic() - started
    if not (folder / "results.xml").exists():
        return Row(server.version, server.origin, Figures(), seconds, f"pytest ended with status {status}, and told nothing")
    trouble = "" if status in (0, _SOME_FAILED) else f"pytest ended with status {status}"
    return Row(server.version, server.origin, figures_of(folder / "results.xml", reports), seconds, trouble)


def _pytest(server: Server, results: Path, reports: Path, more: Sequence[str]) -> int:
    """Two processes, as `make test` has them. Neither what failed before nor what failed here is remembered."""
    paths = () if any(_is_path(each) for each in more) else USUAL
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "load"]
    environment = {**os.environ, **server.environment, REPORT_VARIABLE: str(reports)}
    return subprocess.run(
        [*command, f"--junitxml={results}", *paths, *more], cwd=_ROOT, env=environment, check=False
    ).returncode


def _is_path(argument: str) -> bool:
    return not argument.startswith("-") and (_ROOT / argument.partition("::")[0]).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
