"""pgbastion targets ..."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.access.model import TlsMode
from gateway.cli import target_permits
from gateway.cli.errors import CommandError
from gateway.cli.local import operator
from gateway.cli.options import AsJson, Config, Mode, PasswordFile, PasswordStdin, Reason
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.passwords import given_password
from gateway.cli.target_permits import Name

if TYPE_CHECKING:
    from gateway.access.model import Target
    from gateway.services.targets import Place

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Databases behind the gateway, and the logins it uses there."
)

CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="CA certificates to trust (PEM).", show_default="the system's", exists=True),
]
Tls = Annotated[TlsMode, typer.Option("--tls", help="How the server is authenticated; weaker modes are noted in the audit.")]

_COLUMNS = {
    "name": "name",
    "host": "host",
    "port": "port",
    "dbname": "database",
    "tls": "tls",
    "logins": "logins",
    "enabled": "enabled",
    "allowlist": "own allowlist",
    "allowed_functions": "functions",
}


@app.command()
def create(
    name: Name,
    host: Annotated[str, typer.Option("--host", help="Host name or address.")],
    dbname: Annotated[str, typer.Option("--dbname", help="The database's name on that server.")],
    port: Annotated[int, typer.Option("--port")] = 5432,
    tls: Tls = TlsMode.VERIFY_FULL,
    ca_file: CaFile = None,
    allow_md5: Annotated[bool, typer.Option("--allow-md5", help="Accept md5 password authentication upstream.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create a target. Give it a login next: pgbastion targets login NAME --mode read_only --login ROLE"""
    from gateway.services import targets

    place = targets.Place(host, port, dbname, tls, _read_ca(ca_file), allow_md5)
    op = operator(config)
    target = op.change(targets.create_target(op.store, name=name, place=place, actor=op.actor, reason=reason))
    if as_json:
        print_json(_record(target))
    else:
        say(f'Target "{name}" created. Next: pgbastion targets login {name} --mode read_only --login ROLE')
    _note_weakness(target)


@app.command("list")
def list_targets(as_json: AsJson = False, config: Config = None) -> None:
    """List all targets."""
    snapshot = operator(config).read()
    records = [_record(target) for _, target in sorted(snapshot.targets.items())]
    show(records, as_json=as_json, columns=_COLUMNS, empty="No targets yet. Create one: pgbastion targets create NAME ...")


@app.command("show")
def show_target(name: Name, as_json: AsJson = False, config: Config = None) -> None:
    """Show one target with its grants and allowlist."""
    from gateway.cli import allowlist, grants
    from gateway.services.allowlist import OfTarget, name_entries
    from gateway.services.grants import name_grants
    from gateway.services.lookup import find_target

    snapshot = operator(config).read()
    target = find_target(snapshot, name)
    held = [grants.record(each) for each in name_grants(snapshot) if each.grant.target_id == target.id]
    entries = [allowlist.record(each) for each in name_entries(snapshot) if each.level == OfTarget(name)]
    if as_json:
        print_json({**_record(target), "grant_list": held, "allowlist_entries": entries})
        return
    show([_record(target)], as_json=False, columns=_COLUMNS, empty="")
    show(held, as_json=False, columns=grants.COLUMNS, empty="No grants.")
    show(entries, as_json=False, columns=allowlist.COLUMNS, empty="No allowlist entries of its own.")


@app.command()
def update(
    name: Name,
    host: Annotated[str | None, typer.Option("--host")] = None,
    port: Annotated[int | None, typer.Option("--port")] = None,
    dbname: Annotated[str | None, typer.Option("--dbname")] = None,
    tls: Annotated[TlsMode | None, typer.Option("--tls")] = None,
    ca_file: CaFile = None,
    system_ca: Annotated[bool, typer.Option("--system-ca", help="Trust the system's CAs again.")] = False,
    allow_md5: Annotated[bool | None, typer.Option("--allow-md5/--forbid-md5")] = None,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Change where a target is. Its sessions end when host, port, database or TLS mode change."""
    from gateway.services import targets

    if system_ca and ca_file is not None:
        raise typer.BadParameter("give either --ca-file or --system-ca")
    ca_pem = _read_ca(ca_file)

    def change(old: "Place") -> "Place":
        return targets.Place(
            host=old.host if host is None else host,
            port=old.port if port is None else port,
            dbname=old.dbname if dbname is None else dbname,
            tls=old.tls if tls is None else tls,
            ca_pem=None if system_ca else ca_pem or old.ca_pem,
            allow_md5=old.allow_md5 if allow_md5 is None else allow_md5,
        )

    op = operator(config)
    target = op.change(targets.move_target(op.store, name=name, change=change, actor=op.actor, reason=reason))
    say(f'Target "{name}" changed.')
    _note_weakness(target)


@app.command()
def login(
    name: Name,
    mode: Mode,
    login: Annotated[str, typer.Option("--login", metavar="ROLE", help="The database role to log in as upstream.")],
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Set the upstream login of one access mode. Asks for the password, unless an option says where it is."""
    from gateway.services import targets

    password = given_password(from_stdin=password_stdin, file=password_file, prompt=f"Upstream password of {login}")
    if password is None:
        raise CommandError("no upstream password was given")
    op = operator(config)
    op.change(
        targets.set_login(
            op.store, op.vault, name=name, mode=mode, login=login, password=password, actor=op.actor, reason=reason
        )
    )
    say(f'Target "{name}" uses the database role {login} for {mode}. The password is sealed and cannot be read back.')


@app.command()
def logout(name: Name, mode: Mode, reason: Reason = "", config: Config = None) -> None:
    """Remove the upstream login of one access mode; sessions in it end."""
    from gateway.services import targets

    op = operator(config)
    op.change(targets.remove_login(op.store, name=name, mode=mode, actor=op.actor, reason=reason))
    say(f'Target "{name}" has no login for {mode} any more.')


@app.command()
def disable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Close a target for everybody; its sessions end."""
    from gateway.services import targets

    op = operator(config)
    op.change(targets.disable_target(op.store, name=name, actor=op.actor, reason=reason))
    say(f'Target "{name}" disabled.')


@app.command()
def enable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Open a target again."""
    from gateway.services import targets

    op = operator(config)
    op.change(targets.enable_target(op.store, name=name, actor=op.actor, reason=reason))
    say(f'Target "{name}" enabled.')


@app.command()
def delete(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Delete a target with its logins, grants and allowlist; its sessions end."""
    from gateway.services import targets

    op = operator(config)
    op.change(targets.delete_target(op.store, name=name, actor=op.actor, reason=reason))
    say(f'Target "{name}" deleted.')


app.command("allow-function")(target_permits.allow_function)
app.command("disallow-function")(target_permits.disallow_function)
app.command("allow-schema")(target_permits.allow_schema)
app.command("disallow-schema")(target_permits.disallow_schema)
app.command("allow-setting")(target_permits.allow_setting)
app.command("disallow-setting")(target_permits.disallow_setting)


def _read_ca(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"the CA file {file} cannot be read as PEM text") from None


def _record(target: "Target") -> Record:
    return {
        "id": target.id,
        "name": target.name,
        "host": target.host,
        "port": target.port,
        "dbname": target.dbname,
        "tls": target.tls.value,
        "own_ca": target.ca_pem is not None,
        "allow_md5": target.allow_md5,
        "enabled": target.enabled,
        "allowlist": target.allowlist.value,
        "logins": {mode.value: role.login for mode, role in sorted(target.roles.items())},
        "allowed_functions": sorted(target.allowed_functions),
        "allowed_schemas": sorted(target.allowed_schemas),
        "allowed_settings": sorted(target.allowed_settings),
    }


def _note_weakness(target: "Target") -> None:
    if target.tls is not TlsMode.VERIFY_FULL:
        note(f"Note: tls is {target.tls}: the gateway does not make sure whom it talks to upstream (verify-full would).")
    if target.allow_md5:
        note("Note: md5 password authentication is accepted upstream.")
