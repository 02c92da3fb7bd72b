"""`python -m gateway.demo [--tour]`, which is what `make demo` runs."""

import argparse
import importlib.util
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from gateway.connection_strings import connection_strings
from gateway.demo.binaries import PostgresError
from gateway.demo.narrator import Narrator
from gateway.demo.stage import DemoError, Stage, set_stage

_WELCOME = (
    "An analyst reads one database through the gateway, cannot write to it, and never sees the database's own password. "
    "An admin decides who, from where, and sees what was run."
)


def main() -> int:
    """Exit status: 0 as promised (or Ctrl-C), 1 a promise was broken or the demo could not start."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="The gateway in front of a real PostgreSQL with sample data."
    )
    parser.add_argument(
        "--tour", action="store_true", help="walk through every promise, check it, and end (status 1 if one is broken)"
    )
    parser.add_argument("--postgres", choices=("any", "installed", "embedded"), default="any", help="which server to use")
    parser.add_argument("--port", type=int, default=6432, help="where the gateway listens; a free port when it is taken, or 0")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background job inherits it ignored
        signal.signal(number, _interrupt)
    narrator = Narrator()
    narrator.title("pgbastion", _WELCOME)
    try:
        with set_stage(Path(".demo"), narrator, arguments.postgres, arguments.port) as stage:
            return _tour(stage, narrator) if arguments.tour else _stay(stage, narrator)
    except (DemoError, PostgresError) as error:
        narrator.broken(str(error))
        return 1
    except KeyboardInterrupt:
        return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tour(stage: Stage, narrator: Narrator) -> int:
    if importlib.util.find_spec("psycopg") is None:
        raise DemoError("the tour needs psycopg: pip install 'pgbastion[demo]'")
    from gateway.demo.tour import take_tour

    narrator.heading("The tour")
    narrator.say(f"  Whatever follows, {stage.door.user} could type in psql, having connected with")
    narrator.block("", connection_strings(stage.door)[0][1])
    return 0 if take_tour(stage, narrator) else 1


def _stay(stage: Stage, narrator: Narrator) -> int:
    door = stage.door
    narrator.heading(f"Connect as {door.user}, who may read")
    for label, text in connection_strings(door):
        narrator.block(label, text)
    narrator.block("her password", door.password)
    narrator.heading("Try")
    for sql in (
        "SELECT * FROM shop.best_sellers ORDER BY revenue DESC LIMIT 5;",
        "DELETE FROM billing.payments;",
        "SELECT shop.refresh_totals();",
    ):
        narrator.query(door.target, sql)
    narrator.heading("And as the admin, in another terminal")
    program = Path(sys.executable).with_name("pgbastion")
    narrator.say(f"  $ export PGBASTION_CONFIG={stage.admin.config}")
    for words in ("audit tail -f", "sessions list", f"grants revoke --user {door.user} --target {door.target}"):
        narrator.say(f"  $ {program} {words}")
    narrator.heading("Running until Ctrl-C. make demo ARGS=--tour shows and checks everything by itself.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        narrator.say("\nStopping ...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
