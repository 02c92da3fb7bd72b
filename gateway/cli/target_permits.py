"""pgbastion targets allow-... and disallow-...: what a target's sessions may use beyond the policy's own lists."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import IfVersion, Reason
from gateway.cli.output import say
from gateway.cli.reach import admin

Name = Annotated[
    str,
    typer.Argument(
        help="The target's name: what people connect to as the database.", show_default=False, autocompletion=names.targets
    ),
]
Function = Annotated[str, typer.Argument(help="schema.function, or schema.* for all of a schema.", show_default=False)]
Schema = Annotated[str, typer.Argument(help="The schema's name.", show_default=False)]
Setting = Annotated[str, typer.Argument(help="The setting's name, such as app.tenant.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(app, examples=['pgbastion targets allow-function shop public.revenue_of --reason "only reads"'])(allow_function)
    admin(app, examples=["pgbastion targets disallow-function shop public.revenue_of"])(disallow_function)
    admin(app, examples=["pgbastion targets allow-schema shop reporting"])(allow_schema)
    admin(app, examples=["pgbastion targets disallow-schema shop reporting"])(disallow_schema)
    admin(app, examples=["pgbastion targets allow-setting shop app.tenant"])(allow_setting)
    admin(app, examples=["pgbastion targets disallow-setting shop app.tenant"])(disallow_setting)


def allow_function(api: Api, name: Name, function: Function, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Let read-only statements call a function of yours."""
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


def _permit(api: Api, name: str, kind: str, item: str, version: int | None, reason: str) -> None:
    api.put(path("targets", name, "permits", kind, item), reason=reason, version=version)
    say(f'Target "{name}" allows the {kind} {item}.')


def _forbid(api: Api, name: str, kind: str, item: str, version: int | None, reason: str) -> None:
    api.delete(path("targets", name, "permits", kind, item), reason=reason, version=version)
    say(f'Target "{name}" does not allow the {kind} {item} any more.')
