"""A prototype in C of the gateway's steady state, without an interpreter: how far down could a statement's cost go?

What it does and leaves out is said in `native_relay.c`; what came of it, in docs/adr/0016-no-relay-outside-of-python.md.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program, hand_over, home_of_its_own, running
from tests.support.free_port import free_port

COMPILER = "gcc"
_SOURCE = Path(__file__).with_name("native_relay.c")


@contextlib.contextmanager
def native_relay(ground: Ground, _capacity: int) -> Iterator[Contestant]:
    """One thread, as the others have."""
    port, upstream = free_port(), ground.reader()
    with home_of_its_own("native-relay") as home:
        program = home / "native_relay"
        subprocess.run([find_program(COMPILER) or COMPILER, "-O2", "-pthread", "-o", program, _SOURCE], check=True)
        hand_over(home)
        command = [program, str(port), upstream.host, str(upstream.port), home / "audit.jsonl", "1"]
        with running(command, home) as pid:
            yield ground.through(port, "prototype in C", pid)
