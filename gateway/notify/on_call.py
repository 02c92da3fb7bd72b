"""Is whoever asks for access on call? Asked of PagerDuty by its own client; a yes approves by the policy's rule.

Whatever is not a plain yes is no, and the request stays pending: nobody of this schedule, somebody whom no account here has the
address of, or several have, a provider that is down, slow, or takes our key for nobody's.
"""

import asyncio
import math
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx2
import pagerduty

from gateway.access.model import Snapshot, User
from gateway.access.request_record import AccessRequest, State
from gateway.notify.delivering import Dead, Delivered, Later, Means, Outcome
from gateway.ports import OutboxMessage
from gateway.secret import Secret
from gateway.services.access_requests import approve_on_call
from gateway.services.errors import ServiceError
from gateway.settings.notify import PagerDuty
from gateway.store.errors import StoreError

_THREADS: Final = 2
_TRIES: Final = 3  # of one question: soon after, nobody waits for the answer any more
_AGAIN_SECONDS: Final = 5.0
_MOST_ON_CALL: Final = 1000
_REMEMBERED: Final = 100


class OnCallUnavailable(Exception):
    """The provider cannot be asked now. The text is for operators, and holds no secret."""


class OnCallRefused(OnCallUnavailable):
    """It does not let us ask, or knows nothing of such a schedule: asking again would not help."""


@dataclass(frozen=True, slots=True)
class _Answer:
    emails: frozenset[str]
    at: float


class OnCall:
    """Implements Channel, for "on-call:<schedule>"."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._settings: PagerDuty = means.settings.pagerduty
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pagerduty")
        self._answers: dict[str, _Answer] = {}

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def deliver(self, message: OutboxMessage) -> Outcome:
        schedule = message.destination.partition(":")[2]
        try:
            request = await self._means.store.access_request(message.request_id or "")
            if request is None or request.state is not State.PENDING:
                return Delivered(dropped="the request is not pending any more")
            emails = await self._emails(schedule)
        except StoreError:
            return Later(None, "the store cannot be asked")
        except OnCallRefused as error:
            return Dead(str(error))
        except OnCallUnavailable as error:
            return Later(_AGAIN_SECONDS, str(error)) if message.attempts < _TRIES else Dead(str(error))
        if not _are_on_call(request, self._means.snapshot(), emails, self._means.clock()):
            return Delivered(dropped="who asks is not on call")
        return await self._approve(request, schedule)

    async def _approve(self, request: AccessRequest, schedule: str) -> Outcome:
        try:
            reason = f"on call at PagerDuty, schedule {schedule}"
            after = await approve_on_call(self._means.store, request_id=request.id, schedule=schedule, reason=reason)
        except ServiceError as refused:
            return Delivered(dropped=f"on call, but {refused.message}")
        except StoreError:
            return Later(None, "the store does not take the approval now")
        if after.state is State.PENDING:
            return Delivered(dropped="on call, but the policy has no rule for that any more")
        return Delivered(receipt="approved")

    async def _emails(self, schedule: str) -> frozenset[str]:
        """Of whom is on call now. Raises OnCallUnavailable."""
        known = self._answers.get(schedule)
        if known is not None and time.monotonic() - known.at < self._settings.cache_seconds:
            return known.emails
        asked_at = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                emails = await loop.run_in_executor(self._pool, self._ask, schedule)
        except TimeoutError:
            raise OnCallUnavailable("PagerDuty does not answer in time") from None
        if len(self._answers) >= _REMEMBERED:
            self._answers.clear()
        self._answers[schedule] = _Answer(emails, asked_at)
        return emails

    def _ask(self, schedule: str) -> frozenset[str]:
        """In a thread. Raises OnCallUnavailable."""
        settings = self._settings
        try:
            token = _read(settings.token_file)
            context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        except OSError as error:
            raise OnCallRefused(f"a file of the section pagerduty cannot be read ({error.strerror})") from None
        with pagerduty.RestApiV2Client(token.reveal(), base_url=settings.base_url, verify=context, trust_env=False) as client:
            client.timeout = math.ceil(settings.timeout_seconds)
            client.max_network_attempts = 0
            client.retry = {429: 1}  # by itself it would wait without end
            return _asked(client, schedule)


def _asked(client: pagerduty.RestApiV2Client, schedule: str) -> frozenset[str]:
    """Addresses in lower case, of everybody who is on call on this schedule now. Raises OnCallUnavailable."""
    parameters = {"schedule_ids[]": [schedule], "include[]": ["users"], "time_zone": "UTC"}
    found: set[str] = set()
    try:
        for number, entry in enumerate(client.iter_all("oncalls", params=parameters)):
            if number >= _MOST_ON_CALL:
                raise OnCallUnavailable("PagerDuty answers with too many people")
            found |= _email_in(entry, schedule)
    except pagerduty.HttpError as error:
        status = 0 if error.response is None else error.response.status_code
        text = f"PagerDuty answers with status {status}"
        raise (OnCallRefused if status in (400, 401, 402, 403, 404) else OnCallUnavailable)(text) from None
    except (pagerduty.Error, httpx2.HTTPError):
        raise OnCallUnavailable("PagerDuty cannot be reached") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise OnCallUnavailable("what answers is not PagerDuty: see pagerduty.base_url") from None
    return frozenset(found)


def _email_in(entry: object, schedule: str) -> set[str]:
    """Of one entry, if it is of this schedule and of somebody who has taken up their account there."""
    match entry:
        case {"schedule": {"id": str(of)}, "user": {"email": str(email), **user}} if of == schedule:
            return set() if user.get("invitation_sent") or not email else {email.lower()}
        case {"user": {}}:
            return set()
    raise TypeError("not an entry of who is on call")


def _are_on_call(request: AccessRequest, snapshot: Snapshot, emails: frozenset[str], now: datetime) -> bool:
    """Both who asks and for whom: each has an address that is nobody else's here."""
    ids = {request.requester.user_id, request.holder.user_id}
    return all(_is_on_call(user_id, snapshot, emails, now) for user_id in ids)


def _is_on_call(user_id: str, snapshot: Snapshot, emails: frozenset[str], now: datetime) -> bool:
    user = next((each for each in snapshot.users.values() if each.id == user_id), None)
    if user is None or not _is_alive(user, snapshot, now) or user.email is None or user.email.lower() not in emails:
        return False
    alike = [each for each in snapshot.users.values() if each.email is not None and each.email.lower() == user.email.lower()]
    return len([each for each in alike if _is_alive(each, snapshot, now)]) == 1


def _is_alive(user: User, snapshot: Snapshot, now: datetime) -> bool:
    over = user.valid_until is not None and now >= user.valid_until
    return user.enabled and not over and user.id not in snapshot.held_back


def _read(file: Path | None) -> Secret:
    """Raises OSError."""
    if file is None:
        raise FileNotFoundError(2, "pagerduty.token_file is not set")
    return Secret(file.read_text("utf-8").strip())
