"""A process that rotates a password so many times, and says of each what came of it. (Beside threads of clients it would wait.)

python -m tests.support.rotations CONFIG TARGET COUNT
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from gateway.bus.gateway import BusGateway
from gateway.cli.local import Operator, operator
from gateway.services.rotation import Choice, Means, rotate_credentials, workers_of


async def rotate(admin: Operator, target: str, count: int) -> None:
    means = Means(admin.vault, caught_up=workers_of(BusGateway(admin.settings.bus_socket)))
    for _ in range(count):
        began = time.monotonic()
        (found,) = await rotate_credentials(
            admin.store, means, name=target, choice=Choice.READ_ONLY, actor="os:test", reason="a test"
        )
        said = {"seconds": time.monotonic() - began, "end": found.end.value, "old_refused": found.old_refused}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(rotate(operator(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
