"""One run of a rotation: the steps of custody.rotation, made at the server and in the store.

Every step is written down in the store before the server hears of it, so that a run that was broken off anywhere is finished by
the next one.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from typing import Final

from gateway.audit.admin_event import DetailValue
from gateway.custody.rotation import Answer, Known, Step, after, next_step
from gateway.custody.rotation import begin as begin_steps
from gateway.ports import SecretUnavailable
from gateway.secret import Secret
from gateway.services import rotation_words as words
from gateway.services.change import Change, begin
from gateway.services.errors import ServiceError
from gateway.services.rotation_aftermath import look_back
from gateway.services.rotation_lease import Lease
from gateway.services.rotation_logins import knows_it_too, lets_in
from gateway.services.rotation_look import Looking, RotationStore, look
from gateway.services.rotation_means import Means, Signature
from gateway.services.rotation_rows import Shared, Slot, Which, as_read, promote, stage, unstage
from gateway.services.rotation_server import RotationServer
from gateway.services.rotation_words import Rotated

_PASSWORD_BYTES: Final = 36  # 48 characters
_OTHERS_SECONDS: Final = 0.25  # other gateways on this store hear of a change a moment later


class Run:
    """One run. It holds the connection by which the password is changed until it is over."""

    def __init__(
        self, store: RotationStore, means: Means, by: Signature, lease: Lease, stack: AsyncExitStack, found: Shared
    ) -> None:
        self._store = store
        self._means = means
        self._by = by
        self._lease = lease
        self._slots = found.all
        self._main = found.main
        self._server = RotationServer(means, found.main, found.helper, stack)
        try:
            self._current = found.main.open(means.keys)
            self._pending = found.main.open_pending(means.keys)
        except SecretUnavailable as error:
            raise ServiceError("secret-unreadable", str(error), "Set the login again: pgbastion targets login") from None

    async def to_the_end(self, *, end_sessions: bool) -> Rotated:
        finishing = self._pending is not None
        known = begin_steps(staged=finishing, helped=self._server.helped)
        if finishing and not await self._stage_the_rest():
            return self._outcome(Step.HALF_DONE)
        while not (step := next_step(known)).is_end:
            self._means.entering(step)
            known = after(known, step, await self._do(step, known))
        self._means.entering(step)
        if step is not Step.DONE:
            if not (step is Step.FAILED and known.staged):  # what was put back is written down with that
                await self._write_down(step)
            return self._outcome(step)
        done = replace(self._outcome(step), finished_earlier=finishing and known.set is None, trouble=None)
        ours = await self._server.close()
        return await look_back(done, self._means, self._main, self._current, self._new, ours, end=end_sessions)

    async def _do(self, step: Step, known: Known) -> Answer:
        match step:
            case Step.TRY_CURRENT:
                return await self._server.try_current(self._current)
            case Step.TRY_PENDING:
                return await self._server.try_pending(self._new, patient=known.set is Answer.YES)
            case Step.STAGE:
                return await self._stage_first()
            case Step.SET:
                if not await self._goes_on():
                    return Answer.UNKNOWN
                return await self._server.tell(self._new, by_helper=known.current is Answer.NO)
            case Step.PUT_BACK:
                return await self._put_back()
            case Step.PROMOTE:
                return await self._promote()
            case Step.UNSTAGE:
                return await self._unstage()
            case _:
                raise ValueError(step)

    @property
    def _new(self) -> Secret:
        if self._pending is None:
            raise RuntimeError("no new password was made yet")
        return self._pending

    async def _put_back(self) -> Answer:
        if await self._goes_on():
            return await self._server.tell(self._current, by_helper=False)
        await self._give_way()
        return Answer.UNKNOWN

    async def _goes_on(self) -> bool:
        """Right before the server is told: it is still this run's turn, and the store holds what it wrote there."""
        if not await self._lease.holds():
            self._server.trouble = words.NO_LEASE
            return False
        mine = [slot for slot in self._slots if slot.key == self._main.key]
        if not await as_read(await self._look(), self._means.keys, mine):
            self._server.trouble = words.OVERTAKEN
            return False
        return True

    # -- in the store --------------------------------------------------------------------------------------------------

    async def _stage_first(self) -> Answer:
        self._pending = Secret(secrets.token_urlsafe(_PASSWORD_BYTES))
        return await self._stage(self._slots, "target.rotation_begun")

    async def _stage_the_rest(self) -> bool:
        """Rows that came to share the login since an earlier run began. False: they are others by now."""
        keys, new = self._means.keys, self._new.reveal()
        rest = [slot for slot in self._slots if (pending := slot.open_pending(keys)) is None or pending.reveal() != new]
        return not rest or await self._stage(rest, "target.rotation_resumed") is Answer.YES

    async def _stage(self, slots: Sequence[Slot], action: str) -> Answer:
        async with self._change() as change:
            now = await as_read(change, self._means.keys, slots)
            if now is None or not any(slot.key == self._main.key for slot in self._slots):
                self._server.trouble = words.OVERTAKEN
                return Answer.NO
            staged = {slot.key: slot for slot in await stage(change, self._means.keys, now, self._new)}
            revision = await self._commit(change, now, action)
        self._slots = tuple(staged.get(slot.key, slot) for slot in self._slots)
        await self._means.caught_up(revision)
        await asyncio.sleep(_OTHERS_SECONDS)
        return Answer.YES

    async def _promote(self) -> Answer:
        """Of rows at other places those whose server has the new password, too."""
        apart = {
            slot.key: await knows_it_too(self._means.connect, slot, self._new, self._current)
            for slot in self._slots
            if slot.server != self._main.server
        }
        async with self._change() as change:
            now = await as_read(change, self._means.keys, self._slots)
            if now is None or self._main.key not in {slot.key for slot in now}:
                self._server.trouble = words.OVERTAKEN
            else:
                return await self._promote_these(change, now, apart)
        await self._give_way()
        return Answer.NO

    async def _promote_these(self, change: Change, now: Sequence[Slot], apart: Mapping[tuple[str, Which], Answer]) -> Answer:
        new = [slot for slot in now if apart.get(slot.key, Answer.YES) is Answer.YES]
        await unstage(change, [slot for slot in now if apart.get(slot.key) is Answer.NO])
        await promote(change, self._means.keys, new)
        await self._commit(change, new, "target.credential_rotated")
        self._slots = tuple(new)
        behind = sorted({slot.target.name for slot in now if apart.get(slot.key) is Answer.UNKNOWN})
        self._server.notes += [
            f'"{each}" has the same login and does not take the new password yet: both are tried' for each in behind
        ]
        return Answer.YES

    async def _give_way(self) -> None:
        """Somebody gave the login another password here while the server got ours: theirs is the one that counts."""
        now = await self._main.now(await self._look())
        if now is None or now.login != self._main.login or now.referenced:
            return
        keys = self._means.keys
        pending, theirs = now.open_pending(keys), now.open(keys)
        if (pending is None or pending.reveal() != self._new.reveal()) and theirs.reveal() != self._new.reveal():
            answer, _ = await lets_in(self._means.connect, self._main, theirs)
            if answer is Answer.NO:
                await self._server.tell(theirs, by_helper=False)

    async def _unstage(self) -> Answer:
        async with self._change() as change:
            now = await as_read(change, self._means.keys, self._slots)
            if now is None:
                return Answer.NO
            await unstage(change, now)
            await self._commit(change, now, "target.rotation_failed", self._why())
        return Answer.YES

    async def _write_down(self, end: Step) -> None:
        async with self._change() as change:
            await self._commit(change, [self._main], "target.rotation_failed", {"state": end.value, **self._why()})

    def _why(self) -> dict[str, DetailValue]:
        trouble = self._server.trouble
        return {} if trouble is None else {"problem": trouble.problem, "sqlstate": trouble.sqlstate}

    async def _look(self) -> Looking:
        return await look(self._store, self._by)

    def _change(self) -> AbstractAsyncContextManager[Change]:
        return begin(self._store, self._by.actor, self._by.reason)

    async def _commit(
        self, change: Change, slots: Sequence[Slot], action: str, detail: Mapping[str, DetailValue] | None = None
    ) -> int:
        for slot in slots:
            change.require("targets.rotate", target=slot.target)
            facts: dict[str, DetailValue] = {"role": slot.which.value, "login": slot.login}
            change.note(action, slot.target.id, slot.target.name, {**facts, **(detail or {})})
        return await change.commit()

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _outcome(self, end: Step) -> Rotated:
        main = self._main
        shared = {slot.target.name for slot in self._slots if slot.target.id != main.target.id}
        also = tuple(slot.which for slot in self._slots if slot.target.id == main.target.id and slot.which is not main.which)
        return Rotated(
            target=main.target.name,
            which=main.which,
            login=main.login,
            end=end,
            also=also,
            shared_with=tuple(sorted(shared)),
            notes=tuple(self._server.notes),
            trouble=self._server.trouble,
        )
