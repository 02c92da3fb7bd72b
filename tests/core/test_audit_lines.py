"""Lines carry the time of two clocks, whichever stamp makes them: the wall's, and one that never goes back."""

import json
import time
from datetime import datetime

import pytest

from gateway.proxy.audit_lines import PureStamp, Stamp


@pytest.mark.parametrize("kind", sorted({PureStamp, Stamp}, key=str), ids=lambda kind: kind.__module__)
def test_both_clocks_go_on_together_over_the_turns_of_their_seconds(kind: type[PureStamp]) -> None:
    stamp = kind(1, 0)
    wrong = []
    begun = time.monotonic()
    last = 0.0
    while time.monotonic() - begun < 1.2:
        before, wall = time.monotonic(), time.time()
        line = json.loads(stamp.lines([b'"a":1']))
        after = time.monotonic()
        at = datetime.fromisoformat(line["at"]).timestamp()
        # A microsecond is cut off; a busy machine may stop us between two looks, which says nothing of the line.
        if not before - 1e-6 <= line["mono"] <= after or (after - before < 0.001 and abs(at - wall) > 0.005):
            wrong.append((before, line, after, wall))
        assert line["mono"] >= last
        last = line["mono"]
        if stamp.seq % 1000 == 0:
            stamp.look_at_the_clock()
    assert wrong == []
    several = [json.loads(line) for line in stamp.lines([b'"a":1', b'"a":2', b'"a":3']).splitlines()]
    assert [(line["seq"], line["a"]) for line in several] == [(stamp.seq - 2, 1), (stamp.seq - 1, 2), (stamp.seq, 3)]
    assert len({line["at"] for line in several}) == 1
