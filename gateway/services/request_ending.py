"""Ending access requests: taken back, given back, taken away; and looking at what was done in an emergency."""

from dataclasses import replace

from gateway.access import requests
from gateway.access.electorate import person_of, reviewers
from gateway.access.request_record import AccessRequest, Review, State
from gateway.access.requests import Refused
from gateway.ports import Store
from gateway.services.actor import NotPermitted
from gateway.services.change import Change, begin
from gateway.services.errors import ServiceError
from gateway.services.naming import check_remark
from gateway.services.request_change import about_detail, refuse, request_name, stage_ended
from gateway.services.request_people import acting, check_own_hand, find_request, involves, refreshed


async def cancel_request(store: Store, *, request: str | int, actor: str, reason: str = "") -> AccessRequest:
    """Taken back before it began, by who asked or by whom it is for. `request`: its id or its number. Raises ServiceError."""
    async with begin(store, actor, reason) as change:
        found = await _own(change, request)
        return await _ended(change, requests.cancel(found, change.now, reason))


async def relinquish_request(store: Store, *, request: str | int, actor: str, reason: str = "") -> AccessRequest:
    """A right given back early, by whom it is for or by who asked for it; its sessions end. Raises ServiceError."""
    async with begin(store, actor, reason) as change:
        found = await _own(change, request)
        return await _ended(change, requests.relinquish(found, change.now))


async def revoke_request(store: Store, *, request: str | int, actor: str, reason: str = "") -> AccessRequest:
    """A right taken away, by an admin of the place or by one of those who approved it; its sessions end, and read the reason.

    Of a request that still waits: denied. Raises ServiceError.
    """
    async with begin(store, actor, reason) as change:
        found = await find_request(change, request)
        place = found.policy.environment_id
        if change.who.user_id not in found.approver_ids or change.who.only_looks or change.who.cut_down:
            change.require_in("requests.revoke", place)
        else:
            change.require("requests.decide", user_id=change.who.user_id)
        if requests.as_of(found, change.now).state is State.PENDING:
            return await _ended(change, requests.dismiss(found, reason, change.now))
        return await _ended(change, requests.revoke(found, reason, change.now))


async def review_break_glass(
    store: Store, *, request: str | int, comment: str = "", actor: str, reason: str = ""
) -> AccessRequest:
    """Somebody else has looked at what was done in an emergency: one who could have decided about it, or an admin of the place.

    Until then it is listed as not reviewed. Raises ServiceError.
    """
    check_remark("comment", comment)
    async with begin(store, actor, reason or comment) as change:
        found = refreshed(change.whole, await find_request(change, request))
        user = acting(change)
        change.require("requests.decide", user_id=user.id)
        check_own_hand(change, user)
        review = Review(user.id, user.name, change.now, comment)
        after = requests.look_back(found, person_of(change.whole, user), review, change.now)
        if isinstance(after, Refused):
            raise refuse(after)
        is_admin = change.who.may("requests.revoke", environment_id=found.policy.environment_id)
        if not is_admin and user.id not in reviewers(change.whole, found, change.now):
            raise ServiceError("not-an-approver", "you may not review this request", "Ask somebody of its approvers.")
        change.carries_out(after)
        detail = about_detail(after) | {"comment": comment}
        change.note("access_request.reviewed", after.id, request_name(after), detail)
        return replace(after, version=await change.commit())


async def _own(change: Change, key: str | int) -> AccessRequest:
    found = await find_request(change, key)
    if not involves(found, change.who.user_id):
        raise NotPermitted(f"{change.actor} may not do this: it is another's request", "An admin can revoke or deny it.")
    change.require("requests.own", user_id=change.who.user_id)
    return found


async def _ended(change: Change, after: AccessRequest | Refused) -> AccessRequest:
    if isinstance(after, Refused):
        raise refuse(after)
    stage_ended(change, after)
    return replace(after, version=await change.commit())
