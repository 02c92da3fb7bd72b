"""Every rule that can refuse a statement, a setting or a message of a session: what it denies, why, and an example.

`tests/policy/test_policy_rule_table.py` holds the table against the source and against the corpus, and has every example refused
by its rule. docs/read-only.md has it as a table (`as_markdown`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.access_mode import AccessMode, GrantOption


class Concerns(StrEnum):
    """What a rule is about, in the order of the table."""

    WRITES = "writes and transactions"
    GRANTS = "what a grant takes away or adds"
    FUNCTIONS = "functions, operators and types"
    DATABASE = "what is in the database"
    SECRETS = "secrets"
    SETTINGS = "settings"
    TEXT = "text that cannot be judged"
    PROTOCOL = "protocol"
    GATEWAY = "the gateway itself"


class Ask(StrEnum):
    """How an example is put: as a statement, as a startup parameter `name=value`, or it is a remark about messages."""

    SQL = "sql"
    STARTUP = "startup"
    REMARK = "remark"


@dataclass(frozen=True, slots=True)
class Rule:
    """`given`: what the database holds in the example, "" when any database will do. `mode` and `options` are the session's in
    the example, `max_changed_rows` its ceiling.
    """

    id: str
    concerns: Concerns
    sqlstate: str
    denies: str
    why: str
    example: str
    ask: Ask = Ask.SQL
    given: str = ""
    mode: AccessMode = AccessMode.READ_ONLY
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None


def _writes() -> tuple[Rule, ...]:
    kind = Concerns.WRITES
    return (
        Rule(
            "write-statement",
            kind,
            "25006",
            "every statement that is not known to read, wherever it stands: in WITH, EXPLAIN, PREPARE, a cursor",
            "PostgreSQL's own read-only mode lets many of them through, EXPLAIN ANALYZE CREATE TABLE AS among them",
            "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
        ),
        Rule("select-into", kind, "25006", "SELECT ... INTO", "it makes a table", "SELECT 1 AS a INTO x"),
        Rule(
            "row-lock",
            kind,
            "25006",
            "FOR UPDATE, FOR SHARE and their kin",
            "they write to the rows, and hold up whoever wants to change them",
            "SELECT * FROM orders FOR UPDATE",
        ),
        Rule(
            "read-write-transaction",
            kind,
            "25006",
            "READ WRITE as a transaction's mode",
            "it would undo the read-only mode, which is the second lock",
            "BEGIN READ WRITE",
        ),
        Rule(
            "two-phase-transaction",
            kind,
            "25006",
            "PREPARE TRANSACTION and its ends",
            "it makes pending changes durable, or holds locks without a session",
            "COMMIT PREPARED 'x'",
        ),
        Rule(
            "copy-server-file",
            kind,
            "42501",
            "COPY with a file or a program of the server",
            "it reads and writes files there, or runs programs, even in a read-only transaction",
            "COPY orders TO PROGRAM 'cat'",
        ),
        Rule(
            "server-control",
            kind,
            "42501",
            "ALTER SYSTEM, LOAD, CHECKPOINT and their kin",
            "they act on the whole server",
            "LOAD 'x'",
        ),
        Rule(
            "not-supported",
            kind,
            "0A000",
            "LISTEN in a read-only session, and forms of SET that hide their value",
            "they act beyond the statement, or cannot be judged",
            "LISTEN news",
        ),
    )


def _grants() -> tuple[Rule, ...]:
    kind, write = Concerns.GRANTS, AccessMode.READ_WRITE
    return (
        Rule(
            "ddl-not-granted",
            kind,
            "42501",
            "in read-write sessions with no-ddl: what does more than read, change rows and set the session up",
            "rows may change, objects may not; DO and CALL run code that may hold anything",
            "ALTER TABLE orders ADD COLUMN note text",
            mode=write,
            options=frozenset({GrantOption.NO_DDL}),
        ),
        Rule(
            "where-missing",
            kind,
            "42501",
            "in read-write sessions without unfiltered-writes: UPDATE and DELETE without WHERE, and TRUNCATE",
            "it is how whole tables are lost by mistake; WHERE true says that it is meant",
            "DELETE FROM orders",
            mode=write,
        ),
        Rule(
            "row-ceiling-uncounted",
            kind,
            "54000",
            "under a ceiling of changed rows: writes whose rows nobody can count before they are committed",
            "a DELETE in WITH is tagged SELECT, TRUNCATE and DO count nothing, a batch commits as a whole",
            "WITH gone AS (DELETE FROM orders WHERE id = 1 RETURNING id) SELECT * FROM gone",
            mode=write,
            max_changed_rows=100,
        ),
        Rule(
            "row-ceiling",
            kind,
            "54000",
            "a statement that changed more rows than the grant's ceiling: it is rolled back",
            "a wrong condition changes a thousand rows instead of one",
            "UPDATE orders SET paid = true WHERE id > 0, in a session with a ceiling of 100",
            Ask.REMARK,
        ),
        Rule(
            "table-not-granted",
            kind,
            "42501",
            "under a grant with a list of schemas or tables: every other relation that a statement names, what could be one, and "
            "what reads or makes tables without naming them",
            "what a grant does not list is not for this person, whatever the upstream login may read",
            "SELECT * FROM orders o JOIN hr.salaries s ON s.id = o.id",
        ),
        Rule(
            "operation-not-granted",
            kind,
            "42501",
            "under a grant of an access request for operations: every other operation on a relation that a statement is, and what "
            "is more than operations (objects, code, functions that are not listed)",
            "what was approved is to read this table and to update that one, and not what a statement may do besides",
            "UPDATE app.orders SET paid = true WHERE id = 7 RETURNING customer, where UPDATE alone was asked for",
            Ask.REMARK,
        ),
        Rule(
            "statement-not-granted",
            kind,
            "42501",
            "under a grant of an access request for statements: every other one (the parse trees differ, or a literal), and "
            "settings that could change what they mean (these under a grant for operations that write, too)",
            "what was approved is this statement, and not one that looks like it",
            "DELETE FROM app.orders WHERE id = 8, where the request was for id = 7",
            Ask.REMARK,
        ),
        Rule(
            "max-rows",
            kind,
            "54000",
            "the rows of a statement beyond those that the grant lets it show: the result is cut, its transaction fails",
            "an export by oversight, or one that nobody asked for",
            "SELECT * FROM orders, of 20000 rows, in a session that may be shown 10000",
            Ask.REMARK,
        ),
        Rule(
            "max-bytes",
            kind,
            "54000",
            "the same for the bytes of a statement's rows; a single row that is larger is not sent at all",
            "a few rows can be large",
            "SELECT document FROM contracts, in a session that may be sent 1000000 bytes a statement",
            Ask.REMARK,
        ),
        Rule(
            "max-bytes-per-day",
            kind,
            "54000",
            "the same for all that a person is sent in a day (UTC); and what shows rows, when the bytes of the day are used up",
            "many small exports are a large one",
            "SELECT 1, when the day's bytes are used up",
            Ask.REMARK,
        ),
        Rule(
            "bytes-of-day-unknown",
            kind,
            "55000",
            "what shows rows, while it cannot be asked how many of the day's bytes are used up",
            "a limit that cannot be asked must not be a limit that is gone",
            "SELECT 1, when the supervisor does not answer",
            Ask.REMARK,
        ),
        Rule(
            "rows-uncounted",
            kind,
            "54000",
            "in read-write sessions whose grant limits what is shown: a statement that shows rows, beside others in one text",
            "where it is cut, PostgreSQL may have run and committed what stands behind it",
            "UPDATE orders SET paid = true WHERE id = 1; SELECT * FROM orders",
            mode=write,
        ),
        Rule(
            "temporary-table-in-transaction",
            kind,
            "25006",
            "in read-only sessions with temporary-tables: making, truncating, indexing or dropping one inside a transaction "
            "block, or beside other statements in one text",
            "PostgreSQL refuses it there, and the mode is lifted for a single statement only",
            "CREATE TEMP TABLE x AS SELECT 1 AS a; SELECT a FROM x",
            options=frozenset({GrantOption.TEMPORARY_TABLES}),
        ),
        Rule(
            "temporary-table-form",
            kind,
            "25006",
            "in read-only sessions with temporary-tables: forms that reach beyond the session or hide something, such as "
            "INHERITS, LIKE ... INCLUDING, foreign keys, tablespaces, and names that the database has already",
            "a child table shows in queries of its parent; a temporary table comes first wherever its name stands",
            "CREATE TEMP TABLE x () INHERITS (orders)",
            options=frozenset({GrantOption.TEMPORARY_TABLES}),
        ),
        Rule(
            "too-many-temporary-tables",
            kind,
            "53400",
            "temporary tables of one session above limits.max_prepared_statements",
            "each takes memory in the gateway",
            "the 10,001st CREATE TEMP TABLE",
            Ask.REMARK,
        ),
    )


def _functions() -> tuple[Rule, ...]:
    kind = Concerns.FUNCTIONS
    return (
        Rule(
            "function-not-allowed",
            kind,
            "42501",
            "functions of PostgreSQL and its extensions that do more than compute",
            "read-only mode stops nextval and setval, and next to nothing else",
            "SELECT pg_terminate_backend(42)",
        ),
        Rule(
            "function-not-listed",
            kind,
            "42501",
            "functions that are neither known nor listed for the target",
            "a function's body can do anything, whatever its label says",
            "SELECT public.f(1)",
        ),
        Rule(
            "attribute-call",
            kind,
            "42501",
            "a call written as an attribute",
            "(x).f means f(x), with no call to be seen",
            "SELECT ('/etc/hostname'::text).pg_read_file",
        ),
        Rule(
            "operator-not-listed",
            kind,
            "42501",
            "operators of users that are not listed",
            "an operator is a function",
            "SELECT 1 <~> 2",
        ),
        Rule(
            "type-not-listed",
            kind,
            "42501",
            "types of users that run code which is not listed",
            "reading a value in, or a domain's CHECK, runs functions",
            "SELECT 'x'::app.watched",
        ),
        Rule(
            "parameter-type",
            kind,
            "42501",
            "a parameter declared with such a type",
            "binding a value runs the type's code, before anything is executed",
            "Parse of SELECT $1 with the OID of a user's domain",
            Ask.REMARK,
        ),
    )


def _database() -> tuple[Rule, ...]:
    kind = Concerns.DATABASE
    return (
        Rule(
            "view-not-allowed",
            kind,
            "42501",
            "views that do what a statement may not do",
            "reading a view runs what it is made of",
            "SELECT * FROM v",
            given="a view over a function that is not listed",
        ),
        Rule(
            "row-policy",
            kind,
            "42501",
            "tables whose row-security policy calls what is not listed",
            "reading the table runs it",
            "SELECT * FROM orders",
            given="a row-security policy that calls a function that is not listed",
        ),
        Rule(
            "planned-expression",
            kind,
            "42501",
            "tables of which planning alone runs code that is not listed",
            "index expressions, CHECKs and partition keys are computed while planning, under EXPLAIN, too",
            "EXPLAIN SELECT * FROM orders",
            given="an index over a function that is not listed",
        ),
        Rule(
            "user-type",
            kind,
            "42501",
            "comparing, casting or passing on a column of a type that runs code which is not listed",
            "showing it as it is runs only the type's output",
            "SELECT a FROM orders ORDER BY a",
            given="a column of such a type",
        ),
        Rule(
            "cast-not-listed",
            kind,
            "42501",
            "casts of users that are not listed",
            "a cast is a function, and an implicit one is nowhere to be seen",
            "SELECT x::text FROM orders",
            given="a cast of users to a built-in type, by a function that is not listed",
        ),
        Rule(
            "comparison-not-listed",
            kind,
            "42501",
            "everything, where a built-in type is compared by users' functions",
            "each ORDER BY, DISTINCT or join would run them",
            "SELECT 1",
            given="a default operator class of users for a built-in type",
        ),
        Rule(
            "foreign-table",
            kind,
            "42501",
            "foreign tables that are not listed",
            "reading one runs a program or a session elsewhere, in a transaction of its own that is not read-only",
            "SELECT * FROM far",
            given="a foreign table",
        ),
        Rule(
            "catalog-stale",
            kind,
            "57P03",
            "what depends on the database's own objects while the gateway does not know the current ones",
            "what was harmless may have been replaced",
            "SELECT * FROM orders",
            given="whatever, but the gateway could not read it again for long",
        ),
    )


def _secrets_and_settings() -> tuple[Rule, ...]:
    secrets, settings = Concerns.SECRETS, Concerns.SETTINGS
    return (
        Rule(
            "secret-relation",
            secrets,
            "42501",
            "system views of the server's files, memory and large objects",
            "they show what belongs to the server, or to others",
            "SELECT * FROM pg_hba_file_rules",
        ),
        Rule(
            "secret-column",
            secrets,
            "42501",
            "columns with password hashes, connection strings and samples of rows",
            "also by a star or a whole row",
            "SELECT rolpassword FROM pg_authid",
        ),
        Rule(
            "activity-hidden",
            secrets,
            "42501",
            'what shows other sessions\' statements and addresses, where policy.other_sessions is "hidden"',
            "people who share an upstream role would read each other's queries",
            "SELECT query FROM pg_stat_activity",
            given="the setting, and any database",
        ),
        Rule(
            "own-password-in-clear",
            settings,
            "42501",
            "a new password of one's own as plain text",
            "it would be in histories and logs on its way; psql's \\password sends a SCRAM secret",
            "ALTER USER ana_diaz PASSWORD 'new'",
            Ask.REMARK,
        ),
        Rule(
            "own-password-md5",
            settings,
            "42501",
            "an md5 hash as a new password of one's own",
            "whoever has such a hash can log in with it",
            "ALTER USER ana_diaz PASSWORD 'md5...'",
            Ask.REMARK,
        ),
        Rule(
            "own-password-empty",
            settings,
            "42501",
            "taking one's own password away",
            "nobody could log in any more",
            "ALTER USER ana_diaz PASSWORD NULL",
            Ask.REMARK,
        ),
        Rule(
            "own-password-not-shown",
            settings,
            "42501",
            "a new password of one's own, in a session that came with a short-lived credential or a certificate",
            "what is short-lived must not become a password for good",
            "\\password, after pgbastion connect",
            Ask.REMARK,
        ),
        Rule(
            "own-password-in-transaction",
            settings,
            "25001",
            "a new password of one's own within a transaction",
            "the transaction could not take it back",
            "BEGIN; then \\password",
            Ask.REMARK,
        ),
        Rule(
            "role-change",
            settings,
            "42501",
            "SET ROLE and SET SESSION AUTHORIZATION; in read-write sessions all changes to roles",
            "the role is the third lock, and belongs to the gateway",
            "SET ROLE postgres",
        ),
        Rule(
            "setting-value",
            settings,
            "42501",
            "a value that undoes a protection or has no bound",
            "each such setting has the values that are harmless",
            "SET default_transaction_read_only = off",
        ),
        Rule(
            "setting-not-allowed",
            settings,
            "42501",
            "settings that are not known to be harmless, custom ones too",
            "row security and programs trust in custom settings",
            "SET session_replication_role = replica",
        ),
        Rule(
            "setting-not-constant",
            settings,
            "42501",
            "set_config with a computed name or value",
            "nobody can tell what it would set",
            "SELECT set_config($1, 'x', false)",
        ),
        Rule(
            "application-name",
            settings,
            "42501",
            "ways to set application_name that would drop the session's label",
            "the label tells in pg_stat_activity who this is",
            "SELECT set_config('application_name', lower('Report'), false)",
        ),
        Rule(
            "client-encoding",
            settings,
            "42501",
            "encodings other than UTF8",
            "in some of them the server splits a text at other places than the parser",
            "SET client_encoding = 'SJIS'",
        ),
        Rule(
            "startup-options",
            settings,
            "42501",
            "switches in the startup parameter options",
            "only settings can be judged",
            "options=-W 5",
            Ask.STARTUP,
        ),
    )


def _text_and_protocol() -> tuple[Rule, ...]:
    text, protocol, gateway = Concerns.TEXT, Concerns.PROTOCOL, Concerns.GATEWAY
    remark = Ask.REMARK
    return (
        Rule(
            "syntax-error", text, "42601", "what PostgreSQL's own grammar does not take", "nothing can be said of it", "selec 1"
        ),
        Rule(
            "unknown-syntax",
            text,
            "0A000",
            "constructs that the policy does not know",
            "a new grammar opens nothing by itself",
            "a clause of a later PostgreSQL, or an option that is not listed",
            remark,
        ),
        Rule("invalid-utf8", text, "22021", "bytes that are no UTF-8", "parser and server might read them differently",
             "a Query with the byte 0xff", remark),
        Rule("nul-character", text, "22021", "NUL within a text", "a parser stops there, and what is behind it goes unjudged",
             "SELECT 1\0; DROP TABLE t"),
        Rule("statement-too-long", text, "54000", "texts above limits.max_statement_bytes", "judging takes time and memory",
             "a text of 2 MB", remark),
        Rule("statement-too-complex", text, "54001", "texts that nest too deeply or take too long",
             "some kill a parser, some keep it busy for seconds", "/*" * 40 + "*/" * 40),
        Rule("internal-error", text, "XX000", "what the policy fails to judge", "a bug closes, it does not open",
             "none is known", remark),
        Rule("fast-path-call", protocol, "0A000", "the Function Call message", "it calls a function with no statement to judge",
             "libpq's PQfn", remark),
        Rule("malformed-message", protocol, "08P01", "messages that are not whole", "nothing goes on that was not understood",
             "a Bind that ends too early", remark),
        Rule("reserved-name", protocol, "42501", "the name of a statement that the gateway uses for itself",
             "a refused message must disturb no statement of the client's", "Parse as pgbastion_denied", remark),
        Rule("policy-changed", protocol, "42501", "running what was prepared by SQL under a policy that is no longer in force",
             "its text cannot be judged again", "EXECUTE p after a function was taken off the list", remark),
        Rule("too-many-statements", protocol, "53400", "prepared statements above limits.max_prepared_statements",
             "each takes memory", "the 10,001st Parse with a name", remark),
        Rule("too-many-portals", protocol, "53400", "portals above the gateway's limit", "each takes memory",
             "many Binds without Sync", remark),
        Rule("audit-unavailable", gateway, "53100", "every statement while the audit trail cannot be written",
             "what is not written down does not run (58030 where the disk is broken, not full)", "a full disk", remark),
        Rule("gateway-statement", gateway, "0A000",
             "SHOW pgbastion.(something), pgbastion.request() and relinquish() in any form that the gateway does not answer",
             "what does more than ask the gateway is not taken for it", "SELECT pgbastion.request('rw'), 1"),
        Rule("gateway-unanswered", gateway, "57P03", "a statement for the gateway while it cannot answer",
             "nobody waits for good", "SHOW pgbastion.requests while the store is away", remark),
        Rule("gateway-busy", gateway, "53400", "a large statement while too many others are being judged",
             "judging is bounded, so that one session does not stop the rest", "hundreds of large texts at once", remark),
    )  # fmt: skip


RULES: Final = (*_writes(), *_grants(), *_functions(), *_database(), *_secrets_and_settings(), *_text_and_protocol())


def record_of(rule: Rule) -> dict[str, str]:
    """As listings show it."""
    return {
        "rule": rule.id,
        "concerns": rule.concerns.value,
        "sqlstate": rule.sqlstate,
        "denies": rule.denies,
        "why": rule.why,
        "example": shown(rule.example),
        "given": rule.given,
    }


def as_markdown() -> str:
    """Tables for docs/read-only.md, one for each of Concerns."""
    parts = []
    for concerns in Concerns:
        rows = [_row(rule) for rule in RULES if rule.concerns is concerns]
        parts.append(
            "\n".join(
                [f"**{concerns[0].upper()}{concerns[1:]}**\n", "| rule | denies | why | example |", "|---|---|---|---|", *rows]
            )
        )
    return "\n\n".join(parts) + "\n"


def _row(rule: Rule) -> str:
    example = shown(rule.example).replace("|", "\\|")
    if rule.ask is not Ask.REMARK:
        example = f"`{example}`"
    if rule.given:
        example += f" (given {rule.given})"
    return f"| `{rule.id}` | {rule.denies} | {rule.why} | {example} |"


def shown(example: str) -> str:
    """One that fits on a line of a terminal."""
    text = example.replace("\0", "<NUL>")
    return text if len(text) <= 80 else text[:37] + " ... " + text[-37:]
