"""How long, as people write it in a form: `45m`, `1d12h`, "4 hours". Pure."""

import re
from typing import Final

from gateway.durations import read_duration

_UNIT: Final = re.compile(r"(\d+)\s*(weeks?|days?|hours?|hrs?|minutes?|mins?|[wdhm])(?![a-z])\s*", re.ASCII)


def read_span(text: str) -> int | None:
    """In seconds; None: it is no length of time, or none at all."""
    found = read_duration(_UNIT.sub(lambda each: each[1] + each[2][0], text.strip().lower()))
    return None if found is None else int(found.total_seconds()) or None
