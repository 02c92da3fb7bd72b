"""What the answers to the questions after login mean: is the role as weak as it should be, and is the database as it must be?"""

import re
from dataclasses import dataclass
from typing import Final

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.ports import CheckStep
from gateway.proxy.target_questions import Row
from gateway.quoting import quoted
from gateway.session.upstream_login import UpstreamRefused, Welcome

_OLDEST_MAJOR: Final = 13
_LATEST_MAJOR: Final = 18
_VERSION: Final = re.compile(r"(\d{1,3})(\.\d{1,3}){0,2}")
_ENCODING: Final = re.compile(r"[A-Z0-9_]{1,20}")


def judge_role(role: DatabaseRole, mode: AccessMode, attributes: list[Row], writable: list[Row], target: Target) -> CheckStep:
    login = role.login
    better = f"A role that may not: pgbastion targets init-sql {target.name}"
    for name, word in attributes:
        if name == login:
            advice = f"ALTER ROLE {quoted(login)} NO{word}; {better}"
            return CheckStep("role", ok=False, detail=f'"{login}" has {word}', remedy=advice)
        what = f"the role {_plain(name)}" + (f", which has {word}" if word else "")
        advice = f"REVOKE {quoted(_plain(name))} FROM {quoted(login)}; {better}"
        return CheckStep("role", ok=False, detail=f'"{login}" is a member of {what}', remedy=advice)
    if not writable:
        what = "has no right to write anything" if mode is AccessMode.READ_ONLY else "has no right beyond its tables"
        return CheckStep("role", ok=True, detail=f'"{login}" {what}')
    kind = writable[0][1]
    found = [_plain(row[2]) for row in writable if row[1] == kind]
    names = ", ".join(found if kind == "table" else map(quoted, found))
    count = int(writable[0][0] or 0)
    more = f" and more ({count} in all)" if count > len(writable) else ""
    match kind:
        case "database" | "schema":
            said = f'"{login}" may create objects in the {kind} {names}'
            advice = f"REVOKE CREATE ON {kind.upper()} {names} FROM PUBLIC, {quoted(login)};"
        case _:
            said = f'"{login}" may write, although the access mode is {mode.value}: {names}{more}'
            advice = (
                "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON the tables (UPDATE, USAGE ON the sequences) FROM PUBLIC, "
                f"{quoted(login)}; what it owns needs another owner."
            )
    return CheckStep("role", ok=False, detail=said, remedy=f"{advice} {better}")


@dataclass(frozen=True, slots=True)
class Facts:
    """The answer to DATABASE."""

    readable: int
    tables: int
    read_only_now: bool
    standby: bool
    temporary: bool
    definers: int

    @classmethod
    def of(cls, rows: list[Row]) -> "Facts":
        """Raises UpstreamRefused when that is no such answer."""
        try:
            readable, tables, read_only, standby, temporary, definers = (value or "" for value in rows[0])
            counts = int(readable), int(tables), int(definers)
        except (ValueError, IndexError):
            raise UpstreamRefused("protocol", "no answer to the question") from None
        return cls(counts[0], counts[1], read_only == "on", standby == "t", temporary == "t", counts[2])


def judge_database(target: Target, role: DatabaseRole, mode: AccessMode, facts: Facts) -> CheckStep:
    said = f'"{target.dbname}": {facts.readable} of {facts.tables} tables and views can be read'
    advice = []
    if facts.tables and not facts.readable:
        advice.append(f"{quoted(role.login)} needs USAGE on schemas and SELECT on tables: see targets init-sql.")
    if facts.temporary and mode is AccessMode.READ_ONLY:
        advice.append(f"It may make temporary tables: REVOKE TEMPORARY ON DATABASE {quoted(target.dbname)} FROM PUBLIC;")
    if facts.definers:
        advice.append(
            f"It may run {facts.definers} SECURITY DEFINER function(s), which act with their owner's rights: look at them."
        )
    return CheckStep("database", ok=True, detail=said, remedy=" ".join(advice))


def judge_settings(mode: AccessMode, welcome: Welcome, facts: Facts) -> CheckStep:
    version = _VERSION.match(welcome.statuses.get("server_version", ""))
    encoding = _ENCODING.fullmatch(welcome.statuses.get("server_encoding", ""))
    name = f"PostgreSQL {version[0]}" if version else "a server that does not tell its version"
    if version is None or int(version[1]) < _OLDEST_MAJOR:
        advice = f"The gateway is made for PostgreSQL {_OLDEST_MAJOR} to {_LATEST_MAJOR}."
        return CheckStep("settings", ok=False, detail=f"this is {name}", remedy=advice)
    if mode is AccessMode.READ_WRITE and facts.read_only_now:
        why = "a standby" if facts.standby else "read-only by its settings"
        advice = "Point the target at the primary, or give it no login for read_write."
        return CheckStep("settings", ok=False, detail=f"nothing can be written there: the server is {why}", remedy=advice)
    parts = [name, encoding[0] if encoding else "an unusual encoding", "standard_conforming_strings on"]
    if mode is AccessMode.READ_ONLY:
        parts.append("default_transaction_read_only on")
    if facts.standby:
        parts.append("a standby")
    advice = (
        f"It is newer than PostgreSQL {_LATEST_MAJOR}, which this gateway knows." if int(version[1]) > _LATEST_MAJOR else ""
    )
    if encoding and encoding[0] == "SQL_ASCII":
        advice = f"{advice} In SQL_ASCII nothing checks that texts are UTF-8.".strip()
    return CheckStep("settings", ok=True, detail=", ".join(parts), remedy=advice)


def _plain(text: str | None) -> str:
    """A name out of a catalog, for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text or "")[:140]
