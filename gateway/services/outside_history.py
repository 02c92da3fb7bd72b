"""What was seen over time of others who use a target's database: who, since when, how many, and what follows from it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.ports import OutsideLook, OutsideUse

_STEPS: Final = 24
_QUIET: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Usage:
    """One role, from one place, by one program. `now`: sessions at this moment; `peak`: the most that were seen at once.

    `counts`: the most in each of 24 parts of the time, the oldest first; None: nobody looked then.
    """

    use: OutsideUse
    now: int
    peak: int
    first_seen: datetime
    last_seen: datetime
    counts: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class History:
    """`looks`: how often somebody looked and saw. `since`: when first, of these. `last_seen`: when anybody was last there."""

    usages: tuple[Usage, ...]
    looks: int
    since: datetime | None
    last_seen: datetime | None
    last_failure: str
    last_failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ready`: nobody would notice when the admin password changes, as far as was seen."""

    ready: bool
    text: str
    command: str


def history_of(looks: Sequence[OutsideLook], now: OutsideLook | None, begin: datetime, end: datetime) -> History:
    """`looks` from `begin` on, the oldest first; `now`: what is seen at this moment."""
    seen = [look for look in (*looks, *((now,) if now is not None else ())) if not look.failure]
    width = (end - begin) / _STEPS or timedelta(seconds=1)
    looked = {_step(look.at, begin, width) for look in seen}
    found: dict[tuple[str, str, str, str], list[tuple[datetime, OutsideUse]]] = {}
    for look in seen:
        for use in look.uses:
            found.setdefault((use.role, use.address, use.application, use.database), []).append((look.at, use))
    usages = []
    for entries in found.values():
        most: dict[int, int] = {}
        for at, use in entries:
            step = _step(at, begin, width)
            most[step] = max(most.get(step, 0), use.sessions)
        last_at, last = entries[-1]
        counts = tuple(most.get(step, 0) if step in looked else None for step in range(_STEPS))
        current = last.sessions if now is not None and last_at == now.at else 0
        usages.append(Usage(last, current, max(use.sessions for _, use in entries), entries[0][0], last_at, counts))
    usages.sort(key=lambda usage: (-usage.now, -usage.last_seen.timestamp(), usage.use.role, usage.use.address))
    failed = [look for look in looks if look.failure]
    return History(
        tuple(usages),
        len(seen),
        seen[0].at if seen else None,
        max((usage.last_seen for usage in usages), default=None),
        failed[-1].failure if failed else "",
        failed[-1].at if failed else None,
    )


def _step(at: datetime, begin: datetime, width: timedelta) -> int:
    return min(max(int((at - begin) / width), 0), _STEPS - 1)


def judge(name: str, admin: str, history: History, end: datetime, *, gateway_known: bool, rotated: bool) -> Verdict:
    """May the password of the login `admin` change? Who is there by other logins does not mind."""
    if rotated:
        return Verdict(
            True, "the admin password was rotated already: nobody else knows it", f"pgbastion targets adoption {name}"
        )
    if not gateway_known:
        text = "not known: the gateway could not be asked which sessions are its own"
        return Verdict(False, text, f"pgbastion targets who-still-uses {name}")
    concerned = [usage for usage in history.usages if usage.use.role == admin]
    if current := sum(usage.now for usage in concerned):
        text = f"no: {current} session{'s' * (current > 1)} by {admin} at this moment; they move to the gateway first"
        return Verdict(False, text, f"pgbastion targets who-still-uses {name} --watch")
    if history.since is None or history.looks <= 1:
        text = f"nobody by {admin} at this moment; who comes now and then is seen only by looking again and again"
        return Verdict(False, text, f"pgbastion targets observe {name} --every 5m")
    last_seen = max((usage.last_seen for usage in concerned), default=None)
    quiet = end - (last_seen or history.since)
    if quiet < _QUIET:
        why = f"somebody was there by {admin}" if last_seen is not None else "the first look was"
        text = f"not yet: {why} {_long(quiet)} ago (a day of quiet is asked for)"
        return Verdict(False, text, f"pgbastion targets who-still-uses {name} --watch")
    text = f"yes: nobody by {admin} for {_long(quiet)} (looked {history.looks} times)"
    return Verdict(True, text, f"pgbastion targets rotate-credential {name} --role admin")


def _long(span: timedelta) -> str:
    for unit, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(span.total_seconds() // seconds)
        if count:
            return f"{count} {unit}{'s' * (count > 1)}"
    return "a moment"
