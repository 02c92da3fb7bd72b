"""SQL that makes, keeps and removes the login roles of people, for PostgreSQL 13 to 18 and an admin with CREATEROLE. Pure.

PostgreSQL 16 changed CREATEROLE: it manages the roles that it made itself, and grants those of which it has ADMIN OPTION; what a
membership gives (INHERIT, SET) is said with each grant. Before, CREATEROLE could grant any role but superusers.
"""

# ruff: noqa: S608 - names go in quoted by `quoted` and `literal`, and nothing here runs anything

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.access_mode import AccessMode
from gateway.quoting import literal, quoted

_OPTIONS_MAJOR: Final = 16  # from which a grant says what the membership gives
_NOTHING_ELSE: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_REMARK: Final = re.compile(r"pgbastion:([0-9a-f-]{36}):([0-9a-f-]{36}) ")
NOT_GIVEN: Final = "setting "
"""How the notices of `like_its_role` begin."""

#: DDL waits neither for others nor in their way for long.
BOUNDS: Final = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a role's comment says of it: which gateway made it, and for which of its managed logins."""

    gateway_id: str
    login_id: str


@dataclass(frozen=True, slots=True)
class LoginSpec:
    """How a login role is to be. `verifier`: a SCRAM verifier, never a password. `whose`: for people who read the comment.

    `most`: at most so many connections at a time. `valid_until`: None: no end. `asked_for`: the access mode in which an access
    request was for `member_of`; None: that is a login of the target's own. `like`: whose settings it has ("": `member_of`).
    """

    login: str
    member_of: str
    verifier: str = field(repr=False)
    valid_until: datetime | None
    most: int
    marker: Marker
    whose: str
    asked_for: AccessMode | None = None
    like: str = ""


def remark_of(spec: LoginSpec) -> str:
    return (
        f"pgbastion:{spec.marker.gateway_id}:{spec.marker.login_id} login of {spec.whose}; "
        "it is dropped when their right ends (pgbastion targets managed-logins)"
    )


def marker_of(remark: str | None) -> Marker | None:
    """None: no gateway made this role."""
    found = _REMARK.match(remark or "")
    return None if found is None else Marker(found[1], found[2])


def ask_means(member_of: Sequence[str]) -> str:
    """A row for each of these roles: replica, admin is superuser, CREATEROLE, admin's name, the role, is there, is superuser,
    admin has ADMIN OPTION of it.
    """
    names = ", ".join(f"({literal(name)})" for name in member_of)
    return (
        "SELECT pg_is_in_recovery(), a.rolsuper, a.rolcreaterole, a.rolname, w.name, r.oid IS NOT NULL, "
        "coalesce(r.rolsuper, false), r.oid IS NOT NULL AND pg_has_role(a.oid, r.oid, 'USAGE WITH ADMIN OPTION') "
        f"FROM (VALUES {names}) AS w(name) LEFT JOIN pg_roles r ON r.rolname = w.name, pg_roles a WHERE a.rolname = current_user"
    )


def ask_role(login: str) -> str:
    """Of the role, if it is there: oid, comment, may log in, what it has more than a login of ours (as text), connection limit."""
    more = ", ".join(
        f"CASE WHEN {column} THEN {literal(word)} END"
        for column, word in (
            ("rolsuper", "SUPERUSER"),
            ("rolcreatedb", "CREATEDB"),
            ("rolcreaterole", "CREATEROLE"),
            ("rolreplication", "REPLICATION"),
            ("rolbypassrls", "BYPASSRLS"),
        )
    )
    return (
        f"SELECT oid, shobj_description(oid, 'pg_authid'), rolcanlogin, concat_ws(' ', {more}), rolconnlimit "
        f"FROM pg_roles WHERE rolname = {literal(login)}"
    )


def ask_marked(gateway_id: str) -> str:
    """All roles that this gateway made on the server: name, comment, may log in."""
    pattern = literal(f"pgbastion:{gateway_id}:%")
    return (
        "SELECT rolname, shobj_description(oid, 'pg_authid'), rolcanlogin FROM pg_roles "
        f"WHERE shobj_description(oid, 'pg_authid') LIKE {pattern} ORDER BY 1"
    )


def ask_memberships(login: str) -> str:
    """The roles that this one is a member of."""
    return (
        "SELECT DISTINCT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member "
        f"WHERE r.rolname = {literal(login)} ORDER BY 1"
    )


def make(spec: LoginSpec, major: int, *, exists: bool) -> list[str]:
    """In order, in one transaction; run again, they change nothing but the password."""
    name = quoted(spec.login)
    verb, nothing_else = ("ALTER", "") if exists else ("CREATE", f"{_NOTHING_ELSE} INHERIT ")
    until = "infinity" if spec.valid_until is None else spec.valid_until.isoformat()
    steps = [
        f"{verb} ROLE {name} LOGIN {nothing_else}CONNECTION LIMIT {spec.most} "
        f"PASSWORD {literal(spec.verifier)} VALID UNTIL {literal(until)}",
        f"COMMENT ON ROLE {name} IS {literal(remark_of(spec))}",
    ]
    # Without SET nobody becomes the database role itself, and so leaves their own behind, by SET ROLE.
    options = " WITH INHERIT TRUE, SET FALSE" if major >= _OPTIONS_MAJOR else ""
    steps.append(f"GRANT {quoted(spec.member_of)} TO {name}{options}")
    return steps


def leave(login: str, former: str) -> str:
    """Not a member of that role any more."""
    return f"REVOKE {quoted(former)} FROM {quoted(login)}"


def like_its_role(login: str, member_of: str) -> str:
    """Settings of the database role (ALTER ROLE SET) are those of who logs in as it: its members get them, too.

    What this admin may not set, the member does not get; a notice says which. Their values are taken as they are, by set_config:
    a list in a text is not to become one name.
    """
    body = f"""
DECLARE
  known record;
  former text;
BEGIN
  EXECUTE format('ALTER ROLE %I RESET ALL', {literal(login)});
  EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', {literal(login)}, current_database());
  FOR known IN
    SELECT split_part(each, '=', 1) AS name, substr(each, position('=' in each) + 1) AS value,
        CASE WHEN s.setdatabase = 0 THEN '' ELSE format('IN DATABASE %I ', current_database()) END AS place
      FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS each
      WHERE r.rolname = {literal(member_of)}
        AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND split_part(each, '=', 1) NOT IN ('role', 'session_authorization')
  LOOP
    BEGIN
      former := current_setting(known.name, true);
      PERFORM set_config(known.name, known.value, true);
      EXECUTE format('ALTER ROLE %I %sSET %s FROM CURRENT', {literal(login)}, known.place, known.name);
      PERFORM set_config(known.name, coalesce(former, ''), true);
    EXCEPTION WHEN insufficient_privilege OR undefined_object OR invalid_parameter_value THEN
      RAISE NOTICE '{NOT_GIVEN}% of role % is not given to %', known.name, {literal(member_of)}, {literal(login)};
    END;
  END LOOP;
END"""
    return _block(body)


def prolong(login: str, until: datetime | None) -> str:
    return f"ALTER ROLE {quoted(login)} VALID UNTIL {literal('infinity' if until is None else until.isoformat())}"


def disable(login: str) -> str:
    """Nobody gets in as this one any more; who is in stays."""
    return f"ALTER ROLE {quoted(login)} NOLOGIN PASSWORD NULL"


def ask_sessions(login: str) -> str:
    """The process ids of its sessions, in whichever database."""
    return f"SELECT pid FROM pg_stat_activity WHERE usename = {literal(login)} ORDER BY 1"


def end_sessions(login: str) -> str:
    """Needs the rights of the role: see `borrow`."""
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal(login)}"


def ask_databases(login: str) -> str:
    """Where something is the role's own, or is open to it: name of the database, and whether one may connect to it.

    What it was given of the server as a whole (rights on a database, a tablespace) shows in none and goes with DROP OWNED in any.
    """
    return (
        "SELECT DISTINCT d.datname, d.datallowconn FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid "
        "JOIN pg_roles r ON r.oid = s.refobjid "
        f"WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = {literal(login)} ORDER BY 1"
    )


def ask_left(login: str) -> str:
    """Some of what it still has: the database ("": the server as a whole), and what, where that can be told from here."""
    here = "s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"
    return (
        f"SELECT coalesce(d.datname, ''), CASE WHEN {here} THEN pg_describe_object(s.classid, s.objid, s.objsubid) END "
        "FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.refobjid "
        f"WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = {literal(login)} ORDER BY 1, 2 LIMIT 5"
    )


def ask_own_grants(roles: Sequence[str], major: int) -> str:
    """Of which of these roles the admin is a member by a grant that `borrow` would not add to."""
    names = ", ".join(literal(name) for name in roles)
    mine = " AND m.grantor = m.member" if major >= _OPTIONS_MAJOR else ""
    return (
        "SELECT DISTINCT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles a ON a.oid = m.member "
        f"WHERE a.rolname = current_user AND g.rolname IN ({names}){mine}"
    )


def borrow(role: str, major: int) -> str:
    """The admin has the rights of this role, which re-assigning and dropping what it owns takes."""
    options = " WITH INHERIT TRUE, SET TRUE" if major >= _OPTIONS_MAJOR else ""
    return f"GRANT {quoted(role)} TO CURRENT_USER{options}"


def give_back(role: str) -> str:
    return f"REVOKE {quoted(role)} FROM CURRENT_USER"


def ask_owned(login: str) -> str:
    """A row, if the role owns anything here, or of the server as a whole."""
    return (
        "SELECT 1 FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid "
        f"WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = {literal(login)} AND s.deptype = 'o' "
        "AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) LIMIT 1"
    )


def ask_there(roles: Sequence[str]) -> str:
    """Which of these roles there are."""
    return f"SELECT rolname FROM pg_roles WHERE rolname IN ({', '.join(literal(name) for name in roles)})"


def empty(login: str, heir: str | None) -> list[str]:
    """In each database: what the role owns is the heir's (None: it owns nothing), and what it was given is taken."""
    owned = [] if heir is None else [f"REASSIGN OWNED BY {quoted(login)} TO {quoted(heir)}"]
    return [*owned, f"DROP OWNED BY {quoted(login)}"]


def drop(login: str) -> str:
    return f"DROP ROLE {quoted(login)}"


def _block(body: str) -> str:
    """DO, between dollar quotes that no name in the body can end."""
    number = 0
    while (tag := f"$do{number}$") in body:
        number += 1
    return f"DO {tag}{body}\n{tag}"
