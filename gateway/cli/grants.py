"""pgbastion grants ..."""

from typing import Annotated

import typer

from gateway.access_mode import AccessMode
from gateway.cli import names
from gateway.cli.client import Api, path, records
from gateway.cli.errors import CommandError
from gateway.cli.grant_limits import (
    From,
    IdleInTransactionTimeout,
    IdleTimeout,
    MaxSessions,
    NewFrom,
    NewWindows,
    StatementTimeout,
    Windows,
    limit_fields,
    parse_ceiling,
)
from gateway.cli.grant_reading import AllTables, MaxBytes, MaxBytesPerDay, MaxRows, Schemas, Tables, reading_fields
from gateway.cli.grant_terms import Ceiling, NewCeiling, NewOptions, Options, option_names, show_grants, terms_text, times_text
from gateway.cli.grant_why import show_why
from gateway.cli.options import NEVER, NEW_EXPIRY_HELP, AnyMode, AsJson, Expires, IfVersion, Mode, Reason, check_expiry, until
from gateway.cli.output import JsonValue, Record, print_json, say
from gateway.cli.reach import admin

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Who may use which target, in which access mode, until when."
)

User = Annotated[str | None, typer.Option("--user", help="The user's name.", autocompletion=names.users, show_default=False)]
Group = Annotated[
    str | None, typer.Option("--group", help="Or the group's name.", autocompletion=names.groups, show_default=False)
]
Target = Annotated[str, typer.Option("--target", help="The target's name.", autocompletion=names.targets)]
NewEnd = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", parser=check_expiry, help=NEW_EXPIRY_HELP, show_default="as it is"),
]
AnyTarget = Annotated[
    str | None, typer.Option("--target", help="Only on this target.", autocompletion=names.targets, show_default=False)
]


@admin(
    app,
    examples=[
        'pgbastion grants create --user ana_diaz --target shop --mode read_only --expires 30d --reason "report"',
        "pgbastion grants create --group analysts --target shop --mode ro --option temporary-tables",
        "pgbastion grants create --group ops --target shop --mode rw --option no-ddl --max-changed-rows 1000",
        "pgbastion grants create --group dba --target shop --mode rw --window 'Mon-Fri 08:00-18:00 Europe/Zurich' "
        "--max-sessions 10 --statement-timeout 5min --idle-timeout 1h",
        "pgbastion grants create --user ana --target shop --mode ro --table public.orders --schema reports "
        "--max-rows 10000 --max-bytes-per-day 1GB",
    ],
)
def create(
    api: Api,
    target: Target,
    mode: Mode,
    user: User = None,
    group: Group = None,
    expires: Expires = None,
    option: Options = None,
    max_changed_rows: Ceiling = None,
    begins: From = None,
    window: Windows = None,
    max_sessions: MaxSessions = None,
    statement_timeout: StatementTimeout = None,
    idle_timeout: IdleTimeout = None,
    idle_in_transaction_timeout: IdleInTransactionTimeout = None,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    max_bytes_per_day: MaxBytesPerDay = None,
    schema: Schemas = None,
    table: Tables = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace those of this kind that have not ended.")] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="Add it beside those of this kind: of what may be used, the widest counts.")
    ] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give a user, or all members of a group, a target. read_write includes read_only."""
    if (user is None) == (group is None):
        raise typer.BadParameter("give either --user or --group")
    if replace and beside:
        raise typer.BadParameter("give either --replace or --beside")
    body: dict[str, JsonValue] = {"target": target, "mode": mode.value, "valid_until": until(expires), "replace": replace}
    body |= {"beside": True} if beside else {}
    body |= {"valid_from": until(begins)} if begins is not None else {}
    body |= {"windows": list(window)} if window else {}
    body |= limit_fields(max_sessions, statement_timeout, idle_timeout, idle_in_transaction_timeout)
    body |= reading_fields(max_rows, max_bytes, max_bytes_per_day, schema, table)
    body |= {"options": option_names(option)} if option else {}
    body |= {"max_changed_rows": parse_ceiling(max_changed_rows)} if max_changed_rows is not None else {}
    body |= {"user": user} if user is not None else {"group": group}
    try:
        made = api.post(path("grants"), body, reason=reason)
    except CommandError as error:
        hint = (
            "Add --replace for a new one in its place, --beside for one more, or see: pgbastion grants update --help"
            if error.rule == "grant-exists"
            else error.hint
        )
        raise CommandError(error.message, hint, error.rule) from error
    if as_json:
        print_json(made)
    else:
        carried = f" ({terms})" if (terms := terms_text(made)) else ""
        times = f", {times}" if (times := times_text(made)) else ""
        say(f'{holder(made)} may use "{target}" {mode}{carried}{times}, until {made.get("valid_until") or "revoked"}.')


@admin(app, "list", examples=["pgbastion grants list", "pgbastion grants list --target shop --json"])
def list_grants(api: Api, user: User = None, group: Group = None, target: AnyTarget = None, as_json: AsJson = False) -> None:
    """List grants, expired ones too."""
    found = api.all(path("grants"), user=user, group=group, target=target)
    if as_json:
        print_json(found)
    else:
        show_grants(found, empty="No grants. See: pgbastion grants create --help")


@admin(
    app,
    examples=[
        "pgbastion grants update 5d3e1f0a-... --expires 8h",
        "pgbastion grants update 5d3e1f0a-... --option no-ddl --max-changed-rows 1000",
        "pgbastion grants update 5d3e1f0a-... --no-options --max-changed-rows none",
        "pgbastion grants update 5d3e1f0a-... --window 'Sat 06:00-12:00 UTC' --idle-timeout none",
        "pgbastion grants update 5d3e1f0a-... --max-rows none --all-tables",
    ],
)
def update(
    api: Api,
    grant_id: Annotated[str, typer.Argument(metavar="ID", help="The grant's id.", show_default=False)],
    expires: NewEnd = None,
    option: NewOptions = None,
    no_options: Annotated[bool, typer.Option("--no-options", help="Take all options away.")] = False,
    max_changed_rows: NewCeiling = None,
    begins: NewFrom = None,
    window: NewWindows = None,
    no_windows: Annotated[bool, typer.Option("--no-windows", help="Take all windows away.")] = False,
    max_sessions: MaxSessions = None,
    statement_timeout: StatementTimeout = None,
    idle_timeout: IdleTimeout = None,
    idle_in_transaction_timeout: IdleInTransactionTimeout = None,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    max_bytes_per_day: MaxBytesPerDay = None,
    schema: Schemas = None,
    table: Tables = None,
    all_tables: AllTables = False,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Change when a grant ends, or what it carries; its live sessions follow within a second."""
    if no_options and option:
        raise typer.BadParameter("give either --option or --no-options")
    if no_windows and window:
        raise typer.BadParameter("give either --window or --no-windows")
    if all_tables and (schema or table):
        raise typer.BadParameter("give either --schema and --table or --all-tables")
    given: dict[str, JsonValue] = {} if expires is None else {"valid_until": until(expires)}
    given |= {"options": option_names(option or [])} if option or no_options else {}
    given |= {"max_changed_rows": parse_ceiling(max_changed_rows)} if max_changed_rows is not None else {}
    given |= {"valid_from": until(begins)} if begins is not None else {}
    given |= {"windows": list(window or [])} if window or no_windows else {}
    given |= limit_fields(max_sessions, statement_timeout, idle_timeout, idle_in_transaction_timeout)
    given |= {"schemas": [], "tables": []} if all_tables else {}
    given |= reading_fields(max_rows, max_bytes, max_bytes_per_day, schema, table)
    if not given:
        raise typer.BadParameter("say what to change: see pgbastion grants update --help")
    changed = api.patch(path("grants", grant_id), given, reason=reason, version=if_version)
    if as_json:
        print_json(changed)
    else:
        carried = f" carries: {terms_text(changed) or 'nothing'};" if given.keys() - {"valid_until"} else ""
        times = f" {times};" if (times := times_text(changed)) and given.keys() - {"valid_until"} else ""
        what = f'{changed.get("mode")} on "{changed.get("target")}"{carried}{times}'
        say(f"{holder(changed)}: {what} expires: {changed.get('valid_until') or NEVER}.")


@admin(
    app,
    examples=[
        "pgbastion grants why --user ana_diaz --target shop",
        "pgbastion grants why --user ana_diaz --target shop --mode rw --json",
    ],
)
def why(
    api: Api,
    user: Annotated[str, typer.Option("--user", help="The user's name.", autocompletion=names.users)],
    target: Target,
    mode: Mode = AccessMode.READ_ONLY,
    as_json: AsJson = False,
) -> None:
    """Why a user may use a target, or may not: every grant, which one counts, and why the others do not."""
    found = api.get(path("grants", "why"), user=user, target=target, mode=mode.value).record
    if as_json:
        print_json(found)
    else:
        show_why(found)


@admin(
    app,
    examples=[
        'pgbastion grants revoke --user ana_diaz --target shop --reason "report is done"',
        "pgbastion grants revoke 5d3e1f0a-...",
    ],
)
def revoke(
    api: Api,
    grant_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The grant's id.", show_default=False)] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Instead of an id: all grants of this user ...", autocompletion=names.users)
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="... or of this group ...", autocompletion=names.groups)] = None,
    target: Annotated[str | None, typer.Option("--target", help="... on this target.", autocompletion=names.targets)] = None,
    mode: AnyMode = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Take a grant away; sessions that stand on it end within a second."""
    gone = _revoke(api, grant_id, {"user": user, "group": group, "target": target}, mode, if_version, reason)
    if as_json:
        print_json(gone)
    else:
        for each in gone:
            say(f'{holder(each)} lost {each.get("mode")} on "{each.get("target")}".')


def _revoke(
    api: Api, grant_id: str | None, named: dict[str, str | None], mode: AccessMode | None, version: int | None, reason: str
) -> list[Record]:
    held = {name: value for name, value in named.items() if value is not None}
    if grant_id is not None and not held and mode is None:
        one = api.get(path("grants", grant_id)).record
        api.delete(path("grants", grant_id), reason=reason, version=version)
        return [one]
    if grant_id is None and len(held) == 2 and "target" in held and version is None:
        wanted = {**held, "mode": None if mode is None else mode.value}
        return records(api.change("DELETE", path("grants"), None, reason=reason, query=wanted).get("items"))
    raise typer.BadParameter("give either a grant's ID, or --target and one of --user and --group")


def held_by(api: Api, user: Record) -> list[Record]:
    """What a user may use: own grants and those of the groups that the user is in."""
    in_groups = user.get("groups")
    found = api.all(path("grants"), user=str(user["name"]))
    for group in in_groups if isinstance(in_groups, list) else []:
        found += api.all(path("grants"), group=str(group))
    return found


def holder(grant: Record) -> str:
    return f'User "{grant["user"]}"' if grant.get("user") is not None else f'Group "{grant.get("group")}"'
