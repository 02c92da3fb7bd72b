"""CPU per query and throughput of the gateway against PgBouncer and a direct connection, in interleaved rounds.

    python -m tests.bench.compare [--rounds 5] [--seconds 3] [--clients 8] [--output FILE]

Each round runs every contestant once per workload, in an order that rotates, so that slow minutes of the machine hit all alike.
Medians over rounds are printed as Markdown; ratios are of the same round. Nothing here asserts a time.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contestants import Contestant, direct, fill, gateway, pgbouncer
from tests.support.upstream import fresh_database, make_logins, running_upstream

WORKLOADS = ("simple", "extended", "prepared")
_TRANSACTIONS = re.compile(r"number of transactions actually processed: (\d+)")
_TPS = re.compile(r"tps = ([\d.]+) \(without initial")


@dataclass(frozen=True)
class Figure:
    """Of one run: the proxy's CPU microseconds per query (None for direct), and queries per second."""

    cpu: float | None
    tps: float


def run(contestant: Contestant, workload: str, clients: int, seconds: int) -> Figure:
    before = contestant.cpu_seconds()
    command = ["pgbench", "-n", "-S", "-M", workload, "-c", str(clients), "-j", "1", "-T", str(seconds)]
    done = subprocess.run(command, env=contestant.environment(), check=True, capture_output=True, text=True)
    used = contestant.cpu_seconds() - before
    transactions, tps = _TRANSACTIONS.search(done.stdout), _TPS.search(done.stdout)
    if transactions is None or tps is None:
        raise SystemExit(f"pgbench said something unexpected:\n{done.stdout}{done.stderr}")
    return Figure(used / int(transactions[1]) * 1e6 if contestant.pids else None, float(tps[1]))


def compare(contestants: Sequence[Contestant], rounds: int, clients: int, seconds: int) -> str:
    figures: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    for number in range(rounds):
        turn = number % len(contestants)
        for workload in WORKLOADS:
            for contestant in (*contestants[turn:], *contestants[:turn]):
                figures[contestant.name, workload].append(run(contestant, workload, clients, seconds))
        print(f"round {number + 1} of {rounds} done", flush=True)
    return table(contestants, figures)


def table(contestants: Sequence[Contestant], figures: dict[tuple[str, str], list[Figure]]) -> str:
    lines = [
        "| workload | contestant | CPU per query, us | x PgBouncer (min to max) | queries/s | x direct |",
        "|---|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        base, plain = figures["PgBouncer", workload], figures["direct", workload]
        for contestant in contestants:
            mine = figures[contestant.name, workload]
            tps = statistics.median(f.tps for f in mine)
            against = statistics.median(f.tps / d.tps for f, d in zip(mine, plain, strict=True))
            cpu = ratio = ""
            if contestant.pids:
                ratios = [(f.cpu or 0) / (b.cpu or 1) for f, b in zip(mine, base, strict=True)]
                cpu = f"{statistics.median(f.cpu or 0 for f in mine):.1f}"
                ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| {workload} | {contestant.name} | {cpu} | {ratio} | {tps:,.0f} | {against:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgbastion-bench-") as made, running_upstream(Path(made)) as upstream:
        logins = make_logins(upstream)
        with fresh_database(upstream, logins) as database:
            fill(upstream, database.name, scale=1)
            with pgbouncer(database, logins[0]) as bouncer, gateway(database) as ours:
                contestants = (direct(database, logins[0]), bouncer, ours)
                result = compare(contestants, arguments.rounds, arguments.clients, arguments.seconds)
    print(result)
    if arguments.output is not None:
        arguments.output.write_text(result + "\n")


if __name__ == "__main__":
    main()
