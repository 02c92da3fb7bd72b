"""The gateway itself, in its builds: with all its duties on, one worker."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from tests.bench.proxies.contestant import Contestant, Door
from tests.bench.proxies.ground import Ground
from tests.support.gateway import running_gateway

#: The product runs its pure code when this variable is "1", although a compiled module is there.
PURE_VARIABLE: Final = "PGBASTION_PURE_PYTHON"
#: The compiled module; its builds take part where it can be imported.
COMPILED_MODULE: Final = "gateway.compiled"


@dataclass(frozen=True, slots=True)
class Build:
    """One way to run the gateway: its name in tables, client TLS, what the process finds in its environment and settings.

    `warm`: sections of settings that keep upstream sessions opened ahead (none: as it comes).
    """

    name: str
    secure: bool = False
    compiled: bool = False
    warm: tuple[tuple[str, str, object], ...] = ()

    @property
    def available(self) -> bool:
        return not self.compiled or importlib.util.find_spec(COMPILED_MODULE) is not None

    def environment(self) -> dict[str, str]:
        return {PURE_VARIABLE: "" if self.compiled else "1"}

    @contextlib.contextmanager
    def start(self, ground: Ground, capacity: int) -> Iterator[Contestant]:
        """Settings are the defaults but for limits that the workloads would meet."""
        sections: dict[str, dict[str, Any]] = {
            "listen": {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0},
            "tls": {"mode": "disable"},
            "limits": {
                "max_pending_per_address": capacity + 50,
                "max_sessions": capacity + 50,
                "max_sessions_per_user": capacity + 50,
            },
        }
        if self.secure:
            files = {"cert_file": str(ground.tls.cert_file), "key_file": str(ground.tls.key_file)}
            sections["tls"] = {"mode": "require", **files}
        for section, key, value in self.warm:
            sections.setdefault(section, {})[key] = value
        with _environment(self.environment()), running_gateway(**sections) as running:
            target = running.target(ground.database, tls=TlsMode.DISABLE)
            reader, writer = running.person(), running.person()
            running.grant(reader, target, AccessMode.READ_ONLY)
            running.grant(writer, target, AccessMode.READ_WRITE)
            ca_file = ground.ca_file if self.secure else None
            place = (running.host, running.port)
            # The supervisor is its root: it, the workers and their judges all count.
            yield Contestant(
                self.name,
                Door(*place, reader.name, reader.password, target, ca_file),
                Door(*place, writer.name, writer.password, f"{target}:rw", ca_file),
                (running.process.pid,),
            ).answering()


PURE: Final = Build("pgbastion")
PURE_TLS: Final = Build("pgbastion, TLS", secure=True)
COMPILED: Final = Build("pgbastion compiled", compiled=True)
COMPILED_TLS: Final = Build("pgbastion compiled, TLS", secure=True, compiled=True)
BUILDS: Final = (PURE, PURE_TLS, COMPILED, COMPILED_TLS)


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
