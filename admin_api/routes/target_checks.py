"""/v1/targets/{name}: what is asked of a target's server, and of what can be made there."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Doing, Looking, told
from admin_api.models.targets import (
    CheckRecord,
    InitSql,
    PreviewRecord,
    RefreshRecord,
    RoleAuditRecord,
    check_record,
    preview_record,
    refresh_record,
    role_audit_record,
)
from gateway.access_mode import AccessMode
from gateway.ports import GatewayUnavailable
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_grant
from gateway.services.role_weights import weigh
from gateway.services.target_facts import Permitted, check_permitted
from gateway.services.target_sql import init_sql, sql_of_grant

router = APIRouter()


@router.post("/{name}/check", response_model=CheckRecord)
async def check_target(call: Doing, name: str, mode: AccessMode = AccessMode.READ_ONLY) -> Response:
    """Log in there as a session would; say which step fails (DNS, TCP, TLS, login, role, database, settings) and its remedy."""
    target = await call.find_target("targets.check", name)
    if mode not in target.roles:
        raise ServiceError(
            "login-missing", f'target "{name}" has no login for {mode}', f"PUT /v1/targets/{name}/logins/{mode} first."
        )
    steps = await call.gateway.check_target(name, mode)
    if not steps:
        raise GatewayUnavailable("the gateway has not heard of this target yet")
    return told(check_record(name, mode, steps))


@router.post("/{name}/refresh", response_model=RefreshRecord)
async def refresh_target(call: Doing, name: str) -> Response:
    """Read again what the database's owners put into it. When this answers, live read-only sessions are judged by it."""
    target = await call.find_target("targets.refresh", name)
    return told(refresh_record(target.name, await call.gateway.refresh_catalog(target.name)))


@router.post("/{name}/audit", response_model=RoleAuditRecord)
async def audit_target(call: Doing, name: str, mode: AccessMode = AccessMode.READ_ONLY) -> Response:
    """Say what the upstream role of this mode could still do if the parser failed, with the SQL that ends each of it."""
    target = await call.find_target("targets.audit", name)
    snapshot = await call.after()
    if mode not in target.roles:
        raise ServiceError(
            "login-missing", f'target "{name}" has no login for {mode}', f"PUT /v1/targets/{name}/logins/{mode} first."
        )
    found = await call.gateway.audit_target(name, mode)
    if found is None:
        raise GatewayUnavailable("the gateway has not heard of this target yet")
    return told(role_audit_record(name, mode, weigh(found, snapshot, target, mode, call.now)))


@router.post("/{name}/preview", response_model=PreviewRecord)
async def preview_entry(
    call: Doing, name: str, entry: Annotated[str, Query(max_length=300, examples=["public.revenue_of"])]
) -> Response:
    """Say what a function entry would open in the database as it is now, with warnings. Nothing is changed."""
    target = await call.find_target("targets.preview", name)
    check_permitted(Permitted.FUNCTION, entry)
    if AccessMode.READ_ONLY not in target.roles:
        raise ServiceError(
            "login-missing",
            f'target "{name}" has no login for {AccessMode.READ_ONLY}',
            f"PUT /v1/targets/{name}/logins/{AccessMode.READ_ONLY} first.",
        )
    found = await call.gateway.preview_entry(name, entry)
    if found is None:
        raise GatewayUnavailable("the gateway has not heard of this target yet")
    return told(preview_record(name, found))


@router.get("/{name}/init-sql", response_model=InitSql)
async def show_init_sql(
    call: Looking,
    name: str,
    grant: Annotated[
        str | None, Query(description="The id of a grant with a list of schemas and tables: for a role that has these alone.")
    ] = None,
) -> Response:
    """SQL that makes the target's database roles, with the least rights that they need."""
    target = call.find_target("targets.init-sql", name)
    if grant is not None:
        found = find_grant(call.snapshot, grant)
        if found.target_id != target.id:
            raise ServiceError("grant-unknown", f'there is no grant "{grant}" for target "{name}"', "See GET /v1/grants.")
        return told(InitSql(target=name, sql=sql_of_grant(target.dbname, found)))
    reader, writer = target.roles.get(AccessMode.READ_ONLY), target.roles.get(AccessMode.READ_WRITE)
    sql = init_sql(
        target.dbname,
        read_only_role="app_ro" if reader is None else reader.login,
        read_write_role="app_rw" if writer is None else writer.login,
        schemas=sorted(target.allowed_schemas) or ["public"],
    )
    return told(InitSql(target=name, sql=sql))
