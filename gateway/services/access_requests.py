"""Access requests, as verbs: ask, decide, take back, give back, take away, look, review; and what time makes of them.

Each transition is one transaction: the request, its grants or their end, its audit events and what is to be told of it. What a
request led to is a grant like any other, and the grant alone is what sessions are held against: nothing here has to run for a
right to end.
"""

from gateway.services.request_asking import Asked, create_request
from gateway.services.request_deciding import approve_on_call, decide_request
from gateway.services.request_ending import cancel_request, relinquish_request, review_break_glass, revoke_request
from gateway.services.request_looking import (
    Askable,
    Listing,
    LookStore,
    ShownRequest,
    WhichRequests,
    approver_names,
    askable,
    list_requests,
    show_request,
)
from gateway.services.request_review import Brief, Opened, review_of
from gateway.services.request_sweep import sweep_requests

__all__ = [
    "Askable",
    "Asked",
    "Brief",
    "Listing",
    "LookStore",
    "Opened",
    "ShownRequest",
    "WhichRequests",
    "approve_on_call",
    "approver_names",
    "askable",
    "cancel_request",
    "create_request",
    "decide_request",
    "list_requests",
    "relinquish_request",
    "review_break_glass",
    "review_of",
    "revoke_request",
    "show_request",
    "sweep_requests",
]
