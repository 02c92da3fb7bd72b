"""The gateway itself, in its builds: with all its duties on; one worker, but in the build with two."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.services import lockdown, targets
from tests.bench.proxies.contestant import Contestant, Door
from tests.bench.proxies.ground import Ground
from tests.support.gateway import WHY, running_gateway

#: See gateway/compiled.py: "1" leaves the compiled twins alone.
PURE_VARIABLE: Final = "PGBASTION_PURE"
#: One of the twins; the compiled builds take part where it is there.
COMPILED_MODULE: Final = "gateway.wire.framing_c"
#: How many upstream sessions of each access mode wait for clients, where a build has them opened ahead.
OPENED_AHEAD: Final = 8
_SPARE_SECONDS: Final = 14.0  # its spare worker is begun ten seconds after it is ready


@dataclass(frozen=True, slots=True)
class Build:
    """One way to run the gateway: its name in tables, client TLS, compiled twins or not, upstream sessions opened ahead or not.

    `synced`: a statement leaves when the disk has its audit record. `secure_upstream`: TLS to PostgreSQL, which is verified.
    `pinned`: each worker may keep to a CPU of its own, as it does by default.
    """

    name: str
    secure: bool = False
    compiled: bool = False
    ahead: bool = False
    synced: bool = False
    secure_upstream: bool = False
    workers: int = 1
    pinned: bool = True

    def missing(self) -> str:
        """What it would need; "" when it can be run."""
        if self.compiled and importlib.util.find_spec(COMPILED_MODULE) is None:
            return "the compiled modules are not built"
        return ""

    def environment(self) -> dict[str, str]:
        return {PURE_VARIABLE: "0" if self.compiled else "1"}

    @contextlib.contextmanager
    def start(self, ground: Ground, capacity: int) -> Iterator[Contestant]:
        """Settings are the defaults but for limits that the workloads would meet."""
        sections: dict[str, Any] = {
            "listen": {
                "host": "127.0.0.1",
                "port": 0,
                "drain_seconds": 1.0,
                "workers": self.workers,
                "pin_workers": "auto" if self.pinned else "off",
            },
            "tls": {"mode": "disable"},
            "limits": {
                "max_pending_per_address": capacity + 50,
                "max_sessions": capacity + 50,
                "max_sessions_per_user": capacity + 50,
            },
        }
        if self.synced:
            sections["audit"] = {"durability": "fsync"}
        if self.secure:
            files = {"cert_file": str(ground.tls.cert_file), "key_file": str(ground.tls.key_file)}
            sections["tls"] = {"mode": "require", **files}
        with _environment(self.environment()), running_gateway(**sections) as running:
            target = running.target(ground.database, tls=TlsMode.VERIFY_FULL if self.secure_upstream else TlsMode.DISABLE)
            reader, writer = running.person(), running.person()
            running.grant(reader, target, AccessMode.READ_ONLY)
            running.grant(writer, target, AccessMode.READ_WRITE)
            if self.ahead:
                change = targets.set_open_ahead(running.admin.store, name=target, open_ahead=OPENED_AHEAD, **WHY)
                running.admin.change(change)
            ca_file = ground.ca_file if self.secure else None
            place = (running.host, running.port)
            # The supervisor is its root: it, the workers and their judges all count.
            yield Contestant(
                self.name,
                Door(*place, reader.name, reader.password, target, ca_file),
                Door(*place, writer.name, writer.password, f"{target}:rw", ca_file),
                (running.process.pid,),
                shut=lambda: running.admin.change(lockdown.lock_down(running.admin.store, **WHY)),
                complete_seconds=_SPARE_SECONDS,
            ).answering()


PURE: Final = Build("pgbastion")
PURE_TLS: Final = Build("pgbastion, TLS", secure=True)
COMPILED: Final = Build("pgbastion compiled", compiled=True)
COMPILED_TLS: Final = Build("pgbastion compiled, TLS", secure=True, compiled=True)
PURE_AHEAD: Final = Build("pgbastion, opened ahead", ahead=True)
COMPILED_AHEAD: Final = Build("pgbastion compiled, opened ahead", compiled=True, ahead=True)
BUILDS: Final = (PURE, PURE_TLS, PURE_AHEAD, COMPILED, COMPILED_TLS, COMPILED_AHEAD)
#: Other ways to run it, measured beside those for the most usual workloads alone.
VARIANTS: Final = (
    Build("pgbastion compiled, fsync", compiled=True, synced=True),
    Build("pgbastion compiled, TLS upstream", compiled=True, secure_upstream=True),
    Build("pgbastion compiled, 2 workers", compiled=True, workers=2),
    Build("pgbastion compiled, 2 workers not pinned", compiled=True, workers=2, pinned=False),
)


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Of this process, while the gateway is started from it."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
