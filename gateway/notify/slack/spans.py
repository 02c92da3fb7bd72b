"""How long, as people write it: `45m`, `4h`, `1d12h`. Pure."""

import re
from typing import Final

_SPAN: Final = re.compile(
    r"(?:(\d{1,3})w(?:eeks?)?)?(?:(\d{1,4})d(?:ays?)?)?(?:(\d{1,5})h(?:ours?)?)?(?:(\d{1,6})m(?:in(?:utes?)?)?)?", re.ASCII
)
_SECONDS: Final = (604_800, 86_400, 3600, 60)


def read_span(text: str) -> int | None:
    """In seconds; None: it is no length of time, or none at all. "4 hours" and "90 min" are read, too."""
    found = _SPAN.fullmatch("".join(text.lower().split()))
    if found is None:
        return None
    return sum(int(part or 0) * each for part, each in zip(found.groups(), _SECONDS, strict=True)) or None


def span_text(seconds: int) -> str:
    """As `read_span` reads it: `8h`, `1d12h`. Less than a minute is said as one."""
    parts, rest = [], max(60, seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
