"""`pgbastion policy`: what the policy says about a statement, for people (`explain`) and in bulk (`check`). Needs no store."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.access_mode import AccessMode, GrantOption
from gateway.cli import grant_limits, grant_reading, names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.local import load_settings
from gateway.cli.options import AsJson, Config, parse_mode
from gateway.cli.output import Record, note, print_json, say
from gateway.cli.policy_shown import record_of, show_explanation
from gateway.cli.policy_terms import AsIf, check_grant_alone
from gateway.cli.reach import admin, example_text
from gateway.services import policy_rules
from gateway.services.policy import Explanation, Granted, Judging, Limited, default_policy
from gateway.services.policy import explain as explained
from gateway.services.policy_check import check_lines
from gateway.statements.policy import Policy

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What the policy says about a statement, and why.")

Mode = Annotated[
    AccessMode,
    typer.Option("--mode", parser=parse_mode, metavar="MODE", help="The session's access mode: read_only or read_write."),
]
Functions = Annotated[
    list[str] | None,
    typer.Option("--allow-function", metavar="SCHEMA.NAME", help='As if the target listed it; "schema.*" for all of a schema.'),
]
Schemas = Annotated[
    list[str] | None, typer.Option("--allow-schema", metavar="SCHEMA", help="What search_path may name [default: public].")
]
CustomSettings = Annotated[
    list[str] | None, typer.Option("--allow-setting", metavar="CLASS.NAME", help="A custom setting that the target lists.")
]
GrantOptions = Annotated[
    list[GrantOption] | None,
    typer.Option("--option", metavar="OPTION", help="As if the grant carried it; may be given several times."),
]
Ceiling = Annotated[
    int | None, typer.Option("--max-changed-rows", metavar="N", min=1, help="As if the grant had this ceiling of changed rows.")
]
GrantSchemas = Annotated[
    list[str] | None,
    typer.Option(
        "--schema",
        metavar="SCHEMA",
        parser=grant_reading.read_schema,
        help="As if the grant opened only this schema (and others so given, and tables).",
    ),
]
GrantTables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="SCHEMA.TABLE",
        parser=grant_reading.read_table,
        help="As if the grant opened only this table (and others so given, and schemas).",
    ),
]
GrantsMode = Annotated[
    AccessMode | None,
    typer.Option(
        "--mode",
        parser=parse_mode,
        metavar="MODE",
        help="The session's access mode: read_only or read_write.",
        show_default="the grant's, else read_only",
    ),
]
Major = Annotated[int, typer.Option("--server-major", min=13, max=18, help="The upstream server's major version.")]


def _limited(config: Path | None) -> Limited:
    """By the settings of the gateway whose configuration is at hand; where there is none, by the defaults."""
    try:
        return Limited.by(load_settings(config))
    except CommandError as error:
        if config is not None:
            raise
        if not isinstance(error.__cause__, FileNotFoundError):
            note(f"Note: judged by the default limits, since the configuration cannot be used: {error}")
        return Limited()


def _policy(
    mode: AccessMode,
    functions: list[str] | None,
    schemas: list[str] | None,
    custom: list[str] | None,
    major: int,
    limited: Limited,
    granted: Granted,
) -> Policy:
    return default_policy(
        mode,
        functions=frozenset(functions or ()),
        schemas=frozenset(schemas or ["public"]),
        custom_settings=frozenset(custom or ()),
        server_major=major,
        limited=limited,
        granted=granted,
    )


@admin(
    app,
    examples=[
        'pgbastion policy explain "SELECT * FROM orders FOR UPDATE"',
        'pgbastion policy explain --target shop "SELECT public.revenue_of(7)"',
        'pgbastion policy explain --mode rw --option no-ddl --max-changed-rows 100 "DELETE FROM orders"',
        'pgbastion policy explain --target shop --table public.orders "SELECT * FROM customers"',
        'pgbastion policy explain --grant 4b3c5a1e-... "SELECT * FROM customers"',
        "pgbastion policy explain - < report.sql",
    ],
)
def explain(
    api: Api,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="The statement, or several; - reads them from standard input.")],
    mode: GrantsMode = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Under this target's policy.", autocompletion=names.targets, show_default="the defaults"),
    ] = None,
    grant: Annotated[
        str | None,
        typer.Option("--grant", metavar="ID", help="As under this grant: its target, its mode, all that it carries."),
    ] = None,
    allow_function: Functions = None,
    allow_schema: Schemas = None,
    allow_setting: CustomSettings = None,
    option: GrantOptions = None,
    max_changed_rows: Ceiling = None,
    statement_timeout: grant_limits.StatementTimeout = None,
    max_rows: grant_reading.MaxRows = None,
    max_bytes: grant_reading.MaxBytes = None,
    schema: GrantSchemas = None,
    table: GrantTables = None,
    server_major: Major = 18,
    as_json: AsJson = False,
) -> None:
    """Say whether SQL may run, by which rule, and what to do. Nothing is run. Exit status 0: allowed, 1: refused."""
    if target is not None and (allow_function or allow_schema or allow_setting):
        raise typer.BadParameter("give either --target or lists of your own")
    as_if = AsIf(option or (), max_changed_rows, statement_timeout, max_rows, max_bytes, schema or (), table or ())
    check_grant_alone(grant, as_if, target, allow_function, allow_schema, allow_setting)
    text = sys.stdin.buffer.read() if sql == "-" else os.fsencode(sql)
    question: Record = {"sql": text.decode("utf-8", "replace"), "server_major": server_major}
    if mode is not None:
        question = {**question, "mode": mode.value}
    if grant is not None:
        found = api.post(path("policy", "explain"), {**question, "grant": grant})
    elif target is None and not api.is_remote:
        limited = _limited(api.config)
        granted = as_if.granted(mode or AccessMode.READ_ONLY)
        policy = _policy(
            mode or AccessMode.READ_ONLY, allow_function, allow_schema, allow_setting, server_major, limited, granted
        )
        found = record_of(asyncio.run(_explained(text, policy)), granted)
    else:
        lists = {
            "target": target,
            "allowed_functions": allow_function or [],
            "allowed_schemas": allow_schema or ["public"],
            "allowed_settings": allow_setting or [],
        }
        found = api.post(path("policy", "explain"), {**question, **lists, **as_if.record})
    if as_json:
        print_json(found)
    else:
        show_explanation(text, found)
    raise typer.Exit(0 if found.get("allowed") else 1)


@app.command(epilog=example_text(["pgbastion policy check statements.jsonl > verdicts.jsonl"]))
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Lines of JSON; - for standard input.")],
    mode: Mode = AccessMode.READ_ONLY,
    allow_function: Functions = None,
    allow_schema: Schemas = None,
    allow_setting: CustomSettings = None,
    option: GrantOptions = None,
    max_changed_rows: Ceiling = None,
    statement_timeout: grant_limits.StatementTimeout = None,
    max_rows: grant_reading.MaxRows = None,
    max_bytes: grant_reading.MaxBytes = None,
    schema: GrantSchemas = None,
    table: GrantTables = None,
    server_major: Major = 18,
    config: Config = None,
) -> None:
    """Judge many statements: {"id", "sql"} a line in, {"id", "allowed", "rule", "sqlstate", "message"} a line out, in order.

    A line that cannot be read is answered, too, as refused (rule invalid-line). Exit status 0: every line was answered.
    """
    as_if = AsIf(option or (), max_changed_rows, statement_timeout, max_rows, max_bytes, schema or (), table or ())
    granted = as_if.granted(mode)
    policy = _policy(mode, allow_function, allow_schema, allow_setting, server_major, _limited(config), granted)
    if file == "-":
        asyncio.run(check_lines(sys.stdin.fileno(), sys.stdout.buffer, policy))
        return
    source_file = Path(file)
    if not source_file.is_file():
        raise typer.BadParameter(f"{file}: no such file", param_hint="FILE")
    with source_file.open("rb", buffering=0) as source:
        asyncio.run(check_lines(source.fileno(), sys.stdout.buffer, policy))


@app.command(epilog=example_text(["pgbastion policy rules", "pgbastion policy rules --json"]))
def rules(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As tables for a document.")] = False,
) -> None:
    """List every rule that can refuse something: what it denies, why, and an example."""
    if markdown:
        sys.stdout.write(policy_rules.as_markdown())
        return
    found = [policy_rules.record_of(rule) for rule in policy_rules.RULES]
    if as_json:
        print_json(found)
        return
    for each in found:
        say(f"{each['rule']} ({each['sqlstate']}, {each['concerns']})")
        say(f"  denies   {each['denies']}")
        say(f"  because  {each['why']}")
        given = f"   (given {each['given']})" if each["given"] else ""
        say(f"  example  {each['example']}{given}")
        say("")


async def _explained(text: bytes, policy: Policy) -> Explanation:
    judging = Judging(max_statement_bytes=policy.max_statement_bytes)
    try:
        return await explained(judging, sql=text, policy=policy)
    finally:
        await judging.close()
