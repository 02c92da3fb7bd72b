"""All workloads, in the order in which a round runs them."""

from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.workloads.idle import burn
from tests.bench.workloads.neighbours import ask_huge_lists, ask_new_reports, disturbed, read_slowly
from tests.bench.workloads.pgbench import connecting, scripted, usual
from tests.bench.workloads.statements import LITERALS, TRACED, fresh_reports, report, report_names, reports
from tests.bench.workloads.streams import receiving, sending
from tests.bench.workloads.verdicts import first_verdict
from tests.bench.workloads.workload import Workload

MODES: Final = ("simple", "extended", "prepared")
CLIENTS: Final = (1, 8, 32)

SIMPLE_8: Final = "simple, 8 clients"
SIMPLE_1: Final = "simple, 1 client"
CHURN: Final = "a connection per query"
FROM_SERVER: Final = ("COPY TO, wide rows", "COPY TO, narrow rows", "SELECT, wide rows", "SELECT, narrow rows")
COPY_IN: Final = "COPY FROM, wide rows"
VERDICT_2KB: Final = "first verdict, 2 kB"
NOBODY: Final = "nobody asks"
BESIDE_REPORTS: Final = "beside new reports"
_STREAMS: Final = ("COPY wide TO STDOUT", "COPY narrow TO STDOUT", "SELECT * FROM wide", "SELECT * FROM narrow")
_QUICK: Final = {(mode, 8) for mode in MODES} | {("simple", 1)}


def _usual() -> Iterator[Workload]:
    for mode in MODES:
        for clients in CLIENTS:
            name = f"{mode}, {clients} client{'s' if clients > 1 else ''}"
            yield Workload(name, f"pgbench -S -M {mode}", usual(mode, clients), (mode, clients) in _QUICK)


def _streams() -> Iterator[Workload]:
    for name, sql in zip(FROM_SERVER, _STREAMS, strict=True):
        yield Workload(name, f"{sql}, one client that reads without looking", receiving(sql), name == FROM_SERVER[0])
    yield Workload(COPY_IN, "COPY sink FROM STDIN, by the login that may write", sending())


def _verdicts() -> Iterator[Workload]:
    for kilobytes, name in ((2, report_names()[0]), (8, report_names()[-1])):
        text = f"Parse of {name}.sql as a new text, less Parse of a known one"
        yield Workload(f"first verdict, {kilobytes} kB", text, first_verdict(report(name)), kilobytes == 2)


def _neighbours() -> Iterator[Workload]:
    text = "4 clients, 1,000 queries/s in all, while"
    yield Workload("beside slow readers", f"{text} 8 clients read 200 MB each slowly", disturbed(read_slowly))
    yield Workload(BESIDE_REPORTS, f"{text} a client sends new reports of 8 kB", disturbed(ask_new_reports), True)
    yield Workload("beside huge lists", f"{text} a client sends new lists of 300 kB", disturbed(ask_huge_lists))


ALL: Final = (
    *_usual(),
    Workload("changing literals", "numbers, strings and lists at random, 8 clients", scripted(LITERALS, 8), True),
    Workload("a new text each time", "a trace id in a comment, 8 clients", scripted([TRACED], 8)),
    Workload("reports", "analytical statements of 2 to 8 kB on tiny tables, 8 clients", scripted(reports(), 8), True),
    Workload("reports, new texts", "the same with a trace id in a comment", scripted(fresh_reports(), 8)),
    Workload(CHURN, "pgbench -S -C, 8 clients: login and one query", connecting(8), True),
    *_streams(),
    *_verdicts(),
    *_neighbours(),
    Workload(NOBODY, "CPU while no client is there", burn, True),
)


def chosen(workloads: Sequence[Workload], names: Sequence[str]) -> list[Workload]:
    """Those whose name begins with one of `names` (all without any). Raises SystemExit for a name of nobody's."""
    for name in names:
        if not any(workload.name.startswith(name) for workload in workloads):
            raise SystemExit(f"no workload is called {name!r}: {'; '.join(workload.name for workload in workloads)}")
    return [workload for workload in workloads if not names or workload.name.startswith(tuple(names))]
