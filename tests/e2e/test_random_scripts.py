"""X22: random scripts with refused texts anywhere, against PostgreSQL given a syntax error in the same places.

`PGBASTION_SCRIPTS=5000 pytest tests/e2e/test_random_scripts.py` runs more of them, `PGBASTION_SEED=7` others.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.oracle import Answer, Step, Twins, finish, play
from tests.support.scripts import Author
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import RawClient

SCRIPTS = int(os.environ.get("PGBASTION_SCRIPTS", "100"))  # of each mode
FIRST_SEED = int(os.environ.get("PGBASTION_SEED", "0"))
ROUNDS = 4  # in one session
MESSAGES = 14  # of one round, at most


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """One that judges all but short texts in its other process, so that sessions are often on hold."""
    with running_gateway(
        throttle={"free_failures": 1_000_000, "user_delay_seconds": 0.0},
        policy={"judge_inline_bytes": 300},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def scratch(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        admin = fresh.superuser()
        admin.execute("CREATE TABLE scratch (k int)")
        admin.execute("GRANT SELECT ON scratch TO app_ro")
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON scratch TO app_rw")
        yield fresh


@pytest.mark.parametrize("mode", list(AccessMode))
def test_x22_random_scripts(gateway: RunningGateway, scratch: Database, mode: AccessMode) -> None:
    """Answers, their order, every ReadyForQuery's status and what is in the tables afterwards: all as PostgreSQL does it."""
    person, target = gateway.analyst(scratch, mode)
    twins = Twins(gateway, scratch, person, target, mode)
    admin = scratch.superuser()
    before = upstream_checksum(admin)
    for seed in range(FIRST_SEED, FIRST_SEED + SCRIPTS):
        rng = Random(f"{mode} {seed}")
        author = Author(rng, mode)
        rounds = [[*author.round(MESSAGES), finish()] for _ in range(ROUNDS)]
        with twins.direct() as direct:
            expected = [run(direct, round_, None) for round_ in rounds]
        expected_rows = rows(admin)
        with twins.through() as through:
            found = [run(through, round_, rng) for round_ in rounds]
        if found != expected:
            ends = [event["reason"] for event in gateway.events(event="session_end")]
            pytest.fail(
                f"{explain(seed, rounds, found, expected)}\n  the session's end: {ends[-1:]}\n{''.join(gateway.log[-30:])}",
                pytrace=False,
            )
        assert rows(admin) == expected_rows, f"seed {seed} left other rows"
    if mode is AccessMode.READ_ONLY:
        assert upstream_checksum(admin) == before


def run(client: RawClient, steps: list[Step], rng: Random | None) -> list[Answer]:
    """With `rng`, to the gateway: in one piece, step by step, or cut anywhere."""
    if client.eof:
        return []
    if rng is None:
        return play(client, [step.direct for step in steps], [step.pause for step in steps])
    parts, pauses = [step.gateway for step in steps], [step.pause for step in steps]
    match rng.randrange(3):
        case 0:
            return play(client, parts, pauses)
        case 1:
            return play(client, [b"".join(parts)])
        case _:
            whole = b"".join(parts)
            cuts = [0, *sorted(rng.sample(range(1, len(whole)), min(12, len(whole) - 1))), len(whole)]
            pieces = [whole[a:b] for a, b in pairwise(cuts)]
            return play(client, pieces, [rng.choice((0, 0, 0.002)) for _ in pieces])


def rows(admin: "psycopg.Connection[Any]") -> list[int]:
    """What the script left in its table, which is emptied."""
    left = [row[0] for row in admin.execute("SELECT k FROM scratch ORDER BY k").fetchall()]
    admin.execute("DELETE FROM scratch")
    return left


def explain(seed: int, rounds: list[list[Step]], found: list[list[Answer]], expected: list[list[Answer]]) -> str:
    lines = [f"seed {seed} (PGBASTION_SEED={seed} PGBASTION_SCRIPTS=1)"]
    for steps, ours, theirs in zip(rounds, found, expected, strict=True):
        lines += [f"  > {step.gateway!r:.150} pause {step.pause}" for step in steps]
        if ours != theirs:
            at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
            at = min(len(ours), len(theirs)) if at is None else at
            lines += [
                f"  the same: {ours[:at]}",
                f"  gateway goes on: {ours[at : at + 8]}",
                f"  PostgreSQL goes on: {theirs[at : at + 8]}",
            ]
            break
    return "\n".join(lines)
