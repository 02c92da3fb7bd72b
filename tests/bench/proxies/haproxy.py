"""haproxy as a TCP proxy: what relaying alone costs in a good C program."""

import contextlib
from collections.abc import Iterator

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program, hand_over, home_of_its_own, running
from tests.support.free_port import free_port

PROGRAM = "haproxy"


@contextlib.contextmanager
def haproxy(ground: Ground, capacity: int) -> Iterator[Contestant]:
    """One thread, as the others have."""
    port, upstream = free_port(), ground.reader()
    with home_of_its_own(PROGRAM) as home:
        lines = [
            "global",
            "  nbthread 1",
            f"  maxconn {capacity + 50}",
            "defaults",
            "  mode tcp",
            "  timeout connect 5s",
            "  timeout client 1h",
            "  timeout server 1h",
            "listen postgres",
            f"  bind 127.0.0.1:{port}",
            f"  server upstream {upstream.host}:{upstream.port}",
        ]
        (home / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        hand_over(home)
        with running([find_program(PROGRAM) or PROGRAM, "-db", "-q", "-f", home / "haproxy.cfg"], home) as pid:
            yield ground.through(port, "haproxy, TCP", pid)
