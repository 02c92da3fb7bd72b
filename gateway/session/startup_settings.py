"""From what a client asked for in its startup packet to the packet that we send upstream. Ours is rebuilt, never forwarded.

Order matters: PostgreSQL lets the last of duplicate parameters win, and a value given in the startup packet survives RESET ALL and
DISCARD ALL; so the pinned ones come last.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements import settings as settings_rules
from gateway.statements.policy import Policy, judge_setting, parse_options
from gateway.statements.settings import Lower
from gateway.statements.verdict import Verdict
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields
from gateway.wire.startup import StartupMessage

_MAX_APPLICATION_NAME: Final = 63  # NAMEDATALEN - 1; upstream cuts there
_NOT_PLAIN: Final = re.compile(r"[^ -~]")
_FALSE: Final = frozenset({"", "0", "f", "false", "n", "no", "off"})
_UTF8: Final = frozenset({"utf8", "unicode"})

#: What must stay so for as long as the session lives, as upstream reports it.
ALWAYS_PINNED: Final = {"standard_conforming_strings": "on", "client_encoding": "UTF8", "is_superuser": "off"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may go upstream. `notice` is told to the client after login, "" for nothing."""

    settings: tuple[tuple[str, str], ...]
    application_name: str
    notice: str


def read_wishes(startup: StartupMessage, policy: Policy) -> Wishes | ErrorFields:
    """Judge every parameter and everything inside `options` by the settings rules of the policy."""
    settings: list[tuple[str, str]] = []
    rules, most = policy.setting_rules, policy.caps.statement_milliseconds
    application_name = notice = ""
    given: list[tuple[str, str]] = []
    for name, value in startup.parameters:
        if name == "options":
            options = parse_options(value)
            if isinstance(options, Verdict):
                return _fatal(options)
            given.extend(options)
        else:
            given.append((name, value))
    for name, value in given:
        match name.lower():
            case "replication":
                if value.lower() not in _FALSE:
                    return ErrorFields("FATAL", sqlstate.FEATURE_NOT_SUPPORTED, "replication connections are not supported")
            case "application_name":
                application_name = value
            case "client_encoding":
                refusal, notice = _encoding(value)
                if refusal is not None:
                    return refusal
            case "statement_timeout" as plain if most is not None and isinstance(
                found := settings_rules.check(plain, value, rules), Lower
            ):
                settings.append((plain, found.text))
                notice = f"statement_timeout is {found.text} ms: what your grant allows"
            case plain:
                verdict = judge_setting(plain, value, policy)
                if verdict is not None:
                    return _fatal(verdict)
                settings.append((plain, value))
    if most is not None and all(name != "statement_timeout" for name, _ in settings):
        settings.append(("statement_timeout", str(most)))  # what RESET goes back to
    return Wishes(tuple(settings), application_name, notice)


def _encoding(value: str) -> tuple[ErrorFields | None, str]:
    wanted = "".join(c for c in value.lower() if c.isalnum())  # asyncpg sends 'utf-8' with the quotes
    if wanted in _UTF8:
        return None, ""
    if wanted == "sqlascii":
        return None, "this gateway speaks UTF8: client_encoding is UTF8 instead of SQL_ASCII"
    return ErrorFields(
        "FATAL",
        sqlstate.FEATURE_NOT_SUPPORTED,
        f'client_encoding "{value[:40]}" is not supported: this gateway speaks UTF8 only',
        hint="Set the environment variable PGCLIENTENCODING=UTF8, or client_encoding=UTF8 in the connection string.",
    ), ""


def _fatal(verdict: Verdict) -> ErrorFields:
    return ErrorFields("FATAL", verdict.sqlstate, verdict.message, hint=verdict.hint)


def label_of(user: str, session_id: str) -> str:
    """The pinned beginning of upstream's application_name: it tells pg_stat_activity who this is."""
    return f"{user[:40]}/{session_id}"


def upstream_parameters(login: str, dbname: str, mode: AccessMode, label: str, wishes: Wishes) -> list[tuple[str, str]]:
    # Upstream would replace what is not plain ASCII, each version in its own way, and report something else than was sent.
    application_name = _NOT_PLAIN.sub("?", f"{label} {wishes.application_name}".strip())[:_MAX_APPLICATION_NAME]
    parameters = [("user", login), ("database", dbname), *wishes.settings]
    parameters += [("application_name", application_name), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on")]
    read_only = "on" if mode is AccessMode.READ_ONLY else "off"
    parameters.append(("default_transaction_read_only", read_only))
    return parameters


@lru_cache(512)
def pinned_settings(mode: AccessMode, upstream_role: str) -> dict[str, str]:
    """The same object each time: all sessions keep it."""
    pinned = {**ALWAYS_PINNED, "session_authorization": upstream_role}
    if mode is AccessMode.READ_ONLY:
        pinned["default_transaction_read_only"] = "on"
    return pinned
