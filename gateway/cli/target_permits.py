"""pgbastion targets allow-... and disallow-...: what a target's sessions may use beyond the policy's own lists."""

from collections.abc import Mapping
from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path, records
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import JsonValue, print_json, say, show
from gateway.cli.progress import working
from gateway.cli.reach import admin

Name = Annotated[
    str,
    typer.Argument(
        help="The target's name: what people connect to as the database.", show_default=False, autocompletion=names.targets
    ),
]
Function = Annotated[
    str,
    typer.Argument(
        help="schema.function, schema.* for all of a schema, extension:name for all of an extension.", show_default=False
    ),
]
Preview = Annotated[bool, typer.Option("--preview", help="Change nothing: show what it would open in the database now.")]
Schema = Annotated[str, typer.Argument(help="The schema's name.", show_default=False)]
Setting = Annotated[str, typer.Argument(help="The setting's name, such as app.tenant.", show_default=False)]


_OPENED = {
    "kind": "kind",
    "name": "name",
    "volatility": "volatility",
    "security_definer": "security definer",
    "language": "language",
    "owner": "owner",
}


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(
        app,
        examples=[
            "pgbastion targets allow-function shop public.revenue_of --preview",
            'pgbastion targets allow-function shop public.revenue_of --reason "only reads"',
        ],
    )(allow_function)
    admin(app, examples=["pgbastion targets disallow-function shop public.revenue_of"])(disallow_function)
    admin(app, examples=["pgbastion targets allow-schema shop reporting"])(allow_schema)
    admin(app, examples=["pgbastion targets disallow-schema shop reporting"])(disallow_schema)
    admin(app, examples=["pgbastion targets allow-setting shop app.tenant"])(allow_setting)
    admin(app, examples=["pgbastion targets disallow-setting shop app.tenant"])(disallow_setting)


def allow_function(
    api: Api,
    name: Name,
    function: Function,
    preview: Preview = False,
    as_json: AsJson = False,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Let read-only statements call a function of yours. --preview shows what that opens: overloads, operators, types, views.

    Exit status of a preview: 0 when there is nothing to warn of, else 1.
    """
    if preview:
        _preview(api, name, function, as_json=as_json)
        return
    if as_json:
        raise typer.BadParameter("--json goes with --preview")
    _permit(api, name, "function", function, if_version, reason)


def disallow_function(api: Api, name: Name, function: Function, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Take a function off the list; it is refused at its next use."""
    _forbid(api, name, "function", function, if_version, reason)


def allow_schema(api: Api, name: Name, schema: Schema, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Let sessions put a schema on their search_path."""
    _permit(api, name, "schema", schema, if_version, reason)


def disallow_schema(api: Api, name: Name, schema: Schema, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Take a schema off the list; the target's sessions end."""
    _forbid(api, name, "schema", schema, if_version, reason)


def allow_setting(api: Api, name: Name, setting: Setting, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Let sessions set a custom setting."""
    _permit(api, name, "setting", setting, if_version, reason)


def disallow_setting(api: Api, name: Name, setting: Setting, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Take a custom setting off the list; the target's sessions end."""
    _forbid(api, name, "setting", setting, if_version, reason)


def _preview(api: Api, name: str, entry: str, *, as_json: bool) -> None:
    with working(name):
        found = api.post(path("targets", name, "preview"), entry=entry)
    if as_json:
        print_json(found)
    elif isinstance(obstacle := found.get("obstacle"), Mapping):
        say(f"could not be looked at: {obstacle.get('name')}: {obstacle.get('detail')}")
        say(f"{obstacle.get('remedy')}")
    else:
        opened = records(found.get("objects"))
        show(opened, as_json=False, columns=_OPENED, empty=f'"{entry}" opens nothing on "{name}".')
        for each in opened:
            for warning in _texts(each.get("warnings")):
                say(f"warning: {each.get('name')}: {warning}")
        if found.get("more"):
            say(f"... and {found.get('more')} more.")
        for note in _texts(found.get("notes")):
            say(f"note: {note}")
        say("Nothing was changed.")
    if not found.get("ok"):
        raise typer.Exit(1)


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else []


def _permit(api: Api, name: str, kind: str, item: str, version: int | None, reason: str) -> None:
    api.put(path("targets", name, "permits", kind, item), reason=reason, version=version)
    say(f'Target "{name}" allows the {kind} {item}.')


def _forbid(api: Api, name: str, kind: str, item: str, version: int | None, reason: str) -> None:
    api.delete(path("targets", name, "permits", kind, item), reason=reason, version=version)
    say(f'Target "{name}" does not allow the {kind} {item} any more.')
