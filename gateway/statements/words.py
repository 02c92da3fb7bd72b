"""A statement's command in words, for people and for the audit trail."""

import re
from typing import Final

from gateway.statements.parse import Fields, Json

_PLAIN: Final = {
    "AlterDatabaseSetStmt": "alter database",
    "AlterEventTrigStmt": "alter event trigger",
    "AlterFdwStmt": "alter foreign data wrapper",
    "AlterObjectDependsStmt": "alter",
    "AlterObjectSchemaStmt": "alter",
    "AlterOpFamilyStmt": "alter operator family",
    "AlterOwnerStmt": "alter",
    "AlterRoleSetStmt": "alter role",
    "AlterSeqStmt": "alter sequence",
    "AlterStatsStmt": "alter statistics",
    "AlterTableMoveAllStmt": "alter table",
    "AlterTableSpaceOptionsStmt": "alter tablespace",
    "AlterTSConfigurationStmt": "alter text search configuration",
    "AlterTSDictionaryStmt": "alter text search dictionary",
    "CheckPointStmt": "checkpoint",
    "ClosePortalStmt": "close",
    "CompositeTypeStmt": "create type",
    "ConstraintsSetStmt": "set constraints",
    "CreateAmStmt": "create access method",
    "CreatedbStmt": "create database",
    "CreateEnumStmt": "create type",
    "CreateEventTrigStmt": "create event trigger",
    "CreateFdwStmt": "create foreign data wrapper",
    "CreateOpClassStmt": "create operator class",
    "CreateOpFamilyStmt": "create operator family",
    "CreatePLangStmt": "create language",
    "CreateRangeStmt": "create type",
    "CreateSeqStmt": "create sequence",
    "CreateStatsStmt": "create statistics",
    "CreateStmt": "create table",
    "CreateTableSpaceStmt": "create tablespace",
    "CreateTrigStmt": "create trigger",
    "DeclareCursorStmt": "declare cursor",
    "DefineStmt": "create",
    "DropdbStmt": "drop database",
    "DropStmt": "drop",
    "IndexStmt": "create index",
    "RefreshMatViewStmt": "refresh materialized view",
    "RenameStmt": "alter",
    "RuleStmt": "create rule",
    "SecLabelStmt": "security label",
    "VariableShowStmt": "show",
    "ViewStmt": "create view",
}
_TRANSACTION: Final = {
    "TRANS_STMT_BEGIN": "begin",
    "TRANS_STMT_START": "start transaction",
    "TRANS_STMT_COMMIT": "commit",
    "TRANS_STMT_ROLLBACK": "rollback",
    "TRANS_STMT_SAVEPOINT": "savepoint",
    "TRANS_STMT_RELEASE": "release",
    "TRANS_STMT_ROLLBACK_TO": "rollback to",
    "TRANS_STMT_PREPARE": "prepare transaction",
    "TRANS_STMT_COMMIT_PREPARED": "commit prepared",
    "TRANS_STMT_ROLLBACK_PREPARED": "rollback prepared",
}
_SHOWS_ROWS: Final = frozenset({"CallStmt", "ExecuteStmt", "ExplainStmt", "VariableShowStmt"})
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def statement_words(tag: str, node: Json) -> str:
    """ "select", "create table", "commit prepared" ... in lower case."""
    fields: Fields = node if isinstance(node, dict) else {}
    match tag:
        case "SelectStmt":
            return "select into" if "intoClause" in fields else "select"
        case "TransactionStmt":
            return _TRANSACTION.get(str(fields.get("kind", "")), "transaction")
        case "VariableSetStmt":
            return "reset" if str(fields.get("kind", "")).startswith("VAR_RESET") else "set"
        case "VacuumStmt":
            return "vacuum" if fields.get("is_vacuumcmd") else "analyze"
        case "GrantStmt" | "GrantRoleStmt":
            return "grant" if fields.get("is_grant") else "revoke"
        case "FetchStmt":
            return "move" if fields.get("ismove") else "fetch"
        case "CreateTableAsStmt":
            return "create materialized view" if fields.get("objtype") == "OBJECT_MATVIEW" else "create table as"
        case "DropStmt" | "RenameStmt" | "AlterOwnerStmt" | "AlterObjectSchemaStmt" | "DefineStmt":
            return _with_object(tag, fields)
        case _:
            return _PLAIN.get(tag) or _CAMEL.sub(" ", tag.removesuffix("Stmt")).lower()


def name_change(tag: str, node: Json) -> str | None:
    """What the statement does to, or with, the session's prepared statements, as `Facts.names` has it; None: nothing."""
    fields: Fields = node if isinstance(node, dict) else {}
    match tag:
        case "ExecuteStmt":
            return f"={fields.get('name', '')}"
        case "ExplainStmt" | "CreateTableAsStmt":
            query = fields.get("query")
            inner = query.get("ExecuteStmt") if isinstance(query, dict) else None
            return name_change("ExecuteStmt", inner) if inner is not None else None
        case "PrepareStmt":
            return f"+{fields.get('name', '')}"
        case "DeallocateStmt":
            return f"-{fields.get('name', '')}"
        case "DiscardStmt" if fields.get("target") == "DISCARD_ALL":
            return "-"
        case _:
            return None


def shows_rows(tag: str, node: Fields) -> bool:
    """Whether the statement may answer with rows, or with the data of a COPY."""
    match tag:
        case "SelectStmt":
            return "intoClause" not in node
        case "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt":
            return bool(node.get("returningList") or node.get("returningClause"))
        case "CopyStmt":
            return not node.get("is_from")
        case "FetchStmt":
            return not node.get("ismove")
        case _:
            return tag in _SHOWS_ROWS


def _with_object(tag: str, fields: Fields) -> str:
    """ "drop table", "alter view" ...: the object's kind stands in an enum field."""
    for name in ("removeType", "renameType", "objectType", "kind"):
        kind = fields.get(name)
        if isinstance(kind, str) and kind.startswith("OBJECT_"):
            noun = kind.removeprefix("OBJECT_").replace("_", " ").lower()
            return f"{_PLAIN[tag]} {_NOUNS.get(noun, noun)}"
    return _PLAIN[tag]


_NOUNS: Final = {
    "matview": "materialized view",
    "column": "table",
    "attribute": "type",
    "tabconstraint": "table",
    "domconstraint": "domain",
    "fdw": "foreign data wrapper",
    "tsparser": "text search parser",
    "tsdictionary": "text search dictionary",
    "tstemplate": "text search template",
    "tsconfiguration": "text search configuration",
}
