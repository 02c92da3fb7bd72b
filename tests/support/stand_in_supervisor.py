"""The supervisor in a process of its own, with stand-in workers. argv: state directory, workers, behaviour, drain."""

import asyncio
import sys
from pathlib import Path

from gateway.proxy.sockets import reserved_port
from gateway.serve import StartError, Supervisor
from gateway.settings import Listen, Settings

WORKER = Path(__file__).with_name("stand_in_worker.py")


async def main(state_dir: Path, workers: int, behaviour: str, drain_seconds: float) -> int:
    settings = Settings(state_dir=state_dir, listen=Listen(port=0, workers=workers, drain_seconds=drain_seconds))
    with reserved_port("127.0.0.1", 0) as port:

        def command(number: int, port: int) -> list[str]:
            return [sys.executable, str(WORKER), str(settings.bus_socket), str(number), str(port), behaviour]

        return await Supervisor(settings, port, command, None).run()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
    except StartError as error:
        sys.exit(f"pgbastion: {error}")
