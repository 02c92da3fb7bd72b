"""The supervisor in a process of its own, with stand-in workers. argv: state directory, workers, behaviour, drain."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.proxy.sockets import open_doors
from gateway.settings import CurrentSettings, Listen, Settings
from gateway.supervision.parts import StartError, WorkerPart
from gateway.supervision.supervisor import Supervisor

WORKER = Path(__file__).with_name("stand_in_worker.py")


async def main(state_dir: Path, workers: int, behaviour: str, drain_seconds: float) -> int:
    settings = Settings(state_dir=state_dir, listen=Listen(port=0, workers=workers, drain_seconds=drain_seconds))
    doors = open_doors("127.0.0.1", 0, 10, workers)

    def command(shares: Sequence[Sequence[int]]) -> list[str]:
        return [sys.executable, str(WORKER), str(state_dir), behaviour, *(str(fds[0]) for fds in shares)]

    return await Supervisor(CurrentSettings(settings), lambda: settings, WorkerPart(doors, command)).run()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
    except StartError as error:
        sys.exit(f"pgbastion: {error}")
