"""Names for shell completion. It must never fail, wait, migrate or print: without an answer, nothing is offered."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from gateway.cli.reach import Place

_SECONDS: Final = 2.0
_MOST: Final = 500


def users(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "users")


def groups(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "groups")


def targets(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "targets")


def tokens(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "tokens")


def environments(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "environments")


def roles(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "roles")


def approvals(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "approval-policies")


def webhooks(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "webhooks")


def _names(ctx: typer.Context, incomplete: str, kind: str) -> list[str]:
    with contextlib.suppress(Exception), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        from gateway.cli.reach import Place

        threading.excepthook = lambda _: None  # a driver's thread that was not waited for
        options = _options(ctx)
        files = {name: Path(text) for name in ("config", "token_file", "ca_file") if (text := options.get(name))}
        place = Place.given(url=options.get("url"), **files)
        found = asyncio.run(_far(place, place.url, kind) if place.url else _near(place.config, kind))
        return [name for name in sorted(found) if name.startswith(incomplete)]
    return []


async def _far(place: "Place", url: str, kind: str) -> list[str]:
    from gateway.cli.client import Request, path, read_items
    from gateway.cli.remote import Remote, given_token

    remote = Remote(url, given_token(place.token_file, url), place.ca_file)
    try:
        async with asyncio.timeout(_SECONDS):  # what is imported does not count
            answer = await remote.send(Request("GET", path(kind), (("limit", str(_MOST)),)))
        return [str(item["name"]) for item in read_items(answer)]
    finally:
        await remote.close()


async def _near(config: Path | None, kind: str) -> list[str]:
    """Straight from the store, as it is: no migration, no key, no application."""
    from gateway.cli.local import load_settings
    from gateway.store import open_store
    from gateway.store.places import SqlitePlace, locate

    settings = load_settings(config)
    place = locate(settings)
    if isinstance(place, SqlitePlace) and not place.path.exists():
        return []
    store = open_store(settings)
    async with asyncio.timeout(_SECONDS):
        snapshot = await store.read()
    found = {
        "users": snapshot.users,
        "groups": snapshot.groups,
        "targets": snapshot.targets,
        "tokens": snapshot.tokens,
        "environments": snapshot.environments,
        "roles": snapshot.admin_roles,
        "approval-policies": snapshot.approval_policies,
        "webhooks": snapshot.webhooks,
    }
    return list(found[kind])


def _options(ctx: typer.Context) -> dict[str, str]:
    """As far as they are typed already, here or before the command."""
    found: dict[str, str] = {}
    at: typer.Context | None = ctx
    while at is not None:
        found = {**{name: str(value) for name, value in at.params.items() if value}, **found}
        at = at.parent  # type: ignore[assignment]
    return found
