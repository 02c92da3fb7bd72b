"""A rule's "no", before it is placed in a text: every rule id, its SQLSTATE and its words for people in one place."""

from dataclasses import dataclass
from typing import Final

from gateway.statements.catalogue import WHY

READ_WRITE_HINT: Final = 'Connect to the database "<target>:rw" if you hold a read-write grant, or ask an admin for one.'
TEMPORARY_HINT: Final = "Create it first (CREATE TEMP TABLE ...), or write pg_temp.<name>."
TEMPORARY_GRANT_HINT: Final = (
    "Temporary tables are an exception that a grant can have: an admin can add the option temporary-tables to it "
    "(pgbastion grants update ... --option temporary-tables). "
) + READ_WRITE_HINT
LIST_HINT: Final = "If it is safe, an admin can list it: pgbastion targets allow-function <target> {name}"
_LONG_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """`offset` is the place in bytes of the UTF-8 text, None when there is none. `node` is the class or field of the parse tree
    that decided, "" when it is the statement's own.
    """

    rule: str
    sqlstate: str
    message: str
    hint: str
    offset: int | None = None
    node: str = ""


def write_statement(what: str, offset: int | None, hint: str = READ_WRITE_HINT) -> Refusal:
    """A statement that changes data, schema or shared state."""
    return Refusal("write-statement", "25006", f"{what} is not allowed in a read-only session", hint, offset)


def beyond_temporary(what: str, offset: int | None) -> Refusal:
    """The session may have temporary tables; this is more than that."""
    hint = (
        "This session may make temporary tables (CREATE TEMP TABLE, SELECT ... INTO TEMP), fill, index, analyze, truncate and "
        "drop them, and nothing beyond. "
    )
    return write_statement(what, offset, hint + READ_WRITE_HINT)


def temporary_form(what: str, offset: int | None) -> Refusal:
    return Refusal(
        "temporary-table-form",
        "25006",
        f"{what} is not allowed in a temporary table of a read-only session",
        "Leave it out: what reaches beyond the session's own tables, or runs code later, stays closed.",
        offset,
    )


def hiding_name(name: str, hidden: str, offset: int | None) -> Refusal:
    return Refusal(
        "temporary-table-form",
        "25006",
        f'a temporary table named "{name}" would hide {hidden} from later statements and from the functions that they call',
        "Give it a name that nothing else in the database has.",
        offset,
    )


def temporary_beside_others(offset: int | None) -> Refusal:
    return Refusal(
        "temporary-table-in-transaction",
        "25006",
        "in a read-only session temporary tables are made, truncated, indexed or dropped by a statement of its own, "
        "not beside others in one text",
        "Send it by itself, outside of a transaction block. Filling and reading temporary tables may stand in one.",
        offset,
    )


def row_lock(offset: int | None) -> Refusal:
    return Refusal(
        "row-lock",
        "25006",
        "locking rows (FOR UPDATE, FOR SHARE ...) is not allowed in a read-only session",
        "Leave the FOR ... clause out; a plain SELECT sees a consistent snapshot. " + READ_WRITE_HINT,
        offset,
    )


def select_into(offset: int | None, hint: str = READ_WRITE_HINT) -> Refusal:
    return Refusal("select-into", "25006", "SELECT INTO creates a table: not allowed in a read-only session", hint, offset)


def read_write_transaction(offset: int | None) -> Refusal:
    return Refusal(
        "read-write-transaction",
        "25006",
        "a READ WRITE transaction is not allowed in a read-only session",
        "Leave READ WRITE out (the session is read-only by itself). " + READ_WRITE_HINT,
        offset,
    )


def two_phase(offset: int | None) -> Refusal:
    return Refusal(
        "two-phase-transaction",
        "25006",
        "two-phase transactions (PREPARE TRANSACTION, COMMIT PREPARED ...) are not allowed in a read-only session",
        "Use COMMIT or ROLLBACK. " + READ_WRITE_HINT,
        offset,
    )


def known_function(name: str, why: str, offset: int | None) -> Refusal:
    """A function of the catalogue's refused list; `why` is a key of WHY."""
    return Refusal(
        "function-not-allowed",
        "42501",
        f"function {name} is not allowed in a read-only session: {WHY[why]}",
        READ_WRITE_HINT,
        offset,
    )


def activity_hidden(what: str, shows: str, offset: int | None) -> Refusal:
    """Whatever shows other sessions' statements, where the gateway's settings hide those. `shows`: what it would show."""
    return Refusal(
        "activity-hidden",
        "42501",
        f"{what} is closed on this gateway: it shows {shows}",
        "An admin decides by the setting policy.other_sessions, or may list a view of the database's owner that shows less: "
        "pgbastion targets allow-function <target> <schema>.<view>",
        offset,
    )


def unknown_name(kind: str, name: str, listed_as: str, offset: int | None, extension: str = "") -> Refusal:
    """A function, operator or type that is not PostgreSQL's own and not listed for the target."""
    whole = f" (or extension:{extension} for all of that extension)" if extension else ""
    return Refusal(
        f"{kind}-not-listed",
        "42501",
        f"{kind} {name} is not built in and not listed for this target, so it could do anything",
        LIST_HINT.format(name=listed_as) + whole,
        offset,
    )


def attribute_call(name: str, why: str, offset: int | None) -> Refusal:
    return Refusal(
        "attribute-call",
        "42501",
        f'".{name}" is a call of function {name} in attribute notation, not allowed in a read-only session: {WHY[why]}',
        "If a column has this name, give it another one with AS in a view or a subquery. " + READ_WRITE_HINT,
        offset,
    )


def attribute_of_users(name: str, listed_as: str, offset: int | None) -> Refusal:
    """`listed_as`: the function or type that the notation may turn to."""
    return Refusal(
        "attribute-call",
        "42501",
        f'".{name}" may be a call in attribute notation of {listed_as}, which is not listed for this target',
        f"If a column has this name, name it through a table's own name or alias. {LIST_HINT.format(name=listed_as)}",
        offset,
    )


def closed_cast(source: str, target: str, function: str, offset: int | None) -> Refusal:
    """A user-defined cast between built-in types, whose function is not listed."""
    return Refusal(
        "cast-not-listed",
        "42501",
        f"the cast from {source} to {target} runs the function {function}, which is not listed for this target",
        LIST_HINT.format(name=function),
        offset,
    )


def closed_comparison(kind: str, function: str, offset: int | None) -> Refusal:
    """A user-defined default operator class of a built-in type, with a function that is not listed."""
    return Refusal(
        "comparison-not-listed",
        "42501",
        f"comparing values of type {kind} runs the function {function}, which is not listed for this target",
        LIST_HINT.format(name=function),
        offset,
    )


def closed_column(name: str, offset: int | None) -> Refusal:
    return Refusal(
        "user-type",
        "42501",
        f"{name} is of a user-defined type that runs code which is not listed for this target: it can be shown as it is, "
        "but not compared, sorted, cast or passed on",
        "Leave it out of everything but the list of output columns, or ask an admin to list its extension (extension:<name>) "
        "or its type (<schema>.<type>).",
        offset,
    )


def foreign_table(name: str, foreign: str, wrapper: str) -> Refusal:
    what = "is a foreign table" if name.endswith(f".{foreign}") else f"reads the foreign table {foreign}"
    return Refusal(
        "foreign-table",
        "42501",
        f"relation {name} {what} ({wrapper}): reading it reaches outside of this database",
        f"If that is meant to be, an admin can list it: pgbastion targets allow-function <target> {name}",
    )


def closed_view(name: str, inner: str) -> Refusal:
    return Refusal("view-not-allowed", "42501", f"view {name} may not be read here: {inner}", LIST_HINT.format(name=name))


def closed_row_policy(name: str, policy: str, inner: str) -> Refusal:
    return Refusal(
        "row-policy",
        "42501",
        f"reading {name} runs the row-security policy {policy}: {inner}",
        "An admin can list the function that the policy calls, or the table.",
    )


def closed_planned(name: str, whose: str, inner: str) -> Refusal:
    return Refusal(
        "planned-expression",
        "42501",
        f"planning a query of {name} runs a part of {whose}: {inner}",
        "An admin can list the function that it calls, or the table.",
    )


def stale_catalog(what: str, offset: int | None) -> Refusal:
    return Refusal(
        "catalog-stale",
        "57P03",
        f"the gateway does not know this database's current functions, types and views, which {what} depends on",
        "Try again in a moment. The gateway reads them again on its own; its log says why it could not.",
        offset,
    )


def denied_relation(name: str, shows: str, offset: int | None) -> Refusal:
    return Refusal(
        "secret-relation",
        "42501",
        f"relation {name} is not readable through the gateway: it shows {shows}",
        "Ask the administrator of the database for what you need from it.",
        offset,
    )


def secret_column(name: str, offset: int | None) -> Refusal:
    return Refusal(
        "secret-column",
        "42501",
        f"this statement would read secret columns of {name}",
        f"Name the columns you need of {name} one by one: no star, no whole row, none that holds passwords or options.",
        offset,
    )


def setting_never(name: str, offset: int | None) -> Refusal:
    return Refusal(
        "setting-not-allowed",
        "42501",
        f'setting "{name}" may not be changed through the gateway in this access mode',
        (
            f"If it is safe, an admin can list it: pgbastion targets allow-setting <target> {name}"
            if "." in name and len(name) < _LONG_NAME
            else "Leave it at its value: reading does not need it."
        ),
        offset,
    )


def setting_value(name: str, wanted: str, offset: int | None, hint: str = "") -> Refusal:
    """`wanted` completes "may only be set to ..."."""
    message = f'setting "{name}" may only be set to {wanted}'
    return Refusal("setting-value", "42501", message, hint or f"Set it to {wanted}, or leave it.", offset)


def setting_not_constant(offset: int | None) -> Refusal:
    return Refusal(
        "setting-not-constant",
        "42501",
        "set_config needs a constant setting name, and a constant value where the value matters",
        "Write both as plain string literals, for instance set_config('timezone', 'UTC', false).",
        offset,
    )


def label_not_editable(offset: int | None) -> Refusal:
    return Refusal(
        "application-name",
        "42501",
        "application_name carries the session's label here, and this way of setting it cannot keep the label",
        "Write SET application_name = 'text', or set_config('application_name', 'text', false).",
        offset,
    )


def unsupported(what: str, hint: str, offset: int | None) -> Refusal:
    return Refusal("not-supported", "0A000", f"{what} is not supported through the gateway", hint, offset)


def unknown_syntax(tag: str, offset: int | None) -> Refusal:
    return Refusal(
        "unknown-syntax",
        "0A000",
        f"this statement uses a construct that the read-only policy does not know ({tag})",
        "Write it another way, or tell the maintainers if it only reads. " + READ_WRITE_HINT,
        offset,
    )


def copy_file(offset: int | None) -> Refusal:
    return Refusal(
        "copy-server-file",
        "42501",
        "COPY to or from a file or program of the server is not allowed",
        "Use COPY ... TO STDOUT or FROM STDIN (psql: \\copy), which move the data to and from your own machine.",
        offset,
    )


def account_change(what: str, offset: int | None) -> Refusal:
    return Refusal(
        "role-change",
        "42501",
        f"{what} is not allowed through the gateway: database roles belong to its upstream logins",
        "Accounts and grants of people are managed in the gateway, not in the database.",
        offset,
    )


def server_control(what: str, offset: int | None) -> Refusal:
    return Refusal(
        "server-control",
        "42501",
        f"{what} is not allowed through the gateway",
        "Ask the administrator of the database server.",
        offset,
    )


def ddl_not_granted(what: str, offset: int | None, node: str) -> Refusal:
    return Refusal(
        "ddl-not-granted",
        "42501",
        f"{what} is not allowed here: this grant is for changing rows, not objects",
        "Temporary tables can be made (CREATE TEMP TABLE), and indexed or dropped as pg_temp.<name>. For anything else ask an "
        "admin for a grant without the option no-ddl.",
        offset,
        node,
    )


def where_missing(what: str, offset: int | None, node: str) -> Refusal:
    return Refusal(
        "where-missing",
        "42501",
        f"{what} without WHERE would change every row of the table",
        "Add a WHERE clause. If every row is meant, say so: WHERE true. (A grant with the option unfiltered-writes lifts this.)",
        offset,
        node,
    )


def truncates_all(offset: int | None) -> Refusal:
    return Refusal(
        "where-missing",
        "42501",
        "TRUNCATE would remove every row of the table",
        "If every row is meant, say so: DELETE FROM <table> WHERE true. (A grant with the option unfiltered-writes lifts this.)",
        offset,
        "TruncateStmt",
    )


def row_ceiling_uncounted(what: str, hint: str, offset: int | None, node: str) -> Refusal:
    return Refusal(
        "row-ceiling-uncounted",
        "54000",
        f"{what} is not allowed here: this grant has a ceiling of changed rows, and these could not be counted in time",
        hint,
        offset,
        node,
    )


def uncounted_rows(offset: int | None) -> Refusal:
    return Refusal(
        "rows-uncounted",
        "54000",
        "a statement that shows rows is not allowed beside others in one text: this grant limits what is sent, and what the "
        "others change could not be taken back for certain",
        "Send it by itself.",
        offset,
    )


def table_not_granted(name: str, hint: str, offset: int | None, node: str = "") -> Refusal:
    """A relation beyond those that the grant opens, or what could reach one."""
    return Refusal("table-not-granted", "42501", f"{name} is not among the tables that your grant opens", hint, offset, node)


def ask_for_more(opened: str) -> str:
    """What a grant of an access request opens, and how to get more; for a hint."""
    return (
        f"It opens: {opened}. Write names with their schema. "
        "Ask for more: pgbastion request create <target> --sql FILE (with what you want to run)"
    )


def operation_not_granted(what: str, hint: str, offset: int | None, node: str = "") -> Refusal:
    """Beyond the operations that an access request was granted, or what could be."""
    words = f"{what} is not among the operations that your access request was granted"
    return Refusal("operation-not-granted", "42501", words, hint, offset, node)


def statement_not_granted(what: str, offset: int | None, hint: str = "") -> Refusal:
    """Not one of the statements that an access request was granted."""
    words = f"{what} is not among the statements that your access request was granted"
    return Refusal("statement-not-granted", "42501", words, hint or EXACT_HINT, offset)


def setting_of_meaning(name: str, offset: int | None) -> Refusal:
    """Where only certain statements, or operations that write, may run."""
    words = f'setting "{name[:_LONG_NAME]}" could change what the statements mean that your access request was granted'
    hint = "Leave it as it is. Write names with their schema in what you ask for, and dates and numbers in full."
    return Refusal("statement-not-granted", "42501", words, hint, offset)


EXACT_HINT: Final = (
    "Only what was asked for may run, with the very same literals (blanks and comments make no difference); beside it "
    "BEGIN, COMMIT, ROLLBACK, SHOW and harmless SET. Ask for another: pgbastion request create <target> --sql FILE --scope exact"
)
