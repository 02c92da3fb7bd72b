"""What a session's person asks the gateway by SQL, answered: from the snapshot, or by the clerk, who alone knows of requests."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.access.holding import held_grants, holders, is_usable, stands
from gateway.access.model import Grant, Snapshot, Target, User
from gateway.access.relations import write_name, write_table
from gateway.access.selection import weigh
from gateway.bus.lines import ASKED_BY_SQL, CLERK, BusUnavailable, JsonValue, Payload
from gateway.proxy import rights_clock
from gateway.session.addressed import SESSION, TOO_MUCH, Answer, columns_of, not_answered, refused
from gateway.session.constant_rows import Column, Kind, Row, Value
from gateway.session.effects import AnswerAddressed
from gateway.statements.addressed import AskAccess, Show, Shown
from gateway.statements.addressed_plain import write_plain
from gateway.statements.policy import is_small

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession

_SECONDS: Final = 5.0
_MOST_ROWS: Final = 1000


async def answer(session: "LiveSession", effect: AnswerAddressed) -> Answer:
    """What belongs to this session's person, and nothing else."""
    match effect.asked:
        case Show(Shown.SESSION):
            return (_session(session),)
        case Show(Shown.GRANTS):
            worker, lease = session.worker, session.lease
            return tuple(islice(grants_of(worker.directory.snapshot, lease.user, rights_clock.now()), _MOST_ROWS))
        case AskAccess(statements=str(text)) if not is_small(text.encode(), session.shared.facts.inline_bytes):
            return TOO_MUCH  # what takes long is read in a child, and there is none for it
        case _:
            return await _ask_the_clerk(session, effect)


async def _ask_the_clerk(session: "LiveSession", effect: AnswerAddressed) -> Answer:
    lease = session.lease
    facts: Payload = {
        "session": session.session_id,
        "user_id": lease.user.id,
        "user": lease.user.name,
        "target": lease.target.name,
        "asked": {**write_plain(effect.asked)},
    }
    try:
        said = await session.worker.peers.ask(CLERK, ASKED_BY_SQL, facts, _SECONDS)
    except BusUnavailable:
        return not_answered(effect.asked)
    match said:
        case {"rule": str(rule), "message": str(message), **rest}:
            return refused(rule, message, str(rest.get("hint", "")))
        case {"rows": list(rows)}:
            columns = columns_of(effect.asked)
            return tuple(_row(each, columns) for each in rows[:_MOST_ROWS] if isinstance(each, dict))
    raise ValueError("the clerk's answer is none")


def _row(said: Payload, columns: tuple[Column, ...]) -> Row:
    return tuple(_value(said.get(column.name), column.kind) for column in columns)


def _value(said: JsonValue, kind: Kind) -> Value:
    """As it came over the bus, or out of a listing."""
    match said, kind:
        case None, _:
            return None
        case str(), Kind.INSTANT:
            return datetime.fromisoformat(said)
        case list(), Kind.TEXTS:
            return tuple(map(str, said))
        case bool(), Kind.TRUTH:
            return said
        case int(), Kind.INTEGER | Kind.LARGE:
            return int(said)
    return str(said)


def _session(session: "LiveSession") -> Row:
    lease, snapshot = session.lease, session.worker.directory.snapshot
    said = session.describe()
    said |= {
        "user_name": lease.user.name,
        "environment": _environment(snapshot, lease.target),
        "ends_at": said["valid_until"],
        "grant_id": lease.grant_id,
        "request": lease.request or None,
        "bytes_sent": said["bytes_out"],
    }
    return _row(said, SESSION)


def grants_of(snapshot: Snapshot, user: User, now: datetime) -> Iterator[Row]:
    """Those that may be used now or later, by target."""
    held = {grant.target_id for holder in holders(snapshot, user) for grant in snapshot.grants.get(holder, ())}
    environments = {each.id: each.name for each in snapshot.environments.values()}
    targets = (each for each in snapshot.targets.values() if each.id in held or stands(snapshot, user, each))
    for target in sorted(targets, key=lambda each: each.name):
        usable = (grant for grant in held_grants(snapshot, user, target) if is_usable(grant, target))
        for each in sorted(weigh(snapshot, usable, now), key=lambda each: each.grant.id):
            grant = each.grant
            if not each.is_live and each.comes is None:
                continue
            yield (
                target.name,
                environments.get(target.environment_id),
                grant.mode.value,
                tuple(sorted(option.value for option in grant.options)),
                _given_to(snapshot, user, grant),
                each.validity.when.value,
                grant.valid_from,
                grant.valid_until,
                tuple(map(str, grant.windows)),
                tuple(_limited_to(grant)),
                grant.database_role,
                grant.request_number,
                grant.id,
            )


def _limited_to(grant: Grant) -> Iterator[str]:
    """All that is open, if not all."""
    yield from sorted(map(write_name, grant.reading.schemas))
    yield from sorted(map(write_table, grant.reading.tables))
    only = grant.only
    if only is not None:
        yield from (f"{each.command} {write_table((each.schema, each.table))}" for each in sorted(only.operations))
        if only.statements:
            yield f"{len(only.statements)} statements, as they were asked for"


def _given_to(snapshot: Snapshot, user: User, grant: Grant) -> str:
    if grant.id.startswith("role:"):
        role_id = grant.id.split(":")[1]
        return next((f'admin role "{each.name}"' for each in snapshot.admin_roles.values() if each.id == role_id), "admin role")
    if grant.holder_id == user.id:
        return "you"
    return next((f'group "{each.name}"' for each in snapshot.groups.values() if each.id == grant.holder_id), "group")


def _environment(snapshot: Snapshot, target: Target) -> str | None:
    return next((each.name for each in snapshot.environments.values() if each.id == target.environment_id), None)
