"""`pgbastion policy`: what the policy says about a statement, for people (`explain`) and in bulk (`check`). Needs no store."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.access_mode import AccessMode
from gateway.cli.options import parse_mode
from gateway.cli.output import JsonValue, print_json, say, visible
from gateway.services.policy import Explanation, Judging, default_policy
from gateway.services.policy import explain as explained
from gateway.services.policy_check import check_lines
from gateway.statements.policy import Policy

app = typer.Typer(no_args_is_help=True, help="What the policy says about a statement, and why.")

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
Major = Annotated[int, typer.Option("--server-major", min=13, max=18, help="The upstream server's major version.")]


def _policy(
    mode: AccessMode, functions: list[str] | None, schemas: list[str] | None, custom: list[str] | None, major: int
) -> Policy:
    return default_policy(
        mode,
        functions=frozenset(functions or ()),
        schemas=frozenset(schemas or ["public"]),
        custom_settings=frozenset(custom or ()),
        server_major=major,
    )


@app.command()
def explain(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="The statement, or several; - reads them from standard input.")],
    mode: Mode = AccessMode.READ_ONLY,
    allow_function: Functions = None,
    allow_schema: Schemas = None,
    allow_setting: CustomSettings = None,
    server_major: Major = 18,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether SQL may run, by which rule, and what to do. Exit status 0: allowed, 1: refused."""
    text = sys.stdin.buffer.read() if sql == "-" else os.fsencode(sql)
    policy = _policy(mode, allow_function, allow_schema, allow_setting, server_major)
    found = asyncio.run(_explained(text, policy))
    if as_json:
        print_json(_record(found))
    else:
        _explain(text, found)
    raise typer.Exit(0 if found.allowed else 1)


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Lines of JSON; - for standard input.")],
    mode: Mode = AccessMode.READ_ONLY,
    allow_function: Functions = None,
    allow_schema: Schemas = None,
    allow_setting: CustomSettings = None,
    server_major: Major = 18,
) -> None:
    """Judge many statements: {"id", "sql"} a line in, {"id", "allowed", "rule", "sqlstate", "message"} a line out, in order.

    A line that cannot be read is answered, too, as refused (rule invalid-line). Exit status 0: every line was answered.
    """
    policy = _policy(mode, allow_function, allow_schema, allow_setting, server_major)
    if file == "-":
        asyncio.run(check_lines(sys.stdin.fileno(), sys.stdout.buffer, policy))
        return
    path = Path(file)
    if not path.is_file():
        raise typer.BadParameter(f"{file}: no such file", param_hint="FILE")
    with path.open("rb", buffering=0) as source:
        asyncio.run(check_lines(source.fileno(), sys.stdout.buffer, policy))


async def _explained(text: bytes, policy: Policy) -> Explanation:
    judging = Judging(max_statement_bytes=policy.max_statement_bytes)
    try:
        return await explained(judging, sql=text, policy=policy)
    finally:
        await judging.close()


def _record(found: Explanation) -> dict[str, JsonValue]:
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
        "notice": found.notice,
    }


def _explain(sql: bytes, found: Explanation) -> None:
    if found.allowed:
        say(f"allowed in {found.mode} mode")
    else:
        say(f"refused in {found.mode} mode by rule {found.rule} (SQLSTATE {found.sqlstate})")
        say("")
        say(f"  {found.message}")
        _caret(sql.decode("utf-8", "replace"), found.position)
        if found.hint:
            say("")
            say(f"  hint: {found.hint}")
    say("")
    _line("statements", [found.kind] if found.kind else [])
    _line("relations", found.tables)
    _line("functions", found.functions)
    if found.sent_as is not None:
        _line("sent as", [found.sent_as])
    if found.notice:
        _line("notice", [found.notice])


def _line(heading: str, values: Sequence[str]) -> None:
    if values:
        say(f"  {heading:<11}{', '.join(values)}")


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
