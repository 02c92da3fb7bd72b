"""R01: whatever ends a right ends its sessions, in any state, in time. `python -m tests.bench.revocation` measures a thousand."""

from tests.bench.revocation import STATES, measure, stage, table
from tests.support.upstream import Database


def test_rights_end_in_time_in_every_state(database: Database) -> None:
    with stage(database) as made:
        trials = measure(made, 50)
        print(table(trials))
        assert {trial.state for trial in trials} == set(STATES)
        assert len({trial.change for trial in trials}) == 10
        assert max(trial.seconds for trial in trials) < 2
        farewells = made.gateway.events(event="session_end")
        assert {record["reason"] for record in farewells} >= {
            "grant-ended",
            "user-disabled",
            "user-unknown",
            "user-expired",
            "password-changed",
            "lockdown",
            "address-not-admitted",
        }
