"""pgbastion targets login and logout: the upstream login of an access mode, and where its password comes from."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import IfVersion, Mode, PasswordFile, PasswordStdin, Reason, parse_mode
from gateway.cli.output import JsonValue, Record, note, say
from gateway.cli.passwords import given_password
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(
        app,
        "login",
        examples=[
            "pgbastion targets login shop --mode read_only --login app_ro",
            "pgbastion targets login shop --mode rw --login app_rw --password-file app_rw.password",
            "pgbastion targets login shop --mode rw --login app_rw --from vault:kv/pgbastion/shop#app_rw",
        ],
    )(login)
    admin(app, "logout", examples=["pgbastion targets logout shop --mode read_write"])(logout)


def login(
    api: Api,
    name: Name,
    mode: Mode,
    login: Annotated[str, typer.Option("--login", metavar="ROLE", help="The database role to log in as upstream.")],
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    kept_in: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REFERENCE",
            help="Where the password is kept, instead of here: file:/PATH, env:NAME, vault:MOUNT/PATH#FIELD, aws-sm:NAME#FIELD, "
            "gcp-sm:projects/P/secrets/NAME or rds-iam:REGION.",
            show_default=False,
        ),
    ] = None,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Set the upstream login of one access mode. Asks for the password, unless an option says where it is."""
    if kept_in is not None:
        if password_stdin or password_file is not None:
            raise typer.BadParameter("give either a password or --from")
        body = {"login": login, "secret_from": kept_in}
        api.put(path("targets", name, "logins", mode.value), body, reason=reason, version=if_version)
        say(f'Target "{name}" uses the database role {login} for {mode}. Its password is fetched when it is needed.')
        note(f"Whether it can be: pgbastion targets test {name} --mode {mode}")
        return
    password = given_password(from_stdin=password_stdin, file=password_file, prompt=f"Upstream password of {login}")
    if password is None:
        raise CommandError("no upstream password was given")
    body = {"login": login, "password": password.reveal()}
    api.put(path("targets", name, "logins", mode.value), body, reason=reason, version=if_version)
    say(f'Target "{name}" uses the database role {login} for {mode}. The password is sealed and cannot be read back.')


def logout(api: Api, name: Name, mode: Mode, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Remove the upstream login of one access mode; sessions in it end."""
    api.delete(path("targets", name, "logins", mode.value), reason=reason, version=if_version)
    say(f'Target "{name}" has no login for {mode} any more.')


def asked_passwords(texts: list[str]) -> Record:
    """Of `MODE` (asked for) and `MODE=FILE`."""
    found: dict[str, JsonValue] = {}
    for text in texts:
        name, _, file = text.partition("=")
        mode = parse_mode(name)
        place = Path(file) if file else None
        password = given_password(from_stdin=False, file=place, prompt=f"Upstream password for {mode}")
        if password is None:
            raise CommandError("no upstream password was given")
        found[mode.value] = password.reveal()
    return found
