"""pgpool-II as it comes (streaming replication mode, which parses every statement), with one server behind it."""

import contextlib
from collections.abc import Iterator

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program, hand_over, home_of_its_own, running
from tests.support.free_port import free_port

PROGRAM = "pgpool"


@contextlib.contextmanager
def pgpool(ground: Ground, capacity: int) -> Iterator[Contestant]:
    """One process per connection, all forked ahead; SCRAM on both sides."""
    port, upstream = free_port(), ground.reader()
    with home_of_its_own(PROGRAM) as home:
        settings = {
            "backend_clustering_mode": "'streaming_replication'",
            "listen_addresses": "'127.0.0.1'",
            "port": str(port),
            "socket_dir": f"'{home}'",
            "pcp_listen_addresses": "'127.0.0.1'",
            "pcp_port": str(free_port()),
            "pcp_socket_dir": f"'{home}'",
            "wd_ipc_socket_dir": f"'{home}'",
            "pid_file_name": f"'{home}/pgpool.pid'",
            "logdir": f"'{home}'",
            "backend_hostname0": f"'{upstream.host}'",
            "backend_port0": str(upstream.port),
            "backend_weight0": "1",
            "backend_flag0": "'ALWAYS_PRIMARY'",
            "num_init_children": str(capacity),
            "max_pool": "1",
            "child_life_time": "0",
            "enable_pool_hba": "on",
            "pool_passwd": f"'{home}/pool_passwd'",
            "sr_check_period": "0",
            "health_check_period": "0",
            "connection_cache": "on",
        }
        (home / "pgpool.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (home / "pool_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        logins = (ground.reader(), ground.writer())
        (home / "pool_passwd").write_text("".join(f"{login.user}:TEXT{login.password}\n" for login in logins))
        (home / "pcp.conf").touch()
        hand_over(home)
        files = ["-f", f"{home}/pgpool.conf", "-a", f"{home}/pool_hba.conf", "-F", f"{home}/pcp.conf"]
        with running([find_program(PROGRAM) or PROGRAM, "-n", *files], home) as pid:
            yield ground.through(port, "pgpool-II", pid, forks_ahead=True)
