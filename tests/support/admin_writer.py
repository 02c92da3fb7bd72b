"""A process that adds users and says each name when it is told that the change is committed. For kill tests."""

import asyncio
import itertools
import sys
from pathlib import Path

from gateway.services import users
from gateway.settings import load
from gateway.store import open_store


async def main(config: Path, prefix: str) -> None:
    store = open_store(load(config))
    for number in itertools.count():
        name = f"{prefix}_{number}"
        await users.create_user(store, name=name, actor="os:test", reason="a kill test")
        print(name, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
