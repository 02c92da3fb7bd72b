"""A process that writes audit records until it is killed, and says on stdout what was acted on.

argv: directory, and "journal", "write" or "fsync".
"""

import asyncio
import os
import sys
from pathlib import Path

from gateway.audit.events import event
from gateway.proxy.audit_synced import SyncedAuditTrail
from gateway.proxy.audit_trail import AuditTrail


async def main(directory: Path, kind: str) -> None:
    loop = asyncio.get_running_loop()
    if kind == "fsync":
        trail: AuditTrail = SyncedAuditTrail(directory, 0, 20_000, loop)
    else:
        trail = AuditTrail(directory, 0, 20_000, loop, journal=kind == "journal")
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
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
