"""What the answers to gateway/proxy/role_questions.py mean: findings, each with its weight and the SQL that ends it. Pure.

Names and SQL come quoted from the server's own catalogs; what cannot be printed is replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.access_mode import AccessMode
from gateway.ports import RoleFinding, Severity
from gateway.proxy.target_questions import Row
from gateway.proxy.watched_functions import WATCHED_FUNCTIONS
from gateway.quoting import quoted
from gateway.statements.catalogue import WHY

_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SHOWN: Final = 12

_ATTRIBUTES: Final = (
    ("SUPERUSER", _CRITICAL, "No right is checked for it: it writes, reads files, runs programs."),
    ("REPLICATION", _CRITICAL, "It makes and drops replication slots, and copies the whole server."),
    ("BYPASSRLS", _CRITICAL, "Row-level security does not hold for it."),
    ("CREATEROLE", _CRITICAL, "It makes roles, and before PostgreSQL 16 gives itself nearly every other one."),
    ("CREATEDB", _WARNING, "It makes databases, and fills them."),
)
_PREDEFINED: Final = {
    "pg_execute_server_program": (_CRITICAL, "It runs programs as the server's own user: COPY ... FROM PROGRAM."),
    "pg_write_server_files": (_CRITICAL, "It writes files of the server, and so can take the server over."),
    "pg_read_server_files": (_CRITICAL, "It reads every file that the server can read."),
    "pg_write_all_data": (_CRITICAL, "It writes every table."),
    "pg_read_all_data": (_CRITICAL, "It reads every table, pg_authid with its password hashes among them."),
    "pg_create_subscription": (_CRITICAL, "It has the server connect elsewhere, and write what comes from there."),
    "pg_maintain": (_CRITICAL, "It rewrites, reindexes, analyzes and locks every table."),
    "pg_signal_backend": (_WARNING, "It cancels and ends everybody's sessions but superusers'."),
    "pg_signal_autovacuum_worker": (_WARNING, "It ends the server's own maintenance."),
    "pg_checkpoint": (_WARNING, "It runs CHECKPOINT."),
    "pg_use_reserved_connections": (_WARNING, "It takes the connections that are kept for administrators."),
    "pg_monitor": (_WARNING, "It reads the text of everybody's queries."),
    "pg_read_all_stats": (_WARNING, "It reads the text of everybody's queries."),
    "pg_read_all_settings": (_INFO, "It reads settings that may hold connection strings."),
    "pg_stat_scan_tables": (_WARNING, "It runs monitoring functions that hold locks on tables."),
}
_FUNCTION_WEIGHTS: Final = {"file": _CRITICAL, "page": _CRITICAL, "secret": _CRITICAL, "write": _CRITICAL, "text": _INFO}
_DATA_RIGHTS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "USAGE"})


@dataclass(frozen=True, slots=True)
class Given:
    """One grant row. `rights`: privilege names; `on`, `grantees`: SQL."""

    kind: str
    rights: tuple[str, ...]
    on: str
    grantees: str
    word: str
    count: int

    @classmethod
    def of(cls, row: Row) -> "Given":
        """Raises ValueError when that is no such row."""
        kind, rights, on, grantees, word, count = (plain(value) for value in row)
        return cls(kind, tuple(rights.split(", ")), on, grantees, word, int(count))


def plain(text: str | None) -> str:
    """Out of a catalog, for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text or "")[:400]


def superuser(login: str) -> RoleFinding:
    """What is said of a login that the gateway itself refuses."""
    _, severity, meaning = _ATTRIBUTES[0]
    said = f"{quoted(login)} is a superuser, and the gateway opens no session as one"
    return RoleFinding("attribute", severity, said, meaning, f"ALTER ROLE {quoted(login)} NOSUPERUSER;")


def judge_roles(rows: list[Row], login: str) -> list[RoleFinding]:
    """Attributes of the role and of those that it is a member of; the memberships themselves."""
    found = []
    for name, itself, inherits, *attributes, limit in rows:
        who = quoted(plain(name))
        held = [each for each, given in zip(_ATTRIBUTES, attributes, strict=True) if given == "t"]
        if itself == "t":
            for word, severity, meaning in held:
                found.append(RoleFinding("attribute", severity, f"{who} has {word}", meaning, f"ALTER ROLE {who} NO{word};"))
            if limit == "-1":
                remedy = f"ALTER ROLE {who} CONNECTION LIMIT 100;"
                found.append(RoleFinding("limits", _INFO, f"{who} has no connection limit", _NO_LIMIT, remedy))
            continue
        severity, meaning = _PREDEFINED.get(
            name or "", (_INFO, "What that role may do, it may do, too; it was looked at with the rest.")
        )
        if held:
            severity = _CRITICAL
            meaning = f"After SET ROLE it has {', '.join(word for word, _, _ in held)}."
        how = "inherits" if inherits == "t" else "can take on with SET ROLE"
        said = f"{quoted(login)} is a member of {who}, which it {how}"
        found.append(RoleFinding("membership", severity, said, meaning, f"REVOKE {who} FROM {quoted(login)};"))
    return found


_NO_LIMIT: Final = "Its sessions can use up the server's connections, so that nobody else gets one."


def judge_owned(rows: list[Row]) -> list[RoleFinding]:
    by_owner: dict[str, list[str]] = {}
    for owner, what, _ in rows:
        by_owner.setdefault(plain(owner), []).append(plain(what))
    total = int(rows[0][2] or 0) if rows else 0
    return [
        RoleFinding(
            "ownership",
            _CRITICAL,
            f"{owner} owns {_listed(things, total if len(by_owner) == 1 else len(things))}",
            "An owner changes and drops its own, and gives rights on it; revoking rights from it does not help.",
            f"REASSIGN OWNED BY {owner} TO CURRENT_USER;",
        )
        for owner, things in by_owner.items()
    ]


def judge_grants(given: Iterable[Given], mode: AccessMode) -> list[RoleFinding]:
    """Grants of the same kind, right and grantees are one finding."""
    groups: dict[tuple[str, Severity, str, tuple[str, ...], str], list[Given]] = {}
    for each in given:
        rights = _too_much(each, mode)
        if rights:
            check, severity, meaning = _weigh(each, rights, mode)
            groups.setdefault((check, severity, meaning, rights, each.grantees), []).append(each)
    return [
        RoleFinding(check, severity, _said(group, rights), meaning, _revoke(group, rights))
        for (check, severity, meaning, rights, _), group in groups.items()
    ]


def _too_much(given: Given, mode: AccessMode) -> tuple[str, ...]:
    """In a read-write mode, changing rows is what the role is for."""
    if mode is AccessMode.READ_WRITE and given.kind in ("table", "column", "sequence", "large object"):
        return tuple(right for right in given.rights if right not in _DATA_RIGHTS)
    return given.rights


def _weigh(given: Given, rights: tuple[str, ...], mode: AccessMode) -> tuple[str, Severity, str]:
    """The check, the weight and the meaning."""
    reader = mode is AccessMode.READ_ONLY
    match given.kind:
        case "database" if "TEMPORARY" in rights:
            meaning = "It makes temporary tables, by EXPLAIN ANALYZE CREATE ... AS in a read-only transaction, too."
            return "temporary", _WARNING if reader else _INFO, meaning
        case "database" | "schema":
            return "creating", _CRITICAL, "It makes tables and functions there, and others may run them unknowingly."
        case "sequence":
            return "writing", _CRITICAL if reader else _WARNING, "It advances or sets sequences."
        case "large object":
            return "writing", _CRITICAL, "It changes large objects."
        case "table" | "column":
            return "writing", _CRITICAL if reader else _WARNING, "It changes what is in there, or hangs triggers on it."
        case "function":
            why = WATCHED_FUNCTIONS.get(given.word, "internal")
            return "functions", _FUNCTION_WEIGHTS.get(why, _WARNING), f"Of such a function: {WHY.get(why, why)}."
        case "definer":
            return "definers", _WARNING, f"SECURITY DEFINER: it does what it does with the rights of {given.word}."
        case "untrusted":
            return "definers", _WARNING, f"A function in {given.word} reaches whatever the server's own user can."
        case "server":
            return "foreign", _WARNING, f"With USAGE on a server of {given.word} and CREATE somewhere, it reaches elsewhere."
        case "wrapper":
            return "foreign", _CRITICAL, "It makes foreign servers, to wherever it likes."
        case "foreign table":
            return "foreign", _WARNING, f"Reading it runs {given.word}, outside of this database and of its transaction."
        case "secret":
            return "secrets", _CRITICAL, "It reads password hashes, connection strings or samples of everybody's rows."
        case "parameter" if "ALTER SYSTEM" in rights:
            return "parameters", _CRITICAL, "It changes the server's configuration for everybody."
        case _:
            return "parameters", _WARNING, "It changes settings that are kept for superusers."


def _said(group: list[Given], rights: tuple[str, ...]) -> str:
    total = group[0].count if len({each.on for each in group}) > _SHOWN else len({each.on for each in group})
    return f"{group[0].grantees} may {', '.join(rights)}: {_listed([each.on for each in group], total)}"


def _listed(names: list[str], total: int) -> str:
    shown = list(dict.fromkeys(names))[:_SHOWN]
    return ", ".join(shown) + (f" and more ({total} in all)" if total > len(shown) else "")


def _revoke(group: list[Given], rights: tuple[str, ...]) -> str:
    """Statements, all of them: as many as are known."""
    lines = []
    for on in dict.fromkeys(each.on for each in group):
        columns = [each.word for each in group if each.on == on and each.kind == "column"]
        what = ", ".join(f"{right} ({', '.join(columns)})" if columns else right for right in rights)
        lines.append(f"REVOKE {what} ON {on} FROM {group[0].grantees};")
    return " ".join(lines)


def judge_mappings(given: Iterable[Given]) -> list[RoleFinding]:
    return [
        RoleFinding(
            "foreign",
            _WARNING,
            f"there is a user mapping for {each.grantees} on the server {each.on}",
            "With it the role logs in there, by a password that it need not know.",
            f"DROP USER MAPPING FOR {each.grantees} SERVER {each.on};",
        )
        for each in given
    ]


def judge_defaults(row: Row, login: str, mode: AccessMode, major: int) -> list[RoleFinding]:
    """`row`: the answer to DEFAULTS. Raises ValueError when it is none."""
    statement, idle, files, watched, read_only = (plain(value) for value in row)
    who = quoted(login)
    found = []

    def unset(setting: str, value: str, meaning: str) -> None:
        remedy = f"ALTER ROLE {who} SET {setting} = '{value}';"
        found.append(RoleFinding("limits", _INFO, f"{setting} is not set for {who}", meaning, remedy))

    if statement == "0":
        unset("statement_timeout", "5min", "A query of it runs for as long as it likes.")
    if idle == "0":
        unset(
            "idle_in_transaction_session_timeout",
            "10min",
            "An open transaction of it holds back vacuum for as long as it likes.",
        )
    if files == "-1":
        unset("temp_file_limit", "10GB", "A sort of it may fill the server's disk.")
    if watched == "0" and major >= 14:
        unset("client_connection_check_interval", "5s", "A query goes on when nobody waits for its result any more.")
    if mode is AccessMode.READ_ONLY and read_only.lower() not in ("on", "true", "yes", "1"):
        unset("default_transaction_read_only", "on", "Sessions of it outside of the gateway do not begin read-only.")
    return found
