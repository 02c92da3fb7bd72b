"""pgbastion secrets ..."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.local import actor, our_settings
from gateway.cli.options import AsJson, Config, Reason
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.progress import Report, progress
from gateway.cli.reach import admin, example_text
from gateway.cli.running import runs_here

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.key_ring import KeyRing
    from gateway.store.key_rotation import KeyRotation

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Upstream passwords: where they are kept, and under which key."
)

_LISTED = {"target": "target", "mode": "mode", "login": "login", "kept": "kept", "reference": "where"}
_SEALED = {"kind": "what", "key": "sealed with key", "values": "how many"}
_KEYS = {"key": "key", "use": "use", "values": "seals so many"}


@admin(app, "list", examples=["pgbastion secrets list", "pgbastion secrets list --json"])
def list_secrets(api: Api, as_json: AsJson = False) -> None:
    """Say of each upstream login where its password is kept: sealed in the store, or elsewhere. Shows none."""
    found: list[Record] = []
    for target in api.all(path("targets")):
        logins, elsewhere = target.get("logins"), target.get("secrets_from")
        for mode, login in sorted(logins.items()) if isinstance(logins, dict) else ():
            reference = elsewhere.get(mode) if isinstance(elsewhere, dict) else None
            kept = "sealed" if reference is None else "elsewhere"
            found.append({"target": target["name"], "mode": mode, "login": login, "kept": kept, "reference": reference})
    show(found, as_json=as_json, columns=_LISTED, empty="No target has a login yet. Next: pgbastion targets login --help")


@app.command(epilog=example_text(["pgbastion secrets status", "pgbastion secrets status --json"]))
def status(as_json: AsJson = False, config: Config = None) -> None:
    """Say which master keys there are, and how much is sealed with each. Changes nothing."""
    from gateway.store.key_ring import read_ring

    settings = our_settings(config)
    ring = read_ring(settings.key_file)
    sealed = asyncio.run(_sealed(settings))
    keys = _keys(ring, sealed)
    unfinished = bool(ring.retiring) or any(key != ring.current.name for _, key in sealed)
    values: list[Record] = [{"kind": kind, "key": key, "values": count} for (kind, key), count in sorted(sealed.items())]
    if as_json:
        print_json({"keys": keys, "sealed": values, "unfinished": unfinished})
        return
    show(keys, as_json=False, columns=_KEYS, empty="")
    show(values, as_json=False, columns=_SEALED, empty="Nothing is sealed yet.")
    if unfinished:
        note("Not everything is sealed with the newest key. Next: pgbastion secrets rotate-key")


@app.command(
    "rotate-key",
    epilog=example_text(
        [
            "pgbastion secrets rotate-key",
            "pgbastion secrets rotate-key --keep-old --reason yearly",
            "pgbastion secrets rotate-key --stage",
        ]
    ),
)
def rotate_key(
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Leave the old key in the file, to open old backups with; it seals nothing.")
    ] = False,
    stage: Annotated[
        bool, typer.Option("--stage", help="Only put the next key into the file, to be copied to other nodes first.")
    ] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Replace the master key: seal everything with a new one, open each value again, then drop the old key.

    The gateway may run, and sessions go on. Run it again if it was interrupted: it goes on where it was. Then make a new backup.
    """
    from gateway.store.key_rotation import Signature, stage_key
    from gateway.store.key_rotation import rotate_key as rotate

    settings = our_settings(config)
    if not settings.key_file.exists():
        raise CommandError(f"there is no master key {settings.key_file} yet", "The first start makes it: pgbastion serve")
    if stage:
        if keep_old:
            raise typer.BadParameter("give either --stage or --keep-old")
        key = stage_key(settings.key_file)
        _answer({"staged": key}, f"Key {key} is in {settings.key_file} and seals nothing yet. Copy the file to the other nodes, "
                "then: pgbastion secrets rotate-key", as_json=as_json)  # fmt: skip
        return
    with ExitStack() as bars:
        done = asyncio.run(
            rotate(
                settings,
                Signature(actor(), reason),
                keep_old=keep_old,
                watch=lambda step: _bar(bars, step),
                waits_for_others=runs_here(settings) or not settings.store_url.startswith("sqlite"),
                on_commit=_waking(settings),
            )
        )
    _report(done, settings, as_json=as_json)


def _bar(bars: ExitStack, step: str) -> Report:
    """One at a time: the former one goes."""
    bars.close()
    return bars.enter_context(progress(step))


def _report(done: "KeyRotation", settings: "Settings", *, as_json: bool) -> None:
    unreadable: list[Record] = [{"kind": each.kind, "row": each.row, "why": each.why} for each in done.unreadable]
    if as_json:
        facts: Record = {"key": done.key_id, "former": list(done.former), "resumed": done.resumed, "finished": done.finished}
        print_json({**facts, "kept": done.kept, "opened": done.opened, "unreadable": unreadable, "notes": done.notes})
    if not done.finished:
        if not as_json:
            show(unreadable, as_json=False, columns={"kind": "what", "row": "in row", "why": "why"}, empty="")
        raise CommandError(
            f"{len(unreadable)} values could not be sealed with the new key {done.key_id}: the old one stays; all else is done",
            "Set those passwords again (pgbastion targets login ...), or remove what they belong to; then run this again.",
        )
    if as_json:
        return
    count = sum(done.opened.values())
    former = ", ".join(done.former)
    stays = "stays in the file, and seals nothing" if done.kept else "is not in the file any more"
    begun = "The rotation that was begun is done" if done.resumed else "The master key is another one now"
    values = f"{count} values are" if count != 1 else "1 value is"
    say(f"{begun}: {values} sealed with key {done.key_id}, and each was opened again. The old key ({former}) {stays}.")
    for each in done.notes:
        note(f"Note: {each}")
    say(f"Next: a new backup, and a copy of {settings.key_file} apart from it. Old backups open only with the old key.")


def _answer(facts: Record, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        say(text)


def _keys(ring: "KeyRing", sealed: dict[tuple[str, str], int]) -> list[Record]:
    uses = [(ring.current, "seals"), *((key, "being retired") for key in ring.retiring), *((key, "opens") for key in ring.kept)]
    if ring.next is not None:
        uses.append((ring.next, "staged"))
    counts: dict[str, int] = {}
    for (_, key), count in sealed.items():
        counts[key] = counts.get(key, 0) + count
    here: list[Record] = [{"key": key.name, "use": use, "values": counts.pop(key.name, 0)} for key, use in uses]
    return here + [{"key": key, "use": "missing", "values": count} for key, count in sorted(counts.items())]


async def _sealed(settings: "Settings") -> dict[tuple[str, str], int]:
    """Raises StoreError."""
    from gateway.store.info import read_sealed

    return await read_sealed(settings)


def _waking(settings: "Settings"):  # type: ignore[no-untyped-def]
    from gateway.bus.gateway import BusGateway

    gateway = BusGateway(settings.bus_socket)
    return lambda _revision: gateway.wake()
