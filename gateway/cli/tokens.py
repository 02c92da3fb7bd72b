"""pgbastion tokens ..."""

from typing import Annotated, Final

import typer

from gateway.access.model import Permission, TokenScope
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Expires, IfVersion, Reason, until
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys to the admin API, for programs and other machines.")

_DEFAULT_EXPIRY: Final = "90d"

Name = Annotated[str, typer.Argument(help="The token's name.", show_default=False, autocompletion=names.tokens)]

_COLUMNS = {
    "name": "name",
    "kind": "kind",
    "scope": "scope",
    "valid_until": "expires",
    "live": "live",
    "created_at": "created",
    "created_by": "by",
    "user": "user",
    "environments": "environments",
    "permissions": "permissions",
    "networks": "networks",
    "last_used_at": "last used",
    "id": "id",
}


@admin(
    app,
    examples=[
        "pgbastion tokens create deploy --expires 30d",
        "pgbastion tokens create dashboard --scope read --json",
        "pgbastion tokens create ci --user ci_runner --environment staging --permission deploy --from 10.1.0.0/16",
    ],
)
def create(
    api: Api,
    name: Name,
    scope: Annotated[TokenScope, typer.Option("--scope", help="admin: everything. read: look only.")] = TokenScope.ADMIN,
    expires: Expires = _DEFAULT_EXPIRY,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", help="With this user's rights.", show_default="your own, or an owner's", autocompletion=names.users
        ),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", help="Only there; may be repeated.", autocompletion=names.environments),
    ] = None,
    permission: Annotated[
        list[Permission] | None, typer.Option("--permission", help="Only this; may be repeated.", show_default="all")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option("--from", metavar="NETWORK", help="Only from there; may be repeated.")
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a token. It is shown once and kept as a hash. On the gateway's own machine this needs no other token."""
    if (valid_until := until(expires)) is None:
        raise typer.BadParameter("a token has to expire")
    body: Record = {
        "name": name,
        "scope": scope.value,
        "valid_until": valid_until,
        "user": user,
        "environments": environment or None,
        "permissions": [each.value for each in permission] if permission else None,
        "networks": network or [],
    }
    made = api.post(path("tokens"), body, reason=reason)
    if (token := made.get("token")) is None:  # the answer that held it was lost on the way
        hint = f"Make another: pgbastion tokens revoke {name}, then again."
        raise CommandError(f'the token "{name}" was made, but not shown', hint)
    if as_json:
        print_json(made)
        return
    note(f'Token "{name}" ({made.get("scope")}, until {made.get("valid_until")}). It is shown only now:')
    say(str(token))


@admin(app, "list", examples=["pgbastion tokens list"])
def list_tokens(api: Api, as_json: AsJson = False) -> None:
    """List tokens, expired ones too. The tokens themselves are kept nowhere."""
    found = api.all(path("tokens"))
    show(found, as_json=as_json, columns=_COLUMNS, empty="No tokens. Create one: pgbastion tokens create NAME")


@admin(app, examples=['pgbastion tokens revoke deploy --reason "in a log file"'])
def revoke(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Revoke a token; it is refused from now on, and streams that it opened end."""
    api.delete(path("tokens", name), reason=reason, version=if_version)
    say(f'Token "{name}" revoked.')
