"""Secrets in files and environment variables of this machine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.custody.references.provider import Wanted, unavailable, whole
from gateway.secret import Secret

_MAX_BYTES: Final = 64 * 1024


class Files:
    """Implements Provider: the first line of a file under one of these folders, wherever links lead."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider. A file that everybody may read is refused: it is no secret."""
        try:
            path = Path(wanted.reference.place).resolve(strict=True)
            roots = [folder.resolve() for folder in self._folders]
            if not any(path.is_relative_to(root) for root in roots):
                raise unavailable(wanted, "it leads out of the folders in secrets.allowed")
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o007:
                    raise unavailable(wanted, "everybody may read or change the file: take that away (chmod o= FILE)")
                content = file.read(_MAX_BYTES)
        except OSError as error:
            raise unavailable(wanted, f"the file cannot be read: {error.strerror}") from None
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise unavailable(wanted, "the file is not UTF-8 text") from None
        return whole(wanted, text.removesuffix("\n").removesuffix("\r"))


class Environment:
    """Implements Provider: a variable of this process, as it was started."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider."""
        found = self._environment.get(wanted.reference.place)
        if found is None:
            raise unavailable(wanted, "there is no such environment variable here")
        return whole(wanted, found)
