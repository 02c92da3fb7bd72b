"""What people wrote, so that it is nothing but text in Slack: escaped, without what cannot be seen, and short enough. Pure."""

import unicodedata
from datetime import UTC, datetime
from typing import Final

SECTION: Final = 3000
"""Characters in a section's text; what follows are Slack's other limits."""
HEADER: Final = 150
OPTION: Final = 75
FALLBACK: Final = 2000
"""Of the text beside a message's blocks: much more would be taken, but nobody reads it in a notification."""

_ELLIPSIS: Final = "…"
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, most: int) -> str:
    """For Slack's plain texts: one that shows as it is. Line breaks stay; what turns or hides text does not."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    shown = "\n".join(_seen(line) for line in lines).strip()
    return shown if len(shown) <= most else shown[: most - 1] + _ELLIPSIS


def one_line(text: str, most: int) -> str:
    return plain(" ".join(text.split()), most)


def escaped(text: str, most: int) -> str:
    """For mrkdwn, on one line: it can mention nobody and link nowhere. At most so many characters when it is escaped."""
    return _escaped(one_line(text, most), most)


def quoted(text: str, most: int, lines: int = 20) -> str:
    """For mrkdwn, as a quotation: no line of it can be taken for one of ours."""
    given = plain(text, most).split("\n")
    shown = given[:lines] + ([_ELLIPSIS] if len(given) > lines else [])
    room = most - 2 * len(shown)
    return "\n".join(f"> {line}" for line in _escaped("\n".join(shown), room).split("\n"))


def code(text: str, most: int = 200) -> str:
    """For mrkdwn, as a name in a line of ours."""
    return f"`{escaped(text.replace('`', chr(0x2BB)), most)}`"


def moment(instant: datetime) -> str:
    """In the reader's own time and language."""
    at = instant.astimezone(UTC)
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}}, {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def _seen(line: str) -> str:
    return "".join(" " if each == "\t" else each for each in line if each == "\t" or unicodedata.category(each) not in _UNSEEN)


def _escaped(text: str, most: int) -> str:
    """An entity is never cut in two."""
    whole = "".join(_ENTITIES.get(each, each) for each in text)
    if len(whole) <= most:
        return whole
    kept, room = [], most - len(_ELLIPSIS)
    for each in text:
        room -= len(_ENTITIES.get(each, each))
        if room < 0:
            break
        kept.append(_ENTITIES.get(each, each))
    return "".join(kept) + _ELLIPSIS
