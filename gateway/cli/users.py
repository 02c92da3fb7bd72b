"""pgbastion users ..."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.local import operator
from gateway.cli.options import NEVER, AsJson, Config, Expires, NewExpiry, PasswordFile, PasswordStdin, Reason, expiry
from gateway.cli.output import Record, print_json, say, show, when
from gateway.cli.passwords import given_password

if TYPE_CHECKING:
    from gateway.access.model import Snapshot, User
    from gateway.services.users import Credentials

app = typer.Typer(no_args_is_help=True, add_completion=False, help="People who log in to the gateway.")

Name = Annotated[str, typer.Argument(help="The user's name.", show_default=False)]
Prompt = Annotated[bool, typer.Option("--password-prompt", help="Ask for the password on the terminal.")]

_COLUMNS = {
    "name": "name",
    "enabled": "enabled",
    "valid_until": "expires",
    "allowlist": "own allowlist",
    "grants": "grants",
    "id": "id",
}


@app.command()
def create(
    name: Name,
    expires: Expires = None,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create an account. Without a password option a password is made and shown once."""
    from gateway.services import users

    password = given_password(from_stdin=password_stdin, file=password_file, prompt="Password" if password_prompt else None)
    op = operator(config)
    made = op.change(
        users.create_user(op.store, name=name, password=password, valid_until=expiry(expires), actor=op.actor, reason=reason)
    )
    _say_credentials(made, f'User "{name}" created.', as_json=as_json)


@app.command("list")
def list_users(as_json: AsJson = False, config: Config = None) -> None:
    """List all accounts."""
    snapshot = operator(config).read()
    records = [_record(snapshot, user) for _, user in sorted(snapshot.users.items())]
    show(records, as_json=as_json, columns=_COLUMNS, empty="No users yet. Create one: pgbastion users create NAME")


@app.command("show")
def show_user(name: Name, as_json: AsJson = False, config: Config = None) -> None:
    """Show one account with its grants and allowlist."""
    from gateway.cli import allowlist, grants
    from gateway.services.allowlist import OfUser, name_entries
    from gateway.services.grants import name_grants
    from gateway.services.lookup import find_user

    snapshot = operator(config).read()
    user = find_user(snapshot, name)
    held = [grants.record(each) for each in name_grants(snapshot) if each.grant.holder_id == user.id]
    entries = [allowlist.record(each) for each in name_entries(snapshot) if each.level == OfUser(name)]
    if as_json:
        print_json({**_record(snapshot, user), "grant_list": held, "allowlist_entries": entries})
        return
    show([_record(snapshot, user)], as_json=False, columns=_COLUMNS, empty="")
    show(held, as_json=False, columns=grants.COLUMNS, empty="No grants.")
    show(entries, as_json=False, columns=allowlist.COLUMNS, empty="No allowlist entries of their own.")


@app.command()
def passwd(
    name: Name,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Set another password; sessions that used the old one end. Without an option one is made and shown once."""
    from gateway.services import users

    password = given_password(from_stdin=password_stdin, file=password_file, prompt="Password" if password_prompt else None)
    op = operator(config)
    made = op.change(users.set_password(op.store, name=name, password=password, actor=op.actor, reason=reason))
    _say_credentials(made, f'Password of "{name}" changed.', as_json=as_json)


@app.command()
def update(
    name: Name,
    expires: NewExpiry,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Change when an account expires."""
    from gateway.services import users

    valid_until = expiry(expires)
    op = operator(config)
    op.change(users.set_user_expiry(op.store, name=name, valid_until=valid_until, actor=op.actor, reason=reason))
    say(f'User "{name}" expires: {when(valid_until) or NEVER}.')


@app.command()
def disable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Lock an account; its sessions end."""
    from gateway.services import users

    op = operator(config)
    op.change(users.disable_user(op.store, name=name, actor=op.actor, reason=reason))
    say(f'User "{name}" disabled.')


@app.command()
def enable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Unlock an account."""
    from gateway.services import users

    op = operator(config)
    op.change(users.enable_user(op.store, name=name, actor=op.actor, reason=reason))
    say(f'User "{name}" enabled.')


@app.command()
def delete(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Delete an account with its grants; its sessions end."""
    from gateway.services import users

    op = operator(config)
    op.change(users.delete_user(op.store, name=name, actor=op.actor, reason=reason))
    say(f'User "{name}" deleted.')


def _record(snapshot: "Snapshot", user: "User") -> Record:
    return {
        "id": user.id,
        "name": user.name,
        "enabled": user.enabled,
        "valid_until": when(user.valid_until),
        "allowlist": user.allowlist.value,
        "grants": len(snapshot.grants.get(user.id, ())),
    }


def _say_credentials(made: "Credentials", text: str, *, as_json: bool) -> None:
    password = made.generated.reveal() if made.generated else None
    if as_json:
        print_json({"id": made.user.id, "name": made.user.name, "password": password})
        return
    say(text)
    if password is not None:
        say(f"Password (shown only now): {password}")
