"""Who the approvers of a policy are at an instant, and who somebody is to them. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from gateway.access.approvals import ApprovalPolicy, Electors, Person
from gateway.access.model import Snapshot, User, UserKind
from gateway.access.request_record import AccessRequest, State
from gateway.access.requested import Backer
from gateway.access_mode import AccessMode


def policy_for(snapshot: Snapshot, environment_id: str, mode: AccessMode) -> ApprovalPolicy | None:
    """What opens this mode in this environment to requests; None: nothing can be asked for there. There is at most one."""
    policies = sorted(snapshot.approval_policies.values(), key=lambda each: each.name)
    return next((each for each in policies if each.environment_id == environment_id and mode in each.modes), None)


def is_living(snapshot: Snapshot, user: User, now: datetime) -> bool:
    """Whether they could log in: there, enabled, not over, and vouched for."""
    over = user.valid_until is not None and now >= user.valid_until
    return user.enabled and not over and user.id not in snapshot.held_back


def memberships(snapshot: Snapshot, user_id: str) -> frozenset[str]:
    """Ids of the groups and admin roles that somebody is in."""
    roles = (role.id for role in snapshot.admin_roles.values() if user_id in role.members)
    return frozenset((*snapshot.memberships.get(user_id, ()), *roles))


def person_of(snapshot: Snapshot, user: User) -> Person:
    """Somebody as of the snapshot. What two accounts share (an address, in any case; a subject at a provider) makes them one."""
    found = set()
    if user.email is not None:
        found.add(user.email.strip().lower())
    account = snapshot.accounts.get(user.id)
    if account is not None and account.identity is not None:
        found.add(f"{account.identity.issuer}|{account.identity.subject}")
    return Person(user.id, frozenset(found), memberships(snapshot, user.id))


def people(snapshot: Snapshot, ids: Iterable[str], now: datetime) -> frozenset[str]:
    """User ids of the living people (no programs) who are one of these, or a member of one of these groups or admin roles."""
    wanted = frozenset(ids)
    members = {user_id for role in snapshot.admin_roles.values() if role.id in wanted for user_id in role.members}
    members |= {user_id for group in snapshot.groups.values() if group.id in wanted for user_id in group.members}
    named = wanted | members
    return frozenset(
        user.id
        for user in snapshot.users.values()
        if user.id in named and user.kind is UserKind.PERSON and is_living(snapshot, user, now)
    )


def electorate(snapshot: Snapshot, policy: ApprovalPolicy, now: datetime) -> tuple[Electors, ...]:
    """Who can decide about a request that is made now, of each step of the policy."""
    return tuple(
        Electors(people(snapshot, step.approvers, now), people(snapshot, step.escalation, now)) for step in policy.steps
    )


def still_backs(snapshot: Snapshot, backer: Backer, now: datetime) -> bool:
    """Whether somebody who said yes may still say it: living, and one of those as whom they said it."""
    return backer.user_id in people(snapshot, backer.as_one_of, now)


def approvers_now(snapshot: Snapshot, request: AccessRequest, now: datetime) -> frozenset[str]:
    """User ids of those who may decide in the present step: approvers when it was asked, and now. Not who asked, or decided."""
    if request.state is not State.PENDING:
        return frozenset()
    step, electors = request.policy.steps[request.step], request.electorate[request.step]
    able = people(snapshot, named_still(snapshot, request, step.approvers), now) & electors.approvers
    if step.is_late(request.step_since, now):
        able |= people(snapshot, named_still(snapshot, request, step.escalation), now) & electors.escalation
    return _others(snapshot, able, request) - {each.person.user_id for each in request.decisions}


def reviewers(snapshot: Snapshot, request: AccessRequest, now: datetime) -> frozenset[str]:
    """User ids of those who may look at what was done in an emergency: who could have decided about it, in any step."""
    named = {each for step in request.policy.steps for each in step.all}
    electors = frozenset().union(*(each.all for each in request.electorate))
    able = people(snapshot, named_still(snapshot, request, named), now) & electors
    return _others(snapshot, able, request)


def named_still(snapshot: Snapshot, request: AccessRequest, ids: Iterable[str]) -> frozenset[str]:
    """Those of these ids (users, groups, admin roles) that the request's policy, as it is now, names as approvers, too.

    What a policy is changed to changes nothing under way, but for who was taken off it.
    """
    present = next((each for each in snapshot.approval_policies.values() if each.id == request.policy.id), None)
    if present is None:
        return frozenset()
    still = {each for step in present.steps for each in step.all}
    return frozenset(ids) & still


def standing(snapshot: Snapshot, request: AccessRequest, now: datetime) -> frozenset[str]:
    """User ids of those who decided about it and still may: the word of others does not count any more."""
    found = set()
    for decision in request.decisions:
        step = request.policy.steps[decision.step]
        able = people(snapshot, named_still(snapshot, request, step.all), now)
        if decision.rule is None and decision.person.user_id in able:
            found.add(decision.person.user_id)
    return frozenset(found)


def about(snapshot: Snapshot, person: Person) -> Person:
    """Somebody as they were, and by what they are known now as well: nobody gets rid of a second account by renaming it."""
    user = next((each for each in snapshot.users.values() if each.id == person.user_id), None)
    if user is None:
        return person
    return replace(person, identities=person.identities | person_of(snapshot, user).identities)


def _others(snapshot: Snapshot, user_ids: frozenset[str], request: AccessRequest) -> frozenset[str]:
    """Without the accounts of who asked, and of whom it is for."""
    own = about(snapshot, request.requester).known_as | about(snapshot, request.holder).known_as
    users = (each for each in snapshot.users.values() if each.id in user_ids)
    return frozenset(user.id for user in users if person_of(snapshot, user).known_as.isdisjoint(own))
