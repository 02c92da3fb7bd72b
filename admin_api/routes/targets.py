"""/v1/targets"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, gone, made, shown
from admin_api.models.targets import (
    NewLogin,
    NewPlace,
    NewTarget,
    TargetPage,
    TargetPatch,
    TargetRecord,
    target_record,
)
from admin_api.paging import Paged
from admin_api.routes import adoption, outside_use, target_checks, target_managed, target_rotation
from admin_api.together import together
from gateway.access.model import Target
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services import allowlist, targets
from gateway.services.allowlist import OfTarget
from gateway.services.environments import move_to_environment
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment, find_target
from gateway.services.rotation_schedule import set_rotate_every
from gateway.services.secret_references import read_reference, refer_login
from gateway.services.target_facts import Permitted, Place
from gateway.services.visible import within_reach

router = APIRouter(prefix="/targets", tags=["targets"])
router.include_router(target_checks.router)
router.include_router(adoption.router)
router.include_router(outside_use.router)
router.include_router(target_rotation.router)
router.include_router(target_managed.router)

_PLACE = frozenset({"host", "port", "dbname", "tls", "allow_md5", "passwords"})


@router.get("", response_model=TargetPage)
async def list_targets(
    call: Looking,
    page: Paged,
    enabled: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    text: Annotated[str | None, Query(max_length=100, description="Only names that hold this, in any case.")] = None,
    environment: Annotated[str | None, Query(description="Only in this environment.")] = None,
) -> Response:
    """List targets, by name. Of those that you may see only the basic facts of, hosts and logins are left out."""
    wanted = "" if text is None else text.lower()
    place = None if environment is None else find_environment(call.snapshot, environment).id
    found = [
        target
        for target in call.snapshot.targets.values()
        if enabled in (None, target.enabled) and wanted in target.name.lower() and place in (None, target.environment_id)
    ]
    items, following = page.of(found, lambda target: (target.name,))
    return call.show_list(TargetPage(items=[target_record(call.snapshot, target) for target in items], next=following))


@router.post("", response_model=TargetRecord, status_code=201)
async def create_target(call: Making, body: NewTarget) -> Response:
    """Make a target. Nobody can use it before it has a login and they have a grant."""
    place = Place(body.host, body.port, body.dbname, body.tls, body.ca_pem, body.allow_md5)

    async def create(store: Store) -> Target:
        async with together(store) as parts:
            where = body.environment
            target = await targets.create_target(parts, name=body.name, place=place, environment=where, **call.why)
            if body.max_sessions is not None:
                target = await targets.set_max_sessions(parts, name=body.name, max_sessions=body.max_sessions, **call.why)
            if body.open_ahead:
                target = await targets.set_open_ahead(parts, name=body.name, open_ahead=body.open_ahead, **call.why)
        return target

    async def answer(target: Target) -> Response:
        return await made_again(target.id)

    async def made_again(target_id: str) -> Response:
        snapshot = await call.after()
        target = next((each for each in snapshot.targets.values() if each.id == target_id), None)
        if target is None:
            raise ServiceError("target-unknown", "this target was deleted meanwhile")
        return made(target_record(snapshot, target), target.version, f"/v1/targets/{target.name}")

    async def again(event: AdminEvent) -> Response:
        return await made_again(event.object_id)

    return await call.run(create, answer, again)


@router.get("/{name}", response_model=TargetRecord)
async def show_target(call: Looking, name: str) -> Response:
    """Show one target; of one that you may see only the basic facts of, without hosts, logins and lists."""
    target = find_target(call.snapshot, name)
    return call.show(target_record(call.snapshot, target), target.version, whole=False)


@router.patch("/{name}", response_model=TargetRecord)
async def update_target(call: Changing, name: str, body: TargetPatch) -> Response:
    """Change all that is given, in one change. Sessions end when host, port, database or TLS mode change.

    Another host or port, weaker TLS, other CAs and md5 need the passwords of the target's logins again.
    """
    given = {field for field in body.model_fields_set if getattr(body, field) is not None}
    nulls = body.model_fields_set - given

    def move(old: Place) -> Place:
        return Place(
            host=old.host if body.host is None else body.host,
            port=old.port if body.port is None else body.port,
            dbname=old.dbname if body.dbname is None else body.dbname,
            tls=old.tls if body.tls is None else body.tls,
            ca_pem=None if "ca_pem" in nulls else body.ca_pem or old.ca_pem,
            allow_md5=old.allow_md5 if body.allow_md5 is None else body.allow_md5,
        )

    _, actor = await call.rights()
    async with together(call.store) as store:
        find_target(within_reach(store.snapshot, actor), name, call.expected_version)
        if given & _PLACE or "ca_pem" in body.model_fields_set:
            passwords = {mode: Secret(given.get_secret_value()) for mode, given in (body.passwords or {}).items()}
            await targets.move_target(store, call.context.sealer, name=name, change=move, passwords=passwords, **call.why)
        if "max_sessions" in body.model_fields_set:
            await targets.set_max_sessions(store, name=name, max_sessions=body.max_sessions, **call.why)
        if body.open_ahead is not None:
            await targets.set_open_ahead(store, name=name, open_ahead=body.open_ahead, **call.why)
        if "rotate_every_days" in body.model_fields_set:
            await set_rotate_every(store, name=name, days=body.rotate_every_days, **call.why)
        if body.allowlist is not None:
            await allowlist.set_list_mode(store, level=OfTarget(name), mode=body.allowlist, **call.why)
        if body.enabled is not None:
            verb = targets.enable_target if body.enabled else targets.disable_target
            await verb(store, name=name, **call.why)
    return await _shown(call, name)


@router.delete("/{name}", status_code=204)
async def delete_target(call: Changing, name: str) -> Response:
    """Delete a target with its logins, grants and allowlist; its sessions end."""
    await targets.delete_target(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.put("/{name}/logins/{mode}", response_model=TargetRecord)
async def set_login(call: Changing, name: str, mode: AccessMode, body: NewLogin) -> Response:
    """Set the upstream login of one access mode. A new password does not end sessions; another role does."""
    version, login = call.expected_version, body.login
    if (body.password is None) == (body.secret_from is None):
        raise ServiceError("password-missing", "give either password or secret_from", "")
    if body.password is not None:
        password = Secret(body.password.get_secret_value())
        store, sealer = call.store, call.context.sealer
        await targets.set_login(
            store, sealer, name=name, mode=mode, login=login, password=password, expected_version=version, **call.why
        )
    else:
        reference = read_reference(body.secret_from or "")
        if not call.context.settings.now.secrets.allows(reference):
            raise ServiceError(
                "reference-not-allowed",
                f"references like {reference} are not in secrets.allowed of the gateway's settings",
                "Whoever runs the gateway decides which secrets it may fetch.",
            )
        await refer_login(
            call.store, name=name, mode=mode, login=login, reference=reference, expected_version=version, **call.why
        )
    return await _shown(call, name)


@router.delete("/{name}/logins/{mode}", response_model=TargetRecord)
async def remove_login(call: Changing, name: str, mode: AccessMode) -> Response:
    """Remove the upstream login of one access mode; sessions in it end."""
    version = call.expected_version
    await targets.remove_login(call.store, name=name, mode=mode, expected_version=version, **call.why)
    return await _shown(call, name)


@router.put("/{name}/permits/{kind}/{item:path}", response_model=TargetRecord)
async def permit(call: Changing, name: str, kind: Permitted, item: str) -> Response:
    """Let sessions use a function (schema.name, or schema.*), a schema on search_path, or a custom setting."""
    version = call.expected_version
    await targets.permit(call.store, name=name, kind=kind, item=item, expected_version=version, **call.why)
    return await _shown(call, name)


@router.delete("/{name}/permits/{kind}/{item:path}", response_model=TargetRecord)
async def forbid(call: Changing, name: str, kind: Permitted, item: str) -> Response:
    """Take it off the list. A function is refused at its next use; for a schema or a setting, the target's sessions end."""
    version = call.expected_version
    await targets.forbid(call.store, name=name, kind=kind, item=item, expected_version=version, **call.why)
    return await _shown(call, name)


@router.put("/{name}/environment", response_model=TargetRecord)
async def move_target(call: Changing, name: str, body: NewPlace) -> Response:
    """Put a target into another environment. What stood on an admin role's right in the former one ends."""
    version = call.expected_version
    await move_to_environment(call.store, name=name, environment=body.environment, expected_version=version, **call.why)
    return await _shown(call, name)


async def _shown(call: Change, name: str) -> Response:
    """As far as the caller may see it: who may change a target may not always know what it is."""
    snapshot = await call.after()
    target = find_target(snapshot, name)
    return shown(target_record(snapshot, target), target.version)
