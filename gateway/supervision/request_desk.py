"""What people ask the gateway by SQL, in their sessions, about access requests: to make one, to give one back, to see theirs.

Handlers of the clerk's peer: a worker says who the session's person is, and what is done is done in their name by the services,
with the rules and the audit of any other way. The store is asked whether that name still is this account's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, cast

import structlog

from gateway.access.asking import ModeWanted, Right, RoleWanted, Scope, StatementsWanted
from gateway.access.request_record import AccessRequest, State
from gateway.access_mode import AccessMode
from gateway.bus.lines import ASKED_BY_SQL, WORKER, Handler, JsonValue, Message, Payload
from gateway.ports import Store
from gateway.services.access_requests import (
    Asked,
    Listing,
    LookStore,
    WhichRequests,
    cancel_request,
    create_request,
    list_requests,
    relinquish_request,
    show_request,
)
from gateway.services.errors import ServiceError
from gateway.statements.addressed import Addressed, AskAccess, GiveBack
from gateway.statements.addressed_plain import read_plain
from gateway.store.errors import StoreError

_SHOWN: Final = 100
_NAMED: Final = 5
_SECONDS: Final = 60.0
_CHANGES: Final = 20  # of one person within this time: each has every process look at all rights anew
_LOOKS: Final = 120  # likewise: each reads the store
_AT_ONCE: Final = 4  # of all people: the supervisor has other things to do
_MOST_PEOPLE: Final = 10_000
_log: Final = structlog.stdlib.get_logger("gateway.clerk")


class DeskStore(Store, LookStore, Protocol):
    """What the services need of a store here."""


FindDenied = Callable[[str, str], Awaitable[Payload | None]]
"""The statement that was refused under a code, of this user id; None: nobody knows it."""


class RequestDesk:
    def __init__(self, store: DeskStore, find_denied: FindDenied) -> None:
        self._store = store
        self._find_denied = find_denied
        self._asked_at: dict[tuple[str, bool], list[float]] = {}
        self._at_work = asyncio.Semaphore(_AT_ONCE)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {ASKED_BY_SQL: self._asked}

    async def _asked(self, message: Message) -> Payload:
        match message.payload:
            case {
                "session": str(session),
                "user_id": str(user_id),
                "user": str(name),
                "target": str(target),
                "asked": dict(plain),
            } if message.sender.startswith(WORKER):
                pass
            case _:
                return _MALFORMED
        try:
            asked = read_plain(plain)
        except (ValueError, TypeError, KeyError):
            return _MALFORMED
        try:
            self._note(user_id, asked, time.monotonic())
            async with self._at_work:
                return await self._answer(asked, _Asker(user_id, name, target, session))
        except ServiceError as refused:
            return _refusal(refused.rule, refused.message, refused.hint)
        except StoreError as error:
            _log.error("a statement for the gateway was not answered", user=name, reason=str(error))
            return _refusal("store-unavailable", "the gateway cannot answer now", "Try again in a moment.")

    async def _answer(self, asked: Addressed, asker: "_Asker") -> Payload:
        user = (await self._store.read()).users.get(asker.name)
        if user is None or user.id != asker.user_id:
            raise ServiceError("user-unknown", f'user "{asker.name}" does not exist any more')
        match asked:
            case AskAccess():
                made = await self._ask(asked, asker)
                return await self._outcome(made, asker)
            case GiveBack(number):
                return await self._outcome(await self._give_back(number, asker), asker)
            case _:
                mine = Listing(which=WhichRequests.MINE, limit=_SHOWN)
                found = await list_requests(self._store, mine, actor=asker.actor, now=datetime.now(UTC))
                return {"rows": [cast("JsonValue", _row(each.request, each.approvers)) for each in found]}

    async def _outcome(self, request: AccessRequest, asker: "_Asker") -> Payload:
        shown = await show_request(self._store, request=request.id, actor=asker.actor, now=datetime.now(UTC))
        return {"rows": [cast("JsonValue", _row(shown.request, shown.approvers))]}

    async def _ask(self, asked: AskAccess, asker: "_Asker") -> AccessRequest:
        target, right = asked.target or asker.target, _right(asked)
        if asked.code is not None:
            found = await self._find_denied(asked.code, asker.user_id)
            if found is None:
                text = f'no statement of yours was refused under the code "{asked.code}"'
                hint = "A code is good for an hour, and for whom it was told. Send the statement again."
                raise ServiceError("code-unknown", text, hint)
            target, scope = str(found["target"]), Scope(asked.scope or str(found["scope"]))
            right = StatementsWanted((str(found["statement"]),), scope, AccessMode.READ_WRITE)
        if right is None:
            raise ServiceError("nothing-asked", "a request says what is asked for", "mode, role, sql or code.")
        wanted = Asked(
            right,
            target_name=target,
            duration_seconds=asked.duration_seconds,
            reason=asked.reason,
            ticket=asked.ticket,
        )
        return await create_request(self._store, asked=wanted, actor=asker.actor)

    async def _give_back(self, number: int, asker: "_Asker") -> AccessRequest:
        """One that still waits is taken back."""
        shown = await show_request(self._store, request=number, actor=asker.actor, now=datetime.now(UTC))
        verb = cancel_request if shown.request.state is State.PENDING else relinquish_request
        return await verb(self._store, request=number, actor=asker.actor, reason=f"in session {asker.session}")

    def _note(self, user_id: str, asked: Addressed, now: float) -> None:
        """Raises ServiceError for somebody who asks too often."""
        if len(self._asked_at) >= _MOST_PEOPLE:
            self._asked_at.clear()
        changes = isinstance(asked, AskAccess | GiveBack)
        recent = [at for at in self._asked_at.get((user_id, changes), ()) if now - at < _SECONDS]
        self._asked_at[user_id, changes] = recent
        if len(recent) >= (_CHANGES if changes else _LOOKS):
            raise ServiceError("asked-too-often", "you asked the gateway too often", "Try again in a minute.")
        recent.append(now)


@dataclass(frozen=True, slots=True)
class _Asker:
    """The person of a session, as its worker says."""

    user_id: str
    name: str
    target: str
    session: str

    @property
    def actor(self) -> str:
        return f"user:{self.name}"


def _right(asked: AskAccess) -> Right | None:
    mode = asked.mode or AccessMode.READ_ONLY
    if asked.database_role is not None:
        return RoleWanted(asked.database_role, mode)
    if asked.statements is not None:
        return StatementsWanted((asked.statements,), Scope(asked.scope or Scope.RELATIONS), mode)
    return None if asked.mode is None else ModeWanted(asked.mode)


def _row(request: AccessRequest, approvers: tuple[str, ...]) -> Payload:
    """By the columns of session/addressed.py."""
    wanted, names = request.wanted, request.names
    return {
        "number": request.number,
        "state": request.state.value,
        "target": names.place,
        "wanted": _wanted(wanted.right),
        "mode": wanted.mode.value,
        "duration_seconds": wanted.duration_seconds,
        "reason": wanted.reason,
        "ticket": wanted.ticket,
        "asked_by": names.requester,
        "holder": names.holder,
        "asked_at": request.asked_at.isoformat(),
        "decide_by": request.decide_by.isoformat(),
        "starts_at": None if request.starts_at is None else request.starts_at.isoformat(),
        "ends_at": None if request.ends_at is None else request.ends_at.isoformat(),
        "next": _next(request, approvers),
    }


def _wanted(right: Right) -> str:
    match right:
        case ModeWanted(mode):
            return mode.value
        case RoleWanted(database_role, mode):
            return f'database role "{database_role}", {mode.value}'
        case StatementsWanted(texts, scope, mode):
            what = "exactly the statements" if scope is Scope.EXACT else "the operations of the statements"
            return f"{what} of {len(texts)} text{'s' if len(texts) > 1 else ''}, {mode.value}"


def _next(request: AccessRequest, approvers: tuple[str, ...]) -> str:
    number, place = request.number, request.names.place
    suffix = ":rw" if request.wanted.mode is AccessMode.READ_WRITE else ""
    match request.state:
        case State.PENDING:
            more = f" and {len(approvers) - _NAMED} more" if len(approvers) > _NAMED else ""
            who = f"{', '.join(approvers[:_NAMED])}{more}" if approvers else "nobody can at the moment"
            return f"Waits for a decision ({who}). To take it back: SELECT pgbastion.relinquish({number})"
        case State.APPROVED:
            return f"Approved; it begins later. To give it back: SELECT pgbastion.relinquish({number})"
        case State.ACTIVE if request.wanted.target_id is not None:
            return f'Connect to "{place}{suffix}". To give it back: SELECT pgbastion.relinquish({number})'
        case State.ACTIVE:
            return f'Connect to a target of environment "{place}". To give it back: SELECT pgbastion.relinquish({number})'
        case _:
            return request.ended_because


def _refusal(rule: str, message: str, hint: str = "") -> Payload:
    return {"rule": rule, "message": message, "hint": hint}


_MALFORMED: Final = _refusal("malformed", "the gateway does not understand itself")
