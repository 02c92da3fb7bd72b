"""What a client may know of why upstream could not be reached: never its words, addresses, roles or credentials."""

from gateway.session.effects import fatal
from gateway.session.upstream_login import UpstreamRefused
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

_POOLER = (
    "the target is a connection pooler, not a PostgreSQL server: it drops or refuses the settings that keep sessions read-only",
    "Ask your administrator to point the target at PostgreSQL itself; this gateway opens one server session per client.",
)
_SUPERUSER = (
    "the target's upstream role is a superuser, and this gateway uses only unprivileged ones",
    "Ask your administrator to give the target a role that is NOSUPERUSER.",
)


def explain(refused: UpstreamRefused, target: str, reference: str) -> ErrorFields:
    """`reference` is the session's id: it leads an administrator to the audit record that says more."""
    ask = f"Ask your administrator, who finds the reason in the audit under session {reference}."
    match refused.kind, refused.sqlstate:
        case "pooler", _:
            return fatal(sqlstate.CANNOT_CONNECT, *_POOLER)
        case "superuser", _:
            return fatal(sqlstate.CANNOT_CONNECT, *_SUPERUSER)
        case _, "53300":
            return fatal(sqlstate.TOO_MANY_CONNECTIONS, f'target "{target}" has no connection left', "Try again later.")
        case _, "57P03":
            return fatal(sqlstate.CANNOT_CONNECT_NOW, f'target "{target}" is starting up or shutting down', "Try again later.")
        case "secret", _:
            return fatal(sqlstate.CANNOT_CONNECT, f'target "{target}" cannot be used now: its credential cannot be had', ask)
        case "unreachable", _:
            return fatal(sqlstate.CANNOT_CONNECT, f'target "{target}" cannot be reached', ask)
        case _:
            return fatal(sqlstate.CANNOT_CONNECT, f'target "{target}" did not let the gateway in', ask)


def explain_no_catalog(target: str) -> ErrorFields:
    """The session itself could be opened; what keeps it harmless could not be read."""
    text = f'target "{target}" cannot be used read-only now: the gateway could not read what is in the database'
    return fatal(
        sqlstate.CANNOT_CONNECT_NOW, text, "Try again in a moment; your administrator finds the reason in the gateway's log."
    )
