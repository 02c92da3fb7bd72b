"""/v1/grants"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Change, Changing, Doing, Looking, Making, gone, made, shown, told
from admin_api.models.grant_why import WhyRecord, why_record
from admin_api.models.grants import GrantPage, GrantPatch, GrantRecord, NewGrant, grant_record
from admin_api.paging import Key, Paged
from admin_api.problems import ApiError
from gateway.access.model import Snapshot
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.services import grants
from gateway.services.grants import GroupHolder, Holder, NamedGrant, UserHolder, name_grants
from gateway.services.lookup import find_grant, is_live

router = APIRouter(prefix="/grants", tags=["grants"])

OfUser = Annotated[str | None, Query(description="Only what this user holds itself.")]
OfGroup = Annotated[str | None, Query(description="Only what this group holds.")]
OnTarget = Annotated[str | None, Query(description="Only on this target.")]
InMode = Annotated[AccessMode | None, Query(description="Only of this access mode.")]


@router.get("", response_model=GrantPage)
async def list_grants(
    call: Looking,
    page: Paged,
    user: OfUser = None,
    group: OfGroup = None,
    target: OnTarget = None,
    mode: InMode = None,
    live: Annotated[bool | None, Query(description="Only those that have not ended, or only those that have.")] = None,
) -> Response:
    """List grants, ended ones too: users' first, then groups'."""
    now = call.now
    found = [
        named
        for named in name_grants(call.snapshot)
        if (user is None or named.holder == UserHolder(user))
        and (group is None or named.holder == GroupHolder(group))
        and target in (None, named.target_name)
        and mode in (None, named.grant.mode)
        and live in (None, is_live(named.grant.valid_until, now))
    ]
    items, following = page.of(found, _key)
    return call.show_list(GrantPage(items=[grant_record(named, now) for named in items], next=following))


@router.post("", response_model=GrantRecord, status_code=201)
async def create_grant(call: Making, body: NewGrant) -> Response:
    """Give a user, or all members of a group, a target."""

    async def answer(named: NamedGrant) -> Response:
        return made(grant_record(named, call.now), named.grant.version, f"/v1/grants/{named.grant.id}")

    async def again(event: AdminEvent) -> Response:
        return await answer(_named(await call.after(), event.object_id))

    return await call.run(
        lambda store: grants.create_grant(
            store,
            holder=body.holder,
            target_name=body.target,
            mode=body.mode,
            replace_live=body.replace,
            beside=body.beside,
            **body.given,
            **call.why,
        ),
        answer,
        again,
    )


@router.delete("", response_model=GrantPage)
async def revoke_grants(
    call: Doing,
    target: Annotated[str, Query(description="On this target.")],
    user: Annotated[str | None, Query(description="All that this user holds itself; or give group.")] = None,
    group: Annotated[str | None, Query(description="All that this group holds; or give user.")] = None,
    mode: InMode = None,
) -> Response:
    """Take away all that somebody holds on a target; sessions that stand on it end. Answers what was taken away."""
    if (user is None) == (group is None):
        raise ApiError(422, "holder-unclear", "give either user or group")
    holder: Holder = GroupHolder(group) if group is not None else UserHolder(user or "")
    found = await grants.revoke_grants(call.store, holder=holder, target_name=target, mode=mode, **call.why)
    return told(GrantPage(items=[grant_record(named, call.now) for named in found]))


@router.get("/why", response_model=WhyRecord)
async def why(
    call: Looking,
    user: Annotated[str, Query(description="Who.")],
    target: Annotated[str, Query(description="What they would use.")],
    mode: Annotated[AccessMode, Query(description="In which access mode.")] = AccessMode.READ_ONLY,
) -> Response:
    """Why a user may use a target, or may not: which grant counts, why others lose, when what is closed opens."""
    found = grants.why(call.snapshot, user_name=user, target_name=target, mode=mode, now=call.now)
    return call.show_list(why_record(found, user, target, mode, call.now))


@router.get("/{grant_id}", response_model=GrantRecord)
async def show_grant(call: Looking, grant_id: str) -> Response:
    """Show one grant."""
    named = _named(call.snapshot, grant_id)
    return call.show(grant_record(named, call.now), named.grant.version)


@router.patch("/{grant_id}", response_model=GrantRecord)
async def update_grant(call: Changing, grant_id: str, body: GrantPatch) -> Response:
    """Change when a live grant ends, or what it carries: all that is given, in one change. Live sessions follow at once."""
    named = await grants.update_grant(
        call.store,
        grant_id=grant_id,
        expected_version=call.expected_version,
        **body.given,
        **call.why,
    )
    return _shown(call, named)


@router.delete("/{grant_id}", status_code=204)
async def revoke_grant(call: Changing, grant_id: str) -> Response:
    """Take one grant away; sessions that stand on it end."""
    await grants.revoke_grant(call.store, grant_id=grant_id, expected_version=call.expected_version, **call.why)
    return gone()


def _shown(call: Change, named: NamedGrant) -> Response:
    return shown(grant_record(named, call.now), named.grant.version)


def _named(snapshot: Snapshot, grant_id: str) -> NamedGrant:
    grant = find_grant(snapshot, grant_id)
    return next(named for named in name_grants(snapshot) if named.grant is grant)


def _key(named: NamedGrant) -> Key:
    kind = "group" if isinstance(named.holder, GroupHolder) else ""
    return (kind, named.holder.name, named.target_name, named.grant.mode.value, named.grant.id)
