"""Why somebody may use a target, or may not: all that was weighed, and what decided. Pure.

The parts of `authorize` answer, so that the explanation cannot tell another story.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.access.authorize import living_user, open_role
from gateway.access.holding import held_grants, is_usable
from gateway.access.model import Denial, Grant, Snapshot, Target, User
from gateway.access.rights import counting
from gateway.access.selection import DATABASE_ROLE, Weighed, decides, includes, weigh, widest
from gateway.access.validity import When
from gateway.access.windows import told
from gateway.access_mode import AccessMode


class Part(StrEnum):
    """What part a grant has in the answer."""

    COUNTS = "counts"
    LOSES = "loses"  # to a wider one, or one that lasts longer
    OTHER_MODE = "other-mode"
    NOT_YET = "not-yet"
    CLOSED = "closed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Considered:
    """`reason` is for people. `changes_at`: when it would have another part by the clock alone; None: never."""

    grant: Grant
    part: Part
    reason: str
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """`obstacles`: what else stands in the way, however many grants there are. `admitted`: a login would succeed now.

    `changes_at`: when the answer may be another one by the clock alone.
    """

    admitted: bool
    considered: tuple[Considered, ...]
    obstacles: tuple[Denial, ...]
    changes_at: datetime | None


def explain(snapshot: Snapshot, user: User, target: Target, mode: AccessMode, now: datetime) -> Explanation:
    """From an address that every allowlist admits: those are not looked at."""
    held = weigh(snapshot, held_grants(snapshot, user, target), now)
    fitting = [each for each in held if includes(each.grant.mode, mode) and is_usable(each.grant, target)]
    live = [each for each in fitting if each.is_live]
    winner = widest(live, mode)
    counts = [] if winner is None else counting(target, live, winner)
    considered = tuple(_consider(each, target, winner, counts, mode) for each in held)
    obstacles = _obstacles(snapshot, user, target, mode, now)
    changes = [each.validity.until for each in fitting if each.validity.until is not None]
    return Explanation(winner is not None and not obstacles, considered, obstacles, min(changes, default=None))


def _consider(each: Weighed, target: Target, winner: Weighed | None, counts: list[Weighed], mode: AccessMode) -> Considered:
    grant, found = each.grant, each.validity
    until = "" if found.until is None else told(found.until, grant.windows)
    if not includes(grant.mode, mode):
        return Considered(grant, Part.OTHER_MODE, f"it is for {grant.mode} alone", None)
    if each.lost_backer:
        return Considered(grant, Part.ENDED, f"{each.lost_backer}, who approved it, may not approve any more", None)
    if not is_usable(grant, target) and found.when is not When.ENDED:
        reason = f'it is for the database role "{grant.database_role}", and logins are not managed on this target'
        return Considered(grant, Part.LOSES, reason, None)
    match found.when:
        case When.LIVE if winner is not None and each not in counts:
            return Considered(grant, Part.LOSES, _lost(each, winner, mode), found.until)
        case When.LIVE:
            beside = "" if winner is None or each is winner else f", together with {winner.grant.id}"
            reason = f"it counts until {until}{beside}" if until else f"it counts{beside}"
            return Considered(grant, Part.COUNTS, reason, found.until)
        case When.NOT_YET:
            return Considered(grant, Part.NOT_YET, f"it begins {until}" if until else "it ends before it opens", found.until)
        case When.CLOSED:
            reason = (
                f"outside its windows; it opens {until}" if until else "outside its windows, and it ends before the next one"
            )
            return Considered(grant, Part.CLOSED, reason, found.until)
        case When.ENDED:
            ended = "" if grant.valid_until is None else told(grant.valid_until, grant.windows)
            return Considered(grant, Part.ENDED, f"it ended {ended}", None)


def _lost(each: Weighed, winner: Weighed, mode: AccessMode) -> str:
    match decides(winner, each, mode):
        case "":
            return f"{winner.grant.id} is as wide"
        case "valid longer":
            return f"{winner.grant.id} is as wide and lasts longer"
        case name if name == DATABASE_ROLE:
            return f"{winner.grant.id} is for a database role, and goes before it"
        case name:
            return f"{winner.grant.id} is wider: {name}"


def _obstacles(snapshot: Snapshot, user: User, target: Target, mode: AccessMode, now: datetime) -> tuple[Denial, ...]:
    found: list[Denial] = []
    if snapshot.lockdown is not None:
        found.append(Denial("lockdown", "57P03", "the gateway is closed for everybody", "See: pgbastion lockdown --help"))
    account = living_user(snapshot, user.name, user.id, None, now)
    found += [account] if isinstance(account, Denial) else []
    if user.read_only and mode is AccessMode.READ_WRITE:
        found.append(Denial("user-read-only", "42501", f'user "{user.name}" may only read, whatever is granted', ""))
    role = open_role(target, mode)
    return (*found, role) if isinstance(role, Denial) else tuple(found)
