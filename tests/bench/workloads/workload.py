"""A workload: a name, what it does, and a function that runs it against one contestant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.bench.proxies.contestant import Contestant
from tests.bench.samples import Metric

Readings: TypeAlias = Mapping[Metric, float]


@dataclass(frozen=True, slots=True)
class Task:
    """For how long to measure, and a folder for files of this one measurement."""

    seconds: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Workload:
    """`quick`: also part of the quick variant."""

    name: str
    explained: str
    measure: Callable[[Contestant, Task], Readings]
    quick: bool = False
