"""The supervisor: holds the sockets, the bus and the counts, and keeps every process of the gateway at work.

It carries no client's byte: whatever a client does, it stays up. SIGTERM drains and ends (twice: at once), SIGHUP reloads the
settings, SIGUSR2 replaces every process by a new one without a gap.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from gateway.bus.hub import BusHub
from gateway.bus.lifeline import Duty
from gateway.bus.lines import ALL, Handler, Message, Payload
from gateway.ending import CLOSE_SECONDS, end_within
from gateway.proxy.knocking import login_seconds
from gateway.proxy.tls import ServerTls, TlsError, server_files
from gateway.settings import CurrentSettings, Settings, SettingsError
from gateway.supervision.child import Child
from gateway.supervision.courier_post import CourierPost
from gateway.supervision.headcount import Headcount
from gateway.supervision.numbers import Numbers
from gateway.supervision.parts import ApiPart, CourierPart, StartError, WorkerPart
from gateway.supervision.post import Post, Start
from gateway.supervision.preparation import ensure_own_certificate
from gateway.supervision.service_manager import ServiceManager
from gateway.supervision.spares import Spares

_ATTEMPTS_BEFORE_READY: Final = 6
_RENEWAL_CHECK_SECONDS: Final = 12 * 3600.0
_KILL_AFTER_SECONDS: Final = 0.7  # beyond the drain
_KILL_AGAIN_SECONDS: Final = 0.5
_API_END_SECONDS: Final = 9.0  # after its own deadlines
_ROLL_ATTEMPTS: Final = 3
_ROLL_PAUSE_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.serve")


class Supervisor:
    """Runs what it is given until it is told to stop. `reread` reads the settings anew, as the operator wants them now."""

    def __init__(
        self,
        current: CurrentSettings,
        reread: Callable[[], Settings],
        workers: WorkerPart | None,
        api: ApiPart | None = None,
        manager: ServiceManager | None = None,
        courier: CourierPart | None = None,
    ) -> None:
        self._current = current
        self._reread = reread
        self._workers = workers
        self._api = api
        self._manager = manager or ServiceManager()
        self._numbers = Numbers()
        self._spares = Spares()
        self._headcount = Headcount(current, self._is_alive, lambda *line: self._hub.send(*line))
        self._hub = BusHub(current.now.bus_socket, {**self._headcount.handlers, **self._questions()})
        self._posts = self._make_posts()
        # Nobody waits for it: it may have nothing to do, or its libraries may be broken.
        self._courier = None if courier is None else CourierPost(current, courier, self._gone)
        self._orphans: list[Payload] = []
        self._announced = False
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._rolling = asyncio.Event()
        self._failure: StartError | None = None

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; then 0. Raises StartError when a process does not come up, BusError, OSError."""
        if self._workers is not None:
            await self._hub.start()
        with self._signals():
            keeping = [asyncio.create_task(post.keep(), name=f"keep {post.name}") for post in self._posts]
            if self._courier is not None:
                keeping.append(asyncio.create_task(self._courier.keep(), name="keep courier"))
            if not self._posts:
                self._changed()
            beside = [asyncio.create_task(self._renew()), asyncio.create_task(self._roll())]
            if self._workers is not None:
                beside.append(asyncio.create_task(self._spares.keep(self._workers)))
            for task in [*keeping, *beside]:
                task.add_done_callback(lambda _: self._stopping.set())  # none of them ends by itself but by a fault
            await self._stopping.wait()
            for task in beside:
                task.cancel()
            await self._stop(keeping)
        end_within(CLOSE_SECONDS)
        await self._hub.close()
        if self._failure is not None:
            raise self._failure
        return 0

    # -- the processes -------------------------------------------------------------------------------------------------

    def _make_posts(self) -> list[Post]:
        posts = []
        if self._workers is not None:
            posts = [
                Post(f"worker {place}", self._worker_starter(self._workers, place), self._gone, self._changed)
                for place in range(len(self._workers.doors.shares))
            ]
        if self._api is not None:
            posts.append(Post("api", self._api_starter(self._api), self._gone, self._changed))
        return posts

    def _worker_starter(self, part: WorkerPart, place: int) -> Start:
        async def start(former: Child | None) -> Child:
            number = await self._numbers.take(former.name if former is not None else None)
            try:
                # Who is to follow a dead one is loaded already. A successor that was asked for has to be new: the program may be.
                child = self._spares.take() if former is not None else None
                child = child or await self._spares.start(part)
            except BaseException:
                self._numbers.give_back(f"worker:{number}")
                raise
            child.become(f"worker:{number}", self._current.now, Duty(number, place))
            return child

        return start

    def _api_starter(self, part: ApiPart) -> Start:
        fds = [sock.fileno() for share in part.doors.shares for sock in share]

        async def start(_former: Child | None) -> Child:
            child = await Child.start("api", part.command(fds), fds)
            child.become("api", self._current.now)
            return child

        return start

    def _is_alive(self, name: str) -> bool:
        return any(child.name == name for child in self._children())

    def _gone(self, child: Child) -> None:
        """What it held for the whole gateway is free again."""
        self._numbers.give_back(child.name)
        if self._workers is not None:
            self._orphans += self._headcount.gone(child.name)
            self._hub.send(ALL, "worker-gone", {"worker": child.name})
            self._give_orphans()

    def _give_orphans(self) -> None:
        """To the first worker that can: what runs upstream for sessions of a dead one has to be cancelled."""
        able = [post.current.name for post in self._posts if post.ready and post.current is not None]
        workers = [name for name in able if name.startswith("worker:")]
        if self._orphans and workers:
            self._hub.send(workers[0], "orphans", {"orphans": [*self._orphans]})
            self._orphans.clear()

    def _changed(self) -> None:
        """A process got ready, or ended."""
        self._give_orphans()
        if self._announced:
            count = sum(post.ready for post in self._posts)
            self._manager.status(f"{count} of {len(self._posts)} processes ready")
        elif all(post.ready for post in self._posts):
            self._announced = True
            self._spares.wanted.set()
            self._announce()
        else:
            for post in self._posts:
                if post.quick_deaths >= _ATTEMPTS_BEFORE_READY and not self._stopping.is_set():
                    self._failure = StartError(f"{post.name} does not start (exit status {post.last_status}); the log says why")
                    self._stopping.set()

    def _announce(self) -> None:
        lines = []
        if self._workers is not None:
            host, port = self._current.now.listen.host, self._workers.doors.port
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            count = len(self._workers.doors.shares)
            ca = f"; CA file {self._workers.ca_file}" if self._workers.ca_file else ""
            lines.append(f"pgbastion is ready on {where} ({count} worker{'s' if count > 1 else ''}){ca}")
        if self._api is not None:
            lines.append(f"pgbastion's admin API is at {self._api.url}")
        if not lines:
            lines.append("pgbastion's courier begins as soon as there is something to deliver")
        print("\n".join(lines), flush=True)
        self._manager.ready()
        self._manager.status("; ".join(lines))

    # -- signals and questions -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self._reload,
            signal.SIGUSR2: self._rolling.set,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()  # asked twice: do not wait for sessions
        self._stopping.set()

    def _reload(self) -> None:
        """All of it or nothing: what cannot be used is said in one line, and what was in force stays."""
        self._manager.reloading()
        try:
            wanted = self._reread()
            ensure_own_certificate(wanted)
            if wanted.tls.mode != "disable":
                ServerTls(*server_files(wanted))
        except (SettingsError, TlsError, FileNotFoundError) as error:
            _log.error("settings not reloaded, those in force stay", problem=str(error))
        except OSError as error:
            _log.error("settings not reloaded, those in force stay", problem=error.strerror)
        else:
            changes = self._current.replace(wanted)
            _log.info("settings reloaded", changed=list(changes.live), need_restart=list(changes.waiting))
            for child in self._children():
                child.tell(self._current.now)
            if self._courier is not None:
                self._courier.reloaded(changes)
        self._manager.ready()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_CHECK_SECONDS)
            try:
                ensure_own_certificate(self._current.now)  # workers see the files change
            except (TlsError, OSError) as error:
                _log.error("certificate not renewed", reason=str(error))

    def _questions(self) -> Mapping[str, Handler]:
        return {"rolling-restart": self._roll_asked, "processes": self._processes}

    def _processes(self, _message: Message) -> list[Payload]:
        return [{"name": child.name, "pid": child.pid, "ready": child.ready.is_set()} for child in self._children()]

    def _children(self) -> list[Child]:
        return [child for post in self._all_posts() for child in post.children]

    def _all_posts(self) -> list[Post]:
        return self._posts if self._courier is None else [*self._posts, self._courier.post]

    def _roll_asked(self, _message: Message) -> Payload:
        self._rolling.set()
        return {"workers": len(self._workers.doors.shares) if self._workers is not None else 0}

    async def _roll(self) -> None:
        while True:
            await self._rolling.wait()
            self._rolling.clear()
            _log.info("rolling restart begins")
            self._spares.renew()
            for post in self._all_posts():
                if post.current is None and post not in self._posts:
                    continue  # no courier is needed
                if not await self._replace(post):
                    _log.error("rolling restart stopped", at=post.name)
                    break
            else:
                _log.info("rolling restart done: former processes leave as their sessions end")

    async def _replace(self, post: Post) -> bool:
        """What keeps one process from starting may be gone in a moment; what is wrong with the program is not."""
        for attempt in range(_ROLL_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_ROLL_PAUSE_SECONDS * attempt)
            settings = self._current.now
            if await post.replace(login_seconds(settings) + settings.listen.drain_seconds + _KILL_AFTER_SECONDS):
                return True
        return False

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _stop(self, keeping: list[asyncio.Task[None]]) -> None:
        """Workers end their sessions when told; who does not manage within the drain is killed. No wait is without an end."""
        patience = self._current.now.listen.drain_seconds + _KILL_AFTER_SECONDS
        end_within(patience + 2 * CLOSE_SECONDS)
        self._manager.stopping(patience + 2 * CLOSE_SECONDS)
        self._spares.stop()
        for part in (self._workers, self._api):
            if part is not None:
                part.doors.close()  # workers hold theirs until they have answered who waits there
        for post in self._posts:
            post.stop()
        if self._courier is not None:
            self._courier.stop()
        self._signal(signal.SIGTERM)
        gone = asyncio.create_task(self._all_gone(keeping))
        hurry = asyncio.create_task(self._hurry.wait())
        asyncio.get_running_loop().call_later(_API_END_SECONDS, self._kill_api)
        await asyncio.wait([hurry, gone], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not gone.done():
            left = [child.name for child in self._children()]
            _log.warning("processes killed: they did not end in time", processes=left)
        while not gone.done():  # again: one that was being started appears only now
            self._signal(signal.SIGKILL)
            await asyncio.wait([gone], timeout=_KILL_AGAIN_SECONDS)
        for task in keeping:
            task.result()

    async def _all_gone(self, keeping: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(keeping)
        for post in self._all_posts():
            await post.ended()

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children():
            child.signal(number)

    def _kill_api(self) -> None:
        """It has streams without end: whoever reads them does not hold up the end."""
        for child in self._children():
            if child.name == "api":
                child.signal(signal.SIGKILL)
