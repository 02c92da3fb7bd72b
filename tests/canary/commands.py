"""Commands as they are typed: in this process, which is quick, or as a process of their own."""

import contextlib
import io
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from gateway.cli.main import run
from tests.support.commands import PROGRAM


@dataclass(frozen=True)
class Done:
    words: str
    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


class _Stdin(io.TextIOWrapper):
    """Not a terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


def run_here(words: list[str], environment: Mapping[str, str], given: str = "") -> Done:
    """What nobody foresaw is part of what it said, as the interpreter would say it."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", _Stdin(given))
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            run(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            status = 1
            traceback.print_exc()
        finally:
            os.environ.clear()
            os.environ.update(before)
    return Done(" ".join(words), status, out.getvalue(), err.getvalue())


def run_apart(words: list[str], environment: Mapping[str, str], given: str = "") -> Done:
    done = subprocess.run(
        [str(PROGRAM), *words],
        env={**os.environ, **environment},
        input=given.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(" ".join(words), done.returncode, done.stdout.decode(), done.stderr.decode())
