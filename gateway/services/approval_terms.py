"""What an approval policy says, with the names that people know; and which of it is accepted. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final, TypedDict

from gateway.access.approvals import ApprovalPolicy, AutomaticRule, BreakGlass, RuleKind, Step
from gateway.access.model import Snapshot
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.services.environments import environment_name
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_admin_role, find_group, find_user
from gateway.services.naming import check_email

SHORTEST_SECONDS: Final = 60
LONGEST_SECONDS: Final = 366 * 86_400
LONGEST_ON_CALL_SECONDS: Final = 3600
LONGEST_BREAK_GLASS_SECONDS: Final = 12 * 3600
_MOST: Final = 100
_MOST_STEPS: Final = 20
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_DESTINATION: Final = re.compile(r"(slack|webhook|mail):(\S{1,250})")
_SCHEDULE: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_IDENTIFIER_BYTES: Final = 63
_KINDS_HINT: Final = "Name them as role:NAME (an admin role), group:NAME or user:NAME."


@dataclass(frozen=True, slots=True)
class NamedStep:
    """`approvers` and `escalation`: "role:dba", "group:developers", "user:ana"; sorted."""

    approvers: tuple[str, ...]
    needed: int = 1
    escalates_after_seconds: int | None = None
    escalation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedBreakGlass:
    holders: tuple[str, ...]
    within_seconds: int


class Given(TypedDict, total=False):
    """Some of the fields of `PolicyTerms`, as arguments of a verb. What is not given stays, or has its default."""

    modes: frozenset[AccessMode]
    steps: tuple[NamedStep, ...]
    rules: tuple[AutomaticRule, ...]
    default_seconds: int
    max_seconds: int
    decide_within_seconds: int
    reason_required: bool
    ticket_required: bool
    bound_to_approvers: bool
    break_glass: NamedBreakGlass | None
    database_roles: frozenset[str]
    announce: tuple[str, ...]
    on_call: str | None


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """All that a policy says besides its name and where it holds. See access/approvals.py for what each means."""

    modes: frozenset[AccessMode] = frozenset()
    steps: tuple[NamedStep, ...] = ()
    rules: tuple[AutomaticRule, ...] = ()
    default_seconds: int = 3600
    max_seconds: int = 86_400
    decide_within_seconds: int = 86_400
    reason_required: bool = False
    ticket_required: bool = False
    bound_to_approvers: bool = False
    break_glass: NamedBreakGlass | None = None
    database_roles: frozenset[str] = frozenset()
    announce: tuple[str, ...] = ()
    on_call: str | None = None


TERMS: Final = tuple(field.name for field in fields(PolicyTerms))
"""The fields of `PolicyTerms`, in the order in which people read them."""
_PLAIN: Final = tuple(name for name in TERMS if name not in ("steps", "break_glass"))


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy with the names that people know. Approvers that are gone are left out."""

    policy: ApprovalPolicy
    environment: str
    terms: PolicyTerms


def name_policy(snapshot: Snapshot, policy: ApprovalPolicy) -> NamedPolicy:
    return NamedPolicy(policy, environment_name(snapshot, policy.environment_id), terms_of(snapshot, policy))


def terms_of(snapshot: Snapshot, policy: ApprovalPolicy) -> PolicyTerms:
    names = _names(snapshot)
    steps = tuple(
        NamedStep(_named(each.approvers, names), each.needed, each.escalates_after_seconds, _named(each.escalation, names))
        for each in policy.steps
    )
    glass = policy.break_glass
    named = None if glass is None else NamedBreakGlass(_named(glass.holders, names), glass.within_seconds)
    return PolicyTerms(steps=steps, break_glass=named, **{name: getattr(policy, name) for name in _PLAIN})


def policy_of(snapshot: Snapshot, policy_id: str, name: str, environment_id: str, terms: PolicyTerms) -> ApprovalPolicy:
    """The row. Raises ServiceError for a name that is unknown."""
    glass = terms.break_glass
    return ApprovalPolicy(
        id=policy_id,
        name=name,
        environment_id=environment_id,
        steps=tuple(
            Step(ids_of(snapshot, each.approvers), each.needed, each.escalates_after_seconds, ids_of(snapshot, each.escalation))
            for each in terms.steps
        ),
        break_glass=None if glass is None else BreakGlass(ids_of(snapshot, glass.holders), glass.within_seconds),
        **{each: getattr(terms, each) for each in _PLAIN},
    )


def ids_of(snapshot: Snapshot, names: Iterable[str]) -> frozenset[str]:
    """Of admin roles, groups and users, as "role:dba". Raises ServiceError."""
    found = set()
    for text in names:
        kind, _, name = text.partition(":")
        match kind:
            case "role":
                found.add(find_admin_role(snapshot, name).id)
            case "group":
                found.add(find_group(snapshot, name).id)
            case "user":
                found.add(find_user(snapshot, name).id)
            case _:
                raise ServiceError("approver-invalid", f"{text!r} names no approver", _KINDS_HINT)
    return frozenset(found)


def check_policy_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        text = f"{name!r} cannot be an approval policy's name"
        raise ServiceError("approval-policy-name-invalid", text, "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter.")


def check_terms(terms: PolicyTerms) -> None:
    """Raises ServiceError."""
    if not terms.modes:
        raise _wrong("it opens no access mode", "Name one: read_only, read_write.")
    if not 1 <= len(terms.steps) <= _MOST_STEPS:
        raise _wrong(f"it has {len(terms.steps)} steps", f"A policy has 1 to {_MOST_STEPS}.")
    for step in terms.steps:
        _check_step(step)
    for seconds, what in (
        (terms.default_seconds, "how long a right is given for"),
        (terms.max_seconds, "how long a right can be asked for"),
        (terms.decide_within_seconds, "how long a request waits"),
    ):
        _check_seconds(seconds, what, LONGEST_SECONDS)
    if terms.default_seconds > terms.max_seconds:
        raise _wrong("what is given where nothing is said is more than the most", "Raise max_seconds, or give less.")
    for rule in terms.rules:
        _check_rule(rule, terms)
    if len(terms.rules) > _MOST or len(terms.announce) > _MOST or len(terms.database_roles) > _MOST:
        raise _wrong(f"it lists more than {_MOST} of something", "Shorten it.")
    if terms.break_glass is not None:
        if not terms.break_glass.holders:
            raise _wrong("nobody is named who may take the right in an emergency", _KINDS_HINT)
        most = min(LONGEST_BREAK_GLASS_SECONDS, terms.max_seconds)
        _check_seconds(terms.break_glass.within_seconds, "how long a right is taken for in an emergency", most)
    for role in terms.database_roles:
        if not (role.isprintable() and 1 <= len(role.encode("utf-8", "replace")) <= _IDENTIFIER_BYTES):
            raise _wrong(f"{role!r} cannot be a database role", "Its name has 1 to 63 bytes.")
    for destination in terms.announce:
        _check_destination(destination)
    if terms.on_call is not None and not _SCHEDULE.fullmatch(terms.on_call):
        raise _wrong(f"{terms.on_call!r} cannot be a schedule's id", "PagerDuty shows it in the schedule's address: PABC123.")


def terms_detail(terms: PolicyTerms) -> dict[str, DetailValue]:
    """For the audit."""
    glass = terms.break_glass
    return {
        "modes": tuple(sorted(terms.modes)),
        "steps": tuple(map(_step_text, terms.steps)),
        "rules": tuple(f"{each.kind} within {each.within_seconds} s, since {each.since_seconds} s" for each in terms.rules),
        "default_seconds": terms.default_seconds,
        "max_seconds": terms.max_seconds,
        "decide_within_seconds": terms.decide_within_seconds,
        "reason_required": terms.reason_required,
        "ticket_required": terms.ticket_required,
        "bound_to_approvers": terms.bound_to_approvers,
        "break_glass": None if glass is None else f"{', '.join(glass.holders)} within {glass.within_seconds} s",
        "database_roles": tuple(sorted(terms.database_roles)),
        "announce": terms.announce,
        "on_call": terms.on_call,
    }


def _step_text(step: NamedStep) -> str:
    text = f"{step.needed} of {', '.join(step.approvers)}"
    if step.escalates_after_seconds is None:
        return text
    return f"{text}; after {step.escalates_after_seconds} s {', '.join(step.escalation)}, too"


def _check_step(step: NamedStep) -> None:
    if not step.approvers:
        raise _wrong("a step names nobody who may approve", _KINDS_HINT)
    if max(len(step.approvers), len(step.escalation)) > _MOST:
        raise _wrong(f"a step lists more than {_MOST} approvers", "Make a group of them.")
    if not 1 <= step.needed <= _MOST:
        raise _wrong(f"a step cannot need {step.needed} people", f"Give 1 to {_MOST}.")
    if (step.escalates_after_seconds is None) != (not step.escalation):
        raise _wrong("more people may approve after a time: say who and when", "Give both, or neither.")
    if step.escalates_after_seconds is not None:
        _check_seconds(step.escalates_after_seconds, "when more people may approve", LONGEST_SECONDS)


def _check_rule(rule: AutomaticRule, terms: PolicyTerms) -> None:
    most = LONGEST_ON_CALL_SECONDS if rule.kind is RuleKind.ON_CALL else LONGEST_SECONDS
    _check_seconds(rule.within_seconds, f"how long a right the rule {rule.kind} gives", most)
    if rule.kind is RuleKind.ON_CALL and terms.on_call is None:
        raise _wrong("who is on call is approved, and no schedule is named", "Name it: on_call.")
    if (rule.kind is RuleKind.AGAIN) != (rule.since_seconds > 0) or rule.since_seconds > LONGEST_SECONDS:
        raise _wrong("how long ago a former yes may be goes with the rule again", "Give since_seconds there, and only there.")


def _check_seconds(seconds: int, what: str, most: int) -> None:
    if not SHORTEST_SECONDS <= seconds <= most:
        raise _wrong(f"{seconds} seconds cannot be {what}", f"Give {SHORTEST_SECONDS} to {most}.")


def _check_destination(text: str) -> None:
    found = _DESTINATION.fullmatch(text)
    if found is None:
        raise _wrong(f"{text!r} is no destination", "Write slack:CHANNEL, mail:ADDRESS or webhook:NAME.")
    if found[1] == "mail":
        check_email(found[2])


def _wrong(text: str, hint: str) -> ServiceError:
    return ServiceError("approval-policy-invalid", text, hint)


def _names(snapshot: Snapshot) -> dict[str, str]:
    found = {each.id: f"role:{each.name}" for each in snapshot.admin_roles.values()}
    found |= {each.id: f"group:{each.name}" for each in snapshot.groups.values()}
    return found | {each.id: f"user:{each.name}" for each in snapshot.users.values()}


def _named(ids: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(names[each] for each in ids if each in names))
