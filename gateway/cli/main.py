"""`pgbastion`: the one entry point. Groups are imported when they are used, so that help and small commands stay quick."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from gateway import __version__
from gateway.cli.errors import CommandError
from gateway.cli.output import complain
from gateway.services.errors import ServiceError
from gateway.store.errors import StoreError

_GROUPS: Final = {
    "users": "People who log in.",
    "targets": "Databases behind the gateway, and the logins it uses there.",
    "grants": "Who may use which target, in which access mode, until when.",
    "allowlist": "From which networks.",
    "sessions": "Who is connected now.",
    "audit": "What was run, denied and changed.",
    "policy": "What the read-only policy says about a statement.",
}
_SERVE: Final = "serve"
_SERVE_HELP: Final = "Run the gateway."


class _Lazy(TyperGroup):
    """Knows the names and one line of help of every command; imports `gateway.cli.<name>` only for the one that is run."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [_SERVE, *_GROUPS]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]
        if cmd_name != _SERVE and cmd_name not in _GROUPS:
            return None
        if ctx.meta.get(_ONLY_HELP):
            return TyperCommand(cmd_name, help=_GROUPS.get(cmd_name, _SERVE_HELP))
        return _load(cmd_name)

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        ctx.meta[_ONLY_HELP] = True
        super().format_help(ctx, formatter)  # type: ignore[arg-type]


_ONLY_HELP: Final = "gateway.cli.main.only_help"

app = typer.Typer(
    name="pgbastion",
    cls=_Lazy,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables
    add_completion=False,
    help="A secure PostgreSQL access gateway.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pgbastion {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The gateway's configuration file.", exists=True, dir_okay=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if config is not None:
        # The one place where every command looks, and the supervisor's workers too.
        os.environ["PGBASTION_CONFIG"] = str(config.resolve())


def run(arguments: Sequence[str] | None = None) -> None:
    """Exit status: 0 done, 1 refused (a rule, the store, the configuration), 2 usage."""
    try:
        app(args=arguments)
    except (CommandError, ServiceError) as error:
        complain(error.message, error.hint)
    except StoreError as error:
        complain(str(error), "")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        return
    sys.exit(1)


def _load(name: str) -> TyperCommand | TyperGroup:
    module = import_module(f"gateway.cli.{name}")
    group: typer.Typer
    if name == _SERVE:
        group = typer.Typer(add_completion=False)
        group.command(_SERVE)(module.serve)
    else:
        group = module.app
    return cast(TyperCommand | TyperGroup, typer.main.get_command(group))
