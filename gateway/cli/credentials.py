"""pgbastion credentials ..."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.door import Address, ForUser, Lifetime, Mode, Target, Wish, issue
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import print_json, say, show
from gateway.cli.reach import admin
from gateway.connection_strings import connection_strings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Short-lived logins for databases: minutes to hours, for one target each."
)

_COLUMNS: Final = {
    "login": "login",
    "target": "target",
    "mode": "mode",
    "valid_until": "expires",
    "live": "live",
    "network": "only from",
    "max_sessions": "sessions at a time",
    "created_at": "issued",
    "created_by": "by",
}


@admin(
    app,
    "issue",
    examples=[
        "pgbastion credentials issue shop",
        "pgbastion credentials issue shop:rw --for 30m --address 192.0.2.7",
        "pgbastion credentials issue shop --json",
    ],
)
def issue_one(
    api: Api,
    target: Target,
    mode: Mode = None,
    lifetime: Lifetime = None,
    address: Address = None,
    user: ForUser = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Issue a login and a password for one target. They are shown once, with a connection string for each client."""
    issued = issue(api, Wish(target, mode, lifetime, address, user), reason=reason)
    made, door = issued.record, issued.door
    strings = connection_strings(door, with_password=False)
    if as_json:
        print_json({**made, "connection_strings": {label.split()[0]: text for label, text in strings}})
        return
    say(
        f'Credential for "{made.get("target")}" ({made.get("mode")}), until {made.get("valid_until")}, '
        f"for {made.get('max_sessions')} sessions at a time" + (f", only from {address}." if address else ".")
    )
    say(f"Username: {door.user}")
    say(f"Password (shown only now): {door.password}")
    say_strings(strings)


def say_strings(strings: Sequence[tuple[str, str]]) -> None:
    """One for each client."""
    for label, text in strings:
        say(f"\n{label}:\n  {text}")


@admin(app, "list", examples=["pgbastion credentials list", "pgbastion credentials list --all --json"])
def list_credentials(
    api: Api,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.", autocompletion=names.users)] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only for this target.", autocompletion=names.targets)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too: they stay listed for a day.")] = False,
    as_json: AsJson = False,
) -> None:
    """List your credentials; owners see everybody's. The passwords are kept nowhere."""
    found = api.all(path("credentials"), user=user, target=target, live=None if everything else True)
    empty = "No credentials. Issue one: pgbastion credentials issue TARGET"
    show(found, as_json=as_json, columns=_COLUMNS, empty=empty)


@admin(app, examples=["pgbastion credentials revoke ana_diaz~1f3c9a2e"])
def revoke(
    api: Api,
    login: Annotated[str, typer.Argument(help="The credential's login, or its id.", show_default=False)],
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Revoke a credential: nobody logs in with it any more, and its sessions end."""
    api.delete(path("credentials", login), reason=reason, version=if_version)
    say(f'Credential "{login}" revoked.')
