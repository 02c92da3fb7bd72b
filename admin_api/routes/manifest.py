"""/v1/manifest: everything in one file, read and made so."""

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import JsonValue
from starlette.responses import Response

from admin_api.calls import Looking, Making, told
from admin_api.models.manifest import PlanRecord, plan_record
from gateway.audit.admin_event import AdminEvent
from gateway.ports import Store
from gateway.services.manifest import (
    Plan,
    apply_manifest,
    export_manifest,
    manifest_schema,
    parse_manifest,
    preview_manifest,
)

router = APIRouter(prefix="/manifest", tags=["manifest"])

_EXAMPLE = {"version": 1, "groups": [{"name": "analysts", "members": []}]}


@router.get("", response_model=dict[str, JsonValue])
async def export(call: Looking) -> Response:
    """Everything as a manifest, without secrets: applied here again, nothing changes."""
    call.require("manifest.export")
    return _json(export_manifest(call.snapshot))


@router.get("/schema", response_model=dict[str, JsonValue])
async def show_schema(_call: Looking) -> Response:
    """The JSON schema of manifests, for editors."""
    return _json(manifest_schema())


@router.post("", response_model=PlanRecord)
async def apply(
    call: Making,
    body: Annotated[dict[str, JsonValue], Body(description="The manifest; secrets as texts.", examples=[_EXAMPLE])],
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = False,
    prune: Annotated[bool, Query(description="Also remove what the manifest does not name.")] = False,
    revision: Annotated[int | None, Query(ge=0, description="Only if the store is still at this revision.")] = None,
) -> Response:
    """Make everything as the manifest says: all of it in one change, or nothing."""
    await call.require("manifest.apply")
    manifest = await asyncio.to_thread(parse_manifest, body)
    keyring = call.context.sealer
    rules = call.context.settings.now.users.rules
    if dry_run:
        snapshot = await call.after()
        plan = await preview_manifest(
            snapshot, keyring, manifest, prune=prune, expected_revision=revision, rules=rules, now=call.now
        )
        return told(plan_record(plan, dry_run=True))

    async def work(store: Store) -> Plan:
        return await apply_manifest(store, keyring, manifest, prune=prune, expected_revision=revision, rules=rules, **call.why)

    async def answer(plan: Plan) -> Response:
        return told(plan_record(plan, dry_run=False))

    async def again(_event: AdminEvent) -> Response:
        return await answer(Plan((await call.after()).revision, (), 0))

    return await call.run(work, answer, again)


def _json(value: object) -> Response:
    return Response(json.dumps(value, ensure_ascii=False).encode(), media_type="application/json")
