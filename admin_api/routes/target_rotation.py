"""/v1/targets/{name}/rotate-credential"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Doing, told
from admin_api.models.rotation import RotationRecord, rotation_record
from gateway.services.rotation import Choice, Means, rotate_credentials, workers_of

router = APIRouter()


@router.post("/{name}/rotate-credential", response_model=RotationRecord)
async def rotate_credential(
    call: Doing,
    name: str,
    role: Annotated[
        Choice, Query(description="sessions: the logins of both access modes; admin: the one that administers the target.")
    ] = Choice.SESSIONS,
    end_sessions: Annotated[
        bool, Query(description="Of the admin login: end those who logged in with the former password.")
    ] = False,
) -> Response:
    """Give upstream logins new passwords, which nobody sees. No session ends, and no login fails meanwhile.

    A run that is broken off is finished by the next one. The answer says of each login what became of it.
    """
    means = Means(keys=call.context.sealer, caught_up=workers_of(call.gateway))
    found = await rotate_credentials(call.context.store, means, name=name, choice=role, end_sessions=end_sessions, **call.why)
    return told(rotation_record(name, found))
