"""/v1/targets/{name}/adoption"""

import asyncio
from dataclasses import replace
from typing import Final

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.responses import Response

from admin_api.calls import Change, Doing, Looking, gone, told
from admin_api.models.adoption import (
    Adoption,
    AdoptionRecord,
    AdoptionState,
    Undoing,
    UndoneRecord,
    plan_record,
    state_record,
    step_records,
    undone_record,
)
from gateway.access.model import DEFAULT_ENVIRONMENT, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.ports import CheckStep, GatewayUnavailable
from gateway.secret import Secret
from gateway.services.actor import require
from gateway.services.admin_url import AdminUrl, parse_admin_url
from gateway.services.adoption import AdminLogin, Adopter, adopt, preview_adoption
from gateway.services.adoption_plan import Asked, Writing
from gateway.services.adoption_undo import undo_adoption
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_environment
from gateway.services.naming import check_target_name
from gateway.services.target_admins import admin_of, admin_secret, forget_admin
from gateway.services.target_facts import Place, check_place, place_of
from gateway.services.targets import create_target, sketch_target
from gateway.services.visible import within_reach

router = APIRouter()

_HEARD_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1


@router.get("/{name}/adoption", response_model=AdoptionState)
async def show_adoption(call: Looking, name: str) -> Response:
    """Say by which login the target's database is administered, and what undoing its adoption would bring back."""
    target = call.find_target("targets.show", name)
    store = call.context.store
    return told(state_record(name, await store.target_admin(target.id), await store.former_logins(target.id)))


@router.post("/{name}/adoption", response_model=AdoptionRecord)
async def adopt_target(call: Doing, name: str, body: Adoption) -> Response:
    """Make roles of its own for the gateway in the database, and have the target use these. A new target is made for the URL.

    Made again, it finishes what broke off, or has nothing to do. A dry run says what would be done.
    """
    target, url, created = await _target(call, name, body)
    admin = await _admin(call, target, url)
    writer = Writing.NONE if body.no_read_write else body.read_write_role or Writing.USUAL
    asked = Asked(body.read_only_role, writer, tuple(body.schemas), body.connection_limit)
    by = Adopter(call.store, call.context.sealer, **call.why)
    if body.dry_run or created:
        plan = await preview_adoption(by, target, admin, asked)
        if body.dry_run:
            return told(plan_record(name, plan, created=created))
        environment = body.environment
        target = await create_target(call.store, name=name, place=place_of(target), environment=environment, **call.why)
    done = await adopt(by, target, admin, asked, keep=body.keep_admin and url is not None)
    steps = [*done.steps]
    if done.ok:
        modes = [mode for mode in AccessMode if mode is AccessMode.READ_ONLY or not body.no_read_write]
        steps += [(mode, await _as_a_session(call, name, mode)) for mode in modes]
    kept = await call.context.store.target_admin(target.id)
    record = plan_record(name, done.plan, created=created).model_copy(
        update={
            "ok": all(step.ok for _, step in steps),
            "dry_run": False,
            "steps": step_records(steps),
            "switched": list(done.switched),
            "said": list(done.said),
            "admin": None if kept is None else kept.login,
        }
    )
    return told(record)


@router.post("/{name}/adoption/undo", response_model=UndoneRecord)
async def undo(call: Doing, name: str, body: Undoing) -> Response:
    """Give the target its former logins back, and drop the roles that were made for it. What they own is reassigned."""
    target = await call.find_target("targets.adopt", name)
    url = _url(body.admin_url)
    if url is not None:
        url.check_leads_to(target)
    admin = await _admin(call, target, url)
    by = Adopter(call.store, call.context.sealer, **call.why)
    done = await undo_adoption(by, target, admin, restore=body.restore, reassign_to=body.reassign_to, dry_run=body.dry_run)
    return told(undone_record(name, done, dry_run=body.dry_run))


@router.delete("/{name}/adoption/admin", status_code=204)
async def forget(call: Doing, name: str) -> Response:
    """Forget the admin login. On the server it stays as it is."""
    await forget_admin(call.store, name=name, **call.why)
    return gone()


async def _target(call: Change, name: str, body: Adoption) -> tuple[Target, AdminUrl | None, bool]:
    """The one there is, or a new one that nobody keeps yet; its URL, if one was given; and whether it is new."""
    snapshot, actor = await call.rights()
    if name in within_reach(snapshot, actor).targets or body.admin_url is None:
        target = await call.find_target("targets.adopt", name)
        url = _url(body.admin_url)
        if url is not None:
            url.check_leads_to(target)
        return target, url, False
    check_target_name(name)
    where = DEFAULT_ENVIRONMENT if body.environment is None else find_environment(snapshot, body.environment).id
    for verb in ("targets.create", "targets.adopt"):
        require(actor, verb, snapshot, environment_id=where)
    check_name_is_free("target", name, snapshot.targets)
    url = parse_admin_url(Secret(body.admin_url.get_secret_value()))
    place = Place(url.host, url.port, url.dbname, body.tls or url.tls or TlsMode.VERIFY_FULL, body.ca_pem)
    check_place(place)
    return sketch_target(name, place, where), url, True


def _url(given: SecretStr | None) -> AdminUrl | None:
    return None if given is None else parse_admin_url(Secret(given.get_secret_value()))


async def _admin(call: Change, target: Target, url: AdminUrl | None) -> AdminLogin:
    if url is not None:
        return AdminLogin(url.login, url.password)
    known = await admin_of(call.context.store, target)
    if known.pending_secret is not None:
        hint = f"Finish that first: pgbastion targets rotate-credential {target.name} --role admin"
        raise ServiceError("rotation-under-way", f'the admin login of target "{target.name}" is being rotated', hint)
    return AdminLogin(known.login, admin_secret(call.context.sealer, known))


async def _as_a_session(call: Change, name: str, mode: AccessMode) -> CheckStep:
    """What a session would get, once the gateway has heard of it."""
    try:
        await _heard(call)
        steps = await call.gateway.check_target(name, mode)
    except GatewayUnavailable as error:
        return CheckStep("session", ok=True, detail=f"not tried: {error}", remedy=f"Later: pgbastion targets test {name}")
    if not steps:
        return CheckStep("session", ok=True, detail="not tried: the gateway has not heard of it yet")
    last = steps[-1]
    detail = "a session gets in through the gateway" if last.ok else f"{last.name}: {last.detail}"
    return replace(last, name="session", detail=detail)


async def _heard(call: Change) -> None:
    wanted = (await call.context.read()).revision
    call.gateway.wake()
    waited = 0.0
    while waited < _HEARD_SECONDS and await call.gateway.revision() < wanted:
        await asyncio.sleep(_PAUSE_SECONDS)
        waited += _PAUSE_SECONDS
