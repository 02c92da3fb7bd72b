"""Where `pgbastion login` keeps its API token: the system's keyring where there is one, else a file that only its owner can read.

One token for each admin API, by its URL; beside it, in a file, what is no secret: which API was signed in to last, with which CA.
"""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from gateway.cli.errors import CommandError
from gateway.secret import Secret

_SERVICE: Final = "pgbastion"
_FOLDER: Final = "pgbastion"
_TOKENS: Final = "tokens.json"
_PLACES: Final = "logins.json"
_NO_KEYRING_VARIABLE: Final = "PGBASTION_NO_KEYRING"


@dataclass(frozen=True, slots=True)
class Kept:
    """`ca_file`: what the API's certificate is verified with; None: the system's CAs. `where`: for people."""

    url: str
    ca_file: Path | None
    where: str


class _Keyring(Protocol):
    """What we use of the keyring library."""

    def get_password(self, service_name: str, username: str) -> str | None: ...

    def set_password(self, service_name: str, username: str, password: str) -> None: ...

    def delete_password(self, service_name: str, username: str) -> None: ...


def keep(url: str, token: Secret, ca_file: Path | None = None) -> Kept:
    """Instead of one that was kept for the same URL. Raises CommandError when it cannot be kept anywhere."""
    url = _normal(url)
    keyring = _keyring()
    where = "the system's keyring"
    if keyring is None or not _in_keyring(keyring, url, token):
        _write(_file(_TOKENS), {**_read(_file(_TOKENS)), url: token.reveal()})
        where = str(_file(_TOKENS))
    else:
        _write(_file(_TOKENS), {name: text for name, text in _read(_file(_TOKENS)).items() if name != url})
    places = {name: text for name, text in _read(_file(_PLACES)).items() if name != url}
    _write(
        _file(_PLACES), {**places, url: "" if ca_file is None else str(ca_file.resolve())}
    )  # the last one is the current one
    return Kept(url, ca_file, where)


def find_token(url: str) -> Secret | None:
    """The token that is kept for this API."""
    url = _normal(url)
    if url not in _places():  # nor is a keyring asked, which may ask its owner, for what was never put there
        return None
    if (text := _read(_file(_TOKENS)).get(url)) is not None:
        return Secret(text)
    keyring = _keyring()
    if keyring is None:
        return None
    with suppress(Exception):  # every backend has errors of its own; a keyring that does not open holds nothing for us
        found = keyring.get_password(_SERVICE, url)
        return Secret(found) if found else None
    return None


def current() -> Kept | None:
    """The API that was signed in to last, and not signed out of. Who has no home that they can read is signed in nowhere."""
    places = _places()
    if not places:
        return None
    url, ca_file = list(places.items())[-1]
    return Kept(url, Path(ca_file) if ca_file else None, "")


def ca_file_of(url: str) -> Path | None:
    """With which CA this API was signed in to; None: the system's, or it was not signed in to."""
    text = _places().get(_normal(url))
    return Path(text) if text else None


def forget(url: str) -> bool:
    """Whether there was one."""
    url = _normal(url)
    had = find_token(url) is not None
    for file in (_file(_TOKENS), _file(_PLACES)):
        kept = _read(file)
        if url in kept:
            _write(file, {name: text for name, text in kept.items() if name != url})
    keyring = _keyring()
    if keyring is not None:
        with suppress(Exception):  # there may be nothing to delete, which is an error of each backend's own
            keyring.delete_password(_SERVICE, url)
    return had


def _places() -> Mapping[str, str]:
    """No secrets: commands that need none of it must not fail for it."""
    try:
        return _read(_file(_PLACES))
    except (CommandError, RuntimeError):  # RuntimeError: no home at all
        return {}


def _normal(url: str) -> str:
    return url.strip().rstrip("/")


def _keyring() -> _Keyring | None:
    """None: the library is not installed, it was switched off, or there is no keyring that it can use on this machine."""
    if os.environ.get(_NO_KEYRING_VARIABLE):
        return None
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return None
    try:
        backend = keyring.get_keyring()
    except Exception:  # a backend that cannot even be made
        return None
    if isinstance(backend, fail.Keyring | null.Keyring):
        return None
    return cast(_Keyring, backend)


def _in_keyring(keyring: _Keyring, url: str, token: Secret) -> bool:
    """Put there and read back: some keyrings are there but locked, with nobody to open them."""
    try:
        keyring.set_password(_SERVICE, url, token.reveal())
        return keyring.get_password(_SERVICE, url) == token.reveal()
    except Exception:  # every backend has errors of its own
        return False


def _file(name: str) -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / _FOLDER / name


def _read(file: Path) -> Mapping[str, str]:
    """Raises CommandError for a file of tokens that others can read or change, or that is broken."""
    try:
        status = file.stat()
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise CommandError(f"{file} is not yours alone", f"If you trust what is in it: chmod 600 {file}. Else remove it.")
    try:
        found: object = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CommandError(f"{file} is broken", "Remove it, and sign in again: pgbastion login")
    return found


def _write(file: Path, content: Mapping[str, str]) -> None:
    """Whole or not at all, and never readable by others for a moment. Nothing to keep: no file."""
    try:
        if not content:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                json.dump(content, opened, indent=1)
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error
