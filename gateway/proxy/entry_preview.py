"""What an entry of a target's list would open in the database as it is now: read the catalog, compare, ask about what comes open.

Over a session like a person's, by the login that read-only sessions use. Nothing is changed, there or here.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.ports import EntryPreview, OpenedObject
from gateway.proxy import target_causes as causes
from gateway.proxy.catalog_reading import read_answers
from gateway.proxy.target_questions import Interview, Row
from gateway.proxy.upstream import UpstreamDialer
from gateway.proxy.upstream_plan import plan_of
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused
from gateway.statements.catalog import CatalogError
from gateway.statements.catalog_objects import FIRST_USER_OID, Function
from gateway.statements.preview import Opened, is_built_in, opened_by

_MODE: Final = AccessMode.READ_ONLY
# What the questions rely on; in the startup packet it beats what the role or the database has.
_WISHES: Final = Wishes((("search_path", "pg_catalog"),), "", "")
_SHOWN: Final = 1000
_AT_ONCE: Final = 200
_VOLATILITY: Final = {"v": "volatile", "s": "stable", "i": "immutable"}
_FUNCTION_KINDS: Final = {"f": "function", "p": "procedure", "a": "aggregate", "w": "window function"}
_TYPE_KINDS: Final = {"d": "domain", "e": "enum", "c": "row type", "r": "range", "m": "multirange"}
_EVERYWHERE: Final = "an implicit cast between PostgreSQL's own types: any statement may run it with nothing to be seen of it"

#: Functions by OID: OID, signature, volatility, SECURITY DEFINER, language, is it trusted, owner, is that one a superuser, is its
#: search_path fixed, may this login call it, can no query call it (a trigger function).
_FUNCTIONS: Final = """
SELECT p.oid, left(p.oid::regprocedure::text, 300), p.provolatile, p.prosecdef, l.lanname, l.lanpltrusted,
  pg_get_userbyid(p.proowner), coalesce(r.rolsuper, false),
  EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'),
  has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE'),
  p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang LEFT JOIN pg_roles r ON r.oid = p.proowner
WHERE p.oid = ANY ('{{{oids}}}'::oid[])"""

#: Operators by OID: OID, name and operands, its function.
_OPERATORS: Final = """
SELECT o.oid, left(o.oid::regoperator::text, 300), left(o.oprcode::regprocedure::text, 300) FROM pg_operator o
WHERE o.oid = ANY ('{{{oids}}}'::oid[])"""

#: Who but their owners may make something in a schema: the grantee.
_MAKERS: Final = """
SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) x
WHERE n.nspname = '{schema}' AND x.privilege_type = 'CREATE' AND x.grantee <> n.nspowner ORDER BY 1 LIMIT 20"""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the server says of what is opened: rows by OID."""

    functions: Mapping[str, Row]
    operators: Mapping[str, Row]
    makers: Sequence[str]


async def preview_entry(
    dialer: UpstreamDialer,
    target: Target,
    role: DatabaseRole,
    *,
    entry: str,
    timeout_seconds: float,
    iterations_max: int,
) -> EntryPreview:
    """`entry` is one that `check_function` lets through. `timeout_seconds` bounds the reading, and what is asked afterwards."""
    try:
        answers = await read_answers(
            dialer, target, role, mode=_MODE, timeout_seconds=timeout_seconds, iterations_max=iterations_max
        )
        opened = await asyncio.to_thread(
            lambda: opened_by(answers.as_catalog(), entry, target.allowed_functions, target.allowed_schemas)
        )
    except UpstreamRefused as error:
        obstacle = causes.no_answer("catalog") if error.kind == "question" else causes.refused(error, target, role, _MODE)
        return EntryPreview(entry, obstacle=obstacle)
    except (CatalogError, UnicodeDecodeError):
        return EntryPreview(entry, obstacle=causes.no_answer("catalog"))
    try:
        async with asyncio.timeout(timeout_seconds):
            seen = await _look(dialer, target, role, opened, entry, iterations_max)
    except (UpstreamRefused, TimeoutError, ValueError):
        return EntryPreview(entry, obstacle=causes.no_answer("functions"))
    found = sorted(_objects(opened, seen), key=lambda each: not each.warnings)
    notes = _notes(entry, opened, target, seen.makers)
    return EntryPreview(entry, tuple(found[:_SHOWN]), max(len(found) - _SHOWN, 0), notes)


async def _look(
    dialer: UpstreamDialer,
    target: Target,
    role: DatabaseRole,
    opened: Opened,
    entry: str,
    iterations_max: int,
) -> _Seen:
    plan = plan_of(target, role, _MODE, label_of("pgbastion", "preview"), _WISHES, iterations_max)
    connection, _, _ = await dialer.open(target, role, plan)
    interview = Interview(connection)
    try:
        functions = await _rows(interview, _FUNCTIONS, [each.oid for each in opened.functions], 11)
        operators = await _rows(interview, _OPERATORS, opened.operators, 3)
        schema = entry.removesuffix(".*").replace("'", "''") if entry.endswith(".*") else ""
        makers = [row[0] or "" for row in await interview.ask(_MAKERS.format(schema=schema))] if schema else []
        return _Seen(functions, operators, makers)
    finally:
        interview.close()


async def _rows(interview: Interview, question: str, oids: Sequence[int], width: int) -> dict[str, Row]:
    """By OID, which is what each row starts with. Raises ValueError for an answer that is none."""
    found = {}
    for start in range(0, len(oids), _AT_ONCE):
        asked = ",".join(map(str, oids[start : start + _AT_ONCE]))
        for row in await interview.ask(question.format(oids=asked)):
            if len(row) != width:
                raise ValueError("a row of another shape")
            found[row[0] or ""] = row
    return found


def _objects(opened: Opened, seen: _Seen) -> Iterable[OpenedObject]:
    """What is gone by now is left out."""
    for function in opened.functions:
        if (row := seen.functions.get(str(function.oid))) is not None:
            yield _function(function, row)
    for oid in opened.operators:
        if (row := seen.operators.get(str(oid))) is not None:
            yield OpenedObject("operator", f"{row[1]} by {row[2]}")
    for cast in opened.casts:
        everywhere = cast.context == "i" and max(cast.source, cast.target) < FIRST_USER_OID
        kind = "implicit cast" if cast.context == "i" else "cast"
        yield OpenedObject(kind, f"{cast.source_name} AS {cast.target_name}", warnings=(_EVERYWHERE,) if everywhere else ())
    for each in opened.types:
        yield OpenedObject(_TYPE_KINDS.get(each.kind, "type"), f"{each.schema}.{each.name}")
    for relation in opened.relations:
        name = f"{relation.schema}.{relation.name}"
        if relation.foreign:
            outside = f"it reads through the foreign-data wrapper {relation.wrapper}, outside of this database's read-only mode"
            yield OpenedObject("foreign table", name, warnings=(outside,))
        else:
            yield OpenedObject("view" if relation.definition else "table", name)


def _function(function: Function, row: Row) -> OpenedObject:
    _, signature, volatility, definer, language, trusted, owner, superuser, fixed, callable_, trigger = row
    warnings = []
    if definer == "t":
        rights = f"SECURITY DEFINER: it acts with the rights of {owner}" + (", a superuser" if superuser == "t" else "")
        loose = "" if fixed == "t" else "; its search_path is not fixed, so that callers may choose what its names mean"
        warnings.append(rights + loose)
    if volatility == "v" and function.kind != "p":
        warnings.append("volatile: by its own word it may write")
    if trusted != "t" and language not in ("internal", "c"):
        warnings.append(f"written in {language}, which may do whatever the server's operating system user may")
    if language == "c" and not function.extension:
        warnings.append("written in C, and of no extension")
    if is_built_in(function.name):
        warnings.append("PostgreSQL has a function of this name: statements that mean that one may call this")
    if function.kind == "p" or trigger == "t":
        warnings.append("no read-only session can call it: CALL stays refused, and so are triggers")
    elif callable_ != "t":
        warnings.append("the target's login has no right to call it")
    return OpenedObject(
        kind=_FUNCTION_KINDS.get(function.kind, "function"),
        name=signature or f"{function.schema}.{function.name}",
        volatility=_VOLATILITY.get(volatility or "", ""),
        security_definer=definer == "t",
        language=language or "",
        owner=owner or "",
        warnings=tuple(warnings),
    )


def _notes(entry: str, opened: Opened, target: Target, makers: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if entry in target.allowed_functions:
        notes.append("The target lists it already: this is what would be closed without it.")
    elif not opened.named:
        notes.append("Nothing in this database goes by this name now.")
    elif not opened.anything:
        notes.append("What goes by this name is open already.")
    if entry.endswith(".*"):
        notes.append("Whatever is put into this schema later is open, too, from the next reading of the catalog on.")
        if makers:
            notes.append(f"Others than its owner may create in this schema: {', '.join(makers)}.")
    elif entry.startswith("extension:"):
        notes.append("What a later version of the extension brings is open, too.")
    if opened.functions:
        notes.append("Bodies of functions are not judged: who lists them vouches that they only read.")
    return tuple(notes)
