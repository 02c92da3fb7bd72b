"""Login roles on a server that is only remembered: what custody.login_roles.LoginRoles does there, as far as anybody sees it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.custody.login_roles import Left, LoginRoleRefused, MarkedRole, Removal
from gateway.custody.login_sql import LoginSpec


@dataclass(frozen=True)
class Role:
    spec: LoginSpec
    enabled: bool = True


class RememberedServer:
    """`before` is called with the name of each change before it is made, `after` afterwards: either may raise."""

    def __init__(self) -> None:
        self.roles: dict[str, Role] = {}
        self.taken: set[str] = set()
        self.in_use: set[str] = set()
        self.stuck: dict[str, str] = {}
        self.inherited: dict[str, str] = {}
        self.changes: list[str] = []
        self.before: Callable[[str], None] = lambda _change: None
        self.after: Callable[[str], None] = lambda _change: None

    async def check(self, member_of: Sequence[str]) -> None:
        """It can do all that is asked."""

    async def make(self, spec: LoginSpec) -> list[str]:
        if spec.login in self.taken:
            raise LoginRoleRefused("managed-login-taken", "somebody else's", "")
        self._begin("make")
        self.roles[spec.login] = Role(spec)
        self.after("make")
        return []

    async def prolong(self, login: str, until: datetime | None) -> bool:
        self._begin("prolong")
        known = self.roles.get(login)
        if known is not None:
            self.roles[login] = replace(known, spec=replace(known.spec, valid_until=until))
        self.after("prolong")
        return known is not None

    async def remove(
        self, login: str, heirs: Sequence[str], go_ahead: Callable[[], Awaitable[bool]], *, end_sessions: bool
    ) -> Removal:
        if login not in self.roles:
            return Removal(Left.NOTHING)
        if not await go_ahead():
            return Removal(Left.CHANGED)
        self._begin("disable")
        self.roles[login] = replace(self.roles[login], enabled=False)
        self.after("disable")
        if login in self.in_use:
            if end_sessions:
                self.in_use.discard(login)
            return Removal(Left.IN_USE)
        if login in self.stuck:
            return Removal(Left.KEPT, self.stuck[login])
        if not await go_ahead():
            return Removal(Left.CHANGED)
        self._begin("drop")
        del self.roles[login]
        self.inherited[login] = heirs[0]
        self.after("drop")
        return Removal(Left.NOTHING)

    async def marked(self) -> list[MarkedRole]:
        return [
            MarkedRole(name, role.spec.marker, role.enabled, (role.spec.member_of,))
            for name, role in sorted(self.roles.items())
        ]

    def _begin(self, change: str) -> None:
        self.before(change)
        self.changes.append(change)
