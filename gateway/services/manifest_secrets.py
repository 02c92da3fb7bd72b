"""Secrets in manifest files are references; whoever reads the file puts the secrets in their places, before anything else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final

from gateway.services.errors import ServiceError
from gateway.services.manifest_model import JsonValue, YamlValue

_HOW: Final = "Write {env: NAME} or {file: PATH} in its place."

ReadEnv = Callable[[str], str | None]
ReadFile = Callable[[str], str]


def resolve_secrets(data: YamlValue, *, read_env: ReadEnv, read_file: ReadFile) -> JsonValue:
    """What a YAML loader made of a file, as the JSON that the services and the API take: references replaced, instants as text.

    `read_env` gives None for a variable that is not set; `read_file` may raise OSError or UnicodeDecodeError. A secret that
    stands in the file itself is refused. What has another shape than a manifest is left alone: `parse_manifest` says so.
    """
    plain = _plain(data)
    if not isinstance(plain, dict):
        return plain

    def secret(holder: dict[str, JsonValue], place: str, field: str = "password") -> None:
        value = holder.get(field)
        if isinstance(value, str):
            raise ServiceError("secret-in-file", f"{place}: a {field.replace('_', ' ')} stands in the file", _HOW)
        if value is not None:
            holder[field] = _resolve(value, place, read_env, read_file)

    for section in ("users", "accounts"):
        for name, user in _parts(plain.get(section), section):
            secret(user, f"{name}.password")
    for name, webhook in _parts(plain.get("webhooks"), "webhooks"):
        for field in ("secret", "url_secret"):
            secret(webhook, f"{name}.{field}", field)
    for name, target in _parts(plain.get("targets"), "targets"):
        if isinstance(target.get("ca_pem"), Mapping):
            target["ca_pem"] = _resolve(target["ca_pem"], f"{name}.ca_pem", None, read_file)
        logins = target.get("logins")
        for mode, login in logins.items() if isinstance(logins, dict) else ():
            if isinstance(login, dict):
                secret(login, f"{name}.logins.{mode}.password")
    return plain


def _plain(value: YamlValue) -> JsonValue:
    """A copy that can be changed, and sent as JSON."""
    match value:
        case date():
            return value.isoformat()
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case _:
            return [_plain(each) for each in value]


def _parts(section: JsonValue, name: str) -> list[tuple[str, dict[str, JsonValue]]]:
    if not isinstance(section, Sequence) or isinstance(section, str):
        return []
    return [
        (f'{name}[{number}] "{str(part.get("name", part.get("user", "")))[:63]}"', part)
        for number, part in enumerate(section)
        if isinstance(part, dict)
    ]


def _resolve(reference: JsonValue, place: str, read_env: ReadEnv | None, read_file: ReadFile) -> str:
    match reference:
        case {"env": str(name), **others} if not others and read_env is not None:
            found = read_env(name)
            if found is None:
                raise ServiceError("reference-unknown", f"{place}: the environment variable {name} is not set", "")
            source = f"the environment variable {name}"
        case {"file": str(path), **others} if not others:
            found = _read(path, place, read_file)
            source = f"the file {path}"
        case _:
            raise ServiceError("reference-invalid", f"{place}: not a reference", _HOW)
    if not found:
        raise ServiceError("reference-empty", f"{place}: {source} is empty", "")
    return found


def _read(path: str, place: str, read_file: ReadFile) -> str:
    """Without the line end that editors and `echo` put behind a secret."""
    try:
        return read_file(path).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    raise ServiceError("reference-unknown", f"{place}: the file {path} cannot be read: {reason}", "")
