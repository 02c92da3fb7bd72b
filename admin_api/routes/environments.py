"""/v1/environments"""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, gone, made, shown
from admin_api.models.environments import (
    EnvironmentPage,
    EnvironmentPatch,
    EnvironmentRecord,
    NewEnvironment,
    environment_record,
)
from admin_api.paging import Paged
from gateway.access.model import Environment
from gateway.audit.admin_event import AdminEvent
from gateway.services import environments
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment

router = APIRouter(prefix="/environments", tags=["environments"])


@router.get("", response_model=EnvironmentPage)
async def list_environments(call: Looking, page: Paged) -> Response:
    """List environments, by name."""
    items, following = page.of(list(call.snapshot.environments.values()), lambda each: (each.name,))
    return call.show_list(EnvironmentPage(items=[environment_record(call.snapshot, each) for each in items], next=following))


@router.post("", response_model=EnvironmentRecord, status_code=201)
async def create_environment(call: Making, body: NewEnvironment) -> Response:
    """Make an environment. It holds no target, and nobody but owners has rights in it."""

    async def answer(environment: Environment) -> Response:
        return await _made(call, environment.id)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id)

    return await call.run(lambda store: environments.create_environment(store, name=body.name, **call.why), answer, again)


@router.get("/{name}", response_model=EnvironmentRecord)
async def show_environment(call: Looking, name: str) -> Response:
    """Show one environment with its targets and who has rights there."""
    found = find_environment(call.snapshot, name)
    return call.show(environment_record(call.snapshot, found), found.version, whole=False)


@router.patch("/{name}", response_model=EnvironmentRecord)
async def rename_environment(call: Changing, name: str, body: EnvironmentPatch) -> Response:
    """Give it another name. Rights and targets stay."""
    version = call.expected_version
    found = await environments.rename_environment(
        call.store, name=name, new_name=body.name, expected_version=version, **call.why
    )
    return shown(environment_record(await call.after(), found), found.version)


@router.delete("/{name}", status_code=204)
async def delete_environment(call: Changing, name: str) -> Response:
    """Delete an environment without targets, and what admin roles held there."""
    await environments.delete_environment(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


async def _made(call: Change, environment_id: str) -> Response:
    snapshot = await call.after()
    found = next((each for each in snapshot.environments.values() if each.id == environment_id), None)
    if found is None:
        raise ServiceError("environment-unknown", "this environment was deleted meanwhile")
    return made(environment_record(snapshot, found), found.version, f"/v1/environments/{found.name}")
