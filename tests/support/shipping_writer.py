"""A process that ships admin events until it is killed, and says when it is done. argv: directory, how many events there are."""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.proxy.audit_shipping import AdminEventShipper


def events(first: int, last: int, life: str = "") -> list[RecordedAdminEvent]:
    """Of a store that never forgets: the same number is always the same event."""
    return [
        RecordedAdminEvent(
            id=f"event{life}-{number}",
            at=datetime.fromtimestamp(1_700_000_000 + number, UTC),
            revision=number // 2,
            sequence=number,
            event=AdminEvent(
                "os:ana", "user.created", f"u{number}", f"user {number}", 'a "reason" \u00e4', {"groups": ("a", "b")}
            ),
        )
        for number in range(first, last + 1)
    ]


async def main(directory: Path, count: int) -> None:
    async def after(sequence: int, limit: int) -> Sequence[RecordedAdminEvent]:
        await asyncio.sleep(0)
        return events(sequence + 1, min(sequence + 1 + limit // 20, count))

    os.write(1, b"begun\n")
    await AdminEventShipper(directory, 5_000, after).ship_once()
    os.write(1, b"done\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
