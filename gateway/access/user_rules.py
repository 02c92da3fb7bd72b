"""Which names and passwords new users may have, and how a password is made. Pure; chance is an argument.

The defaults are those of hosted panels. Who is there already is never held against them.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Of which a name can be made at all: none needs quoting in a connection string or an audit line.
BEARABLE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")
LONGEST_NAME: Final = 63
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256

#: Of which passwords are made, each at least once. Nothing that a URI or a .pgpass line would need to escape.
_CLASSES: Final = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "-_.~")
_ABOUT_PASSWORDS: Final = {"password_min": int, "password_max": int, "password_forbidden": str, "generated_length": int}
_RANGE: Final = re.compile(r"([A-Za-z0-9])-([A-Za-z0-9])|(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UserRules:
    """`name_characters` as in brackets of a regular expression ("A-Za-z0-9_"); names begin with a letter in any case.

    Lengths are in characters. `password_forbidden`: characters that no password may hold.
    """

    name_min: int = 6
    name_max: int = 32
    name_characters: str = "A-Za-z0-9_"
    password_min: int = 24
    password_max: int = 64
    password_forbidden: str = "\"'"  # noqa: S105
    generated_length: int = 64

    def wrong_name(self, name: str) -> str | None:
        """What is wrong with it, in a sentence; None: nothing."""
        if not self.name_min <= len(name) <= self.name_max:
            return f"Name must contain between {self.name_min} and {self.name_max} characters"
        if not (name[0].isascii() and name[0].isalpha() and characters(self.name_characters).issuperset(name)):
            return f"Name must start with a letter and contain only {_in_words(self.name_characters)}"
        return None

    def wrong_password(self, password: str) -> str | None:
        """What is wrong with it, in a sentence that does not repeat it; None: nothing."""
        if not self.password_min <= len(password) <= self.password_max:
            return f"Password must contain between {self.password_min} and {self.password_max} characters"
        if not password.isprintable():
            return "Password must not contain control characters"
        if not set(self.password_forbidden).isdisjoint(password):
            return f"Password must not contain {' or '.join(self.password_forbidden)}"
        return None


ANY_RULES: Final = UserRules(1, LONGEST_NAME, "A-Za-z0-9_.@-", SHORTEST_PASSWORD, LONGEST_PASSWORD, "", 64)
"""What the gateway itself can bear."""


def write_password_rules(rules: UserRules) -> str:
    """Those for passwords, as one line that `read_password_rules` reads: for who makes a password elsewhere."""
    return json.dumps({name: getattr(rules, name) for name in _ABOUT_PASSWORDS}, separators=(",", ":"))


def read_password_rules(text: str) -> UserRules:
    """Raises ValueError."""
    found = json.loads(text)
    if not isinstance(found, dict) or set(found) != set(_ABOUT_PASSWORDS):
        raise ValueError("these are no rules for passwords")
    for name, kind in _ABOUT_PASSWORDS.items():
        if type(found[name]) is not kind:
            raise ValueError(f"{name} is no {kind.__name__}")
    rules = UserRules(**found)
    if not SHORTEST_PASSWORD <= rules.password_min <= rules.generated_length <= rules.password_max <= LONGEST_PASSWORD:
        raise ValueError("nobody could keep these rules")
    return rules


def characters(text: str) -> frozenset[str]:
    """Those that "A-Za-z0-9_" stands for. A hyphen between two letters or digits is a range. Raises ValueError."""
    found: set[str] = set()
    for match in _RANGE.finditer(text):
        first, last = match[1] or match[3], match[2] or match[3]
        if first > last:
            raise ValueError(f"{match[0]} is no range")
        found.update(map(chr, range(ord(first), ord(last) + 1)))
    if not found <= BEARABLE:
        raise ValueError("should be made of A-Z a-z 0-9 _ . @ -")
    return frozenset(found)


def generate(rules: UserRules, choose: Callable[[str], str]) -> str:
    """A password with small and capital letters, digits and special characters. `choose`: one character, by good chance."""
    classes = ["".join(each for each in kind if each not in rules.password_forbidden) for kind in _CLASSES]
    alphabet = "".join(classes)
    while True:
        made = "".join(choose(alphabet) for _ in range(rules.generated_length))
        if all(not kind or not set(kind).isdisjoint(made) for kind in classes):
            return made


def _in_words(text: str) -> str:
    return " ".join(dict.fromkeys(match[0] for match in _RANGE.finditer(text)))
