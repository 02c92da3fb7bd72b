"""A process that writes audit records until it is killed, and says on stdout what was acted on. argv: directory, durability."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Literal

from gateway.audit.events import event
from gateway.proxy.audit_trail import AuditTrail


async def main(directory: Path, durability: Literal["write", "fsync"]) -> None:
    trail = AuditTrail(directory, 0, durability, 20_000, asyncio.get_running_loop())
    number = 0
    while True:
        for _ in range(3):
            number += 1

            def acted(written: bool, number: int = number) -> None:
                if written:
                    os.write(1, b"%d\n" % number)

            trail.append(event("acted", {"number": number}))
            trail.release(acted)
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "fsync" if sys.argv[2] == "fsync" else "write"))
