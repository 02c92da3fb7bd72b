"""/v1/users"""

from collections import Counter
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Change, Changing, Look, Looking, Making, MakingAt, gone, made, shown
from admin_api.models.fields import secret
from admin_api.models.users import NewPassword, NewUser, Presence, UserMade, UserPage, UserPatch, UserRecord, user_record
from admin_api.paging import Paged
from admin_api.together import together
from gateway.access.authorize import user_by_id
from gateway.access.model import Snapshot, User
from gateway.audit.admin_event import AdminEvent
from gateway.ports import GatewayUnavailable
from gateway.secret import Secret
from gateway.services import allowlist, certificates, users
from gateway.services.allowlist import OfUser
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_group, find_user

_FACTS: Final = frozenset({"kind", "read_only", "protected", "email"})

router = APIRouter(prefix="/users", tags=["users"])


@router.get("", response_model=UserPage)
async def list_users(
    call: Looking,
    page: Paged,
    enabled: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    group: Annotated[str | None, Query(description="Only its members.")] = None,
    text: Annotated[str | None, Query(max_length=100, description="Only names that hold this, in any case.")] = None,
) -> Response:
    """List users, by name."""
    members = None if group is None else find_group(call.snapshot, group).members
    wanted = "" if text is None else text.lower()
    found = [
        user
        for user in call.snapshot.users.values()
        if enabled in (None, user.enabled) and (members is None or user.id in members) and wanted in user.name.lower()
    ]
    items, following = page.of(found, lambda user: (user.name,))
    presence = await _presence(call)
    return call.show_list(UserPage(items=[user_record(call.snapshot, user, presence) for user in items], next=following))


@router.post("", response_model=UserMade, status_code=201)
async def create_user(call: Making, body: NewUser) -> Response:
    """Make an account. It has no right but those of its groups."""

    async def answer(credentials: users.Credentials) -> Response:
        return await _made(call, credentials.user.id, credentials.generated)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id, None)

    return await call.run(
        lambda store: users.create_user(
            store,
            name=body.name,
            password=secret(body.password),
            valid_until=body.valid_until,
            groups=body.groups,
            kind=body.kind,
            read_only=body.read_only,
            protected=body.protected,
            email=body.email,
            rules=call.context.settings.now.users.rules,
            **call.why,
        ),
        answer,
        again,
    )


@router.get("/{name}", response_model=UserRecord)
async def show_user(call: Looking, name: str) -> Response:
    """Show one user."""
    user = find_user(call.snapshot, name)
    return shown(user_record(call.snapshot, user, await _presence(call)), user.version)


@router.patch("/{name}", response_model=UserRecord)
async def update_user(call: Changing, name: str, body: UserPatch) -> Response:
    """Enable, disable, protect, move the end, switch the own allowlist ...: all that is given, in one change."""
    async with together(call.store) as store:
        user = find_user(store.snapshot, name, call.expected_version)
        if "valid_until" in body.model_fields_set:
            await users.set_user_expiry(store, name=name, valid_until=body.valid_until, **call.why)
        if body.allowlist is not None:
            await allowlist.set_list_mode(store, level=OfUser(name), mode=body.allowlist, **call.why)
        given = {each for each in body.model_fields_set & _FACTS if each == "email" or getattr(body, each) is not None}
        if given:
            await users.update_user(
                store,
                name=name,
                kind=body.kind,
                read_only=body.read_only,
                protected=body.protected,
                email=(body.email or "") if "email" in given else None,
                **call.why,
            )
        if body.certificate_names is not None:
            names = body.certificate_names
            await certificates.set_certificate_names(store, name=name, certificate_names=names, **call.why)
        if body.enabled is not None:
            verb = users.enable_user if body.enabled else users.disable_user
            await verb(store, name=name, **call.why)
    snapshot = await call.after()
    user = _by_id(snapshot, user.id)
    return shown(user_record(snapshot, user, await _presence(call)), user.version)


@router.delete("/{name}", status_code=204)
async def delete_user(call: Changing, name: str) -> Response:
    """Delete an account with its grants and allowlist; its sessions end."""
    await users.delete_user(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.post("/{name}/password", response_model=UserMade)
async def set_password(call: MakingAt, name: str, body: NewPassword) -> Response:
    """Set another password; sessions that used the old one end."""

    async def answer(credentials: users.Credentials) -> Response:
        return await _made(call, credentials.user.id, credentials.generated, new=False)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id, None, new=False)

    return await call.run(
        lambda store: users.set_password(
            store,
            name=name,
            password=secret(body.password),
            rules=call.context.settings.now.users.rules,
            expected_version=call.expected_version,
            **call.why,
        ),
        answer,
        again,
    )


async def _made(call: Change, user_id: str, generated: Secret | None, *, new: bool = True) -> Response:
    """`generated` is None in a repetition: what is shown once was shown."""
    snapshot = await call.after()
    user = _by_id(snapshot, user_id)
    password = None if generated is None else generated.reveal()
    record = UserMade(**dict(user_record(snapshot, user, await _presence(call))), password=password)
    return made(record, user.version, f"/v1/users/{user.name}") if new else shown(record, user.version)


async def _presence(call: Look | Change) -> Presence:
    """Sessions are counted where somebody can tell; without a gateway nobody can."""
    logins = await call.context.store.last_logins()
    try:
        counted = Counter(session.user for session in await call.gateway.sessions())
    except GatewayUnavailable:
        return Presence(None, logins)
    return Presence(counted, logins)


def _by_id(snapshot: Snapshot, user_id: str) -> User:
    user = user_by_id(snapshot, user_id)
    if user is None:
        raise ServiceError("user-unknown", "this user was deleted meanwhile")
    return user
