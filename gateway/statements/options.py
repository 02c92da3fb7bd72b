"""The startup parameter `options`, read by the server's own rules (pg_split_opts and process_postgres_switches).

Words are separated by blanks, a backslash takes the next character as it is. `-c name=value`, `-cname=value` and
`--name-with-dashes=value` set settings; every other switch is refused.
"""

import re
from typing import Final

from gateway.statements.verdict import Facts, Verdict

# A lone backslash at the very end stands for nothing.
_WORD: Final = re.compile(r"(?:\\(?:.|\Z)|[^\\ \t\n\v\f\r])++", re.DOTALL)


def parse_options(options: str) -> tuple[tuple[str, str], ...] | Verdict:
    """The (name, value) pairs in order, names with underscores; or the refusal. Linear in the length of `options`."""
    words = _split(options)
    pairs = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "-c":
            if index == len(words):
                return _refuse("-c needs a setting")
            assignment = words[index]
            index += 1
        elif word.startswith("-c") or (word.startswith("--") and len(word) > 2):
            assignment = word[2:]
        else:
            return _refuse(f"switch {word[:40]!r}")
        name, equals, value = assignment.partition("=")
        name = name.replace("-", "_")
        if not equals or not name:
            return _refuse(f"{assignment[:40]!r} without a value")
        pairs.append((name, value))
    return tuple(pairs)


def _split(options: str) -> list[str]:
    return [_unescape(word) for word in _WORD.findall(options)]


def _unescape(word: str) -> str:
    """Each backslash gives way to the character after it; two give one."""
    return "\\".join(part.replace("\\", "") for part in word.split("\\\\"))


def _refuse(what: str) -> Verdict:
    return Verdict(
        False,
        "startup-options",
        Facts(""),
        "42501",
        f"startup options: {what} is not supported through the gateway (rule startup-options)",
        "Only settings can be given: -c name=value or --name=value.",
    )
