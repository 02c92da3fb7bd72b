"""/v1/policy: what would happen to a statement. Nothing is run."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from admin_api.calls import Doing, Looking, told
from admin_api.models.policy import ExplanationRecord, Question, RuleList, explanation_record, rule_record
from gateway.services.policy import Granted, Judging, Limited, default_policy, explain, target_policy
from gateway.services.policy_rules import RULES

router = APIRouter(prefix="/policy", tags=["policy"])


@router.post("/explain", response_model=ExplanationRecord)
async def explain_statement(call: Doing, body: Question) -> Response:
    """Say whether SQL may run, by which rule, and what to do."""
    limited = Limited.by(call.context.settings.now)
    granted = Granted(frozenset(body.options), body.max_changed_rows)
    judging = _judging(call.request, limited.max_statement_bytes)
    if body.target is not None:
        target = await call.find_target("policy.explain", body.target)
        policy = target_policy(target, body.mode, server_major=body.server_major, limited=limited, granted=granted)
    else:
        policy = default_policy(
            body.mode,
            functions=frozenset(body.allowed_functions),
            schemas=frozenset(body.allowed_schemas),
            custom_settings=frozenset(body.allowed_settings),
            server_major=body.server_major,
            limited=limited,
            granted=granted,
        )
    return told(explanation_record(await explain(judging, sql=body.sql, policy=policy)))


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
