"""Who takes part: every contestant by its name, how it is started, and what must be installed for it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.gateway import BUILDS, VARIANTS
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.haproxy import haproxy
from tests.bench.proxies.native_relay import COMPILER, native_relay
from tests.bench.proxies.pgbouncer import pgbouncer, pgbouncer_tls
from tests.bench.proxies.pgpool import pgpool
from tests.bench.proxies.processes import find_program
from tests.bench.proxies.ssh_tunnel import ssh_tunnel

Start: TypeAlias = Callable[[Ground, int], AbstractContextManager[Contestant]]

DIRECT: Final = "direct"
PGBOUNCER: Final = "PgBouncer"
#: Sessions that a contestant must be able to carry in every workload but that of idle connections.
USUAL_CAPACITY: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """`start(ground, capacity)` gives the contestant while its block runs. `programs` with the Debian package of each.

    `unavailable`: why it cannot take part although all programs are there. `usual_only`: it takes no part in workloads that the
    quick variant leaves out, nor in that of idle connections.
    """

    name: str
    start: Start
    programs: tuple[tuple[str, str], ...] = ()
    unavailable: str = ""
    usual_only: bool = False

    def missing(self) -> str:
        """Why it cannot take part; "" when it can."""
        for program, package in self.programs:
            if find_program(program) is None:
                return f"{program} is not installed (Debian: {package})"
        return self.unavailable


@contextlib.contextmanager
def direct(ground: Ground, _capacity: int) -> Iterator[Contestant]:
    """PostgreSQL itself."""
    yield Contestant(DIRECT, ground.reader(), ground.writer())


ENTRIES: Final = (
    Entry(DIRECT, direct),
    Entry(PGBOUNCER, pgbouncer, (("pgbouncer", "pgbouncer"),)),
    Entry("PgBouncer, TLS", pgbouncer_tls, (("pgbouncer", "pgbouncer"),)),
    Entry("pgpool-II", pgpool, (("pgpool", "pgpool2"),)),
    Entry("haproxy, TCP", haproxy, (("haproxy", "haproxy"),)),
    Entry("ssh -L", ssh_tunnel, (("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"))),
    Entry("prototype in C", native_relay, ((COMPILER, "gcc"),)),
    *(Entry(build.name, build.start, (), build.missing()) for build in BUILDS),
    *(Entry(build.name, build.start, (), build.missing(), usual_only=True) for build in VARIANTS),
)


def chosen(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """Those whose name begins with one of `names` (all without any), in their order. Raises SystemExit for a name of nobody's."""
    for name in names:
        if not any(entry.name.startswith(name) for entry in entries):
            raise SystemExit(f"no contestant is called {name!r}: {', '.join(entry.name for entry in entries)}")
    return [entry for entry in entries if not names or entry.name.startswith(tuple(names))]
