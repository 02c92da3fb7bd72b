# ruff: noqa: S608 (nothing here comes from outside)
"""What is asked of a database about its users' objects, and the plain rows that come back.

Every query is qualified to the last operator, needs no privilege but CONNECT, changes nothing but `search_path` (to '', so that
definitions come back with every name qualified), and answers in text columns. Run all of them in order, in one session opened as
people's sessions are, best in one REPEATABLE READ transaction. Users' objects are those with an OID of 16384 or more, whatever
their schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

Row = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """`name` is the field of CatalogRows that its rows fill ("" for a statement whose answer counts for nothing)."""

    name: str
    sql: str
    min_major: int = 13


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """The answers, by query. What each row holds, in order, is written at its query; all values are text or None."""

    path: tuple[Row, ...] = ()
    functions: tuple[Row, ...] = ()
    function_types: tuple[Row, ...] = ()
    aggregates: tuple[Row, ...] = ()
    operators: tuple[Row, ...] = ()
    stand_ins: tuple[Row, ...] = ()
    casts: tuple[Row, ...] = ()
    types: tuple[Row, ...] = ()
    ranges: tuple[Row, ...] = ()
    multiranges: tuple[Row, ...] = ()
    domain_checks: tuple[Row, ...] = ()
    operator_classes: tuple[Row, ...] = ()
    columns: tuple[Row, ...] = ()
    named_columns: tuple[Row, ...] = ()
    views: tuple[Row, ...] = ()
    foreign_tables: tuple[Row, ...] = ()
    row_policies: tuple[Row, ...] = ()
    planned_expressions: tuple[Row, ...] = ()
    statistics_expressions: tuple[Row, ...] = ()
    support_functions: tuple[Row, ...] = ()
    inherits: tuple[Row, ...] = ()
    extensions: tuple[Row, ...] = ()
    login_triggers: tuple[Row, ...] = ()
    schemas: tuple[Row, ...] = ()

    @classmethod
    def from_answers(cls, answers: Mapping[str, Sequence[Sequence[str | None]]]) -> "CatalogRows":
        """From rows by query name; of a name without an answer (an older server) there are none. Order does not matter."""
        return cls(*(_sorted(answers.get(each.name, ())) for each in fields(cls)))

    def as_answers(self) -> dict[str, tuple[Row, ...]]:
        """The reverse of `from_answers`: what JSON can carry."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _sorted(rows: Sequence[Sequence[str | None]]) -> tuple[Row, ...]:
    found = list(map(tuple, rows))
    try:
        found.sort()
    except TypeError:  # rows that differ first where one of them has None
        found.sort(key=lambda row: tuple((value is not None, value or "") for value in row))
    return tuple(found)


def _member(classid: str, oid: str) -> str:
    """The extension that an object belongs to, as a scalar subquery."""
    return (
        "(SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e"
        " ON e.oid OPERATOR(pg_catalog.=) d.refobjid"
        f" WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.{classid}'::pg_catalog.regclass"
        f" AND d.objid OPERATOR(pg_catalog.=) {oid} AND d.deptype OPERATOR(pg_catalog.=) 'e'"
        " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1)::pg_catalog.text"
    )


def _of_users(oid: str) -> str:
    return f"{oid} OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"


def _name(function: str, oid: str) -> str:
    """The unqualified name of the function with this OID."""
    return f"(SELECT {function}.proname FROM pg_catalog.pg_proc {function} WHERE {function}.oid OPERATOR(pg_catalog.=) {oid})"


_NOT_TEMPORARY: Final = r"n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast|temp_|toast_temp_)'"

# The value that a session starts with, and the one that RESET goes back to: "login", "session login", value, reset value.
_PATH: Final = (
    "SELECT current_user::pg_catalog.text, session_user::pg_catalog.text, pg_catalog.current_setting('search_path'),"
    " (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path')"
)

# oid, schema, name, kind (f a w p), least arguments, most arguments (-1: any number), OID of the first argument's type,
# language, the C function's name when the language is internal, "true" when a superuser owns it, extension.
_FUNCTIONS: Final = (
    "SELECT p.oid::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text, p.prokind::pg_catalog.text,"
    " (p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.-)"
    " (p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)::pg_catalog.int4)::pg_catalog.text,"
    " CASE WHEN p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN '-1' ELSE p.pronargs::pg_catalog.text END,"
    " p.proargtypes[0]::pg_catalog.text, l.lanname::pg_catalog.text,"
    " CASE WHEN l.lanname OPERATOR(pg_catalog.=) 'internal' THEN p.prosrc END, r.rolsuper::pg_catalog.text,"
    f" {_member('pg_proc', 'p.oid')}"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace"
    " JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner"
    f" WHERE {_of_users('p.oid')} AND {_NOT_TEMPORARY}"
)

# OID of the function, OID of a users' type that it takes or returns: a row for each.
_FUNCTION_TYPES: Final = (
    "SELECT DISTINCT p.oid::pg_catalog.text, k.oid::pg_catalog.text FROM pg_catalog.pg_proc p CROSS JOIN LATERAL"
    " pg_catalog.unnest(pg_catalog.array_append(COALESCE(p.proallargtypes, p.proargtypes::pg_catalog.oid[]), p.prorettype))"
    f" AS k(oid) WHERE {_of_users('p.oid')} AND {_of_users('k.oid')}"
)

# OID of the aggregate, OID and name of one function that it is made of (a row for each), kind (n o h).
_AGGREGATES: Final = (
    "SELECT a.aggfnoid::pg_catalog.oid::pg_catalog.text, f.oid::pg_catalog.text, f.proname::pg_catalog.text,"
    " a.aggkind::pg_catalog.text FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY"
    " (ARRAY[a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid, a.aggcombinefn::pg_catalog.oid,"
    " a.aggserialfn::pg_catalog.oid, a.aggdeserialfn::pg_catalog.oid, a.aggmtransfn::pg_catalog.oid,"
    " a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid])"
    f" WHERE {_of_users('a.aggfnoid::pg_catalog.oid')}"
)

# oid, schema, name, OIDs of the operands' types (0: none), OID and name of its function, extension.
_OPERATORS: Final = (
    "SELECT o.oid::pg_catalog.text, n.nspname::pg_catalog.text, o.oprname::pg_catalog.text, o.oprleft::pg_catalog.text,"
    f" o.oprright::pg_catalog.text, o.oprcode::pg_catalog.oid::pg_catalog.text,"
    f" {_name('f', 'o.oprcode::pg_catalog.oid')}::pg_catalog.text, {_member('pg_operator', 'o.oid')}"
    " FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace"
    f" WHERE {_of_users('o.oid')} AND {_NOT_TEMPORARY}"
)

# Name of a built-in operator, then schema and name, OID and name of the function, and extension of a users' operator that is its
# negator or commutator: the planner takes it for NOT (a && b), or for b && a.
_STAND_INS: Final = (
    "SELECT b.oprname::pg_catalog.text, n.nspname::pg_catalog.text, o.oprname::pg_catalog.text,"
    f" o.oprcode::pg_catalog.oid::pg_catalog.text, {_name('f', 'o.oprcode::pg_catalog.oid')}::pg_catalog.text,"
    f" {_member('pg_operator', 'o.oid')} FROM pg_catalog.pg_operator b JOIN pg_catalog.pg_operator o"
    " ON o.oid OPERATOR(pg_catalog.=) b.oprcom OR o.oid OPERATOR(pg_catalog.=) b.oprnegate"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace"
    f" WHERE NOT ({_of_users('b.oid')}) AND {_of_users('o.oid')}"
)

# OID and name of the source type, OID and name of the target type, context (e a i), method (f i b), OID and name of the function.
_CASTS: Final = (
    "SELECT c.castsource::pg_catalog.text, s.typname::pg_catalog.text, c.casttarget::pg_catalog.text,"
    " t.typname::pg_catalog.text, c.castcontext::pg_catalog.text, c.castmethod::pg_catalog.text,"
    f" c.castfunc::pg_catalog.text, {_name('f', 'c.castfunc')}::pg_catalog.text"
    " FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type s ON s.oid OPERATOR(pg_catalog.=) c.castsource"
    " JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.casttarget"
    f" WHERE {_of_users('c.oid')}"
)

# oid, schema, name, kind (b c d e m p r), category, "true" when preferred in it, OIDs of the element type, of the domain's base
# type and of the relation whose row it is (0: none), OID and name of the input function, extension.
_TYPES: Final = (
    "SELECT t.oid::pg_catalog.text, n.nspname::pg_catalog.text, t.typname::pg_catalog.text, t.typtype::pg_catalog.text,"
    " t.typcategory::pg_catalog.text, t.typispreferred::pg_catalog.text, t.typelem::pg_catalog.text,"
    " t.typbasetype::pg_catalog.text, t.typrelid::pg_catalog.text, t.typinput::pg_catalog.oid::pg_catalog.text,"
    f" {_name('f', 't.typinput::pg_catalog.oid')}::pg_catalog.text, {_member('pg_type', 't.oid')}"
    " FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace"
    f" WHERE {_of_users('t.oid')} AND {_NOT_TEMPORARY}"
)

# OID of the range type, of its element type, then OID and name of its canonical function and of its difference function, then OID
# and name of the comparison function of its operator class.
_RANGES: Final = (
    "SELECT r.rngtypid::pg_catalog.text, r.rngsubtype::pg_catalog.text, r.rngcanonical::pg_catalog.oid::pg_catalog.text,"
    f" {_name('f', 'r.rngcanonical::pg_catalog.oid')}::pg_catalog.text, r.rngsubdiff::pg_catalog.oid::pg_catalog.text,"
    f" {_name('g', 'r.rngsubdiff::pg_catalog.oid')}::pg_catalog.text, a.amproc::pg_catalog.oid::pg_catalog.text,"
    f" {_name('h', 'a.amproc::pg_catalog.oid')}::pg_catalog.text"
    " FROM pg_catalog.pg_range r JOIN pg_catalog.pg_opclass c ON c.oid OPERATOR(pg_catalog.=) r.rngsubopc"
    " LEFT JOIN pg_catalog.pg_amproc a ON a.amprocfamily OPERATOR(pg_catalog.=) c.opcfamily"
    " AND a.amproclefttype OPERATOR(pg_catalog.=) c.opcintype AND a.amprocrighttype OPERATOR(pg_catalog.=) c.opcintype"
    " AND a.amprocnum OPERATOR(pg_catalog.=) 1::pg_catalog.int2"
    f" WHERE {_of_users('r.rngtypid')}"
)

# OID of the multirange type, OID of its range type.
_MULTIRANGES: Final = (
    "SELECT r.rngmultitypid::pg_catalog.text, r.rngtypid::pg_catalog.text FROM pg_catalog.pg_range r"
    f" WHERE {_of_users('r.rngtypid')}"
)

# OID of the domain, the condition as CHECK (...).
_DOMAIN_CHECKS: Final = (
    "SELECT c.contypid::pg_catalog.text, pg_catalog.pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint c"
    f" WHERE {_of_users('c.contypid')} AND c.contype OPERATOR(pg_catalog.=) 'c'"
)

# A row for each support function of users' default btree and hash operator classes: OID and name of the type, of the function.
_OPERATOR_CLASSES: Final = (
    "SELECT c.opcintype::pg_catalog.text, t.typname::pg_catalog.text, a.amproc::pg_catalog.oid::pg_catalog.text,"
    f" {_name('f', 'a.amproc::pg_catalog.oid')}::pg_catalog.text"
    " FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.opcintype"
    " JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.opcmethod"
    " JOIN pg_catalog.pg_amproc a ON a.amprocfamily OPERATOR(pg_catalog.=) c.opcfamily"
    f" WHERE {_of_users('c.oid')} AND c.opcdefault AND m.amname OPERATOR(pg_catalog.=) ANY (ARRAY['btree'::pg_catalog.name,"
    " 'hash'::pg_catalog.name])"
    " AND (a.amproclefttype OPERATOR(pg_catalog.=) c.opcintype OR a.amprocrighttype OPERATOR(pg_catalog.=) c.opcintype)"
)

_RELATIONS: Final = (
    " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
    f" WHERE {_NOT_TEMPORARY} AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2"
    " AND NOT a.attisdropped AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r'::\"char\", 'p', 'v', 'm', 'f', 'c'])"
)

# OID, schema and name of the relation, column, OID of its type: columns of users' types, of composite types, too.
_COLUMNS: Final = (
    "SELECT c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,"
    f" a.atttypid::pg_catalog.text{_RELATIONS} AND {_of_users('a.atttypid')} AND {_of_users('c.oid')}"
)

# Schema, relation, column: columns with the name of a function or a type of users, of system relations, too.
_NAMED_COLUMNS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text"
    f"{_RELATIONS} AND a.attname OPERATOR(pg_catalog.=) ANY (SELECT p.proname FROM pg_catalog.pg_proc p"
    f" WHERE {_of_users('p.oid')} UNION SELECT t.typname FROM pg_catalog.pg_type t WHERE {_of_users('t.oid')})"
)

# Schema, name, definition, extension.
_VIEWS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, pg_catalog.pg_get_viewdef(c.oid),"
    f" {_member('pg_class', 'c.oid')} FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
    f" WHERE {_of_users('c.oid')} AND {_NOT_TEMPORARY} AND c.relkind OPERATOR(pg_catalog.=) 'v'"
)

# Schema and name of a foreign table or of a table that one is a part of, name of the foreign table, its wrapper.
_FOREIGN_TABLES: Final = (
    "WITH RECURSIVE up(oid, leaf) AS (SELECT f.ftrelid, f.ftrelid FROM pg_catalog.pg_foreign_table f"
    " UNION SELECT i.inhparent, u.leaf FROM up u JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid)"
    " SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, l.relname::pg_catalog.text, w.fdwname::pg_catalog.text"
    " FROM up u JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
    " JOIN pg_catalog.pg_class l ON l.oid OPERATOR(pg_catalog.=) u.leaf"
    " JOIN pg_catalog.pg_foreign_table f ON f.ftrelid OPERATOR(pg_catalog.=) u.leaf"
    " JOIN pg_catalog.pg_foreign_server s ON s.oid OPERATOR(pg_catalog.=) f.ftserver"
    " JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw"
)

# Schema, table, policy, condition: row-security policies that a SELECT is under.
_ROW_POLICIES: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, p.polname::pg_catalog.text,"
    " pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy p"
    " JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.polrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
    " WHERE c.relrowsecurity AND p.polqual IS NOT NULL AND p.polcmd OPERATOR(pg_catalog.=) ANY (ARRAY['r'::\"char\", '*'])"
)

_USES_FUNCTION: Final = (
    "EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.{}'::pg_catalog.regclass"
    " AND d.objid OPERATOR(pg_catalog.=) {}"
    " AND (d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass"
    " OR d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass"
    " OR d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass)"
    f" AND {_of_users('d.refobjid')})"
)
_OF_RELATION: Final = (
    " JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) {}"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
)

# Schema, table, whose (an index's or constraint's name), expression: what the planner simplifies for each query of the table, and
# so runs as far as it is constant. Only those that use something of users.
_PLANNED_EXPRESSIONS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, x.relname::pg_catalog.text, e.text"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid"
    f"{_OF_RELATION.format('i.indrelid')}"
    " CROSS JOIN LATERAL (VALUES (pg_catalog.pg_get_expr(i.indexprs, i.indrelid)),"
    " (pg_catalog.pg_get_expr(i.indpred, i.indrelid))) e(text)"
    f" WHERE e.text IS NOT NULL AND {_USES_FUNCTION.format('pg_class', 'i.indexrelid')}"
    " UNION ALL SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, k.conname::pg_catalog.text,"
    " pg_catalog.pg_get_expr(k.conbin, k.conrelid) FROM pg_catalog.pg_constraint k"
    f"{_OF_RELATION.format('k.conrelid')}"
    f" WHERE k.contype OPERATOR(pg_catalog.=) 'c' AND {_USES_FUNCTION.format('pg_constraint', 'k.oid')}"
    " UNION ALL SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, 'its partition key'::pg_catalog.text,"
    " pg_catalog.pg_get_expr(y.partexprs, y.partrelid) FROM pg_catalog.pg_partitioned_table y"
    f"{_OF_RELATION.format('y.partrelid')} WHERE y.partexprs IS NOT NULL"
)

# The same of extended statistics.
_STATISTICS_EXPRESSIONS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, s.stxname::pg_catalog.text,"
    " pg_catalog.pg_get_expr(s.stxexprs, s.stxrelid) FROM pg_catalog.pg_statistic_ext s"
    f"{_OF_RELATION.format('s.stxrelid')} WHERE s.stxexprs IS NOT NULL"
)

# Schema, table, whose, OID and name of the function: users' support functions that a query may run with no operator of users in
# it: of partition keys, and of indexes whose operator family has built-in operators.
_SUPPORT_FUNCTIONS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, x.relname::pg_catalog.text,"
    f" a.amproc::pg_catalog.oid::pg_catalog.text, {_name('f', 'a.amproc::pg_catalog.oid')}::pg_catalog.text"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid"
    f"{_OF_RELATION.format('i.indrelid')}"
    " JOIN pg_catalog.pg_opclass o ON o.oid OPERATOR(pg_catalog.=) ANY (i.indclass::pg_catalog.oid[])"
    " JOIN pg_catalog.pg_amproc a ON a.amprocfamily OPERATOR(pg_catalog.=) o.opcfamily"
    f" WHERE {_of_users('a.amproc::pg_catalog.oid')} AND EXISTS (SELECT 1 FROM pg_catalog.pg_amop m"
    " WHERE m.amopfamily OPERATOR(pg_catalog.=) o.opcfamily AND m.amopopr OPERATOR(pg_catalog.<) 16384::pg_catalog.oid)"
    " UNION SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, 'its partition key'::pg_catalog.text,"
    f" a.amproc::pg_catalog.oid::pg_catalog.text, {_name('f', 'a.amproc::pg_catalog.oid')}::pg_catalog.text"
    " FROM pg_catalog.pg_partitioned_table y"
    f"{_OF_RELATION.format('y.partrelid')}"
    " JOIN pg_catalog.pg_opclass o ON o.oid OPERATOR(pg_catalog.=) ANY (y.partclass::pg_catalog.oid[])"
    " JOIN pg_catalog.pg_amproc a ON a.amprocfamily OPERATOR(pg_catalog.=) o.opcfamily"
    f" WHERE {_of_users('a.amproc::pg_catalog.oid')}"
)

# Schema and name of a table, schema and name of one that it is a part of.
_INHERITS: Final = (
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, pn.nspname::pg_catalog.text, pc.relname::pg_catalog.text"
    " FROM pg_catalog.pg_inherits i"
    f"{_OF_RELATION.format('i.inhrelid')}"
    " JOIN pg_catalog.pg_class pc ON pc.oid OPERATOR(pg_catalog.=) i.inhparent"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) pc.relnamespace"
    " WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r'::\"char\", 'p', 'f'])"
)

# Name, version, schema.
_EXTENSIONS: Final = (
    "SELECT e.extname::pg_catalog.text, e.extversion::pg_catalog.text, n.nspname::pg_catalog.text"
    " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace"
)

# Name of the event trigger, schema and name of its function: they ran before the session's first statement.
_LOGIN_TRIGGERS: Final = (
    "SELECT e.evtname::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text"
    " FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) e.evtfoid"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace"
    " WHERE e.evtevent OPERATOR(pg_catalog.=) 'login' AND e.evtenabled OPERATOR(pg_catalog.<>) 'D'"
)

# Name.
_SCHEMAS: Final = f"SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE {_NOT_TEMPORARY}"

CATALOG_QUERIES: Final = (
    CatalogQuery("path", _PATH),
    CatalogQuery("", "SELECT pg_catalog.set_config('search_path', '', false)"),
    CatalogQuery("functions", _FUNCTIONS),
    CatalogQuery("function_types", _FUNCTION_TYPES),
    CatalogQuery("aggregates", _AGGREGATES),
    CatalogQuery("operators", _OPERATORS),
    CatalogQuery("stand_ins", _STAND_INS),
    CatalogQuery("casts", _CASTS),
    CatalogQuery("types", _TYPES),
    CatalogQuery("ranges", _RANGES),
    CatalogQuery("multiranges", _MULTIRANGES, 14),
    CatalogQuery("domain_checks", _DOMAIN_CHECKS),
    CatalogQuery("operator_classes", _OPERATOR_CLASSES),
    CatalogQuery("columns", _COLUMNS),
    CatalogQuery("named_columns", _NAMED_COLUMNS),
    CatalogQuery("views", _VIEWS),
    CatalogQuery("foreign_tables", _FOREIGN_TABLES),
    CatalogQuery("row_policies", _ROW_POLICIES),
    CatalogQuery("planned_expressions", _PLANNED_EXPRESSIONS),
    CatalogQuery("statistics_expressions", _STATISTICS_EXPRESSIONS, 14),
    CatalogQuery("support_functions", _SUPPORT_FUNCTIONS),
    CatalogQuery("inherits", _INHERITS),
    CatalogQuery("extensions", _EXTENSIONS),
    CatalogQuery("login_triggers", _LOGIN_TRIGGERS, 17),
    CatalogQuery("schemas", _SCHEMAS),
)
