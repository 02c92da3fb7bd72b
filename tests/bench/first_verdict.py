"""CPU time of the first verdict on a text that nobody sent before, and of one that is remembered; one command, microseconds.

    python -m tests.bench.first_verdict [--rounds 200] [--output FILE]

The policy is a read-only one with the catalog of a real database (tests/policy/objects.sql: views, types, operators, functions and
casts of users). The texts: a point query, an analytical statement of 2 kB, and every query that psql 15 sends for its \\d commands
(psql_describe.sql). Rounds go through all texts in turn, so that slow moments hit all alike; medians over rounds are
printed, and the fastest round, which says more on a busy machine. The garbage collector is set up as a worker has it.
Nothing here asserts a time.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pglast.parser import parse_sql_json

from gateway.access_mode import AccessMode
from gateway.session.verdicts import PolicyInForce
from gateway.statements.catalog import Catalog
from gateway.statements.policy import Policy, judge
from gateway.statements.shape import shape_of
from tests.bench.workloads.statements import report
from tests.policy.catalogs import load_catalog
from tests.support.upstream import running_upstream

_HERE = Path(__file__).parent
_OBJECTS = _HERE.parent / "policy" / "objects.sql"
_POINT = b"SELECT abalance FROM pgbench_accounts WHERE aid = 42"
_LABELLED = b"SELECT abalance, 'row 42' AS label FROM pgbench_accounts WHERE aid = 42 AND filler <> 'customer 9 of 42'"
_SHORTEST_NANOSECONDS = 200_000  # a sample takes at least so long


@dataclass
class Row:
    """What is measured over some texts, in turn. `samples`: nanoseconds for one text, on average over them, of each round."""

    name: str
    texts: Sequence[bytes]
    work: Callable[[bytes], object]
    times: int = 1
    samples: list[float] = field(default_factory=list)

    def settle(self) -> None:
        """Warm up, and find out how often the work fits into a sample."""
        self.sample()
        taken = self.samples.pop() * len(self.texts)
        self.times = max(1, round(_SHORTEST_NANOSECONDS / max(taken, 1)))

    def sample(self) -> None:
        work, texts = self.work, self.texts
        before = time.thread_time_ns()
        for _ in range(self.times):
            for text in texts:
                work(text)
        self.samples.append((time.thread_time_ns() - before) / self.times / len(texts))

    def __str__(self) -> str:
        size = sum(map(len, self.texts)) // len(self.texts)
        median, fastest = statistics.median(self.samples) / 1000, min(self.samples) / 1000
        return f"| {self.name} | {size} | {median:.1f} | {fastest:.1f} |"


def describe_queries() -> list[bytes]:
    """What psql 15 sends for \\d, \\d of a table, \\dt, \\dv, \\df, \\dn, \\du, \\l, \\di and \\dT."""
    parts = (_HERE / "psql_describe.sql").read_text().split("\n\n-- ")
    return [part.split("\n", 1)[1].strip().encode() for part in parts]


def rows(catalog: Catalog) -> list[Row]:
    """For a policy over this catalog."""
    policy = Policy(AccessMode.READ_ONLY, server_major=catalog.server_major, catalog=catalog)
    policy.prepare()
    analytical, describe = report("revenue_by_month").encode(), describe_queries()
    for text in (_POINT, _LABELLED, analytical, *describe):
        verdict = judge(text, policy)
        assert verdict.allowed, (verdict.message, text)
    in_force = PolicyInForce(policy, 1000, 1 << 20, 4096)
    others = [text.replace(b"42", b"4711") for text in (_POINT, _LABELLED)]
    for text in (_POINT, _LABELLED):
        in_force.judge(text)
    assert all(map(in_force.by_shape, others))
    groups = (("point query", [_POINT]), ("2 kB analytical", [analytical]), ("psql \\d", describe))
    made = []
    for name, texts in groups:
        made.append(Row(name, texts, lambda text: judge(text, policy)))
        made.append(Row(f"{name}: the parser alone", texts, lambda text: parse_sql_json(text.decode())))
        made.append(Row(f"{name}: parser and JSON", texts, lambda text: orjson.loads(parse_sql_json(text.decode()))))
    made.append(Row("remembered, the same text", [_POINT], in_force.remembered.get))
    made.append(Row("remembered, another number", others[:1], in_force.by_shape))
    made.append(Row("remembered, other strings and numbers", others[1:], in_force.by_shape))
    made.append(Row("of that the key alone", others[1:], shape_of))
    return made


def measure(catalog: Catalog, rounds: int) -> str:
    """A Markdown table."""
    made = rows(catalog)
    for row in made:
        row.settle()
    for _ in range(rounds):
        for row in made:
            row.sample()
    return "\n".join(["| text | bytes | median, us | fastest, us |", "|---|---|---|---|", *map(str, made)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgbastion-bench-") as made, running_upstream(Path(made)) as upstream:
        with upstream.connect() as connection:
            connection.execute("CREATE DATABASE first_verdict")
        with upstream.connect("first_verdict") as connection:
            connection.execute(_OBJECTS.read_bytes())
            catalog = load_catalog(connection)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as gateway.app
    result = measure(catalog, arguments.rounds)
    print(result)
    if arguments.output is not None:
        arguments.output.write_text(result + "\n")


if __name__ == "__main__":
    main()
