"""Files that only the gateway's own account may read."""

import os
from pathlib import Path


def make_private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """A new file descriptor; a file made here is 0600.

    Made by root, it belongs to the folder's owner: so that an admin who runs the first command with sudo does not leave files
    behind that the gateway, under its own account, cannot open.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0 and os.fstat(descriptor).st_size == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def sync_folder(folder: Path) -> None:
    """A new name in it survives a power cut from here on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
