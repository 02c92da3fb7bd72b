"""Which charts a report has, and from which figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.bench.charts import Bar, Group, bar_chart
from tests.bench.proxies.lineup import DIRECT, PGBOUNCER
from tests.bench.samples import Metric, Run
from tests.bench.spread import Spread, of_differences, of_ratios, of_values
from tests.bench.workloads.catalogue import BESIDE_REPORTS, CHURN, COPY_IN, FROM_SERVER, SIMPLE_1, SIMPLE_8
from tests.bench.workloads.idle import IDLE
from tests.bench.workloads.many import MANY

_QUERIES = (SIMPLE_8, "extended, 8 clients", "prepared, 8 clients", "changing literals", "a new text each time")

Take = Callable[[Run, str, str], Spread | None]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart: its file is called "<report>-<key>.svg"."""

    key: str
    title: str
    svg: str


def _value(metric: Metric) -> Take:
    def take(run: Run, workload: str, contestant: str) -> Spread | None:
        found = of_values(run, workload, contestant, metric)
        return found and found.times(metric.unit.scale)

    return take


def _ratio(metric: Metric, base: str) -> Take:
    def take(run: Run, workload: str, contestant: str) -> Spread | None:
        return of_ratios(run, workload, contestant, base, metric)

    return take


def _added(metric: Metric) -> Take:
    def take(run: Run, workload: str, contestant: str) -> Spread | None:
        found = of_differences(run, workload, contestant, DIRECT, metric) if contestant != DIRECT else None
        return found and found.times(metric.unit.scale)

    return take


def _groups(run: Run, workloads: Sequence[str], take: Take) -> list[Group]:
    groups = []
    for workload in workloads:
        found = [(name, take(run, workload, name)) for name in run.contestants()]
        bars = tuple(Bar(name, spread, name.startswith("pgbastion")) for name, spread in found if spread is not None)
        groups.append(Group(workload, bars))
    return groups


def drawings(run: Run) -> Iterator[Drawing]:
    """Those for which there are figures."""
    spans = "Median of all rounds; the line is the span. Shorter is better."
    longer = "Median of all rounds; the line is the span. Longer is better."
    latency = [
        Group(f"{title}, one client", group.bars)
        for title, metric in (("p50", Metric.P50), ("p99", Metric.P99))
        for group in _groups(run, (SIMPLE_1,), _added(metric))
    ]
    streams = (*FROM_SERVER, COPY_IN)
    charts = (
        ("cpu", "CPU per query, against PgBouncer", spans, _groups(run, _QUERIES, _ratio(Metric.QUERY_CPU, PGBOUNCER)), 2, 1.0),
        (
            "throughput",
            "Queries per second, against direct",
            longer,
            _groups(run, _QUERIES, _ratio(Metric.QUERIES, DIRECT)),
            2,
            1.0,
        ),
        ("latency", "Latency added, microseconds", spans, latency, 0, None),
        (
            "streaming",
            "Throughput of large results, against direct",
            longer,
            _groups(run, streams, _ratio(Metric.BYTES, DIRECT)),
            2,
            1.0,
        ),
        ("streaming-cpu", "CPU seconds per GB", spans, _groups(run, streams, _value(Metric.CPU_PER_BYTE)), 2, None),
        ("login", "CPU per login and query, microseconds", spans, _groups(run, (CHURN,), _value(Metric.LOGIN_CPU)), 0, None),
        ("others", "p99 of the others, ms", spans, _groups(run, (BESIDE_REPORTS,), _value(Metric.OTHERS_P99)), 1, None),
        ("idle", "Memory per idle connection, kB", spans, _groups(run, (IDLE, MANY), _value(Metric.IDLE_BYTES)), 1, None),
    )
    for key, title, subtitle, groups, decimals, reference in charts:
        if any(group.bars for group in groups):
            svg = bar_chart(title, subtitle, groups, decimals=decimals, reference=reference)
            yield Drawing(key, title, svg)
