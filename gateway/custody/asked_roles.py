"""Which existing database roles a person may be made a member of because an access request was for one.

A member of PostgreSQL before 16 could take a role on by SET ROLE, with what a membership alone does not give (SUPERUSER and its
kin). The gateway refuses SET ROLE; this is the second lock. What reaches beyond the database is refused whoever approved it.
"""

from typing import Final

from gateway.access_mode import AccessMode
from gateway.custody.login_means import LoginRoleRefused
from gateway.custody.login_sql import marker_of
from gateway.custody.upstream_admin import AdminConnection
from gateway.quoting import literal

#: Of PostgreSQL's own roles these only show things. Of all others a session would be more than one of a person's.
_SHOWING: Final = frozenset({"pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"})
#: Shows every table, the password hashes of roles among them, which only the policy of read-only sessions keeps back.
_READING: Final = "pg_read_all_data"
_ATTRIBUTES: Final = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")


def ask_weight(role: str) -> str:
    """A row for the role and for each that it is a member of: name, is it itself, its attributes in words, its comment."""
    words = ", ".join(f"CASE WHEN r.rol{word.lower().replace('superuser', 'super')} THEN '{word}' END" for word in _ATTRIBUTES)
    return (
        f"SELECT r.rolname, r.oid = w.oid, concat_ws(', ', {words}), shobj_description(r.oid, 'pg_authid') "  # noqa: S608
        "FROM pg_roles w, pg_roles r WHERE pg_has_role(w.oid, r.oid, 'MEMBER') AND r.rolname <> 'pg_database_owner' "
        f"AND (NOT w.rolsuper OR r.oid = w.oid) AND w.rolname = {literal(role)} ORDER BY 2 DESC, 1"
    )


async def check_asked(admin: AdminConnection, role: str, mode: AccessMode) -> None:
    """Raises LoginRoleRefused when nobody can be made a member of this role in that mode, and UpstreamAdminError."""
    known = await admin.rows(ask_weight(role))
    if not known:
        text = f'the database role "{role}", which the access request was for, is not there'
        raise LoginRoleRefused("asked-role-missing", text, "Make it again, or revoke the request.")
    for name, itself, attributes, remark in known:
        shown = (
            f'the database role "{role}"' if itself == "t" else f'"{name}", of which the database role "{role}" is a member,'
        )
        if attributes:
            raise _too_mighty(f"{shown} has {attributes}")
        if (why := _of_postgres(name or "", mode)) is not None:
            raise _too_mighty(f'the database role "{role}" {"is" if itself == "t" else "is a member of"} {name}, {why}')
        if itself == "t" and marker_of(remark) is not None:
            raise _too_mighty(f"{shown} is the login of one person alone")


def _of_postgres(name: str, mode: AccessMode) -> str | None:
    """Why nobody is made a member of this one of PostgreSQL's own; None: it is none, or one that only shows things."""
    if not name.startswith("pg_") or name in _SHOWING:
        return None
    if name == _READING:
        return None if mode is AccessMode.READ_ONLY else "which shows what only read-only sessions are kept from"
    return "which reaches beyond the tables of a database"


def _too_mighty(text: str) -> LoginRoleRefused:
    remedy = "Have a role asked for that has the rights on tables alone, and nothing else."
    return LoginRoleRefused("asked-role-too-mighty", text, remedy)
