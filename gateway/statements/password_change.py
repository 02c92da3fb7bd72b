"""`ALTER USER name PASSWORD '...'`, as clients' own password commands send it (psql's \\password, pgAdmin). Pure.

No policy lets it pass: a session that sees one asks here whose password it is about.
"""

from dataclasses import dataclass
from typing import Final

from gateway.secret import Secret
from gateway.statements.parse import Fields, Json, ParseFailure, parse, string

KIND: Final = "alter role"
"""Of the verdict on such a text."""

_LONGEST: Final = 4096  # bytes: such a text is short
_CURRENT: Final = frozenset({"ROLESPEC_CURRENT_USER", "ROLESPEC_CURRENT_ROLE", "ROLESPEC_SESSION_USER"})


@dataclass(frozen=True, slots=True)
class PasswordChange:
    """`role`: as SQL folds it; "" for whoever the session is. `password`: a text or a verifier; None: none from now on."""

    role: str
    password: Secret | None


def password_change(sql: bytes) -> PasswordChange | None:
    """What the text asks for, if it is one such statement and nothing else; None: it is not."""
    if len(sql) > _LONGEST or b"\0" in sql:
        return None
    try:
        statements = parse(sql.decode())
    except UnicodeDecodeError:
        return None
    if isinstance(statements, ParseFailure) or len(statements) != 1 or statements[0].tag != "AlterRoleStmt":
        return None
    node = statements[0].node
    role, options = node.get("role"), node.get("options")
    name = _named(role) if isinstance(role, dict) else None
    if name is None or not isinstance(options, list) or len(options) != 1:
        return None
    option = options[0].get("DefElem") if isinstance(options[0], dict) else None
    if not isinstance(option, dict) or option.get("defname") != "password":
        return None
    value: Json = option.get("arg")
    return PasswordChange(name, None if value is None else Secret(string(value)))


def _named(role: Fields) -> str | None:
    kind, name = role.get("roletype"), role.get("rolename")
    if kind in _CURRENT:
        return ""
    return name if kind == "ROLESPEC_CSTRING" and isinstance(name, str) else None
