"""A read replica of the session's server: a real one, made by pg_basebackup, that follows its primary."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from gateway.demo import keeper
from gateway.demo.binaries import Account, find_binaries, server_account
from tests.support.free_port import free_port
from tests.support.upstream import Upstream

_READY_SECONDS = 60.0


@contextlib.contextmanager
def standby_of(primary: Upstream) -> Iterator[Upstream]:
    """With the roles and passwords of its primary. Skips where this machine has no pg_basebackup of the primary's version."""
    account = server_account()
    bin_dir = find_binaries("any", account).bin_dir
    tool = bin_dir / "pg_basebackup"
    if not tool.exists() or primary.log_file is None:
        pytest.skip("a replica wants the primary's own pg_basebackup here: Debian's postgresql packages have it")
    with tempfile.TemporaryDirectory(prefix="pgb-standby-") as made:
        home = Path(made)
        _give(home, account)
        data, port = home / "data", free_port()
        place = ["-h", primary.host, "-p", str(primary.port), "-U", primary.superuser]
        environment = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": primary.superuser_password.reveal()}
        root = os.geteuid() == 0
        copied = subprocess.run(
            [tool, *place, "-D", str(data), "-R", "-X", "stream", "-c", "fast"],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            user=account.uid if root else None,
            group=account.gid if root else None,
            extra_groups=[] if root else None,
        )
        assert copied.returncode == 0, copied.stderr
        server = [str(bin_dir / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        who = [str(account.uid), str(account.gid), str(home / "server.log"), str(home)]
        process = subprocess.Popen([sys.executable, "-I", "-S", keeper.__file__, *who, *server], stdin=subprocess.PIPE)
        try:
            found = replace(primary, port=port, log_file=home / "server.log")
            _wait_until_it_answers(found)
            yield found
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
            home.mkdir(exist_ok=True)  # the keeper removes it, and so will the block


def _give(path: Path, account: Account) -> None:
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)


def _wait_until_it_answers(standby: Upstream) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with standby.connect() as connection:
                assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, standby.log_file.read_text() if standby.log_file else ""
            time.sleep(0.1)
