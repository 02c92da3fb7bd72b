"""pgbastion allowlist ..."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.access.model import ListMode
from gateway.cli.local import operator
from gateway.cli.options import AsJson, Config, Expires, Reason, expiry
from gateway.cli.output import Record, note, print_json, say, show, when

if TYPE_CHECKING:
    from gateway.access.model import Snapshot, Target, User
    from gateway.services.allowlist import Level, NamedEntry

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From which networks. An address must pass the global list, and the user's and the target's where they restrict.",
)

OfTarget = Annotated[str | None, typer.Option("--target", help="This target's own list.", show_default="the global list")]
OfUser = Annotated[str | None, typer.Option("--user", help="This user's own list.", show_default="the global list")]

COLUMNS = {
    "level": "list",
    "network": "network",
    "label": "label",
    "valid_until": "expires",
    "live": "live",
    "id": "id",
}


@app.command()
def create(
    network: Annotated[str, typer.Argument(help="An address or a network, such as 10.1.0.0/16.", show_default=False)],
    label: Annotated[str, typer.Option("--label", help="What it is, for people.", show_default=False)] = "",
    target: OfTarget = None,
    user: OfUser = None,
    expires: Expires = None,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Admit a network."""
    from gateway.services import allowlist

    level = _level(target, user)
    op = operator(config)
    named = op.change(
        allowlist.create_entry(
            op.store, level=level, network=network, label=label, valid_until=expiry(expires), actor=op.actor, reason=reason
        )
    )
    if as_json:
        print_json(record(named))
    else:
        say(f"{named.entry.network} added to the list: {allowlist.level_text(level)}.")
    own = named.entry.target_id or named.entry.user_id
    if own and not any(each.id == own and each.allowlist is ListMode.RESTRICT for each in _owners(op.read())):
        note("Note: this list is in mode inherit, so it is ignored. See: pgbastion allowlist mode --help")


@app.command("list")
def list_entries(target: OfTarget = None, user: OfUser = None, as_json: AsJson = False, config: Config = None) -> None:
    """List entries, expired ones too; all lists unless one is named."""
    from gateway.services.allowlist import name_entries

    level = _level(target, user) if target or user else None
    found = [record(named) for named in name_entries(operator(config).read()) if level is None or named.level == level]
    show(found, as_json=as_json, columns=COLUMNS, empty="No entries. (An empty global list admits nobody.)")


@app.command()
def delete(
    entry: Annotated[str, typer.Argument(help="The entry's id, or its network.", show_default=False)],
    target: OfTarget = None,
    user: OfUser = None,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Remove an entry; sessions from there end within a second."""
    from gateway.services import allowlist

    level = _level(target, user)
    op = operator(config)
    if "." in entry or ":" in entry:
        verb = allowlist.delete_network(op.store, level=level, network=entry, actor=op.actor, reason=reason)
    else:
        verb = allowlist.delete_entry(op.store, entry_id=entry, actor=op.actor, reason=reason)
    gone = op.change(verb)
    say(f"{gone.entry.network} removed from the list: {allowlist.level_text(gone.level)}.")
    if not op.read().global_entries:
        note("Note: the global list is empty now: nobody is admitted.")


@app.command()
def mode(
    mode: Annotated[ListMode, typer.Argument(help="inherit: the list is ignored. restrict: only what it lists is admitted.")],
    target: OfTarget = None,
    user: OfUser = None,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Switch a target's or a user's own list on or off."""
    from gateway.services import allowlist

    level = _level(target, user)
    op = operator(config)
    changed = op.change(allowlist.set_list_mode(op.store, level=level, mode=mode, actor=op.actor, reason=reason))
    say(f"The list of {allowlist.level_text(level)} is in mode {changed.allowlist}.")
    if mode is ListMode.RESTRICT and not any(
        named.level == level and _live(named) for named in allowlist.name_entries(op.read())
    ):
        note("Note: it has no live entry, so nobody is admitted there.")


def record(named: "NamedEntry") -> Record:
    from gateway.services.allowlist import level_text

    entry = named.entry
    return {
        "id": entry.id,
        "level": level_text(named.level),
        "network": str(entry.network),
        "label": entry.label,
        "valid_until": when(entry.valid_until),
        "live": _live(named),
    }


def _live(named: "NamedEntry") -> bool:
    return named.entry.valid_until is None or datetime.now(UTC) < named.entry.valid_until


def _owners(snapshot: "Snapshot") -> "list[User | Target]":
    return [*snapshot.users.values(), *snapshot.targets.values()]


def _level(target: str | None, user: str | None) -> "Level":
    from gateway.services import allowlist

    if target is not None and user is not None:
        raise typer.BadParameter("give either --target or --user")
    if target is not None:
        return allowlist.OfTarget(target)
    return allowlist.OfUser(user) if user is not None else allowlist.Everybody()
