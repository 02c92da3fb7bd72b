"""A rotation's side of the server: the connection by which the password is changed stays open until the run is over."""

from contextlib import AsyncExitStack

from gateway.custody.rotation import Answer
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError
from gateway.ports import SecretUnavailable
from gateway.secret import Secret
from gateway.services import rotation_words as words
from gateway.services.rotation_logins import facts_of, lets_in, set_password
from gateway.services.rotation_means import Means
from gateway.services.rotation_rows import Slot
from gateway.services.rotation_words import Trouble


class RotationServer:
    """`trouble`: what was in the way last; `notes`: sentences for people. Connections are closed with `stack`, or by `close`."""

    def __init__(self, means: Means, slot: Slot, helper: Slot | None, stack: AsyncExitStack) -> None:
        self._means = means
        self._slot = slot
        self._helper = helper
        self._stack = stack
        self._connection: AdminConnection | None = None
        self._ours: set[int] = set()
        self.trouble: Trouble | None = None
        self.notes: list[str] = []

    @property
    def helped(self) -> bool:
        """Whether another login is at hand that may set this one's password."""
        return self._helper is not None

    async def try_current(self, password: Secret) -> Answer:
        """YES: the connection is open from here on."""
        slot = self._slot
        try:
            self._connection = await self._open(slot, password)
            facts = await facts_of(self._connection)
        except UpstreamAdminError as error:
            self.trouble = words.of_login(error, slot.login, slot.which, slot.target.name)
            return Answer.NO if error.sqlstate == "28P01" else Answer.UNKNOWN
        if facts.valid_until is not None:
            self.notes.append(f'passwords of "{slot.login}" end at {facts.valid_until} (VALID UNTIL)')
        if facts.in_recovery:
            self.trouble = words.IN_RECOVERY
            return Answer.UNKNOWN
        return Answer.YES

    async def try_pending(self, password: Secret, *, patient: bool) -> Answer:
        slot = self._slot
        answer, error = await lets_in(self._means.connect, slot, password, patient=patient)
        if error is not None:
            self.trouble = words.of_login(error, slot.login, slot.which, slot.target.name)
        return answer

    async def tell(self, password: Secret, *, by_helper: bool) -> Answer:
        """This is the password from now on. NO: the server's own word; UNKNOWN: it may have taken it."""
        try:
            connection = await self._help() if by_helper else self._connection
            if connection is None:
                return Answer.UNKNOWN
            await set_password(connection, self._slot.login, password)
        except UpstreamAdminError as error:
            self.trouble = words.of_change(error, self._slot.login)
            return Answer.NO if error.kind == "statement" else Answer.UNKNOWN
        except SecretUnavailable:
            self.trouble = Trouble("the admin login's password cannot be opened", "Adopt the target again.")
            return Answer.UNKNOWN
        return Answer.YES

    async def close(self) -> frozenset[int]:
        """The process ids of connections that were this run's own."""
        await self._stack.aclose()
        return frozenset(self._ours)

    async def _help(self) -> AdminConnection | None:
        """By the target's admin, whose own password may be under way, too. Raises UpstreamAdminError."""
        if (helper := self._helper) is None:
            return None
        pending = helper.open_pending(self._means.keys)
        try:
            return await self._open(helper, helper.open(self._means.keys))
        except UpstreamAdminError as error:
            if pending is None or not error.wrong_password:
                raise
        return await self._open(helper, pending)

    async def _open(self, slot: Slot, password: Secret) -> AdminConnection:
        connection = await self._stack.enter_async_context(self._means.connect(slot.target, slot.login, password))
        self._ours.add(connection.process_id)
        return connection
