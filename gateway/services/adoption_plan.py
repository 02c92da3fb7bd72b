"""What is to be done to adopt a database: worked out from what was found there, shown before it is done. Pure.

Two roles of ours, with the least rights that they need, now and on tables to come. What is there already is left alone; once all
of it is there, nothing is to be done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.access.model import Target
from gateway.access_mode import AccessMode
from gateway.custody.inspection import Inspection, KnownRole, Schema
from gateway.quoting import literal, quoted
from gateway.services.adoption_findings import Finding, findings_of
from gateway.services.errors import ServiceError
from gateway.services.naming import check_identifier
from gateway.services.role_sql import Opened, Roles, role_statements

HIDDEN: Final = "(made by the gateway, shown to nobody)"
_MARK: Final = "pgbastion-target"
_LONGEST: Final = 63
_MOST_CONNECTIONS: Final = 100_000


class Writing(Enum):
    """Instead of the name of a role that writes."""

    USUAL = "named like the target"
    NONE = "there is to be none"


@dataclass(frozen=True, slots=True)
class Asked:
    """What whoever adopts says. `reader`: None: named like the target, or as it was when it was adopted before."""

    reader: str | None = None
    writer: str | Writing = Writing.USUAL
    schemas: tuple[str, ...] = ()
    connection_limit: int = 100


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be there. `writer`: None: no login that writes. `schemas`: none: all that hold tables."""

    reader: str
    writer: str | None
    schemas: tuple[str, ...] = ()
    connection_limit: int = 100

    @property
    def roles(self) -> Mapping[AccessMode, str]:
        found = {AccessMode.READ_ONLY: self.reader}
        return found if self.writer is None else {**found, AccessMode.READ_WRITE: self.writer}


@dataclass(frozen=True, slots=True)
class Plan:
    """`todo`: a line for each thing that is missing; none: nothing is to be done. `statements`: what is run, in one transaction.

    `passwords`: the roles that get a new one, after the statements. `findings`: what whoever adopts should know.
    """

    todo: tuple[str, ...]
    statements: tuple[str, ...]
    passwords: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def script(self) -> str:
        """To be read: with no password in it."""
        if not self.todo:
            return ""
        made = [set_password(role, HIDDEN) for role in self.passwords]
        return "\n\n".join(["BEGIN;", *self.statements, *made, "COMMIT;"]) + "\n"


def wishes_of(asked: Asked, target: Target, marked: frozenset[str]) -> Wishes:
    """`marked`: the roles that were made for this target. Raises ServiceError for names that PostgreSQL would not take."""

    def usual(mode: AccessMode, suffix: str) -> str:
        known = target.roles.get(mode)
        return (
            known.login if known is not None and known.login in marked else f"{target.name[: _LONGEST - len(suffix)]}{suffix}"
        )

    reader = asked.reader or usual(AccessMode.READ_ONLY, "_ro")
    match asked.writer:
        case Writing.NONE:
            writer = None
        case Writing.USUAL:
            writer = usual(AccessMode.READ_WRITE, "_rw")
        case str() as writer:
            pass
    for name in filter(None, (reader, writer)):
        check_identifier("database role's name", name)
    if reader == writer:
        raise ServiceError("adopt-role-taken", "the roles that read and write are two", "Give them different names.")
    if not 1 <= asked.connection_limit <= _MOST_CONNECTIONS:
        text = f"{asked.connection_limit} is not a connection limit"
        raise ServiceError("connection-limit-invalid", text, f"Give 1 to {_MOST_CONNECTIONS}.")
    return Wishes(reader, writer, asked.schemas, asked.connection_limit)


def mark_of(target: Target) -> str:
    """How the comment on each role of ours begins: by this it is known again."""
    return f"{_MARK}:{target.id} "


def set_password(role: str, verifier: str) -> str:
    return f"ALTER ROLE {quoted(role)} PASSWORD {literal(verifier)};"


def is_ours(role: KnownRole, target: Target) -> bool:
    """It was made for this target, or is its login already."""
    return role.comment.startswith(mark_of(target)) or any(role.name == each.login for each in target.roles.values())


def plan_adoption(found: Inspection, target: Target, wishes: Wishes, unusable: frozenset[str]) -> Plan:
    """`unusable`: roles whose password nobody knows, so that they need a new one. Raises ServiceError where it cannot be done."""
    _check(found, target, wishes)
    schemas = _chosen(found, wishes)
    roles = Roles(wishes.reader, wishes.writer, wishes.connection_limit)
    passwords = tuple(role for role in roles.names if role in unusable or found.role(role) is None)
    todo = tuple(_missing(found, wishes, schemas, passwords))
    opened = _opened(found, schemas, roles)
    new = [(mode, role) for mode, role in wishes.roles.items() if found.role(role) is None]
    marks = [_comment(target, mode, role) for mode, role in new]
    statements = (*role_statements(target.dbname, roles, opened), *marks)
    return Plan(todo, statements if todo else (), passwords, tuple(findings_of(found, schemas, wishes.reader, wishes.writer)))


def _comment(target: Target, mode: AccessMode, role: str) -> str:
    text = f'{mark_of(target)}login of target "{target.name}" ({mode}), made by: pgbastion targets adopt'
    return f"COMMENT ON ROLE {quoted(role)} IS {literal(text)};"


def _check(found: Inspection, target: Target, wishes: Wishes) -> None:
    admin = found.admin
    if admin.in_recovery:
        text = f"{target.host} is a read replica: no role can be made there"
        raise ServiceError("adopt-replica", text, "Adopt its primary; a replica has the same roles.")
    for name in wishes.roles.values():
        role = found.role(name)
        if name == admin.login:
            raise ServiceError("adopt-role-taken", f'"{name}" is the admin login itself', "Choose another name for the role.")
        if role is None and not (admin.superuser or admin.create_role):
            raise ServiceError(
                "adopt-no-createrole",
                f'"{admin.login}" may not make roles',
                f"Give it that (ALTER ROLE {quoted(admin.login)} CREATEROLE), or adopt with the URL of a login that may.",
            )
        if role is None:
            continue
        if not is_ours(role, target):
            text = f'there is a role "{name}" already, which was not made for target "{target.name}"'
            raise ServiceError("adopt-role-taken", text, "Choose other names: --read-only-role, --read-write-role.")
        if role.powers:
            text = f'the role "{name}" may do more than log in: {role.powers}'
            raise ServiceError("adopt-role-powerful", text, "Take that away first, or choose another name.")
        if not role.may_manage:
            text = f'"{admin.login}" may not change the role "{name}"'
            raise ServiceError("adopt-role-taken", text, "Use the admin login that made it, or choose another name.")


def _chosen(found: Inspection, wishes: Wishes) -> tuple[Schema, ...]:
    known = {schema.name: schema for schema in found.schemas}
    if missing := [name for name in wishes.schemas if name not in known]:
        text = f'there is no schema "{missing[0]}" with tables in this database'
        raise ServiceError("schema-unknown", text, f"There are: {', '.join(known) or 'none'}.")
    return tuple(known[name] for name in dict.fromkeys(wishes.schemas)) if wishes.schemas else found.schemas


def _opened(found: Inspection, schemas: Sequence[Schema], roles: Roles) -> Opened:
    """A schema in which not all is this login's to give is opened table by table; one that is not its to open, not at all."""
    whole, parts = [], {}
    for schema in schemas:
        tables = [each for each in found.tables if each.schema == schema.name]
        if not schema.may_grant and not _use_it(found, schema, roles.names):
            continue
        if schema.may_grant and all(each.may_grant for each in tables):
            whole.append(schema.name)
        else:
            ours = [each for each in tables if each.may_grant]
            parts[schema.name] = (
                tuple(each.name for each in ours if each.kind != "S"),
                tuple(each.name for each in ours if each.kind == "S"),
            )
    return Opened(tuple(whole), (), parts)


def _use_it(found: Inspection, schema: Schema, names: Sequence[str]) -> bool:
    """As PUBLIC may, say. Of a role that is not there yet nothing is known: the server will say."""
    known = [found.role(name) for name in names]
    return schema.name == "public" or all(role is not None and schema.name in role.uses for role in known)


def _missing(found: Inspection, wishes: Wishes, schemas: Sequence[Schema], passwords: Sequence[str]) -> Iterator[str]:
    for mode, name in wishes.roles.items():
        role = found.role(name)
        if role is None:
            yield f"role {name} ({mode}) is made, with a password that only the gateway knows"
            continue
        if name in passwords:
            yield f"role {name} gets a new password, which only the gateway knows"
        if not role.connects:
            yield f"role {name} may connect to the database"
        if mode is AccessMode.READ_ONLY and not role.settled:
            yield f"sessions of {name} begin read-only"
        yield from (
            f"role {name} may use the schema {each.name}" for each in schemas if each.may_grant and each.name not in role.uses
        )
    yield from _missing_rights(found, wishes, schemas)


def _missing_rights(found: Inspection, wishes: Wishes, schemas: Sequence[Schema]) -> Iterator[str]:
    names = " and ".join(wishes.roles.values())
    for schema in schemas:
        if not schema.may_grant and not _use_it(found, schema, tuple(wishes.roles.values())):
            continue
        lacking = [
            each for each in found.tables if each.schema == schema.name and each.may_grant and not (each.reads and each.writes)
        ]
        if wishes.writer is None:
            lacking = [each for each in lacking if not each.reads]
        if lacking:
            yield f"{names}: rights on {len(lacking)} table{'s' * (len(lacking) > 1)} or sequences in {schema.name}"
        for maker in found.makers:
            if maker.schema == schema.name and maker.may_say and not maker.said:
                yield f"{names}: rights on what {maker.name} will create in {schema.name}"
