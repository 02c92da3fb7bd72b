"""pgbastion targets ..."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.access.model import TlsMode
from gateway.cli import (
    names,
    target_adoption,
    target_checks,
    target_logins,
    target_managed,
    target_permits,
    target_rotation,
    target_users,
)
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import JsonValue, Record, note, print_json, say, show
from gateway.cli.reach import admin
from gateway.cli.target_logins import asked_passwords
from gateway.cli.target_permits import Name

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Databases behind the gateway, and the logins it uses there."
)

CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="CA certificates to trust (PEM).", show_default="the system's", exists=True),
]
Tls = Annotated[TlsMode, typer.Option("--tls", help="How the server is authenticated; weaker modes are noted in the audit.")]
MaxSessions = Annotated[
    int | None,
    typer.Option("--max-sessions", min=1, help="At most so many sessions at a time.", show_default="the gateway's limit"),
]

OpenAhead = Annotated[
    int | None,
    typer.Option(
        "--open-ahead",
        min=0,
        help="So many upstream sessions of each access mode are opened ahead and wait for clients.",
        show_default="none",
    ),
]

_COLUMNS = {
    "name": "name",
    "environment": "environment",
    "host": "host",
    "port": "port",
    "dbname": "database",
    "tls": "tls",
    "logins": "logins",
    "enabled": "enabled",
    "max_sessions": "max sessions",
    "open_ahead": "opened ahead",
    "managed": "managed",
    "rotate_every_days": "rotated every (days)",
    "allowlist": "own allowlist",
    "allowed_functions": "functions",
}


@admin(
    app,
    examples=[
        "pgbastion targets create shop --host db.internal --dbname webshop --ca-file db-ca.pem",
        "pgbastion targets create hr --host 10.2.0.7 --dbname hr --tls require --max-sessions 20",
    ],
)
def create(
    api: Api,
    name: Name,
    host: Annotated[str, typer.Option("--host", help="Host name or address.")],
    dbname: Annotated[str, typer.Option("--dbname", help="The database's name on that server.")],
    port: Annotated[int, typer.Option("--port")] = 5432,
    tls: Tls = TlsMode.VERIFY_FULL,
    ca_file: CaFile = None,
    allow_md5: Annotated[bool, typer.Option("--allow-md5", help="Accept md5 password authentication upstream.")] = False,
    max_sessions: MaxSessions = None,
    open_ahead: OpenAhead = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", help="In this environment.", show_default="default", autocompletion=names.environments),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a target. Give it a login next: pgbastion targets login NAME --mode read_only --login ROLE"""
    body: Record = {
        "name": name,
        "host": host,
        "port": port,
        "dbname": dbname,
        "tls": tls.value,
        "ca_pem": _read_ca(ca_file),
        "allow_md5": allow_md5,
        "max_sessions": max_sessions,
        "open_ahead": open_ahead or 0,
        "environment": environment,
    }
    target = api.post(path("targets"), body, reason=reason)
    if as_json:
        print_json(target)
    else:
        say(f'Target "{name}" created. Next: pgbastion targets login {name} --mode read_only --login ROLE')
    _note_weakness(target)


@admin(app, "list", examples=["pgbastion targets list", "pgbastion targets list --json"])
def list_targets(api: Api, as_json: AsJson = False) -> None:
    """List all targets."""
    found = api.all(path("targets"))
    show(found, as_json=as_json, columns=_COLUMNS, empty="No targets yet. Create one: pgbastion targets create NAME ...")


@admin(app, "show", examples=["pgbastion targets show shop"])
def show_target(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show one target with its grants and allowlist."""
    from gateway.cli import allowlist
    from gateway.cli.grant_terms import show_grants

    target = api.get(path("targets", name)).record
    held = api.all(path("grants"), target=name)
    entries = api.all(path("allowlist"), target=name)
    if as_json:
        print_json({**target, "grant_list": held, "allowlist_entries": entries})
        return
    show([target], as_json=False, columns=_COLUMNS, empty="")
    show_grants(held)
    show(entries, as_json=False, columns=allowlist.COLUMNS, empty="No allowlist entries of its own.")


@admin(
    app,
    examples=[
        "pgbastion targets update shop --host db2.internal --password-for read_only=app_ro.password",
        "pgbastion targets update shop --max-sessions 20",
    ],
)
def update(
    api: Api,
    name: Name,
    host: Annotated[str | None, typer.Option("--host")] = None,
    port: Annotated[int | None, typer.Option("--port")] = None,
    dbname: Annotated[str | None, typer.Option("--dbname")] = None,
    tls: Annotated[TlsMode | None, typer.Option("--tls")] = None,
    ca_file: CaFile = None,
    system_ca: Annotated[bool, typer.Option("--system-ca", help="Trust the system's CAs again.")] = False,
    allow_md5: Annotated[bool | None, typer.Option("--allow-md5/--forbid-md5")] = None,
    max_sessions: MaxSessions = None,
    no_max_sessions: Annotated[bool, typer.Option("--no-max-sessions", help="Only the gateway's limit again.")] = False,
    open_ahead: OpenAhead = None,
    rotate_every: Annotated[
        int | None,
        typer.Option("--rotate-every", metavar="DAYS", min=1, help="Change the passwords of its logins so often, by itself."),
    ] = None,
    no_rotate_every: Annotated[bool, typer.Option("--no-rotate-every", help="Only by hand again.")] = False,
    password_for: Annotated[
        list[str] | None,
        typer.Option(
            "--password-for",
            metavar="MODE[=FILE]",
            help="The upstream password of this access mode again, from a file or asked for: needed for another host or port, "
            "weaker TLS, other CAs, and md5.",
        ),
    ] = None,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Change a target. Its sessions end when host, port, database or TLS mode change."""
    if system_ca and ca_file is not None:
        raise typer.BadParameter("give either --ca-file or --system-ca")
    if no_max_sessions and max_sessions is not None:
        raise typer.BadParameter("give either --max-sessions or --no-max-sessions")
    if no_rotate_every and rotate_every is not None:
        raise typer.BadParameter("give either --rotate-every or --no-rotate-every")
    given: dict[str, JsonValue] = {
        "host": host,
        "port": port,
        "dbname": dbname,
        "tls": tls.value if tls else None,
        "ca_pem": _read_ca(ca_file),
        "allow_md5": allow_md5,
        "max_sessions": max_sessions,
        "open_ahead": open_ahead,
        "rotate_every_days": rotate_every,
    }
    given = {field: value for field, value in given.items() if value is not None}
    given |= {"ca_pem": None} if system_ca else {}
    given |= {"max_sessions": None} if no_max_sessions else {}
    given |= {"rotate_every_days": None} if no_rotate_every else {}
    if not given:
        raise typer.BadParameter("say what to change: see pgbastion targets update --help")
    if password_for:
        given["passwords"] = asked_passwords(password_for)
    target = api.patch(path("targets", name), given, reason=reason, version=if_version)
    say(f'Target "{name}" changed.')
    _note_weakness(target)


@admin(app, examples=["pgbastion targets move shop --environment production"])
def move(
    api: Api,
    name: Name,
    environment: Annotated[
        str,
        typer.Option("--environment", help="Into this environment.", show_default=False, autocompletion=names.environments),
    ],
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Put a target into another environment; sessions that stood on a right in the former one end."""
    where = path("targets", name, "environment")
    api.put(where, {"environment": environment}, reason=reason, version=if_version)
    say(f'Target "{name}" is in environment "{environment}" now.')


@admin(app, examples=['pgbastion targets disable shop --reason "migration tonight"'])
def disable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Close a target for everybody; its sessions end."""
    api.patch(path("targets", name), {"enabled": False}, reason=reason, version=if_version)
    say(f'Target "{name}" disabled.')


@admin(app, examples=["pgbastion targets enable shop"])
def enable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Open a target again."""
    api.patch(path("targets", name), {"enabled": True}, reason=reason, version=if_version)
    say(f'Target "{name}" enabled.')


@admin(app, examples=['pgbastion targets delete shop --reason "replaced by shop2"'])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete a target with its logins, grants and allowlist; its sessions end."""
    api.delete(path("targets", name), reason=reason, version=if_version)
    say(f'Target "{name}" deleted.')


target_checks.register(app)
target_permits.register(app)
target_logins.register(app)
target_managed.register(app)
target_adoption.register(app)
target_users.register(app)
target_rotation.register(app)


def _read_ca(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"the CA file {file} cannot be read as PEM text") from None


def _note_weakness(target: Record) -> None:
    if target.get("tls") != TlsMode.VERIFY_FULL.value:
        note(f"Note: tls is {target.get('tls')}: the gateway does not make sure whom it talks to upstream (verify-full would).")
    if target.get("allow_md5"):
        note("Note: md5 password authentication is accepted upstream.")
