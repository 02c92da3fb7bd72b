"""The ratios of a run as a JSON file, to be committed, and read back to compare a later run with."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench.proxies.lineup import DIRECT, PGBOUNCER
from tests.bench.report import Settings
from tests.bench.samples import Metric, Run
from tests.bench.spread import Spread, of_ratios
from tests.bench.versions import Machine

_FORMAT: Final = 1
_BASES: Final = (PGBOUNCER, DIRECT)


class UnreadableRatios(Exception):
    """A file that is not what `write_ratios` writes. The text is for people."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of a contestant to `base`, within rounds."""

    workload: str
    contestant: str
    metric: Metric
    base: str
    spread: Spread


def ratios_of(run: Run) -> list[Ratio]:
    """All that can be formed."""
    found = []
    for workload in run.workloads():
        for metric in run.metrics(workload):
            for contestant in run.contestants():
                for base in _BASES:
                    spread = of_ratios(run, workload, contestant, base, metric) if base != contestant else None
                    if spread is not None:
                        found.append(Ratio(workload, contestant, metric, base, spread))
    return found


def write_ratios(path: Path, ratios: Sequence[Ratio], machine: Machine, settings: Settings) -> None:
    rows = [
        {
            "workload": ratio.workload,
            "contestant": ratio.contestant,
            "metric": ratio.metric.value,
            "base": ratio.base,
            "median": _short(ratio.spread.median),
            "low": _short(ratio.spread.low),
            "high": _short(ratio.spread.high),
            "rounds": ratio.spread.count,
        }
        for ratio in ratios
    ]
    head = json.dumps({"format": _FORMAT, "machine": asdict(machine), "settings": asdict(settings)}, indent=1)
    # One line per ratio: a later run's difference can be read.
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    path.write_text(f'{head.rstrip().removesuffix("}").rstrip()},\n "ratios": [\n  {lines}\n ]\n}}\n')


def read_ratios(path: Path) -> list[Ratio]:
    """Raises UnreadableRatios. Metrics that are not known any more are left out."""
    known = {metric.value: metric for metric in Metric}
    try:
        document = json.loads(path.read_text())
        if document["format"] != _FORMAT:
            raise UnreadableRatios(f"{path} has format {document['format']}, not {_FORMAT}")
        return [
            Ratio(
                str(row["workload"]),
                str(row["contestant"]),
                known[row["metric"]],
                str(row["base"]),
                Spread(float(row["median"]), float(row["low"]), float(row["high"]), int(row["rounds"])),
            )
            for row in document["ratios"]
            if row["metric"] in known
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableRatios(f"{path} cannot be read: {error!r}") from error


def _short(value: float) -> float:
    """Four digits that matter."""
    return float(f"{value:.4g}")
