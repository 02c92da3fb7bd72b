"""pgbastion targets adopt: the shared admin URL is given once, and the gateway gets logins of its own that nobody ever saw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.access.model import TlsMode
from gateway.cli import names
from gateway.cli.admin_url import admin_url
from gateway.cli.client import Api, path, records
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Reason, Yes
from gateway.cli.output import JsonValue, Record, note, print_json, say, say_raw, show
from gateway.cli.progress import working
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name

_STEPS: Final = {"mode": "mode", "name": "step", "ok": "ok", "detail": "found", "remedy": "remedy"}
_FORMER: Final = {"mode": "mode", "login": "login", "replaced_at": "replaced"}

UrlFd = Annotated[
    int | None,
    typer.Option(
        "--url-fd", metavar="N", min=0, help="Read the admin URL from this file descriptor.", show_default="asked for"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing: show what would be done, and the SQL.")]
Sql = Annotated[bool, typer.Option("--sql", help="Change nothing: print the SQL alone.")]


@dataclass(frozen=True, slots=True)
class Shape:
    """How it is run, and shown."""

    dry_run: bool
    yes: bool
    as_json: bool


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(
        app,
        examples=[
            "pgbastion targets adopt shop --dry-run",
            'pgbastion targets adopt shop --reason "the tunnel password goes"',
            "pgbastion targets adopt shop --yes --url-fd 3 3< admin.url",
            "pgbastion targets adopt shop --undo",
        ],
    )(adopt)
    admin(app, examples=["pgbastion targets adoption shop"])(adoption)


def adopt(
    api: Api,
    name: Name,
    url_fd: UrlFd = None,
    ask_url: Annotated[bool, typer.Option("--ask-url", help="Ask for the admin URL, though an admin login is kept.")] = False,
    dry_run: DryRun = False,
    sql: Sql = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Drop the roles that were made, and use the former logins again.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore/--no-restore", help="With --undo: use the former logins again, or none.")
    ] = True,
    reassign_to: Annotated[
        str | None,
        typer.Option(
            "--reassign-to", metavar="ROLE", help="With --undo: who gets what they own.", show_default="the admin login"
        ),
    ] = None,
    read_only_role: Annotated[
        str | None, typer.Option("--read-only-role", metavar="ROLE", show_default="the target's name and _ro")
    ] = None,
    read_write_role: Annotated[
        str | None, typer.Option("--read-write-role", metavar="ROLE", show_default="the target's name and _rw")
    ] = None,
    no_read_write: Annotated[bool, typer.Option("--no-read-write", help="Make no role that writes.")] = False,
    schemas: Annotated[
        list[str] | None,
        typer.Option(
            "--schema", metavar="SCHEMA", help="Open this schema alone; again for more.", show_default="all with tables"
        ),
    ] = None,
    connection_limit: Annotated[int, typer.Option("--connection-limit", min=1, help="Of each role.")] = 100,
    forget_admin: Annotated[
        bool, typer.Option("--forget-admin", help="Do not keep the admin login; one that is kept is forgotten.")
    ] = False,
    tls: Annotated[TlsMode | None, typer.Option("--tls", help="Of a new target.", show_default="as the URL says")] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="Of a new target: CA certificates to trust.", exists=True)
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Of a new target.", autocompletion=names.environments)
    ] = None,
    yes: Yes = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make roles for the gateway in a database, by its admin URL, and use them from now on. A new target is made for the URL.

    The URL is asked for, or read from standard input or a file descriptor. Shows the SQL and asks before it runs it.

    Exit status: 0 when the new logins work, else 1.
    """
    state = _state(api, name)
    url = admin_url(url_fd, ask=ask_url, kept=state is not None and state.get("admin") is not None)
    given: Record = {} if url is None else {"admin_url": url.reveal()}
    if undo:
        shape = Shape(dry_run=dry_run or sql, yes=yes, as_json=as_json)
        _undo(api, name, {**given, "restore": restore, "reassign_to": reassign_to}, reason, shape)
        return
    body: dict[str, JsonValue] = {
        **given,
        "keep_admin": not forget_admin,
        "read_only_role": read_only_role,
        "read_write_role": read_write_role,
        "no_read_write": no_read_write,
        "schemas": list(schemas or ()),
        "connection_limit": connection_limit,
        "tls": None if tls is None else tls.value,
        "ca_pem": _pem(ca_file),
        "environment": environment,
    }
    with working(f"{name}: looking at the database"):
        plan = api.post(path("targets", name, "adoption"), {**body, "dry_run": True})
    if dry_run or sql:
        _show_plan(plan, sql=sql, as_json=as_json)
        return
    if not as_json:
        _show_plan(plan, sql=False, as_json=False)
    if plan.get("todo") and not yes:
        confirm("Run this?")
    with working(f"{name}: making the roles, trying them"):
        done = api.post(path("targets", name, "adoption"), body, reason=reason)
    if forget_admin and _kept(api, name):
        api.delete(path("targets", name, "adoption", "admin"), reason=reason)
        done = {**done, "admin": None}
    _show_done(name, done, as_json=as_json)
    if not done.get("ok"):
        raise typer.Exit(1)


def adoption(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show by which login a target's database is administered, and which logins undoing its adoption would bring back."""
    found = api.get(path("targets", name, "adoption")).record
    if as_json:
        print_json(found)
        return
    if found.get("admin") is None:
        say(f'No admin login is kept for "{name}".')
    else:
        rotated = found.get("rotated_at")
        since = "others may know its password" if rotated is None else f"nobody else knows its password since {rotated}"
        say(f'"{name}" is administered by {found.get("admin")}, adopted {found.get("adopted_at")}; {since}.')
    show(records(found.get("former_logins")), as_json=False, columns=_FORMER, empty="It had no other logins before.")


def _undo(api: Api, name: str, body: Record, reason: str, shape: Shape) -> None:
    where = path("targets", name, "adoption", "undo")
    with working(f"{name}: looking at the database"):
        plan = api.post(where, {**body, "dry_run": True})
    if not shape.dry_run:
        if not shape.as_json:
            say_raw(str(plan.get("sql")))
        if not shape.yes:
            confirm("Run this, and end the sessions of these roles?")
        with working(f"{name}: dropping the roles"):
            plan = api.post(where, body, reason=reason)
    if shape.as_json:
        print_json(plan)
        return
    if shape.dry_run:
        say_raw(str(plan.get("sql")))
        return
    dropped, logins = plan.get("dropped"), plan.get("logins")
    say(f"Dropped: {', '.join(map(str, dropped))}." if isinstance(dropped, list) and dropped else "There was nothing to drop.")
    used = [f"{login} for {mode}" for mode, login in logins.items()] if isinstance(logins, dict) else []
    say(f'Target "{name}" uses {" and ".join(used)}.' if used else f'Target "{name}" has no login now.')
    if plan.get("admin_kept"):
        note(f"Note: {plan.get('admin_kept')}.")


def _show_plan(plan: Record, *, sql: bool, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    if sql:
        say_raw(str(plan.get("sql")))
        return
    name = plan.get("target")
    todo = plan.get("todo")
    if isinstance(todo, list) and todo:
        say(f'Target "{name}"{" is new; it" if plan.get("created") else ""} wants:')
        for line in todo:
            say(f"  - {line}")
        say("")
        say_raw(str(plan.get("sql")))
    else:
        say(f'Nothing is to be done in the database of "{name}".')
    for each in records(plan.get("findings")):
        say(f"{each.get('severity')}: {each.get('text')}")
        if each.get("remedy"):
            for line in str(each.get("remedy")).splitlines():
                say(f"    {line}")


def _show_done(name: str, done: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    show(records(done.get("steps")), as_json=False, columns=_STEPS, empty="")
    said = done.get("said")
    for line in said if isinstance(said, list) else ():
        note(f"The server remarks: {line}")
    if not done.get("ok"):
        say(f'Target "{name}" was not switched: see above. Run the same again when that is mended; or: --undo')
        return
    switched = done.get("switched")
    if isinstance(switched, list) and switched:
        say(f'Target "{name}" uses logins of its own now, which nobody has ever seen ({", ".join(map(str, switched))}).')
    else:
        say(f'Target "{name}" is adopted, and its logins work: nothing was to be done.')
    if done.get("admin") is not None:
        say(f"The admin login {done.get('admin')} is kept, sealed. Next: pgbastion targets who-still-uses {name}")
    else:
        say("The admin login was not kept.")


def _state(api: Api, name: str) -> Record | None:
    """None: there is no such target yet."""
    try:
        return api.get(path("targets", name, "adoption")).record
    except CommandError as error:
        if error.rule == "target-unknown":
            return None
        raise


def _kept(api: Api, name: str) -> bool:
    state = _state(api, name)
    return state is not None and state.get("admin") is not None


def _pem(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"the CA file {file} cannot be read as PEM text") from None
