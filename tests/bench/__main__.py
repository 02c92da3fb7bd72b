"""The whole comparison, by one command.

    python -m tests.bench [--quick] [--output docs/performance-report.md]
    python -m tests.bench --only simple --only prepared --contestants direct PgBouncer pgbastion --rounds 3

Writes a Markdown report; with --output to that file, its charts and the ratios (.json) beside it. Nothing here asserts a time.
"""

import argparse
import datetime
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import churn
from tests.bench.churn import Course, churn_chart, measure_churn
from tests.bench.kept import ratios_of, write_ratios
from tests.bench.pictures import Drawing, drawings
from tests.bench.proxies import lineup
from tests.bench.proxies.ground import Ground, prepared_ground
from tests.bench.proxies.lineup import ENTRIES
from tests.bench.report import Picture, Settings, write_report
from tests.bench.rounds import Plan, run_all
from tests.bench.samples import Run
from tests.bench.versions import Machine, this_machine
from tests.bench.workloads import catalogue
from tests.bench.workloads.catalogue import ALL
from tests.bench.workloads.many import REAL_AT_MOST

#: Server connections that contestants keep beside those of the moment: pools, and what pgpool-II holds for later.
_KEPT_CONNECTIONS = 600
#: Of a proxy, beside its connections; some connections of the harness's own are in it.
_OTHER_FILES = 200


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__, formatter_class=form)
    parser.add_argument("--quick", action="store_true", help="fewer workloads, rounds and seconds: some minutes")
    parser.add_argument("--rounds", type=int, help="5, quick 2")
    parser.add_argument("--seconds", type=int, help="per measurement: 2, quick 1")
    parser.add_argument(
        "--idle", type=int, help="idle connections: 1000, quick 200; 0 leaves them out, above 1000 at a stand-in"
    )
    parser.add_argument("--churn-minutes", type=float, default=0, help="watch memory while clients come and go for so long")
    parser.add_argument("--stream-megabytes", type=int, help="of each table to stream: 60, quick 20")
    parser.add_argument("--only", action="append", default=[], metavar="WORKLOAD", help="those that begin so; may be repeated")
    parser.add_argument("--contestants", nargs="+", default=[], metavar="NAME", help="those that begin so")
    parser.add_argument("--list", action="store_true", help="name all workloads and contestants, and end")
    parser.add_argument("--output", type=Path, metavar="REPORT.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    if given.list:
        _list()
        return
    quick = given.quick
    workloads = catalogue.chosen([each for each in ALL if each.quick or not quick or given.only], given.only)
    entries = lineup.chosen(ENTRIES, given.contestants)
    idle = given.idle if given.idle is not None else 0 if given.only else 200 if quick else 1000
    idle = _within_files(idle)
    plan = Plan(given.rounds or (2 if quick else 5), given.seconds or (1 if quick else 2), idle)
    started_at = time.monotonic()
    megabytes = given.stream_megabytes or (20 if quick else 60)
    with prepared_ground(max_connections=_KEPT_CONNECTIONS + min(idle, REAL_AT_MOST), stream_megabytes=megabytes) as ground:
        machine = this_machine(ground)
        run = run_all(plan, ground, entries, workloads, lambda line: print(line, flush=True))
        courses = _churn(given.churn_minutes, ground, run)
    settings = Settings(plan.rounds, plan.seconds, idle, datetime.datetime.now(datetime.UTC).date().isoformat())
    _publish(run, courses, machine, settings, given.output)
    print(f"{time.monotonic() - started_at:.0f} s in all; {len(run.failures)} notes of what was not measured")


def _churn(minutes: float, ground: Ground, run: Run) -> list[Course]:
    if not minutes:
        return []
    wanted = [build.name for build in churn.default_builds()]
    builds = [entry for entry in ENTRIES if entry.name in wanted]
    try:
        return measure_churn(ground, builds, minutes, lambda line: print(line, flush=True))
    except Exception as error:  # the figures of an hour are there all the same
        run.failures.append(f"memory over churn: {type(error).__name__}: {error}"[:600])
        return []


def _publish(run: Run, courses: Sequence[Course], machine: Machine, settings: Settings, output: Path | None) -> None:
    if output is None:
        print(write_report(run, machine, settings, (), courses))
        return
    pictures = []
    for drawing in (*drawings(run), *([Drawing("churn", churn.TITLE, churn_chart(courses))] if courses else [])):
        path = output.with_name(f"{output.stem}-{drawing.key}.svg")
        path.write_text(drawing.svg)
        pictures.append(Picture(drawing.title, path.name))
    output.write_text(write_report(run, machine, settings, pictures, courses))
    write_ratios(output.with_suffix(".json"), ratios_of(run), machine, settings)


def _list() -> None:
    for workload in ALL:
        print(f"{'quick ' if workload.quick else '      '}{workload.name}: {workload.explained}")
    for entry in ENTRIES:
        print(f"{entry.name}{f' ({reason})' if (reason := entry.missing()) else ''}")


def _within_files(connections: int) -> int:
    """So many, or as many as a proxy can carry that has two files for each."""
    most = (_raise_file_limit(4 * connections + 2000) - _OTHER_FILES) // 2
    if connections > most:
        print(f"only {most} idle connections, for want of files")
    return min(connections, most)


def _raise_file_limit(wanted: int) -> int:
    """For this process and what it starts: the hard limit too, where we may. Returns what is in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            print(f"only {hard} files may be open; {wanted} were wanted")
        else:
            return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


if __name__ == "__main__":
    main()
