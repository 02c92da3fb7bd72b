"""/v1/approval-policies"""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Changing, Looking, Making, gone, made, shown
from admin_api.models.approval_policies import (
    ApprovalPolicyPage,
    ApprovalPolicyPatch,
    ApprovalPolicyRecord,
    NewApprovalPolicy,
    policy_record,
)
from admin_api.paging import Paged
from gateway.audit.admin_event import AdminEvent
from gateway.services import approval_policies
from gateway.services.approval_policies import NamedPolicy, find_policy, name_policies
from gateway.services.approval_terms import name_policy
from gateway.services.errors import ServiceError

router = APIRouter(prefix="/approval-policies", tags=["access requests"])


@router.get("", response_model=ApprovalPolicyPage)
async def list_policies(call: Looking, page: Paged) -> Response:
    """List approval policies, by name, of environments that one sees. What one may ask for is at /v1/askable."""
    items, following = page.of(name_policies(call.snapshot), lambda each: (each.policy.name,))
    return call.show_list(ApprovalPolicyPage(items=[policy_record(each) for each in items], next=following))


@router.post("", response_model=ApprovalPolicyRecord, status_code=201)
async def create_policy(call: Making, body: NewApprovalPolicy) -> Response:
    """Open access modes of an environment to requests, and say who decides."""

    async def answer(named: NamedPolicy) -> Response:
        return made(policy_record(named), named.policy.version, f"/v1/approval-policies/{named.policy.name}")

    async def again(event: AdminEvent) -> Response:
        snapshot = await call.after()
        policy = next((each for each in snapshot.approval_policies.values() if each.id == event.object_id), None)
        if policy is None:
            raise ServiceError("approval-policy-unknown", "this approval policy was deleted meanwhile")
        return await answer(name_policy(snapshot, policy))

    return await call.run(
        lambda store: approval_policies.create_policy(
            store, name=body.name, environment=body.environment, **body.given, **call.why
        ),
        answer,
        again,
    )


@router.get("/{name}", response_model=ApprovalPolicyRecord)
async def show_policy(call: Looking, name: str) -> Response:
    """Show one approval policy."""
    policy = find_policy(call.snapshot, name)
    return call.show(policy_record(name_policy(call.snapshot, policy)), policy.version, whole=False)


@router.patch("/{name}", response_model=ApprovalPolicyRecord)
async def update_policy(call: Changing, name: str, body: ApprovalPolicyPatch) -> Response:
    """Change what is named. Requests that are under way go by the policy as it was; who is taken off it decides no more."""
    named = await approval_policies.update_policy(
        call.store, name=name, expected_version=call.expected_version, **body.given, **call.why
    )
    return shown(policy_record(named), named.policy.version)


@router.delete("/{name}", status_code=204)
async def delete_policy(call: Changing, name: str) -> Response:
    """Delete a policy: nothing more can be asked for by it, and what waits for an answer ends. Rights that were given stay."""
    await approval_policies.delete_policy(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()
