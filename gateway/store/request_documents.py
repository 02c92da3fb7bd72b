"""Access requests and approval policies as JSON, and back. Pure. What no version of this program wrote raises ValueError,
LookupError or TypeError.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NotRequired, TypeAlias, TypedDict

import orjson

from gateway.access.approvals import ApprovalPolicy, AutomaticRule, BreakGlass, Electors, Person, RuleKind, Step
from gateway.access.asking import ModeWanted, Right, RoleWanted, Scope, StatementsWanted, Wanted
from gateway.access.request_record import AccessRequest, Decision, Names, Review, State, Word
from gateway.access.requested import Backer, Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.store.instants import from_text, to_text

Document: TypeAlias = "Mapping[str, Document] | Sequence[Document] | str | int | bool | None"
_PersonDocument: TypeAlias = tuple[str, list[str], list[str]]


class _DecisionDocument(TypedDict):
    person: _PersonDocument
    name: str
    word: str
    at: str
    fingerprint: str
    step: int
    comment: str
    rule: str | None


class _RightDocument(TypedDict):
    mode: str
    database_role: NotRequired[str]
    statements: NotRequired[list[str]]
    scope: NotRequired[str]


class _WantedDocument(TypedDict):
    holder_id: str
    target_id: str | None
    environment_id: str | None
    right: _RightDocument
    duration_seconds: int
    reason: str
    starts_at: str | None
    ticket: str | None


def write_policy(policy: ApprovalPolicy) -> str:
    """All but the id, the name, the environment, the modes and the version, which have columns of their own."""
    glass = policy.break_glass
    return _written(
        {
            "steps": [_step(step) for step in policy.steps],
            "rules": [[rule.kind.value, rule.within_seconds, rule.since_seconds] for rule in policy.rules],
            "default_seconds": policy.default_seconds,
            "max_seconds": policy.max_seconds,
            "decide_within_seconds": policy.decide_within_seconds,
            "reason_required": policy.reason_required,
            "ticket_required": policy.ticket_required,
            "bound_to_approvers": policy.bound_to_approvers,
            "break_glass": None
            if glass is None
            else {"holders": sorted(glass.holders), "within_seconds": glass.within_seconds},
            "database_roles": sorted(policy.database_roles),
            "announce": list(policy.announce),
            "on_call": policy.on_call,
        }
    )


def read_policy(
    policy_id: str, name: str, environment_id: str, modes: Iterable[str], document: str, version: int
) -> ApprovalPolicy:
    found = json.loads(document)
    glass = found["break_glass"]
    return ApprovalPolicy(
        id=policy_id,
        name=name,
        environment_id=environment_id,
        modes=frozenset(map(AccessMode, modes)),
        steps=tuple(
            Step(frozenset(each["approvers"]), each["needed"], each["escalates_after"], frozenset(each["escalation"]))
            for each in found["steps"]
        ),
        rules=tuple(AutomaticRule(RuleKind(kind), within, since) for kind, within, since in found["rules"]),
        default_seconds=found["default_seconds"],
        max_seconds=found["max_seconds"],
        decide_within_seconds=found["decide_within_seconds"],
        reason_required=found["reason_required"],
        ticket_required=found["ticket_required"],
        bound_to_approvers=found["bound_to_approvers"],
        break_glass=None if glass is None else BreakGlass(frozenset(glass["holders"]), glass["within_seconds"]),
        database_roles=frozenset(found["database_roles"]),
        announce=tuple(found["announce"]),
        on_call=found["on_call"],
        version=version,
    )


def write_request(request: AccessRequest) -> str:
    """All of it but the number and the version."""
    policy, review = request.policy, request.review
    return _written(
        {
            "requester": _person(request.requester),
            "holder": _person(request.holder),
            "wanted": _wanted(request.wanted),
            "policy": {
                "id": policy.id,
                "name": policy.name,
                "environment_id": policy.environment_id,
                "modes": sorted(policy.modes),
                "document": write_policy(policy),
                "version": policy.version,
            },
            "electorate": [[sorted(each.approvers), sorted(each.escalation)] for each in request.electorate],
            "step": request.step,
            "step_since": to_text(request.step_since),
            "decisions": [_decision(each) for each in request.decisions],
            "ended_because": request.ended_because,
            "break_glass": request.break_glass,
            "names": [request.names.requester, request.names.holder, request.names.place],
            "escalated_step": request.escalated_step,
            "told_expiring": request.told_expiring,
            "review": None if review is None else [review.user_id, review.name, to_text(review.at), review.comment],
        }
    )


def read_request(row: Mapping[str, str | int | None]) -> AccessRequest:
    """`row`: as the table access_requests has it."""
    found = json.loads(str(row["document"]))
    policy, review = found["policy"], found["review"]
    return AccessRequest(
        id=str(row["id"]),
        requester=_read_person(found["requester"]),
        holder=_read_person(found["holder"]),
        wanted=_read_wanted(found["wanted"]),
        policy=read_policy(
            policy["id"], policy["name"], policy["environment_id"], policy["modes"], policy["document"], policy["version"]
        ),
        electorate=tuple(Electors(frozenset(at_once), frozenset(later)) for at_once, later in found["electorate"]),
        state=State(str(row["state"])),
        asked_at=_instant(row["asked_at"]),
        decide_by=_instant(row["decide_by"]),
        step=found["step"],
        step_since=_instant(found["step_since"]),
        decisions=tuple(_read_decision(each) for each in found["decisions"]),
        starts_at=from_text(row["starts_at"]),
        ends_at=from_text(row["ends_at"]),
        ended_at=from_text(row["ended_at"]),
        ended_because=found["ended_because"],
        break_glass=found["break_glass"],
        names=Names(*found["names"]),
        number=int(row["number"] or 0),
        escalated_step=found["escalated_step"],
        told_expiring=found["told_expiring"],
        review=None if review is None else Review(review[0], review[1], _instant(review[2]), review[3]),
        version=int(row["version"] or 0),
    )


def write_only(only: Only | None) -> str | None:
    if only is None:
        return None
    operations: list[Document] = [[each.command.value, each.schema, each.table] for each in sorted(only.operations)]
    return _written({"statements": [*sorted(only.statements)], "operations": operations})


def read_only(text: str | None) -> Only | None:
    if text is None:
        return None
    found = json.loads(text)
    operations = frozenset(Operation(Command(command), schema, table) for command, schema, table in found["operations"])
    return Only(frozenset(found["statements"]), operations)


def write_backers(backers: Iterable[Backer]) -> str:
    return _written([[each.user_id, list(each.as_one_of)] for each in sorted(backers)])


def read_backers(text: str) -> tuple[Backer, ...]:
    return tuple(Backer(user_id, tuple(ids)) for user_id, ids in orjson.loads(text))


def _step(step: Step) -> Document:
    return {
        "approvers": [*sorted(step.approvers)],
        "needed": step.needed,
        "escalates_after": step.escalates_after_seconds,
        "escalation": [*sorted(step.escalation)],
    }


def _person(person: Person) -> Document:
    return [person.user_id, [*sorted(person.identities)], [*sorted(person.one_of)]]


def _read_person(found: _PersonDocument) -> Person:
    user_id, identities, one_of = found
    return Person(user_id, frozenset(identities), frozenset(one_of))


def _decision(decision: Decision) -> Document:
    return {
        "person": _person(decision.person),
        "name": decision.name,
        "word": decision.word.value,
        "at": to_text(decision.at),
        "fingerprint": decision.fingerprint,
        "step": decision.step,
        "comment": decision.comment,
        "rule": decision.rule,
    }


def _read_decision(found: _DecisionDocument) -> Decision:
    return Decision(
        person=_read_person(found["person"]),
        name=found["name"],
        word=Word(found["word"]),
        at=_instant(found["at"]),
        fingerprint=found["fingerprint"],
        step=found["step"],
        comment=found["comment"],
        rule=found["rule"],
    )


def _wanted(wanted: Wanted) -> Document:
    return {
        "holder_id": wanted.holder_id,
        "target_id": wanted.target_id,
        "environment_id": wanted.environment_id,
        "right": _right(wanted.right),
        "duration_seconds": wanted.duration_seconds,
        "reason": wanted.reason,
        "starts_at": to_text(wanted.starts_at),
        "ticket": wanted.ticket,
    }


def _right(right: Right) -> Document:
    match right:
        case ModeWanted(mode):
            return {"mode": mode.value}
        case RoleWanted(database_role, mode):
            return {"mode": mode.value, "database_role": database_role}
        case StatementsWanted(texts, scope, mode):
            return {"mode": mode.value, "statements": list(texts), "scope": scope.value}


def _read_wanted(found: _WantedDocument) -> Wanted:
    return Wanted(
        holder_id=found["holder_id"],
        target_id=found["target_id"],
        environment_id=found["environment_id"],
        right=_read_right(found["right"]),
        duration_seconds=found["duration_seconds"],
        reason=found["reason"],
        starts_at=from_text(found["starts_at"]),
        ticket=found["ticket"],
    )


def _read_right(found: _RightDocument) -> Right:
    mode = AccessMode(found["mode"])
    if "statements" in found:
        return StatementsWanted(tuple(found["statements"]), Scope(found["scope"]), mode)
    if "database_role" in found:
        return RoleWanted(found["database_role"], mode)
    return ModeWanted(mode)


def _written(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True)


def _instant(text: str | int | None) -> datetime:
    return datetime.fromisoformat(str(text))
