"""`pgbastion`: the one entry point. Commands are imported when they are used, so that help and completion stay quick."""

import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer
from typer._click.exceptions import UsageError
from typer.core import TyperCommand, TyperGroup

from gateway import __version__
from gateway.cli.errors import CommandError
from gateway.cli.options import CA_FILE_VARIABLE, TOKEN_FILE_VARIABLE, URL_VARIABLE, TokenFile, Url
from gateway.cli.output import complain
from gateway.services.errors import ServiceError
from gateway.store.errors import StoreError
from gateway.undumpable import forbid_core_files

if TYPE_CHECKING:
    from typer._click.shell_completion import CompletionItem

PROGRAM: Final = "pgbastion"
COMPLETE_VARIABLE: Final = "_PGBASTION_COMPLETE"

_RIGHTS: Final = "Who may do what"
_NOW: Final = "What happens, and what happened"
_OWN: Final = "For whoever connects"
_MACHINE: Final = "The gateway on this machine"
GROUPS: Final = {
    "credentials": (_OWN, "Short-lived logins for databases."),
    "request": (_OWN, "Ask for a right that ends by itself; decide about others'."),
    "users": (_RIGHTS, "People who log in."),
    "groups": (_RIGHTS, "Users who share grants."),
    "targets": (_RIGHTS, "Databases behind the gateway, and the logins it uses there."),
    "environments": (_RIGHTS, "Targets that admins are given rights for together."),
    "grants": (_RIGHTS, "Who may use which target, in which access mode, until when."),
    "approvals": (_RIGHTS, "What may be asked for, and who decides."),
    "allowlist": (_RIGHTS, "From which networks."),
    "roles": (_RIGHTS, "Admin roles: who may change what, and where."),
    "permissions": (_RIGHTS, "Who may do what as an admin, and why."),
    "accounts": (_RIGHTS, "How people sign in to the admin API."),
    "oidc": (_RIGHTS, "The identity provider, and what its groups mean here."),
    "tokens": (_RIGHTS, "Keys to the admin API."),
    "sessions": (_NOW, "Who is connected now."),
    "lockdown": (_NOW, "Nobody in, everybody out: the kill switch."),
    "webhooks": (_NOW, "Who elsewhere is told of access requests."),
    "audit": (_NOW, "What was run, denied and changed."),
    "policy": (_NOW, "What the read-only policy says about a statement."),
    "store": (_MACHINE, "Where all of this is kept."),
    "secrets": (_MACHINE, "Where upstream passwords are kept, and the key that seals them."),
}
COMMANDS: Final = {
    "connect": (_OWN, "Run psql on a target."),
    "tunnel": (_OWN, "Open a local port that leads to a target."),
    "login": (_OWN, "Sign in to an admin API."),
    "whoami": (_OWN, "Who you are to the admin API."),
    "logout": (_OWN, "Forget the sign-in to an admin API."),
    "apply": (_RIGHTS, "Make users, targets and rights what a file says."),
    "export": (_RIGHTS, "Write users, targets and rights as a file for apply."),
    "passwd": (_OWN, "Change your own password."),
    "serve": (_MACHINE, "Run the gateway."),
    "doctor": (_MACHINE, "Check this installation, and say what to do."),
    "backup": (_MACHINE, "Copy the store into a file, the master key apart."),
    "restore": (_MACHINE, "Bring the store back from a backup."),
    "completion": (_MACHINE, "Set up completion for bash, zsh or fish."),
}
_ALL: Final = {**GROUPS, **COMMANDS}


class _Lazy(TyperGroup):
    """Knows the names and one line of help of every command; imports `gateway.cli.<name>` only for the one that is run."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(_ALL)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]
        if cmd_name not in _ALL:
            return None
        if ctx.meta.get(_ONLY_HELP):
            panel, text = _ALL[cmd_name]
            return TyperCommand(cmd_name, help=text, rich_help_panel=panel)
        return _load(cmd_name)

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        ctx.meta[_ONLY_HELP] = True
        super().format_help(ctx, formatter)  # type: ignore[arg-type]

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if error.message.startswith(_TOO_MANY):  # it would repeat them
                error.message = "There are arguments that this command does not take. (Secrets never stand on a command line.)"
            raise

    def shell_complete(self, ctx: typer.Context, incomplete: str) -> "list[CompletionItem]":  # type: ignore[override]
        ctx.meta[_ONLY_HELP] = True
        return super().shell_complete(ctx, incomplete)


_TOO_MANY: Final = "Got unexpected extra argument"
_ONLY_HELP: Final = "gateway.cli.main.only_help"

app = typer.Typer(
    name=PROGRAM,
    cls=_Lazy,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables
    add_completion=False,  # there is a command for it
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
    url: Url = None,
    token_file: TokenFile = None,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="FILE", help="CA certificates to trust for --url.", exists=True, dir_okay=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    # The environment is the one place where every command looks, and the supervisor's workers too.
    if config is not None and url is not None:
        raise typer.BadParameter("give either --config (this machine) or --url")
    if config is not None:
        os.environ["PGBASTION_CONFIG"] = str(config.resolve())
        os.environ.pop(URL_VARIABLE, None)
    if url is not None:
        os.environ[URL_VARIABLE] = url
    for variable, file in ((TOKEN_FILE_VARIABLE, token_file), (CA_FILE_VARIABLE, ca_file)):
        if file is not None:
            os.environ[variable] = str(file.resolve())


def run(arguments: Sequence[str] | None = None) -> None:
    """Exit status: 0 done, 1 refused (a rule, the store, the configuration), 2 usage."""
    if COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    threading.excepthook = _overhear
    forbid_core_files()
    try:
        app(args=arguments, prog_name=PROGRAM)
    except (CommandError, ServiceError) as error:
        complain(error.message, error.hint)
    except StoreError as error:
        complain(str(error), "")
    except PermissionError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror}", "Is this the gateway's own account?")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        return
    sys.exit(1)


def _overhear(arguments: threading.ExceptHookArgs) -> None:
    """The store's driver has threads; one that is late finds its event loop closed, which is nobody's concern any more."""
    if not isinstance(arguments.exc_value, RuntimeError) or "loop is closed" not in str(arguments.exc_value):
        threading.__excepthook__(arguments)


def _load(name: str) -> TyperCommand | TyperGroup:
    """A module holds either a group as `app`, or one command as a function of its own name."""
    module = import_module(f"gateway.cli.{name}")
    group: typer.Typer = module.app
    command = cast(TyperCommand | TyperGroup, typer.main.get_command(group))
    command.name = name
    return command
