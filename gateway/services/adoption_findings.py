"""What whoever adopts a database should know of it: what could not be done, and what everybody may do there. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.custody.inspection import Inspection, Schema, Table
from gateway.ports import Severity
from gateway.quoting import quoted, quoted_all

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what, `remedy` is SQL for the database's administrator, "" where there is none."""

    severity: Severity
    text: str
    remedy: str = ""


def findings_of(found: Inspection, schemas: Sequence[Schema], reader: str, writer: str | None) -> Iterator[Finding]:
    """First what is left undone."""
    names = [reader] if writer is None else [reader, writer]
    yield from _out_of_reach(found, schemas, names)
    yield from _to_come(found, schemas, reader, writer)
    yield from _everybodys(found, schemas)
    for name in names:
        role = found.role(name)
        if role is not None and role.member_of:
            text = f"the role {name} is a member of {role.member_of}, and may do what that may"
            yield Finding(Severity.WARNING, text, f"REVOKE {role.member_of} FROM {quoted(name)};")
    if found.more_tables:
        yield Finding(Severity.WARNING, f"there are more tables than were looked at ({len(found.tables)})")
    admin = found.admin
    if admin.providers:
        text = f'a managed server: {", ".join(admin.providers)} administers it, and "{admin.login}" is no superuser'
        yield Finding(Severity.INFO, text)
    elif not admin.superuser:
        yield Finding(Severity.INFO, f'"{admin.login}" is no superuser: it does what it may')


def _out_of_reach(found: Inspection, schemas: Sequence[Schema], names: Sequence[str]) -> Iterator[Finding]:
    me = quoted(found.admin.login)
    for schema in schemas:
        known = [found.role(name) for name in names]
        used = schema.name == "public" or all(role is not None and schema.name in role.uses for role in known)
        if not schema.may_grant and not used:
            text = f'the schema {schema.name} belongs to {schema.owner}: "{found.admin.login}" cannot open it'
            remedy = f"GRANT {quoted(schema.owner)} TO {me};  -- then adopt again"
            yield Finding(Severity.WARNING, text, remedy)
            continue
        others = [each for each in found.tables if each.schema == schema.name and not each.may_grant and not each.reads]
        if others:
            owners = sorted({each.owner for each in others})
            whose = f"{len(others)} of the tables in {schema.name} belong to others ({', '.join(owners)})"
            yield Finding(
                Severity.WARNING,
                f"{whose}: {_some(others)} stay closed",
                f"GRANT {quoted_all(owners)} TO {me};  -- then adopt again",
            )


def _to_come(found: Inspection, schemas: Sequence[Schema], reader: str, writer: str | None) -> Iterator[Finding]:
    chosen = {schema.name for schema in schemas}
    for maker in found.makers:
        if maker.schema not in chosen or maker.may_say or maker.said:
            continue
        begin = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {quoted(maker.schema)} GRANT"
        lines = [f"{begin} SELECT ON TABLES TO {quoted(reader)};"]
        if writer is not None:
            lines.append(f"{begin} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {quoted(writer)};")
            lines.append(f"{begin} USAGE, SELECT ON SEQUENCES TO {quoted(writer)};")
        text = f"what {maker.name} will create in {maker.schema} stays closed until {maker.name} itself says otherwise"
        yield Finding(Severity.WARNING, text, f"-- as {maker.name}:\n" + "\n".join(lines))


def _everybodys(found: Inspection, schemas: Sequence[Schema]) -> Iterator[Finding]:
    """PUBLIC's rights are the read-only role's, too."""
    for schema in schemas:
        if schema.public_create:
            text = f"everybody may create tables in the schema {schema.name}, the read-only role too"
            yield Finding(Severity.WARNING, text, f"REVOKE CREATE ON SCHEMA {quoted(schema.name)} FROM PUBLIC;")
    if found.admin.public:
        text = f"everybody may do this with the database: {found.admin.public}"
        yield Finding(Severity.INFO, text, "-- for all that can be taken from PUBLIC: pgbastion targets init-sql")
    chosen = {schema.name for schema in schemas}
    if open_to_all := [each for each in found.tables if each.public_writes and each.schema in chosen]:
        listed = ", ".join(f"{quoted(each.schema)}.{quoted(each.name)}" for each in open_to_all)
        text = f"everybody may change {_some(open_to_all)}, the read-only role too"
        yield Finding(Severity.WARNING, text, f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {listed} FROM PUBLIC;")


def _some(tables: Sequence[Table]) -> str:
    shown = ", ".join(f"{each.schema}.{each.name}" for each in tables[:_NAMED])
    return shown if len(tables) <= _NAMED else f"{shown} and {len(tables) - _NAMED} more"
