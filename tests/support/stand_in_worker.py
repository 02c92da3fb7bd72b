"""A worker process that only reports for duty: what the supervisor needs of one.

argv: state directory, behaviour, the file descriptor of each place's socket.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from gateway.bus.lifeline import Lifeline, LifelineError
from gateway.settings import Settings


async def main(state_dir: Path, behaviour: str, *fds: str) -> int:
    starts = state_dir / "stand-in.log"
    if behaviour == "dies" or (behaviour == "dies-later" and starts.exists() and "start" in starts.read_text()):
        return 3
    lifeline = Lifeline.inherited()
    assert lifeline is not None
    try:
        settings, duty = lifeline.first_duty()
    except LifelineError:
        return 0
    assert settings.state_dir == state_dir
    assert duty is not None
    port = socket.socket(fileno=int(fds[duty.place])).getsockname()[1]
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def log(text: str) -> None:
        with starts.open("a") as file:
            file.write(f"{text} {duty.number} {os.getpid()} {port} {duty.place}\n")

    def reload(_: Settings) -> None:
        log("reload")

    def retire() -> None:
        log("retire")
        if behaviour != "stubborn":
            ended.set()

    if behaviour == "stubborn":
        loop.add_signal_handler(signal.SIGTERM, log, "ignored")
    else:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    lifeline.follow(on_settings=reload, on_retire=retire, on_end=ended.set)
    log("start")
    lifeline.ready()
    await ended.wait()
    log("end")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:])))
