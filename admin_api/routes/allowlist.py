"""/v1/allowlist"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Changing, Looking, Making, gone, made
from admin_api.models.allowlist import EntryPage, EntryRecord, NewEntry, entry_record
from admin_api.paging import Key, Paged
from gateway.access.model import Snapshot
from gateway.audit.admin_event import AdminEvent
from gateway.services import allowlist
from gateway.services.allowlist import Everybody, NamedEntry, OfTarget, OfUser, level_text, name_entries
from gateway.services.lookup import find_entry, is_live

router = APIRouter(prefix="/allowlist", tags=["allowlist"])


@router.get("", response_model=EntryPage)
async def list_entries(
    call: Looking,
    page: Paged,
    user: Annotated[str | None, Query(description="Only this user's own list.")] = None,
    target: Annotated[str | None, Query(description="Only this target's own list.")] = None,
    live: Annotated[bool | None, Query(description="Only those that have not ended, or only those that have.")] = None,
) -> Response:
    """List entries, ended ones too: everybody's list first, then targets' and users' own."""
    now = call.now
    found = [
        named
        for named in name_entries(call.snapshot)
        if (user is None or named.level == OfUser(user))
        and (target is None or named.level == OfTarget(target))
        and live in (None, is_live(named.entry.valid_until, now))
    ]
    items, following = page.of(found, _key)
    return call.show_list(EntryPage(items=[entry_record(named, now) for named in items], next=following))


@router.post("", response_model=EntryRecord, status_code=201)
async def create_entry(call: Making, body: NewEntry) -> Response:
    """Admit a network. On a user's or target's list it counts once that list is in restrict mode."""

    async def answer(named: NamedEntry) -> Response:
        return made(entry_record(named, call.now), named.entry.version, f"/v1/allowlist/{named.entry.id}")

    async def again(event: AdminEvent) -> Response:
        return await answer(_named(await call.after(), event.object_id))

    return await call.run(
        lambda store: allowlist.create_entry(
            store,
            level=body.level.level,
            network=body.network,
            label=body.label,
            valid_until=body.valid_until,
            **call.why,
        ),
        answer,
        again,
    )


@router.get("/{entry_id}", response_model=EntryRecord)
async def show_entry(call: Looking, entry_id: str) -> Response:
    """Show one entry."""
    named = _named(call.snapshot, entry_id)
    return call.show(entry_record(named, call.now), named.entry.version)


@router.delete("/{entry_id}", status_code=204)
async def delete_entry(call: Changing, entry_id: str) -> Response:
    """Remove an entry; sessions from there end."""
    await allowlist.delete_entry(call.store, entry_id=entry_id, expected_version=call.expected_version, **call.why)
    return gone()


def _named(snapshot: Snapshot, entry_id: str) -> NamedEntry:
    entry = find_entry(snapshot, entry_id)
    return next(named for named in name_entries(snapshot) if named.entry is entry)


def _key(named: NamedEntry) -> Key:
    own = "" if named.level == Everybody() else "own"
    return (own, level_text(named.level), str(named.entry.network), named.entry.id)
