"""/v1/credentials"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Changing, Looking, Making, gone, made
from admin_api.endpoint import endpoint_of
from admin_api.known import until_known
from admin_api.models.credentials import (
    CredentialMade,
    CredentialPage,
    CredentialRecord,
    NewCredential,
    credential_records,
    database_name,
)
from admin_api.paging import Paged
from gateway.access.proof import Credential
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret
from gateway.services import credentials
from gateway.services.credentials import Issued, find_credential
from gateway.services.lookup import is_live

router = APIRouter()


@router.get("/credentials", response_model=CredentialPage, tags=["credentials"])
async def list_credentials(
    call: Looking,
    page: Paged,
    user: Annotated[str | None, Query(description="Only this user's.")] = None,
    target: Annotated[str | None, Query(description="Only for this target.")] = None,
    live: Annotated[bool | None, Query(description="Only those that have not ended, or only those that have.")] = None,
) -> Response:
    """List short-lived credentials: one's own; for owners, everybody's. Ended ones stay for a day."""
    now = call.now
    # Of one's own, all is known: by which name the target goes, too, whoever administrates it.
    users = None if user is None else {each.id for each in call.whole.users.values() if each.name == user}
    targets = None if target is None else {each.id for each in call.whole.targets.values() if each.name == target}
    found = [
        each
        for each in call.snapshot.credentials.values()
        if (users is None or each.user_id in users)
        and (targets is None or each.target_id in targets)
        and live in (None, is_live(each.valid_until, now))
    ]
    items, following = page.of(found, lambda each: (each.created_at.isoformat(), each.id))
    return call.show_list(CredentialPage(items=credential_records(call.whole, items, now), next=following))


@router.post("/credentials", response_model=CredentialMade, status_code=201, tags=["credentials"])
async def issue_credential(call: Making, body: NewCredential) -> Response:
    """Issue a login and a password for one target. The password is in this answer and nowhere else."""
    settings = call.context.settings.now
    gateway = endpoint_of(settings)  # what cannot be connected with is not issued

    async def answer_with(credential: Credential, password: Secret | None) -> Response:
        rights, _ = await call.rights()
        (record,) = credential_records(rights, [credential], call.now)
        text = None if password is None else password.reveal()
        database = database_name(body.target, body.mode)
        whole = CredentialMade(**dict(record), password=text, database=database, gateway=gateway)
        return made(whole, credential.version, f"/v1/credentials/{credential.id}")

    async def answer(issued: Issued) -> Response:
        await until_known(call.gateway, issued.credential.version)
        return await answer_with(issued.credential, issued.password)

    async def again(event: AdminEvent) -> Response:
        rights, _ = await call.rights()
        return await answer_with(find_credential(rights, event.object_id), None)

    return await call.run(
        lambda store: credentials.issue_credential(
            store,
            target=body.target,
            mode=body.mode,
            user=body.user,
            seconds=body.seconds,
            network=body.network,
            max_sessions=body.max_sessions,
            rules=settings.credentials,
            **call.why,
        ),
        answer,
        again,
    )


@router.get("/credentials/{credential}", response_model=CredentialRecord, tags=["credentials"])
async def show_credential(call: Looking, credential: str) -> Response:
    """Show one, by its id or its login: all but the password."""
    found = find_credential(call.snapshot, credential)
    (record,) = credential_records(call.whole, [found], call.now)
    return call.show(record, found.version)


@router.delete("/credentials/{credential}", status_code=204, tags=["credentials"])
async def revoke_credential(call: Changing, credential: str) -> Response:
    """It opens nothing any more, and sessions that it opened end."""
    await credentials.revoke_credential(call.store, credential=credential, expected_version=call.expected_version, **call.why)
    return gone()
