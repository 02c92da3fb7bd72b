"""/v1/targets/{name}/managed..."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Changing, Doing, Looking, shown, told
from admin_api.models.managed import (
    CleanRecord,
    ManagedLoginPage,
    NewManaged,
    clean_record,
    managed_login_record,
)
from admin_api.models.targets import TargetRecord, target_record
from admin_api.paging import Paged
from gateway.services import managed_logins
from gateway.services.lookup import find_target

router = APIRouter()


@router.put("/{name}/managed", response_model=TargetRecord)
async def set_managed(call: Changing, name: str, body: NewManaged) -> Response:
    """Set whose database role sessions use: the target's own, one of each person's, or one of each grant's; sessions end.

    The server is asked first, by the target's admin login, whether such roles can be made there.
    """
    await managed_logins.set_managed(
        call.context.store,
        call.context.sealer,
        name=name,
        mode=body.managed,
        expected_version=call.expected_version,
        **call.why,
    )
    snapshot = await call.after()
    target = find_target(snapshot, name)
    return shown(target_record(snapshot, target), target.version)


@router.get("/{name}/managed-logins", response_model=ManagedLoginPage)
async def list_managed_logins(call: Looking, page: Paged, name: str) -> Response:
    """List the database roles of people's own that the gateway has on the target's server, or could not drop, by name."""
    target = call.find_target("targets.managed-logins", name)
    found = [login for login in call.snapshot.managed_logins if login.key.target_id == target.id]
    items, following = page.of(found, lambda login: (login.login,))
    return call.show_list(ManagedLoginPage(items=[managed_login_record(login) for login in items], next=following))


@router.post("/{name}/clean", response_model=CleanRecord)
async def clean_target(
    call: Doing,
    name: str,
    dry_run: Annotated[bool, Query(description="Only look.")] = False,
) -> Response:
    """Drop login roles of this gateway's that should not be on the target's server any more. It happens by itself, too."""
    found = await managed_logins.clean(
        call.context.store,
        call.context.sealer,
        name=name,
        only_look=dry_run,
        most=call.context.settings.now.limits.max_sessions_per_user,
        **call.why,
    )
    return told(clean_record(name, list(found)))
