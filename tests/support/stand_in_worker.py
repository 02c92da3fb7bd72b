"""A worker process that only reports for duty: what the supervisor needs of one. argv: bus socket, number, port, behaviour."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.bus.lines import Message
from gateway.bus.peer import BusPeer


async def main(socket: Path, number: str, port: str, behaviour: str) -> int:
    if behaviour == "dies":
        return 3
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def log(text: str) -> None:
        with (socket.parent / "stand-in.log").open("a") as file:
            file.write(f"{text} {number} {os.getpid()} {port}\n")

    def reload(_: Message) -> None:
        log("reload")

    if behaviour == "stubborn":
        loop.add_signal_handler(signal.SIGTERM, log, "ignored")
    else:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written there: it can only end
    peer = BusPeer(socket, f"worker:{number}", {"reload": reload})
    await peer.start()
    log("start")
    peer.send("hub", "ready", {})
    await ended.wait()
    log("end")
    await peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:])))
