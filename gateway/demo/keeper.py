"""Keeps one PostgreSQL server, and stops it when our own standard input ends, whatever ended the process that started us.

Run as a file, by path, so that it needs nothing but the standard library:
`python -I -S keeper.py UID GID LOG HOME POSTGRES ARGUMENT...`. HOME is removed in the end.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

# Fast shutdown first; a server that does not answer is stopped the hard way. Seconds to wait after each.
_STEPS = ((signal.SIGINT, 8.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0))


def _stop_at_end_of_input(server: "subprocess.Popen[bytes]") -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    for sign, seconds in _STEPS:
        if server.poll() is not None:
            return
        server.send_signal(sign)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def main() -> int:
    uid, gid, log, home, *command = sys.argv[1:]
    as_other_user = os.geteuid() == 0
    with Path(log).open("ab") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            umask=0o077,
            user=int(uid) if as_other_user else None,
            group=int(gid) if as_other_user else None,
            extra_groups=[] if as_other_user else None,
        )
    threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    code = server.wait()
    if code != 0:  # the launcher reads the log, then removes the place itself
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
