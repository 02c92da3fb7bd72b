"""S03: deny by default. Every statement class and every node of the pinned grammar is classified; a new one is refused."""

import pglast.ast
import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.literals import Wording
from gateway.statements.names import Listed
from gateway.statements.nodes import LEAF_NODES, NESTED_FIELDS, PLAIN_NODES, SCALAR_FIELDS
from gateway.statements.parse import ParseFailure, parse
from gateway.statements.policy import Policy, judge, relabel
from gateway.statements.readonly import ALLOWED_CLASSES
from gateway.statements.temporary_tables import EXCEPTIONS
from gateway.statements.temporary_writes import CHANGES, SHAPES
from gateway.statements.temporary_writes import RULES as TEMPORARY_RULES
from gateway.statements.walk import Walk
from gateway.statements.walk_rules import RULES
from gateway.statements.write_modes import _WITHOUT_DDL, WriteRules, judge_writes

READ_ONLY = Policy(AccessMode.READ_ONLY)
READ_WRITE = Policy(AccessMode.READ_WRITE)
UNFILTERED_WRITES = Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.UNFILTERED_WRITES}))
NO_DDL = Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.UNFILTERED_WRITES, GrantOption.NO_DDL}))
WITH_TEMPORARY_TABLES = Policy(AccessMode.READ_ONLY, options=frozenset({GrantOption.TEMPORARY_TABLES}))
RULES_OF_NO_DDL = WriteRules(allows_ddl=False, needs_where=False, max_rows=None)

# One text for each statement class that the grammar knows; those in ALLOWED are what a reader may send.
ALLOWED = {
    "SelectStmt": "SELECT 1",
    "ExplainStmt": "EXPLAIN ANALYZE SELECT 1",
    "PrepareStmt": "PREPARE p AS SELECT 1",
    "ExecuteStmt": "EXECUTE p(1)",
    "DeclareCursorStmt": "DECLARE c CURSOR FOR SELECT 1",
    "CopyStmt": "COPY t TO STDOUT",
    "LockStmt": "LOCK TABLE t IN ACCESS SHARE MODE",
    "TransactionStmt": "BEGIN",
    "VariableSetStmt": "SET timezone = 'UTC'",
    "VariableShowStmt": "SHOW timezone",
    "DeallocateStmt": "DEALLOCATE p",
    "FetchStmt": "FETCH 1 FROM c",
    "ClosePortalStmt": "CLOSE c",
    "DiscardStmt": "DISCARD ALL",
    "ConstraintsSetStmt": "SET CONSTRAINTS ALL DEFERRED",
    "UnlistenStmt": "UNLISTEN c",
}
REFUSED = {
    "AlterCollationStmt": "ALTER COLLATION c REFRESH VERSION",
    "AlterDatabaseRefreshCollStmt": "ALTER DATABASE d REFRESH COLLATION VERSION",
    "AlterDatabaseSetStmt": "ALTER DATABASE d SET timezone = 'UTC'",
    "AlterDatabaseStmt": "ALTER DATABASE d WITH CONNECTION LIMIT 1",
    "AlterDefaultPrivilegesStmt": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
    "AlterDomainStmt": "ALTER DOMAIN d DROP NOT NULL",
    "AlterEnumStmt": "ALTER TYPE e ADD VALUE 'x'",
    "AlterEventTrigStmt": "ALTER EVENT TRIGGER t DISABLE",
    "AlterExtensionContentsStmt": "ALTER EXTENSION e ADD TABLE t",
    "AlterExtensionStmt": "ALTER EXTENSION e UPDATE",
    "AlterFdwStmt": "ALTER FOREIGN DATA WRAPPER f OPTIONS (a 'b')",
    "AlterForeignServerStmt": "ALTER SERVER s OPTIONS (a 'b')",
    "AlterFunctionStmt": "ALTER FUNCTION f() VOLATILE",
    "AlterObjectDependsStmt": "ALTER FUNCTION f() DEPENDS ON EXTENSION e",
    "AlterObjectSchemaStmt": "ALTER TABLE t SET SCHEMA s",
    "AlterOpFamilyStmt": "ALTER OPERATOR FAMILY f USING btree ADD FUNCTION 1 (int4, int4) g(int4, int4)",
    "AlterOperatorStmt": "ALTER OPERATOR + (int, int) SET (RESTRICT = NONE)",
    "AlterOwnerStmt": "ALTER TYPE t OWNER TO r",
    "AlterPolicyStmt": "ALTER POLICY p ON t USING (true)",
    "AlterPublicationStmt": "ALTER PUBLICATION p ADD TABLE t",
    "AlterRoleSetStmt": "ALTER ROLE r SET timezone = 'UTC'",
    "AlterRoleStmt": "ALTER ROLE r PASSWORD 'x'",
    "AlterSeqStmt": "ALTER SEQUENCE s RESTART",
    "AlterStatsStmt": "ALTER STATISTICS s SET STATISTICS 1",
    "AlterSubscriptionStmt": "ALTER SUBSCRIPTION s DISABLE",
    "AlterSystemStmt": "ALTER SYSTEM SET timezone = 'UTC'",
    "AlterTSConfigurationStmt": "ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR word",
    "AlterTSDictionaryStmt": "ALTER TEXT SEARCH DICTIONARY d (a = b)",
    "AlterTableMoveAllStmt": "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b",
    "AlterTableSpaceOptionsStmt": "ALTER TABLESPACE t SET (seq_page_cost = 1)",
    "AlterTableStmt": "ALTER TABLE t ADD COLUMN a int",
    "AlterTypeStmt": "ALTER TYPE t SET (STORAGE = plain)",
    "AlterUserMappingStmt": "ALTER USER MAPPING FOR r SERVER s OPTIONS (a 'b')",
    "CallStmt": "CALL p()",
    "CheckPointStmt": "CHECKPOINT",
    "ClusterStmt": "CLUSTER t",
    "CommentStmt": "COMMENT ON TABLE t IS 'x'",
    "CompositeTypeStmt": "CREATE TYPE t AS (a int)",
    "CreateAmStmt": "CREATE ACCESS METHOD a TYPE INDEX HANDLER h",
    "CreateCastStmt": "CREATE CAST (a AS b) WITHOUT FUNCTION",
    "CreateConversionStmt": "CREATE CONVERSION c FOR 'LATIN1' TO 'UTF8' FROM f",
    "CreateDomainStmt": "CREATE DOMAIN d AS int",
    "CreateEnumStmt": "CREATE TYPE e AS ENUM ('a')",
    "CreateEventTrigStmt": "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION f()",
    "CreateExtensionStmt": "CREATE EXTENSION e",
    "CreateFdwStmt": "CREATE FOREIGN DATA WRAPPER f",
    "CreateForeignServerStmt": "CREATE SERVER s FOREIGN DATA WRAPPER f",
    "CreateForeignTableStmt": "CREATE FOREIGN TABLE t (a int) SERVER s",
    "CreateFunctionStmt": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CreateOpClassStmt": "CREATE OPERATOR CLASS c FOR TYPE t USING btree AS OPERATOR 1 <",
    "CreateOpFamilyStmt": "CREATE OPERATOR FAMILY f USING btree",
    "CreatePLangStmt": "CREATE LANGUAGE l HANDLER h",
    "CreatePolicyStmt": "CREATE POLICY p ON t",
    "CreatePublicationStmt": "CREATE PUBLICATION p",
    "CreateRangeStmt": "CREATE TYPE r AS RANGE (subtype = int4)",
    "CreateRoleStmt": "CREATE ROLE r",
    "CreateSchemaStmt": "CREATE SCHEMA s",
    "CreateSeqStmt": "CREATE SEQUENCE s",
    "CreateStatsStmt": "CREATE STATISTICS s ON a, b FROM t",
    "CreateStmt": "CREATE TABLE t (a int)",
    "CreateSubscriptionStmt": "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
    "CreateTableAsStmt": "CREATE TABLE t AS SELECT 1",
    "CreateTableSpaceStmt": "CREATE TABLESPACE t LOCATION '/x'",
    "CreateTransformStmt": "CREATE TRANSFORM FOR t LANGUAGE l (FROM SQL WITH FUNCTION f(internal))",
    "CreateTrigStmt": "CREATE TRIGGER t BEFORE UPDATE ON u EXECUTE FUNCTION f()",
    "CreateUserMappingStmt": "CREATE USER MAPPING FOR r SERVER s",
    "CreatedbStmt": "CREATE DATABASE d",
    "DefineStmt": "CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int)",
    "DeleteStmt": "DELETE FROM t",
    "DoStmt": "DO 'BEGIN END'",
    "DropOwnedStmt": "DROP OWNED BY r",
    "DropRoleStmt": "DROP ROLE r",
    "DropStmt": "DROP TABLE t",
    "DropSubscriptionStmt": "DROP SUBSCRIPTION s",
    "DropTableSpaceStmt": "DROP TABLESPACE t",
    "DropUserMappingStmt": "DROP USER MAPPING FOR r SERVER s",
    "DropdbStmt": "DROP DATABASE d",
    "GrantRoleStmt": "GRANT a TO b",
    "GrantStmt": "GRANT SELECT ON t TO r",
    "ImportForeignSchemaStmt": "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b",
    "IndexStmt": "CREATE INDEX ON t (a)",
    "InsertStmt": "INSERT INTO t VALUES (1)",
    "ListenStmt": "LISTEN c",
    "LoadStmt": "LOAD 'x'",
    "MergeStmt": "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
    "NotifyStmt": "NOTIFY c",
    "ReassignOwnedStmt": "REASSIGN OWNED BY a TO b",
    "RefreshMatViewStmt": "REFRESH MATERIALIZED VIEW v",
    "ReindexStmt": "REINDEX TABLE t",
    "RenameStmt": "ALTER TABLE t RENAME TO u",
    "ReplicaIdentityStmt": "ALTER TABLE t REPLICA IDENTITY FULL",
    "RuleStmt": "CREATE RULE r AS ON INSERT TO t DO NOTHING",
    "SecLabelStmt": "SECURITY LABEL ON TABLE t IS 'x'",
    "TruncateStmt": "TRUNCATE t",
    "UpdateStmt": "UPDATE t SET a = 1",
    "VacuumStmt": "VACUUM",
    "ViewStmt": "CREATE VIEW v AS SELECT 1",
}
# Made by the analyser, by PL/pgSQL or inside other statements only: no text starts with one.
NEVER_WRITTEN = {"PLAssignStmt", "RawStmt", "ReturnStmt", "SetOperationStmt"}


def test_every_statement_class_of_the_grammar_has_a_text_here() -> None:
    known = {name for name in dir(pglast.ast) if name.endswith("Stmt")}
    assert known == ALLOWED.keys() | REFUSED.keys() | NEVER_WRITTEN
    assert ALLOWED.keys() == ALLOWED_CLASSES


@pytest.mark.parametrize("tag", sorted(ALLOWED))
def test_readers_statements_pass(tag: str) -> None:
    parsed = parse(ALLOWED[tag])
    assert not isinstance(parsed, ParseFailure)
    assert parsed[0].tag == tag
    assert judge(ALLOWED[tag].encode(), READ_ONLY).allowed


@pytest.mark.parametrize("tag", sorted(REFUSED))
def test_every_other_statement_is_refused(tag: str) -> None:
    parsed = parse(REFUSED[tag])
    assert not isinstance(parsed, ParseFailure)
    assert tag in {parsed[0].tag, "ReplicaIdentityStmt"}
    verdict = judge(REFUSED[tag].encode(), READ_ONLY)
    assert not verdict.allowed
    assert verdict.sqlstate in {"25006", "42501", "0A000"}
    assert verdict.position == 1
    assert verdict.facts.kind
    inside = judge(f"EXPLAIN ANALYZE {REFUSED[tag]}".encode(), READ_ONLY)
    assert not inside.allowed


#: Refused in every read-write session, and those that need a WHERE (or a grant with unfiltered-writes).
NEVER = {"AlterRoleSetStmt", "AlterRoleStmt", "AlterSystemStmt", "CreateRoleStmt", "DropRoleStmt", "LoadStmt"}
UNFILTERED = {"DeleteStmt", "TruncateStmt", "UpdateStmt"}
#: What a grant without DDL leaves of the classes, in the forms of the texts here.
ROWS_ONLY = {
    *ALLOWED,
    *("DeleteStmt", "InsertStmt", "ListenStmt", "MergeStmt", "NotifyStmt", "TruncateStmt", "UpdateStmt", "VacuumStmt"),
}
#: Of these, forms that make temporary things pass as well.
TEMPORARY = {
    "CreateStmt": "CREATE TEMP TABLE t (a int)",
    "CreateTableAsStmt": "CREATE TEMP TABLE t AS SELECT 1",
    "DropStmt": "DROP TABLE pg_temp.t",
    "IndexStmt": "CREATE INDEX ON pg_temp.t (a)",
}


@pytest.mark.parametrize("tag", sorted(REFUSED.keys() | ALLOWED.keys()))
def test_read_write_refuses_only_what_would_break_the_gateway(tag: str) -> None:
    text = (REFUSED | ALLOWED)[tag].encode()
    assert judge(text, READ_WRITE).allowed == (tag not in NEVER | UNFILTERED)
    assert judge(text, UNFILTERED_WRITES).allowed == (tag not in NEVER)


@pytest.mark.parametrize("tag", sorted(REFUSED.keys() | ALLOWED.keys()))
def test_without_ddl_a_class_that_is_not_known_to_leave_objects_alone_is_refused(tag: str) -> None:
    text = (REFUSED | ALLOWED)[tag].encode()
    verdict = judge(text, NO_DDL)
    assert verdict.allowed == (tag in ROWS_ONLY)
    assert verdict.allowed or verdict.rule == "ddl-not-granted" or tag in NEVER
    if tag in TEMPORARY:
        assert judge(TEMPORARY[tag].encode(), NO_DDL).allowed
        assert not judge(b"EXPLAIN ANALYZE " + text, NO_DDL).allowed


def test_without_ddl_the_tables_of_classes_agree() -> None:
    assert _WITHOUT_DDL.keys() == ROWS_ONLY | TEMPORARY.keys()
    for name in dir(pglast.ast):
        if name.endswith("Stmt") and name not in _WITHOUT_DDL:
            for root in (name, "ExplainStmt", "SelectStmt"):
                inside = {} if root == name else {"query": {name: {}}}
                found, _ = judge_writes(root, inside, Wording(b""), RULES_OF_NO_DDL, alone=True)
                assert found is not None, (name, root)
                assert found.rule == "ddl-not-granted"
    found, _ = judge_writes("AStatementOfTomorrowStmt", {}, Wording(b""), RULES_OF_NO_DDL, alone=True)
    assert found is not None


#: What a session with temporary tables may send besides, in these very texts.
WITH_TEMPORARY = {"DeleteStmt", "IndexStmt", "InsertStmt", "MergeStmt", "TruncateStmt", "UpdateStmt", "DropStmt", *ALLOWED}


@pytest.mark.parametrize("tag", sorted(REFUSED.keys() | ALLOWED.keys()))
def test_temporary_tables_add_no_other_class(tag: str) -> None:
    text = (REFUSED | ALLOWED)[tag].encode()
    verdict = judge(text, WITH_TEMPORARY_TABLES)
    assert verdict.allowed == (tag in WITH_TEMPORARY)
    if verdict.allowed and tag not in ALLOWED:
        assert verdict.temporary_used == ("t",)
        assert b"pg_temp." in relabel(text, verdict, "")


def test_temporary_tables_add_no_class_unseen() -> None:
    assert EXCEPTIONS.rules.keys() - ALLOWED_CLASSES == (WITH_TEMPORARY - ALLOWED.keys()) | {
        *("CreateStmt", "CreateTableAsStmt", "VacuumStmt"),
    }
    assert EXCEPTIONS.inner == CHANGES


def test_every_field_of_a_change_is_classified_as_what_it_holds() -> None:
    never_written = {"returningList", "exclRelIndex"}
    for tag, node in ((tag, getattr(pglast.ast, tag)) for tag in SHAPES):
        for name, slot in node.__slots__.items():
            holds_nodes = slot.c_type.endswith("*") and slot.c_type != "char*"
            if not holds_nodes or name in never_written | {"relation", "opclass", "opclassopts", "collation"}:
                continue
            walk = Walk(Listed(frozenset(), frozenset()), 18, lambda _call: None)
            inside = {name: {"onConflictClause": {"targetList": [UNKNOWN]}, "infer": {"whereClause": UNKNOWN}}.get(name)}
            inside = inside if inside[name] else {name: {"exprs": [UNKNOWN]} if name == "returningClause" else [UNKNOWN]}
            assert walk.run({tag: inside}, TEMPORARY_RULES) is not None, (tag, name)


UNKNOWN = {"ANodeOfTomorrow": {}}


def _walk() -> Walk:
    return Walk(Listed(frozenset(), frozenset()), 18, lambda _call: None)


def test_every_node_class_is_known_or_refused() -> None:
    known = PLAIN_NODES | LEAF_NODES | {key for key in RULES if key[0].isupper()}
    for name in dir(pglast.ast):
        node = getattr(pglast.ast, name)
        if isinstance(node, type) and issubclass(node, pglast.ast.Node) and name not in known:
            assert _walk().run({name: {}}) is not None, name
    assert _walk().run({"ANodeOfTomorrow": {}}) is not None
    assert _walk().run({"SelectStmt": {"aFieldOfTomorrow": [{"DeleteStmt": {}}]}}) is not None


def test_every_field_of_a_known_node_is_classified_as_what_it_holds() -> None:
    """A field that holds nodes must be walked; the exceptions hold names that other rules read, or never come from a text."""
    names_only = {
        *("aliascolnames", "arg_names", "collname", "colnames", "cycle_col_list", "fields", "funcname", "lockedRels", "method"),
        *(
            "name",
            "names",
            "operName",
            "search_col_list",
            "useOp",
            "usingClause",
            "relation",
            "indirection",
            "typeName",
            "format",
        ),
        *("intoClause", "lockingClause", "val"),
    }
    made_by_the_analyser = {
        *("ctecolnames", "ctecoltypes", "ctecoltypmods", "ctecolcollations", "formatted_expr", "refs", "cooked_default"),
        *("constraints", "fdwoptions", "identitySequence", "raw_default"),
    }
    classified = NESTED_FIELDS | SCALAR_FIELDS | RULES.keys()
    for tag in (PLAIN_NODES | {"FuncCall", "RangeVar", "TypeName", "ColumnRef"}) - {"List", "DefElem"}:
        for name, slot in getattr(pglast.ast, tag).__slots__.items():
            holds_nodes = slot.c_type.endswith("*") and slot.c_type != "char*"
            if name in made_by_the_analyser:
                continue
            if holds_nodes and name not in names_only:
                assert name in NESTED_FIELDS, (tag, name)
            elif name not in classified and not holds_nodes:
                # Unknown plain fields are refused, too: only fields that no text sets may be missing here.
                assert _walk().run({tag: {name: 1}}) is not None
