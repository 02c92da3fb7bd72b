"""pgbastion tokens ..."""

from typing import Annotated, Final

import typer

from gateway.access.model import TokenScope
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Expires, IfVersion, Reason, until
from gateway.cli.output import note, print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys to the admin API, for programs and other machines.")

_DEFAULT_EXPIRY: Final = "90d"

Name = Annotated[str, typer.Argument(help="The token's name.", show_default=False, autocompletion=names.tokens)]

_COLUMNS = {
    "name": "name",
    "scope": "scope",
    "valid_until": "expires",
    "live": "live",
    "created_at": "created",
    "created_by": "by",
    "id": "id",
}


@admin(
    app,
    examples=["pgbastion tokens create deploy --expires 30d", "pgbastion tokens create dashboard --scope read --json"],
)
def create(
    api: Api,
    name: Name,
    scope: Annotated[TokenScope, typer.Option("--scope", help="admin: everything. read: look only.")] = TokenScope.ADMIN,
    expires: Expires = _DEFAULT_EXPIRY,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a token. It is shown once and kept as a hash. On the gateway's own machine this needs no other token."""
    if (valid_until := until(expires)) is None:
        raise typer.BadParameter("a token has to expire")
    made = api.post(path("tokens"), {"name": name, "scope": scope.value, "valid_until": valid_until}, reason=reason)
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
