"""A process that rotates a password and kills itself before one step of it. For kill tests.

python -m tests.support.rotator CONFIG TARGET STEP
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.cli.local import operator
from gateway.custody.rotation import Step
from gateway.services import rotation_lease
from gateway.services.rotation import Choice, Means, rotate_credentials


def main(config: Path, target: str, step: Step) -> None:
    rotation_lease._LEASE_SECONDS = 0.5  # type: ignore[misc]

    def entering(now: Step) -> None:
        if now is step:
            os.kill(os.getpid(), signal.SIGKILL)

    admin = operator(config)
    means = Means(admin.vault, entering=entering)
    why = {"actor": "os:test", "reason": "a kill test"}
    asyncio.run(rotate_credentials(admin.store, means, name=target, choice=Choice.READ_ONLY, **why))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Step(sys.argv[3]))
