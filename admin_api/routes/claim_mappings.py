"""/v1/claim-mappings: what groups at the identity provider mean here."""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Changing, Looking, Making, gone, made
from admin_api.models.accounts import MappingPage, MappingRecord, NewMapping, mapping_record
from admin_api.paging import Paged
from gateway.access.accounts import ClaimMapping
from gateway.audit.admin_event import AdminEvent
from gateway.services import claim_mappings
from gateway.services.claim_mappings import find_mapping

router = APIRouter(prefix="/claim-mappings", tags=["claim mappings"])

_SEE = "claim-mappings.list"


@router.get("", response_model=MappingPage)
async def list_mappings(call: Looking, page: Paged) -> Response:
    """List them, by value."""
    call.require(_SEE)
    items, following = page.of(list(call.whole.claim_mappings), lambda mapping: (mapping.value, mapping.id))
    return call.show_list(MappingPage(items=[mapping_record(call.whole, each) for each in items], next=following))


@router.post("", response_model=MappingRecord, status_code=201)
async def create_mapping(call: Making, body: NewMapping) -> Response:
    """Whoever has this value in the group claim is in this group, or holds this admin role; who has not, is not."""

    async def answer(mapping: ClaimMapping) -> Response:
        return await _made(mapping.id)

    async def again(event: AdminEvent) -> Response:
        return await _made(event.object_id)

    async def _made(mapping_id: str) -> Response:
        snapshot, _ = await call.rights()
        mapping = find_mapping(snapshot, mapping_id)
        return made(mapping_record(snapshot, mapping), mapping.version, f"/v1/claim-mappings/{mapping.id}")

    return await call.run(
        lambda store: claim_mappings.create_mapping(store, value=body.value, group=body.group, role=body.role, **call.why),
        answer,
        again,
    )


@router.get("/{mapping_id}", response_model=MappingRecord)
async def show_mapping(call: Looking, mapping_id: str) -> Response:
    """Show one."""
    call.require(_SEE)
    mapping = find_mapping(call.whole, mapping_id)
    return call.show(mapping_record(call.whole, mapping), mapping.version, whole=False)


@router.delete("/{mapping_id}", status_code=204)
async def delete_mapping(call: Changing, mapping_id: str) -> Response:
    """Who is a member by it stays one."""
    await claim_mappings.delete_mapping(call.store, mapping_id=mapping_id, expected_version=call.expected_version, **call.why)
    return gone()
