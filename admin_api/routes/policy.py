"""/v1/policy: what would happen to a statement. Nothing is run."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from admin_api.calls import Change, Doing, Looking, told
from admin_api.models.policy import ExplanationRecord, Question, RuleList, explanation_record, rule_record
from gateway.access_mode import AccessMode
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import Terms, terms_of
from gateway.services.lookup import find_grant
from gateway.services.policy import Granted, Judging, Limited, default_policy, explain, target_policy
from gateway.services.policy_rules import RULES
from gateway.services.visible import within_reach

router = APIRouter(prefix="/policy", tags=["policy"])


@router.post("/explain", response_model=ExplanationRecord)
async def explain_statement(call: Doing, body: Question) -> Response:
    """Say whether SQL may run, by which rule, and what to do."""
    limited = Limited.by(call.context.settings.now)
    judging = _judging(call.request, limited.max_statement_bytes)
    name, mode, terms = body.target, body.mode, body.terms
    if body.grant is not None:
        name, mode, terms = await _under_grant(call, body, body.grant)
    granted = Granted.by(terms, mode)
    if name is not None:
        target = await call.find_target("policy.explain", name)
        policy = target_policy(target, mode, server_major=body.server_major, limited=limited, granted=granted)
    else:
        policy = default_policy(
            mode,
            functions=frozenset(body.allowed_functions),
            schemas=frozenset(body.allowed_schemas),
            custom_settings=frozenset(body.allowed_settings),
            server_major=body.server_major,
            limited=limited,
            granted=granted,
        )
    return told(explanation_record(await explain(judging, sql=body.sql, policy=policy), granted))


async def _under_grant(call: Change, body: Question, grant_id: str) -> tuple[str, AccessMode, Terms]:
    """Its target's name, the mode to judge in, and what it carries. Raises ServiceError."""
    snapshot, actor = await call.rights()
    snapshot = within_reach(snapshot, actor)
    grant = find_grant(snapshot, grant_id)
    if "mode" in body.model_fields_set and body.mode is AccessMode.READ_WRITE and grant.mode is not body.mode:
        raise ServiceError("mode-not-granted", f"this grant is for {grant.mode}", "Leave the mode out.")
    mode = body.mode if "mode" in body.model_fields_set else grant.mode
    name = next(target.name for target in snapshot.targets.values() if target.id == grant.target_id)
    return name, mode, terms_of(grant)


@router.get("/rules", response_model=RuleList)
async def list_rules(call: Looking) -> Response:
    """List every rule that can refuse something: what it denies, why, and an example."""
    return told(RuleList(items=[rule_record(rule) for rule in RULES]))


def _judging(request: Request, limit: int) -> Judging:
    """One of a process: for texts that are large or deep it has a child, which `AdminApi.close` ends."""
    state = request.app.state
    if not hasattr(state, "judging"):
        state.judging = Judging(max_statement_bytes=limit)
    judging: Judging = state.judging
    return judging
