"""Which settings a session may change, and to what: free, by value, never. For SET, set_config and the startup packet alike.

Values are texts as the server would take them. `DEFAULT` and RESET stand for None: everything the gateway relies on is a
startup value of its own session, so going back to the default is harmless, except where it would undo the access mode.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements import refusal
from gateway.statements.catalogue import FREE_SETTINGS
from gateway.statements.limits import KILOBYTES, MILLISECONDS, PLAIN, Caps, amount
from gateway.statements.refusal import Refusal

READ_ONLY_SETTINGS: Final = frozenset({"transaction_read_only", "default_transaction_read_only"})
TIMEOUTS: Final = frozenset(
    {
        "statement_timeout",
        "lock_timeout",
        "transaction_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
    }
)
# Settings of which some values are harmless and say nothing new: what they are anyway, and the head of each dump sends.
_BY_VALUE: Final = {
    # A new temporary table would get its storage from it: only PostgreSQL's own, not a handler of users.
    "default_table_access_method": frozenset({"heap"}),
    "default_tablespace": frozenset({"", "pg_default"}),
    "default_with_oids": frozenset({"f", "false", "off"}),
    "password_encryption": frozenset({"scram-sha-256"}),
}
_CAPPED: Final = frozenset({"work_mem", "maintenance_work_mem", "hash_mem_multiplier"}) | frozenset(
    {"max_parallel_workers_per_gather", "max_parallel_workers", "max_parallel_maintenance_workers"}
)
#: Free elsewhere, but they change how literals are read, or how many rows are found.
_OF_MEANING: Final = frozenset(
    {
        "array_nulls",
        "default_text_search_config",
        "gin_fuzzy_search_limit",
        "lc_monetary",
        "lc_numeric",
        "seed",
        "timezone_abbreviations",
        "xmloption",
    }
)
STEADY: Final = (FREE_SETTINGS | TIMEOUTS | READ_ONLY_SETTINGS | _CAPPED) - _OF_MEANING
"""What may be set where only certain statements may run: it leaves to each the meaning that it had when somebody approved it.

The time zone and the styles of dates are among them, since drivers set them: a literal that leaves them open is read by them.
"""
_STATEMENT_TIMEOUT: Final = "statement_timeout"
_IDENTITY: Final = frozenset({"role", "session_authorization"})
# These change how the server reads text; the parser here reads it one way only. Pinned in every access mode.
_PINNED_ON: Final = "standard_conforming_strings"
_PINNED_QUOTE: Final = "backslash_quote"
_ENCODING: Final = "client_encoding"
_TRUE: Final = frozenset({"1", "on", "t", "tr", "tru", "true", "y", "ye", "yes"})


@dataclass(frozen=True, slots=True)
class SettingRules:
    """What `check` needs of a policy. `steady`: no setting that could give a statement another meaning (see `STEADY`)."""

    mode: AccessMode
    schemas: frozenset[str]
    custom: frozenset[str]
    caps: Caps
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Lower:
    """The value is over its cap (or 0: no limit): use `text` in its place."""

    text: str


def check(
    name: str, value: str | Sequence[str] | None, rules: SettingRules, offset: int | None = None
) -> Refusal | Lower | None:
    """None: fine. `value` is one text to be split as the server does, or the parts of a list, or None for DEFAULT and RESET."""
    name = fold(name)
    whole = value if value is None or isinstance(value, str) else ", ".join(value)
    if name in _IDENTITY:
        return _identity(name, whole, offset)
    if name == _ENCODING:
        if whole is None or is_utf8(whole):
            return None
        return Refusal(
            "client-encoding",
            "42501",
            "client_encoding must be UTF8 through the gateway",
            "Set client_encoding to UTF8 (for libpq programs: environment PGCLIENTENCODING=UTF8).",
            offset,
        )
    if name == _PINNED_ON:
        return None if whole is None or is_true(whole) else refusal.setting_value(name, "on", offset)
    if name == _PINNED_QUOTE:
        if rules.mode is AccessMode.READ_WRITE and (whole is None or whole.lower() == "safe_encoding"):
            return None
        return refusal.setting_never(name, offset)
    granted = rules.caps.statement_milliseconds
    if name == _STATEMENT_TIMEOUT and granted is not None and whole is not None:
        any_reader = rules.caps.timeout_milliseconds if rules.mode is AccessMode.READ_ONLY else granted
        return _timeout(name, whole, min(granted, any_reader), offset)
    if rules.steady and whole is not None and name not in STEADY:
        return refusal.setting_of_meaning(name, offset)
    if rules.mode is AccessMode.READ_WRITE:
        return None
    return _read_only(name, value, whole, rules, offset)


def _read_only(
    name: str, value: str | Sequence[str] | None, whole: str | None, rules: SettingRules, offset: int | None
) -> Refusal | Lower | None:
    if name in READ_ONLY_SETTINGS:
        return None if whole is not None and is_true(whole) else refusal.setting_value(name, "on", offset)
    if value is None or whole is None:
        # A part of RESET ALL. (Custom ones stay closed: RESET of one that nobody has set makes it. PL/pgSQL's are there anyway.)
        return (
            None
            if "." not in name or name.startswith("plpgsql.") or name in rules.custom
            else refusal.setting_never(name, offset)
        )
    if name == "search_path":
        return _search_path(value, rules.schemas, offset)
    if name in FREE_SETTINGS or ("." in name and name in rules.custom):
        return None
    if name in TIMEOUTS:
        return _timeout(name, whole, rules.caps.timeout_milliseconds, offset)
    if (values := _BY_VALUE.get(name)) is not None:
        wanted = " or ".join(f"'{each}'" for each in sorted(values))
        return None if whole in values else refusal.setting_value(name, wanted, offset)
    caps = rules.caps
    match name:
        case "work_mem" | "maintenance_work_mem":
            return _capped(name, whole, KILOBYTES, caps.work_mem_kilobytes, f"at most {caps.work_mem_kilobytes}kB", offset)
        case "hash_mem_multiplier":
            return _capped(name, whole, PLAIN, caps.hash_mem_multiplier, f"at most {caps.hash_mem_multiplier:g}", offset)
        case "max_parallel_workers_per_gather" | "max_parallel_workers" | "max_parallel_maintenance_workers":
            return _capped(name, whole, PLAIN, caps.parallel_workers, f"at most {caps.parallel_workers}", offset)
        case _:
            return refusal.setting_never(name, offset)


def _identity(name: str, value: str | None, offset: int | None) -> Refusal | None:
    """Going back to the login role itself is what pools send between uses, and the login role is all there ever was."""
    if value is None or (name == "role" and value.lower() == "none"):
        return None
    return Refusal(
        "role-change",
        "42501",
        f'setting "{name}" may not be changed through the gateway: each access mode has its own database role',
        "Work as the role you have; ask an admin for another target or mode.",
        offset,
    )


def is_true(value: str) -> bool:
    """The server's parse_bool for true: unique prefixes, any case, no blanks."""
    return value.lower() in _TRUE


def is_utf8(value: str) -> bool:
    """The server compares encoding names by their letters and digits only."""
    return value.isascii() and re.sub(r"[^0-9a-z]", "", value.lower()) in ("utf8", "unicode")


def _timeout(name: str, value: str, most: int, offset: int | None) -> Refusal | Lower | None:
    number = amount(value, MILLISECONDS)
    if number is None:
        return refusal.setting_value(name, "a time such as '30s'", offset)
    # Anything that rounds to 0 is "no limit" for the server.
    if 1 <= number <= most:
        return None
    return Lower(str(most))


def _capped(name: str, value: str, units: dict[str, float], cap: float, wanted: str, offset: int | None) -> Refusal | None:
    found = amount(value, units)
    if found is None or found > cap:
        return refusal.setting_value(name, wanted, offset)
    return None


def _search_path(value: str | Sequence[str], schemas: frozenset[str], offset: int | None) -> Refusal | None:
    parts = split_identifiers(value) if isinstance(value, str) else value
    wanted = f'schemas listed for this target ({", ".join(sorted(schemas))}, "$user"), pg_catalog only first, never pg_temp'
    hint = "Qualify names with their schema, or ask an admin: pgbastion targets allow-schema <target> <schema>"
    if parts is None:
        return refusal.setting_value("search_path", wanted, offset, hint)
    if parts[:1] and parts[0] == "pg_catalog":
        parts = parts[1:]  # where it stands unnamed
    if not all(_harmless_schema(part, schemas) for part in parts):
        return refusal.setting_value("search_path", wanted, offset, hint)
    return None


def _harmless_schema(name: str, schemas: frozenset[str]) -> bool:
    """Named, pg_catalog could stand behind a user's schema, and pg_temp before pg_catalog: unnamed they never do."""
    if name == "pg_catalog" or name == "pg_temp" or name.startswith("pg_temp_"):
        return False
    return name in schemas or name in ("", "$user")


_IDENTIFIER: Final = re.compile(r'\s*(?:"((?:[^"]|"")*+)"|([^",\s]++))\s*(?:(,)|\Z)', re.ASCII)
_UPPER: Final = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def fold(name: str) -> str:
    """Lower case as the server does it: ASCII letters only."""
    return name.translate(_UPPER)


def split_identifiers(text: str) -> tuple[str, ...] | None:
    """A list of names as the server splits it: quoted ones as they are, others in lower case. None: not a list, or one that
    only the server would understand (a quote inside of a plain name).
    """
    if not text.strip(" \t\n\r\f\v"):
        return ()
    parts = []
    place = 0
    while True:
        found = _IDENTIFIER.match(text, place)
        if not found:
            return None
        quoted, plain, comma = found.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else fold(plain))
        place = found.end()
        if not comma:
            return tuple(parts) if place == len(text) else None
