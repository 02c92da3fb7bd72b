"""What the bus brings to a worker: wake-ups, cancels, questions of administrators, and what the other workers counted."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar, cast

import structlog

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.bus.lines import DENIED_STATEMENT, Handler, JsonValue, Message, Payload
from gateway.bus.peer import CONNECTED
from gateway.proxy.cancel import UpstreamCancel
from gateway.proxy.entry_preview import preview_entry
from gateway.proxy.listener import Listener
from gateway.proxy.role_audit import audit_target
from gateway.proxy.seats import read_backend
from gateway.proxy.target_check import check_target
from gateway.proxy.throttle import ThrottleState
from gateway.proxy.tls import upstream_context
from gateway.proxy.turns import in_turns
from gateway.proxy.upstream import Place, UpstreamDialer
from gateway.proxy.worker import Worker

_ORPHAN_PAUSES_SECONDS: Final = (0.3, 1.0)
_log: Final = structlog.stdlib.get_logger("gateway.worker")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Look(Protocol[T_co]):
    """A way to look at a target over a login of its own."""

    async def __call__(
        self,
        dialer: UpstreamDialer,
        target: Target,
        role: DatabaseRole,
        *,
        mode: AccessMode,
        timeout_seconds: float,
        iterations_max: int,
    ) -> T_co: ...


class Errands:
    """Handlers for the worker's BusPeer. The worker is made after its peer, so that it comes by `attach`."""

    def __init__(self) -> None:
        self._attached: tuple[Worker, Listener] | None = None

    def attach(self, worker: Worker, listener: Listener) -> None:
        self._attached = worker, listener

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            CONNECTED: self._on_worker(_connected),
            "wake": self._on_worker(lambda worker, _: worker.directory.wake()),
            "cancel": self._cancel,
            # of administrators
            "sessions": lambda _: _sessions(self._worker),
            "cancel-session": lambda message: _cancel_session(self._worker, message),
            "check-target": lambda message: _check_target(self._worker, message),
            "audit-target": lambda message: _audit_target(self._worker, message),
            "preview-entry": lambda message: _preview_entry(self._worker, message),
            "refresh-catalog": lambda message: _refresh_catalog(self._worker, message),
            "target-health": lambda _: _target_health(self._worker),
            "upstream-processes": lambda _: _upstream_processes(self._worker),
            DENIED_STATEMENT: lambda message: _denied_statement(self._worker, message),
            "revision": lambda _: {"revision": self._worker.directory.snapshot.revision},
            "counters": lambda _: {"worker": self._worker.number, **self._worker.counters.as_mapping()},
            # of other workers
            "login-failed": self._on_worker(_login_failed),
            "login-succeeded": self._on_worker(lambda worker, message: _forget(worker, message)),
            "throttle": lambda _: _throttle_state(self._worker),
            "catalog-touched": self._on_worker(
                lambda worker, message: worker.catalogs.suspect(str(message.payload.get("target_id")))
            ),
            "cancel-admitted": self._on_worker(_cancel_admitted),
            "knocking": self._on_worker(lambda worker, message: worker.knocking.heard(message.sender, message.payload)),
            "who-is-knocking": self._on_worker(lambda worker, message: worker.knocking.tell_all(message.sender)),
            "orphans": lambda message: _cancel_orphans(self._worker, message),
            "make-way": self._on_worker(lambda worker, message: worker.ahead.make_way(str(message.payload.get("place")))),
            "worker-gone": self._on_worker(lambda worker, message: worker.knocking.gone(str(message.payload.get("worker")))),
        }

    @property
    def _worker(self) -> Worker:
        if self._attached is None:
            raise RuntimeError("the bus was started before its worker")
        return self._attached[0]

    def _on_worker(self, act: Callable[[Worker, Message], object]) -> Handler:
        def handler(message: Message) -> None:
            act(self._worker, message)

        return handler

    def _cancel(self, message: Message) -> None:
        match message.payload:
            case {"address": str(address), "process_id": int(process_id), "key": str(key)} if self._attached is not None:
                self._attached[1].cancel_here(ip_address(address), process_id, bytes.fromhex(key))


def learn_throttle(worker: Worker, answers: list[Payload]) -> None:
    """What the workers that were here before know of failed logins: a new one is no way around it."""
    for answer in answers:
        match answer:
            case {"addresses": list(addresses), "users": list(users)}:
                state = cast("ThrottleState", (addresses, users))
                worker.logins.learn(state, time.monotonic())


def _throttle_state(worker: Worker) -> Payload:
    by_address, by_user = worker.logins.state(time.monotonic())
    return {"addresses": cast("JsonValue", by_address), "users": cast("JsonValue", by_user)}


def _connected(worker: Worker, _message: Message) -> None:
    worker.seats.declare()
    worker.ahead.declare()
    worker.knocking.connected()


async def _sessions(worker: Worker) -> list[Payload]:
    return [session.describe() async for session in in_turns(list(worker.registry.sessions.values()))]


def _upstream_processes(worker: Worker) -> list[Payload]:
    found = [*worker.seats.processes(), *worker.ahead.processes()]
    return [{"target_id": target_id, "process_id": process_id} for target_id, process_id in found]


def _cancel_session(worker: Worker, message: Message) -> list[Payload]:
    """No answer: it is not ours. Whether anything ran is in the audit."""
    session = worker.registry.sessions.get(str(message.payload.get("session")))
    if session is None:
        return []
    session.cancel_query()
    return [{"worker": worker.number}]


async def _check_target(worker: Worker, message: Message) -> list[Payload]:
    steps = await _look_at_target(worker, message, check_target)
    return [asdict(step) for step in steps or ()]


async def _audit_target(worker: Worker, message: Message) -> list[Payload]:
    found = await _look_at_target(worker, message, audit_target)
    return [] if found is None else [cast("Payload", {**asdict(found), "findings": [asdict(each) for each in found.findings]})]


async def _preview_entry(worker: Worker, message: Message) -> list[Payload]:
    target = worker.directory.snapshot.targets.get(str(message.payload.get("target")))
    if target is None or (role := target.roles.get(AccessMode.READ_ONLY)) is None:
        return []
    found = await preview_entry(
        worker.dialer,
        target,
        role,
        entry=str(message.payload.get("entry")),
        timeout_seconds=worker.settings.policy.catalog_timeout_seconds,
        iterations_max=worker.settings.limits.scram_iterations_max,
    )
    return [cast("Payload", asdict(found))]


async def _look_at_target(worker: Worker, message: Message, look: _Look[T]) -> T | None:
    """None, so no answer: this worker knows no such target, or it has no login for this mode."""
    target = worker.directory.snapshot.targets.get(str(message.payload.get("target")))
    mode = AccessMode(str(message.payload.get("mode")))
    if target is None or (role := target.roles.get(mode)) is None:
        return None
    limits = worker.settings.limits
    return await look(
        worker.dialer,
        target,
        role,
        mode=mode,
        timeout_seconds=limits.upstream_connect_timeout_seconds,
        iterations_max=limits.scram_iterations_max,
    )


def _target_health(worker: Worker) -> list[Payload]:
    return worker.health.describe({target.id: target.name for target in worker.directory.snapshot.targets.values()})


def _denied_statement(worker: Worker, message: Message) -> list[Payload]:
    """No answer: it is not in this one."""
    match message.payload:
        case {"code": str(code), "user_id": str(user_id)}:
            found = worker.denied.find(code, user_id, worker.directory.snapshot)
            return [] if found is None else [found]
        case _:
            return []


async def _refresh_catalog(worker: Worker, message: Message) -> list[Payload]:
    """One answer for each catalog that this worker has of the target: without sessions of it, none."""
    target = worker.directory.snapshot.targets.get(str(message.payload.get("target")))
    if target is None:
        return []
    return [{"worker": worker.number, **asdict(found)} for found in await worker.catalogs.refresh(target.id)]


async def _cancel_orphans(worker: Worker, message: Message) -> None:
    """What a worker that died left running upstream. Its servers see only that nobody takes the result, and that late."""
    orphans = message.payload.get("orphans")
    targets = {target.id: target for target in worker.directory.snapshot.targets.values()}
    cancels = [cancel for orphan in (orphans if isinstance(orphans, list) else []) if (cancel := _cancel_of(orphan, targets))]
    _log.warning("cancelling what the sessions of a dead worker left upstream", sessions=len(cancels))
    for pause in _ORPHAN_PAUSES_SECONDS:  # a backend that has not begun to read its query forgets a cancel
        for cancel in cancels:
            cancel.request()
        await asyncio.sleep(pause)


def _cancel_of(orphan: JsonValue, targets: Mapping[str, Target]) -> UpstreamCancel | None:
    match orphan:
        case {"target": str(target_id), "upstream": str(upstream)} if (target := targets.get(target_id)) is not None:
            family, address, process, key = read_backend(upstream)
            place = Place(family, address, upstream_context(target.tls, target.ca_pem), target.host)
            return UpstreamCancel(place, process, key)
        case _:
            return None


def _login_failed(worker: Worker, message: Message) -> None:
    match message.payload:
        case {"address": str(address), "user": str(user)}:
            worker.logins.failed(ip_address(address), user, time.monotonic())


def _forget(worker: Worker, message: Message) -> None:
    worker.logins.succeeded(str(message.payload.get("user")))


def _cancel_admitted(worker: Worker, message: Message) -> None:
    worker.cancels.admitted_elsewhere(ip_address(str(message.payload.get("address"))), time.monotonic())
