"""The corpus of what grants add and take away (tests/policy/granted.jsonl), as one shape."""

import json
from dataclasses import dataclass
from pathlib import Path

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Verdict

_FILE = Path(__file__).parent.parent / "policy" / "granted.jsonl"


@dataclass(frozen=True)
class Granted:
    """`expect`: allow, refuse or report. `rule` of the latter two. `sent_as`: what the server gets in place of `sql`."""

    id: str
    mode: str
    options: list[str]
    expect: str
    why: str
    sql: str
    max_changed_rows: int | None = None
    rule: str = ""
    row_ceiling: int = 0
    made: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    lifts: bool = False
    sent_as: str = ""

    @property
    def policy(self) -> Policy:
        options = frozenset(map(GrantOption, self.options))
        return Policy(AccessMode(self.mode), options=options, max_changed_rows=self.max_changed_rows)

    @property
    def verdict(self) -> Verdict:
        return judge(self.sql.encode(), self.policy)


def granted(prefix: str) -> list[Granted]:
    """The entries whose id starts with it."""
    entries = [Granted(**json.loads(line)) for line in _FILE.read_text().splitlines()]
    return [each for each in entries if each.id.startswith(prefix)]
