"""Where a running gateway can be looked at from outside: processes, files, what they hold open, databases and their logs."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.canary.scanner import Place

_LARGEST = 64 * 1024 * 1024
_VIEWS = ("pg_stat_activity", "pg_stat_statements", "pg_prepared_statements", "pg_settings", "pg_authid", "pg_user_mappings")


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def process_places(pids: Iterable[int]) -> Iterator[Place]:
    """Command line, environment, title and limits of each, and of each thread its name."""
    for pid in pids:
        for name, kind in (("cmdline", "command line"), ("environ", "environment"), ("status", "title"), ("comm", "title")):
            yield Place(kind, f"{pid} {name}", _read(Path(f"/proc/{pid}/{name}")))
        for task in Path(f"/proc/{pid}/task").glob("*/comm"):
            yield Place("title", f"{pid} {task}", _read(task))


def open_file_places(pids: Iterable[int]) -> Iterator[Place]:
    """What they hold open and is a file: also what has no name any more, or never had one (memfd)."""
    seen = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                status = link.stat()
                target = os.readlink(link)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield Place("open file", f"{pid} {target}", _read(link))


def file_places(folder: Path, kind: str, *, but: Iterable[Path] = ()) -> Iterator[Place]:
    """Every file below, and its name, too. `but`: files that are there to hold a secret."""
    left_out = {path.resolve() for path in but}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.resolve() not in left_out:
            yield Place(kind_of(path, kind), str(path.relative_to(folder)), os.fsencode(path) + b"\0" + _read(path))


def kind_of(path: Path, otherwise: str) -> str:
    if path.suffix == ".jsonl" or "audit" in path.parts:
        return "audit file"
    if ".sqlite" in path.name:
        return "store page"
    return otherwise


def activity_places(connection: "psycopg.Connection[Any]") -> Iterator[Place]:
    """What an administrator of the server sees of others: their statements, now and before."""
    for view in _VIEWS:
        rows = connection.execute(f"SELECT v::text FROM {view} v").fetchall()  # type: ignore[arg-type]
        yield Place(view, view, "\n".join(map(str, rows)).encode())


def log_places(files: Iterable[Path], kind: str) -> Iterator[Place]:
    for path in files:
        yield Place(kind, str(path), _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:  # it is gone, or nothing that is read
        return b""
