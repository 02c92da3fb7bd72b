"""pgbastion environments ..."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Targets that admins are given rights for together.")

Name = Annotated[str, typer.Argument(help="The environment's name.", show_default=False, autocompletion=names.environments)]

_COLUMNS = {"name": "name", "targets": "targets", "roles": "admin roles", "id": "id"}


@admin(app, examples=["pgbastion environments create production"])
def create(api: Api, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Create an environment. Nobody but owners has rights in it yet."""
    made = api.post(path("environments"), {"name": name}, reason=reason)
    if as_json:
        print_json(made)
    else:
        say(f'Environment "{name}" created. Next: pgbastion roles grant ROLE --environment {name} --permission PERMISSION')


@admin(app, "list", examples=["pgbastion environments list"])
def list_environments(api: Api, as_json: AsJson = False) -> None:
    """List environments with their targets and the admin roles that have rights there."""
    show(api.all(path("environments")), as_json=as_json, columns=_COLUMNS, empty="No environments that you may see.")


@admin(app, examples=["pgbastion environments rename default staging"])
def rename(
    api: Api,
    name: Name,
    new_name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Give an environment another name. Rights and targets stay."""
    api.patch(path("environments", name), {"name": new_name}, reason=reason, version=if_version)
    say(f'Environment "{name}" is called "{new_name}" now.')


@admin(app, examples=["pgbastion environments delete staging"])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete an environment without targets, and what admin roles held there."""
    api.delete(path("environments", name), reason=reason, version=if_version)
    say(f'Environment "{name}" deleted.')
