"""A process that judges one text after the other from stdin to stdout, and may die of any of them.

Started as `python -m gateway.judging.child CPU_SECONDS MEMORY_BYTES`, with nothing but its three pipes. It says that it is
ready by an empty frame, and ends with its input.
"""

import contextlib
import gc
import resource
import sys
from typing import BinaryIO, Final

from gateway.access_mode import AccessMode
from gateway.affinity import unpin
from gateway.judging.codec import LENGTH, CodecError, Requests, encode_reply, encode_sought
from gateway.judging.ways_out import Search, Sought, look
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Facts, Verdict
from gateway.undumpable import forbid_dumps

READY: Final = LENGTH.pack(0)
# Deep enough for anything people write; 8 MB of stack hold several times as much.
_RECURSION_LIMIT: Final = 6000
_TOO_MUCH: Final = Verdict(
    False,
    "statement-too-complex",
    Facts(""),
    "54001",
    "judging this statement takes more memory than allowed (rule statement-too-complex)",
    "Split it, or move long lists into a table or an array parameter.",
)


def _confine(memory_bytes: int) -> None:
    """Less than we are allowed is fine; more is not asked for."""
    unpin()  # the worker that started us has a CPU to itself
    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
    )
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("1000")
    forbid_dumps()
    for which, wanted in limits:
        _, hard = resource.getrlimit(which)
        ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (ceiling, ceiling))
    sys.setrecursionlimit(_RECURSION_LIMIT)


def _allow_cpu(seconds: int) -> None:
    """From now on, this many more seconds of CPU; then the kernel ends us."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + seconds + 1, hard))


def _read_exactly(stream: BinaryIO, size: int) -> bytes | None:
    data = stream.read(size)
    return data if len(data) == size else None


def _answer(requests: Requests, payload: bytes) -> bytes | None:
    """A whole frame; None: nothing is owed for this one."""
    request: tuple[bytes, Policy] | Search | None = None
    try:
        request = requests.decode(payload)
        match request:
            case None:
                return None
            case Search():
                return encode_sought(look(request))
            case _:
                return encode_reply(judge(*request))
    except MemoryError:
        return encode_sought(Sought(None)) if isinstance(request, Search) else encode_reply(_TOO_MUCH)


def main(cpu_seconds: int, memory_bytes: int) -> int:
    """Serve until the input ends. A broken frame ends it, too: the other side is not who we think."""
    _confine(memory_bytes)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    judge(b"SELECT 1", Policy(AccessMode.READ_ONLY))  # imports and tables warm
    gc.freeze()
    stdout.write(READY)
    stdout.flush()
    requests = Requests()
    while head := _read_exactly(stdin, LENGTH.size):
        payload = _read_exactly(stdin, LENGTH.unpack(head)[0])
        if payload is None:
            break
        _allow_cpu(cpu_seconds)
        try:
            answer = _answer(requests, payload)
            if answer is not None:
                stdout.write(answer)
                stdout.flush()
        except (CodecError, BrokenPipeError):
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2])))
