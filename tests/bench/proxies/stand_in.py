"""A ground whose PostgreSQL is a stand-in with room for many sessions: see `imitation.py` for what it is, and what it is not."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench.proxies.contestant import Door
from tests.bench.proxies.ground import Ground
from tests.support.wire import query

#: What its sessions may ask.
ASKED: Final = "SELECT 1"
_STOP_SECONDS: Final = 10
_ROOT: Final = Path(__file__).parents[3]


@contextlib.contextmanager
def ground_with_room(ground: Ground) -> Iterator[Ground]:
    """The same logins, certificate and database; the place is the stand-in's, which speaks no TLS."""
    lesson = json.dumps(
        {
            "host": ground.database.upstream.host,
            "port": ground.database.upstream.port,
            "roles": {door.user: _role(ground, door) for door in (ground.reader(), ground.writer())},
            "answers": {query(ASKED).hex(): _answer(ground.reader()).hex()},
        }
    )
    command = [sys.executable, "-m", "tests.bench.proxies.imitation"]
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lesson)
        process.stdin.close()
        port = int(process.stdout.readline())
        upstream = replace(ground.database.upstream, port=port, host="127.0.0.1", has_tls=False)
        yield replace(ground, database=replace(ground.database, upstream=upstream))
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _role(ground: Ground, door: Door) -> dict[str, object]:
    """What the real server keeps of it, and reports to it."""
    with door.raw() as client:
        statuses = dict(message.setting for message in client.transcript if message.kind == "S")
    return {"verifier": ground.verifier(door.user), "statuses": statuses}


def _answer(door: Door) -> bytes:
    """The real server's, byte by byte."""
    with door.raw() as client:
        answer = client.ask(query(ASKED))
    return b"".join(m.kind.encode() + (len(m.body) + 4).to_bytes(4, "big") + m.body for m in answer)
