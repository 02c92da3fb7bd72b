"""pgbastion targets allow-... and disallow-...: what a target's sessions may use beyond the policy's own lists."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.local import operator
from gateway.cli.options import Config, Reason
from gateway.cli.output import say

Name = Annotated[str, typer.Argument(help="The target's name: what people connect to as the database.", show_default=False)]
Function = Annotated[str, typer.Argument(help="schema.function, or schema.* for all of a schema.", show_default=False)]
Schema = Annotated[str, typer.Argument(help="The schema's name.", show_default=False)]
Setting = Annotated[str, typer.Argument(help="The setting's name, such as app.tenant.", show_default=False)]


def allow_function(name: Name, function: Function, reason: Reason = "", config: Config = None) -> None:
    """Let read-only statements call a function of yours."""
    _permit(name, "function", function, reason, config)


def disallow_function(name: Name, function: Function, reason: Reason = "", config: Config = None) -> None:
    """Take a function off the list; it is refused at its next use."""
    _forbid(name, "function", function, reason, config)


def allow_schema(name: Name, schema: Schema, reason: Reason = "", config: Config = None) -> None:
    """Let sessions put a schema on their search_path."""
    _permit(name, "schema", schema, reason, config)


def disallow_schema(name: Name, schema: Schema, reason: Reason = "", config: Config = None) -> None:
    """Take a schema off the list; the target's sessions end."""
    _forbid(name, "schema", schema, reason, config)


def allow_setting(name: Name, setting: Setting, reason: Reason = "", config: Config = None) -> None:
    """Let sessions set a custom setting."""
    _permit(name, "setting", setting, reason, config)


def disallow_setting(name: Name, setting: Setting, reason: Reason = "", config: Config = None) -> None:
    """Take a custom setting off the list; the target's sessions end."""
    _forbid(name, "setting", setting, reason, config)


def _permit(name: str, kind: str, item: str, reason: str, config: Path | None) -> None:
    from gateway.services import targets

    op = operator(config)
    permitted = targets.Permitted(kind)
    op.change(targets.permit(op.store, name=name, kind=permitted, item=item, actor=op.actor, reason=reason))
    say(f'Target "{name}" allows the {kind} {item}.')


def _forbid(name: str, kind: str, item: str, reason: str, config: Path | None) -> None:
    from gateway.services import targets

    op = operator(config)
    permitted = targets.Permitted(kind)
    op.change(targets.forbid(op.store, name=name, kind=permitted, item=item, actor=op.actor, reason=reason))
    say(f'Target "{name}" does not allow the {kind} {item} any more.')
