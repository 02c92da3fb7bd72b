"""`pgbastion` commands in processes of their own that need not load their modules again: forked from one that has them.

`python command_server.py SOCKET` says "ready", and serves until its standard input ends. A client (`command_client.py`) sends its
arguments, folder and environment, with its three standard files, and is told the exit status; when it goes, its command is killed.
"""

import array
import contextlib
import gc
import io
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

LENGTH_BYTES = 4
_FILES = 3


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to be run, and where."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    files: list[int]


def receive(client: socket.socket) -> Wanted:
    """Raises ValueError, OSError for who speaks otherwise."""
    data, control, _flags, _address = client.recvmsg(LENGTH_BYTES, socket.CMSG_SPACE(_FILES * array.array("i").itemsize))
    files = array.array("i")
    for _level, _type, passed in control:
        files.frombytes(passed)
    left, text = int.from_bytes(data, "big"), b""
    while len(text) < left and (more := client.recv(left - len(text))):
        text += more
    arguments, folder, environment = json.loads(text)
    return Wanted(arguments, folder, environment, list(files))


def serve(listener: socket.socket) -> Wanted | None:
    """In this process: until the end of its input, None. In each forked one: what it has to do."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        running: dict[int, tuple[socket.socket, int, int]] = {}  # by either file: who asked, the process, its pidfd
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    wanted = receive(client)
                    pid = os.fork()
                    if pid == 0:
                        return wanted
                    for file in wanted.files:
                        os.close(file)
                    ends = os.pidfd_open(pid)
                    for each in (client.fileno(), ends):
                        running[each] = (client, pid, ends)
                        selector.register(each, selectors.EVENT_READ)
                elif key.fd in running:
                    client, pid, ends = running[key.fd]
                    if key.fd != ends:
                        os.kill(pid, signal.SIGKILL)
                    for each in (client.fileno(), ends):
                        selector.unregister(each)
                        del running[each]
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    if key.fd == ends:
                        client.sendall(bytes([status % 256]))
                    os.close(ends)
                    client.close()


def become(wanted: Wanted) -> None:
    """As if this process had been started so."""
    for number, file in enumerate(wanted.files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(wanted.folder)
    os.environ.clear()
    os.environ.update(wanted.environment)
    time.tzset()
    sys.argv = ["pgbastion", *wanted.arguments]


def _warm(run: Callable[[list[str]], None]) -> None:
    """One command, for what is made once in a process."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = Path(folder, "pgbastion.toml")
        config.write_text('state_dir = "state"\n')
        with contextlib.suppress(SystemExit):
            run(["--config", str(config), "users", "list"])
    assert threading.active_count() == 1  # what a fork would leave behind


def main() -> None:
    from gateway.cli import main as program

    for name in {**program.GROUPS, **program.COMMANDS}:
        import_module(f"gateway.cli.{name}")
    for name in ("admin_api.app", "gateway.cli.here", "gateway.cli.in_process", "gateway.store.sql_store", "pglast"):
        import_module(name)
    _warm(program.run)
    gc.freeze()  # what is collected is written to, and what is written to is copied
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)
        wanted = serve(listener)
    if wanted is not None:
        become(wanted)
        program.run()


if __name__ == "__main__":
    main()
