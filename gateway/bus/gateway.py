"""The running gateway, asked over its bus by whoever administers it: the admin API, or a command on the same machine.

Each question is a connection of its own, so that nothing is kept between them and a gateway that was restarted is simply the next
one to be asked.
"""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.access_mode import AccessMode
from gateway.bus.lines import (
    ALL,
    ANY,
    DENIED_STATEMENT,
    HUB,
    MAX_LINE_BYTES,
    WORKER,
    BusLineError,
    Envelope,
    JsonValue,
    Payload,
    address_of,
)
from gateway.ports import (
    CatalogRefresh,
    CheckStep,
    DeniedStatement,
    EntryPreview,
    GatewayUnavailable,
    OpenedObject,
    RoleAudit,
    RoleFinding,
    SessionFacts,
    Severity,
    TargetHealth,
    UpstreamProcess,
)

_ANSWER_SECONDS: Final = 2.0
_CHECK_SECONDS: Final = 40.0  # DNS, TCP, TLS and login of a server that may be far away or mute
_NOT_HERE: Final = "the gateway is not running here"


class BusGateway:
    """Implements ports.LiveGateway. `path` is the bus socket (`settings.bus_socket`)."""

    def __init__(self, path: Path, *, answer_seconds: float = _ANSWER_SECONDS, check_seconds: float = _CHECK_SECONDS) -> None:
        self._path = path
        self._answer_seconds = answer_seconds
        self._check_seconds = check_seconds

    async def sessions(self) -> list[SessionFacts]:
        return [_facts(answer) for answer in await self._ask(ALL, "sessions", {})]

    async def cancel(self, session_id: str) -> bool:
        """Asks every worker: only one can know it."""
        return bool(await self._ask(ALL, "cancel-session", {"session": session_id}))

    async def check_target(self, name: str, mode: AccessMode) -> list[CheckStep]:
        """By one worker: it reaches the target the way that sessions do. Empty: the gateway has not heard of this target yet."""
        answers = await self._ask(ANY, "check-target", {"target": name, "mode": mode.value}, self._check_seconds)
        return [_step(answer) for answer in answers]

    async def target_health(self) -> list[TargetHealth]:
        newest: dict[tuple[str, str], TargetHealth] = {}
        for answer in await self._ask(ALL, "target-health", {}):
            found = _health(answer)
            known = newest.get((found.target, found.mode), found)
            newest[found.target, found.mode] = TargetHealth(
                found.target,
                found.mode,
                max(filter(None, (found.answered_at, known.answered_at)), default=None),
                max(filter(None, (found.failed_at, known.failed_at)), default=None),
                found.kind if (found.failed_at or "") >= (known.failed_at or "") else known.kind,
            )
        return [newest[key] for key in sorted(newest)]

    async def refresh_catalog(self, name: str) -> list[CatalogRefresh]:
        answers = await self._ask(ALL, "refresh-catalog", {"target": name}, self._check_seconds)
        return sorted(map(_refreshed, answers), key=lambda found: found.worker)

    async def audit_target(self, name: str, mode: AccessMode) -> RoleAudit | None:
        """By one worker, like a check."""
        answers = await self._ask(ANY, "audit-target", {"target": name, "mode": mode.value}, self._check_seconds)
        return _audit(answers[0]) if answers else None

    async def preview_entry(self, name: str, entry: str) -> EntryPreview | None:
        """By one worker, like a check."""
        answers = await self._ask(ANY, "preview-entry", {"target": name, "entry": entry}, self._check_seconds)
        return _preview(answers[0]) if answers else None

    async def denied_statement(self, code: str, user_id: str) -> DeniedStatement | None:
        answers = await self._ask(ALL, DENIED_STATEMENT, {"code": code, "user_id": user_id})
        return _denied(answers[0]) if answers else None

    async def upstream_processes(self) -> list[UpstreamProcess]:
        answers = await self._ask(ALL, "upstream-processes", {})
        return [UpstreamProcess(_text(answer, "target_id"), _number(answer.get("process_id"))) for answer in answers]

    async def revision(self) -> int:
        answers = await self._ask(ALL, "revision", {})
        return min(int(str(answer.get("revision"))) for answer in answers)

    async def counters(self) -> list[Mapping[str, float]]:
        answers = await self._ask(ALL, "counters", {})
        return [{name: float(value) for name, value in answer.items() if isinstance(value, int | float)} for answer in answers]

    async def worker_processes(self) -> list[int]:
        """Their process ids."""
        answers = await self._ask(HUB, "processes", {})
        return [_number(answer.get("pid")) for answer in answers if _text(answer, "name").startswith(WORKER)]

    async def roll(self) -> int:
        """Have the supervisor replace its workers one by one; answers how many. Returns at once."""
        match await self._ask(HUB, "rolling-restart", {}):
            case [{"workers": int(count)}]:
                return count
            case _:
                raise GatewayUnavailable("the gateway cannot be restarted now")

    def wake(self) -> None:
        """Never blocks: what the hub cannot take at once, its workers see at their next poll."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, address_of(self._path) as address:
                connection.setblocking(False)
                connection.connect(address)
                connection.send(Envelope(ALL, "wake", body={}).encode())
        except OSError:
            return

    async def _ask(self, to: str, kind: str, payload: Payload, seconds: float | None = None) -> list[Payload]:
        """What everybody asked answers, put together. Raises GatewayUnavailable: also when only some did."""
        seconds = self._answer_seconds if seconds is None else seconds
        heard, expected, answers = 0, -1, []
        try:
            async with asyncio.timeout(seconds):
                with address_of(self._path) as address:
                    reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE_BYTES)
                try:
                    writer.write(Envelope(to, kind, body=payload, id=1).encode())
                    while heard != expected:
                        envelope = Envelope.decode(await reader.readuntil(b"\n"))
                        if envelope.expected >= 0:
                            expected = envelope.expected
                        else:
                            heard += 1
                            answers += envelope.answers
                finally:
                    writer.close()
        except TimeoutError:
            who = "the gateway" if expected < 0 else f"{expected - heard} of the gateway's {expected} workers"
            raise GatewayUnavailable(f"{who} did not answer within {seconds:g} s") from None
        except asyncio.IncompleteReadError:
            raise GatewayUnavailable("the gateway ended while it was asked") from None
        except (OSError, BusLineError, asyncio.LimitOverrunError) as error:
            raise GatewayUnavailable(_NOT_HERE) from error
        if not expected:
            raise GatewayUnavailable("the gateway has no worker at the moment")
        return answers


def _facts(answer: Payload) -> SessionFacts:
    return SessionFacts(
        session=_text(answer, "session"),
        user=_text(answer, "user"),
        target=_text(answer, "target"),
        mode=_text(answer, "mode"),
        address=_text(answer, "address"),
        application=_text(answer, "application"),
        state=_text(answer, "state"),
        started_at=_text(answer, "started_at"),
        worker=_number(answer.get("worker")),
        statements=_number(answer.get("statements")),
        options=tuple(map(str, _list(answer, "options"))),
        max_changed_rows=_limit(answer, "max_changed_rows"),
        grant=_text(answer, "grant"),
        valid_until=_text(answer, "valid_until") if answer.get("valid_until") else None,
        proof=_text(answer, "proof") if answer.get("proof") else "password",
        max_sessions=_limit(answer, "max_sessions"),
        statement_timeout_ms=_limit(answer, "statement_timeout_ms"),
        idle_timeout_seconds=_limit(answer, "idle_timeout_seconds"),
        idle_in_transaction_timeout_seconds=_limit(answer, "idle_in_transaction_timeout_seconds"),
        max_rows=_limit(answer, "max_rows"),
        max_bytes=_limit(answer, "max_bytes"),
        max_bytes_per_day=_limit(answer, "max_bytes_per_day"),
        schemas=tuple(map(str, _list(answer, "schemas"))),
        tables=tuple(map(str, _list(answer, "tables"))),
    )


def _limit(answer: Payload, name: str) -> int | None:
    return None if answer.get(name) is None else _number(answer[name])


def _step(answer: Payload) -> CheckStep:
    return CheckStep(_text(answer, "name"), answer.get("ok") is True, _text(answer, "detail"), _text(answer, "remedy"))


def _health(answer: Payload) -> TargetHealth:
    return TargetHealth(
        target=_text(answer, "target"),
        mode=_text(answer, "mode"),
        answered_at=_text(answer, "answered_at") if answer.get("answered_at") else None,
        failed_at=_text(answer, "failed_at") if answer.get("failed_at") else None,
        kind=_text(answer, "kind"),
    )


def _denied(answer: Payload) -> DeniedStatement:
    return DeniedStatement(_text(answer, "target"), _text(answer, "statement"), _text(answer, "scope"))


def _refreshed(answer: Payload) -> CatalogRefresh:
    seconds = answer.get("seconds")
    return CatalogRefresh(
        worker=_number(answer.get("worker")),
        login=_text(answer, "login"),
        revision=_text(answer, "revision"),
        seconds=seconds if isinstance(seconds, float) else 0.0,
        failure=_text(answer, "failure"),
    )


def _audit(answer: Payload) -> RoleAudit:
    obstacle, findings = answer.get("obstacle"), answer.get("findings")
    return RoleAudit(
        _text(answer, "login"),
        tuple(_finding(each) for each in (findings if isinstance(findings, list) else []) if isinstance(each, dict)),
        _step(obstacle) if isinstance(obstacle, dict) else None,
    )


def _finding(answer: Payload) -> RoleFinding:
    weight = _text(answer, "severity")
    return RoleFinding(
        _text(answer, "check"),
        Severity(weight) if weight in list(Severity) else Severity.CRITICAL,
        _text(answer, "detail"),
        _text(answer, "meaning"),
        _text(answer, "remedy"),
    )


def _preview(answer: Payload) -> EntryPreview:
    obstacle = answer.get("obstacle")
    return EntryPreview(
        _text(answer, "entry"),
        tuple(_opened(each) for each in _list(answer, "objects") if isinstance(each, dict)),
        _number(answer.get("more")),
        tuple(map(str, _list(answer, "notes"))),
        _step(obstacle) if isinstance(obstacle, dict) else None,
    )


def _opened(answer: Payload) -> OpenedObject:
    return OpenedObject(
        kind=_text(answer, "kind"),
        name=_text(answer, "name"),
        volatility=_text(answer, "volatility"),
        security_definer=answer.get("security_definer") is True,
        language=_text(answer, "language"),
        owner=_text(answer, "owner"),
        warnings=tuple(map(str, _list(answer, "warnings"))),
    )


def _list(answer: Payload, name: str) -> list[JsonValue]:
    value = answer.get(name)
    return value if isinstance(value, list) else []


def _text(answer: Payload, name: str) -> str:
    return str(answer.get(name, ""))


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
