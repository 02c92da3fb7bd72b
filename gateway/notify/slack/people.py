"""Who a member of the workspace is here: by the address that Slack has confirmed, and by nothing else.

A name, an address or a profile in what comes in proves nothing; the member is looked up at Slack by id. Whoever has no account of
their own here, or two, is nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from slack_sdk.errors import SlackApiError

from gateway.access.electorate import is_living
from gateway.access.model import Snapshot, User, UserKind
from gateway.notify.slack.facts import Json
from gateway.notify.slack.workspace import Workspace, code_of

REMEMBERED_SECONDS: Final = 120.0
"""How long Slack's answer is used. The accounts here are looked at each time."""
_MOST_REMEMBERED: Final = 5000
_UNKNOWN: Final = frozenset({"users_not_found", "user_not_found", "user_not_visible"})


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of the workspace. `address`: confirmed, in lower case."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """`said`: why this is nobody here, and what to do; in words for that person."""

    said: str


Found: TypeAlias = User | Stranger

_NO_ADDRESS: Final = Stranger(
    "Slack has no confirmed e-mail address of yours. Confirm it in your Slack profile, then try again in a few minutes."
)
_NOT_OURS: Final = Stranger(
    "Only full members of this Slack workspace may use pgbastion from here: no guests, no apps, nobody of another workspace. "
    "Use the commands instead: `pgbastion request`."
)


class People:
    def __init__(self, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        self._client = workspace.client
        self._home = workspace.home
        self._clock = clock
        self._members: dict[str, tuple[datetime, Member | Stranger]] = {}

    async def account_of(self, member_id: str, snapshot: Snapshot) -> Found:
        """Raises what the client raises when Slack does not answer."""
        member = await self._member(member_id)
        return member if isinstance(member, Stranger) else account(member, snapshot, self._clock())

    async def member_of(self, user: User, snapshot: Snapshot) -> str | None:
        """Whom to write to, by the same rules the other way round; None: nobody. Raises likewise."""
        if user.email is None:
            return None
        try:
            answer = await self._client.users_lookupByEmail(email=user.email)
        except SlackApiError as error:
            if code_of(error) in _UNKNOWN:
                return None
            raise
        member = member_in(_mapping(answer.get("user")), await self._home())
        if isinstance(member, Stranger):
            return None
        found = account(member, snapshot, self._clock())
        return member.id if isinstance(found, User) and found.id == user.id else None

    async def _member(self, member_id: str) -> Member | Stranger:
        now = self._clock()
        known = self._members.get(member_id)
        if known is not None and timedelta() <= now - known[0] < timedelta(seconds=REMEMBERED_SECONDS):
            return known[1]
        try:
            answer = await self._client.users_info(user=member_id)
            member = member_in(_mapping(answer.get("user")), await self._home())
        except SlackApiError as error:
            if code_of(error) not in _UNKNOWN:
                raise
            member = _NOT_OURS
        if len(self._members) >= _MOST_REMEMBERED:
            self._members.clear()
        self._members[member_id] = (now, member)
        return member


def member_in(user: Mapping[str, Json], home: str) -> Member | Stranger:
    """Of a user object of Slack's. What is not said counts as the worse."""
    enterprise = _mapping(user.get("enterprise_user"))
    teams = enterprise.get("teams")
    at_home = user.get("team_id") == home or (isinstance(teams, list) and home in teams)
    outside = ("deleted", "is_bot", "is_workflow_bot", "is_restricted", "is_ultra_restricted", "is_stranger")
    if not at_home or any(user.get(each) not in (None, False) for each in outside):
        return _NOT_OURS
    member_id, address = user.get("id"), _mapping(user.get("profile")).get("email")
    if user.get("is_email_confirmed") is not True or not isinstance(address, str) or not isinstance(member_id, str):
        return _NO_ADDRESS
    return Member(member_id, _same(address)) if address.strip() else _NO_ADDRESS


def account(member: Member, snapshot: Snapshot, now: datetime) -> Found:
    """The one living person's account with this address."""
    having = [
        user
        for user in snapshot.users.values()
        if user.email is not None
        and _same(user.email) == member.address
        and user.kind is UserKind.PERSON
        and is_living(snapshot, user, now)
    ]
    match having:
        case [one]:
            return one
        case []:
            return Stranger(
                f"There is no account in pgbastion with your address {member.address}. "
                "An owner can write it into yours: `pgbastion users update NAME --email ADDRESS`."
            )
        case _:
            return Stranger(
                f"Several accounts in pgbastion have your address {member.address}, so it is not known which is yours. "
                "An owner can mend that: `pgbastion users update NAME --email ADDRESS`."
            )


def _same(address: str) -> str:
    """As the gateway itself compares addresses."""
    return address.strip().lower()


def _mapping(found: object) -> Mapping[str, Json]:
    return found if isinstance(found, dict) else {}
