"""Durations as people write them: `8h`, `30m`, `1d12h`."""

import re
from datetime import timedelta
from typing import Final

_DURATION: Final = re.compile(r"(?:(\d{1,4})w)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)


def read_duration(text: str) -> timedelta | None:
    """None: it is none."""
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        return None
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def write_duration(seconds: float) -> str:
    """As `read_duration` reads it: `8h`, `1d12h`; to the minute, unless it is less than one."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
