"""`pgbastion policy`: what the policy says about a statement, for people (`explain`) and in bulk (`check`). Needs no store."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.access_mode import AccessMode, GrantOption
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.local import load_settings
from gateway.cli.options import AsJson, Config, parse_mode
from gateway.cli.output import JsonValue, Record, note, print_json, say, visible
from gateway.cli.reach import admin, example_text
from gateway.services import policy_rules
from gateway.services.policy import Explanation, Granted, Judging, Limited, default_policy
from gateway.services.policy import explain as explained
from gateway.services.policy_check import check_lines
from gateway.statements.policy import Policy

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What the policy says about a statement, and why.")

_WINDOW = 60

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
        "pgbastion policy explain - < report.sql",
    ],
)
def explain(
    api: Api,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="The statement, or several; - reads them from standard input.")],
    mode: Mode = AccessMode.READ_ONLY,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Under this target's policy.", autocompletion=names.targets, show_default="the defaults"),
    ] = None,
    allow_function: Functions = None,
    allow_schema: Schemas = None,
    allow_setting: CustomSettings = None,
    option: GrantOptions = None,
    max_changed_rows: Ceiling = None,
    server_major: Major = 18,
    as_json: AsJson = False,
) -> None:
    """Say whether SQL may run, by which rule, and what to do. Nothing is run. Exit status 0: allowed, 1: refused."""
    if target is not None and (allow_function or allow_schema or allow_setting):
        raise typer.BadParameter("give either --target or lists of your own")
    text = sys.stdin.buffer.read() if sql == "-" else os.fsencode(sql)
    if target is None and not api.is_remote:
        limited = _limited(api.config)
        granted = Granted(frozenset(option or ()), max_changed_rows)
        policy = _policy(mode, allow_function, allow_schema, allow_setting, server_major, limited, granted)
        found = _record(asyncio.run(_explained(text, policy)))
    else:
        question: Record = {
            "sql": text.decode("utf-8", "replace"),
            "mode": mode.value,
            "target": target,
            "allowed_functions": allow_function or [],
            "allowed_schemas": allow_schema or ["public"],
            "allowed_settings": allow_setting or [],
            "options": [each.value for each in option or ()],
            "max_changed_rows": max_changed_rows,
            "server_major": server_major,
        }
        found = api.post(path("policy", "explain"), question)
    if as_json:
        print_json(found)
    else:
        _explain(text, found)
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
    server_major: Major = 18,
    config: Config = None,
) -> None:
    """Judge many statements: {"id", "sql"} a line in, {"id", "allowed", "rule", "sqlstate", "message"} a line out, in order.

    A line that cannot be read is answered, too, as refused (rule invalid-line). Exit status 0: every line was answered.
    """
    granted = Granted(frozenset(option or ()), max_changed_rows)
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


def _record(found: Explanation) -> Record:
    return {
        "allowed": found.allowed,
        "mode": found.mode.value,
        "rule": found.rule,
        "sqlstate": found.sqlstate,
        "message": found.message,
        "hint": found.hint,
        "position": found.position,
        "kind": found.kind,
        "tables": found.tables,
        "functions": found.functions,
        "edited": found.sent_as is not None,
        "sent_as": found.sent_as,
        "notice": found.notice,
        "node": found.node,
        "row_ceiling": found.row_ceiling,
        "reported": found.reported,
        "lifts_read_only": found.lifts_read_only,
    }


def _explain(sql: bytes, found: Record) -> None:
    mode, position = found.get("mode"), found.get("position")
    if found.get("allowed"):
        say(f"allowed in {mode} mode")
        if found.get("reported"):
            say(f"reported only, by rule {found.get('reported')}: {found.get('message')}")
        if found.get("row_ceiling"):
            say(f"rolled back if it changes more than {found.get('row_ceiling')} rows")
        if found.get("lifts_read_only"):
            say("by itself, outside of a transaction block")
    else:
        say(f"refused in {mode} mode by rule {found.get('rule')} (SQLSTATE {found.get('sqlstate')})")
        say("")
        say(f"  {found.get('message')}")
        _caret(sql.decode("utf-8", "replace"), position if isinstance(position, int) else 0)
        if found.get("hint"):
            say("")
            say(f"  hint: {found.get('hint')}")
    say("")
    for heading, name in (
        ("statements", "kind"),
        ("relations", "tables"),
        ("functions", "functions"),
        ("sent as", "sent_as"),
        ("notice", "notice"),
        ("decided by", "node"),
    ):
        _line(heading, found.get(name))


def _line(heading: str, value: JsonValue) -> None:
    values = list(value) if isinstance(value, list | tuple) else [value] if value else []
    if values:
        say(f"  {heading:<11}{', '.join(str(each) for each in values)}")


def _caret(text: str, position: int) -> None:
    """The line that the position is in, cut to a window around it, with a caret below. Nothing when there is no position."""
    from rich.cells import cell_len

    if not 1 <= position <= len(text) + 1:
        return
    before = text[: position - 1].rpartition("\n")[2]
    after = text[position - 1 :].partition("\n")[0]
    left = ("..." if len(before) > _WINDOW else "") + visible(before[-_WINDOW:])
    right = visible(after[:_WINDOW]) + ("..." if len(after) > _WINDOW else "")
    number = text.count("\n", 0, position - 1) + 1
    prefix = f"  line {number}: "
    say("")
    say(f"{prefix}{left}{right}")
    say(f"{' ' * (len(prefix) + cell_len(left))}^")
