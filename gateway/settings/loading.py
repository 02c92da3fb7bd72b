"""From a file, the environment and flags to Settings; or to a sentence that names the place, the key and what is expected there.

A later source wins: file, `PGBASTION_<SECTION>__<NAME>` variables, `--set SECTION.NAME=VALUE` flags. Lists in the last two are
JSON. Values stay out of messages: a secret may stand in the wrong place.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.settings.model import Settings

_PREFIX: Final = "PGBASTION_"
_PLACES: Final = ("pgbastion.toml", "/etc/pgbastion/pgbastion.toml")

Tree: TypeAlias = dict[str, object]


class SettingsError(Exception):
    """Settings that cannot be used. `problems`: one sentence each, with the place, the key and what is expected."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Given:
    """One value from outside the file. `said_as` is how whoever gave it wrote its name."""

    said_as: str
    text: str


def find_config(given: Path | None) -> Path:
    """The file to read: the one given, else $PGBASTION_CONFIG, else ./pgbastion.toml, else /etc/pgbastion/pgbastion.toml.

    Raises FileNotFoundError with a text for people.
    """
    candidates = [given] if given else [Path(p) for p in (os.environ.get("PGBASTION_CONFIG"), *_PLACES) if p]
    for path in candidates:
        if path.is_file():
            return path
    tried = ", ".join(str(p) for p in candidates)
    raise FileNotFoundError(f"no configuration file (tried {tried}); give one with --config FILE")


def load(path: Path, flags: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Settings:
    """Read one TOML file, the environment, and `KEY=VALUE` flags. Raises SettingsError; relative paths are the file's own."""
    tree = _read(path)
    given = {**_variables(os.environ if environment is None else environment), **_flags(flags)}
    for key, value in given.items():
        _plant(tree, key, value)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(*(_problem(each, path, given) for each in error.errors())) from None
    return _with_paths_from(path.resolve().parent, settings)


def _read(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _variables(environment: Mapping[str, str]) -> dict[str, _Given]:
    """Those that are meant: `PGBASTION_` and a section, or `PGBASTION_STATE_DIR`."""
    found = {}
    for name, value in environment.items():
        key = name.removeprefix(_PREFIX).lower().replace("__", ".")
        if name.startswith(_PREFIX) and ("." in key or key == "state_dir"):
            found[key] = _Given(f"environment variable {name}", value)
    return found


def _flags(flags: Sequence[str]) -> dict[str, _Given]:
    found = {}
    for flag in flags:
        key, equals, value = flag.partition("=")
        if not equals:
            raise SettingsError(f"flag --set {key}: should be SECTION.NAME=VALUE")
        found[key.strip()] = _Given(f"flag --set {key.strip()}", value)
    return found


def _plant(tree: Tree, key: str, given: _Given) -> None:
    *sections, name = key.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            return  # the file has no section there: that is said when it is validated
        tree = inner
    tree[name] = _parsed(given)


def _parsed(given: _Given) -> object:
    if not given.text.lstrip().startswith("["):
        return given.text
    try:
        return cast(object, json.loads(given.text))
    except ValueError:
        raise SettingsError(f'{given.said_as}: should be a JSON list, such as ["a", "b"]') from None


def _problem(error: ErrorDetails, path: Path, given: Mapping[str, _Given]) -> str:
    """What pydantic found, in our words."""
    names = [str(part) for part in error["loc"] if not isinstance(part, int)]
    key = ".".join(names)
    place = next((value.said_as for name, value in given.items() if key == name or key.startswith(f"{name}.")), None)
    start = place or (f"{path}: {key}" if key else str(path))
    match error["type"]:
        case "missing":
            return f"{start} must be set"
        case "extra_forbidden":
            return f"{start}: no such setting; {_near(names)}"
        case "model_type":
            return f"{start} should be a section: [{key}]"
        case "value_error":
            return f"{start}: {error['msg'].removeprefix('Value error, ')}"
        case _:
            return f"{start}: {error['msg'].replace('Input should', 'should', 1)}"


def _near(names: Sequence[str]) -> str:
    known = _known(names[:-1])
    if close := difflib.get_close_matches(names[-1], known, n=1):
        return f'did you mean "{close[0]}"?'
    return f"there are: {', '.join(known)}"


def _known(sections: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for name in sections:
        field = model.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def _with_paths_from(base: Path, settings: Settings) -> Settings:
    """An absolute path stays what it is."""
    sections: dict[str, object] = {"state_dir": base / settings.state_dir}
    for name, section in _sections(settings):
        paths = {key: base / value for key, value in section if isinstance(value, Path)}
        if paths:
            sections[name] = section.model_copy(update=paths)
    return settings.model_copy(update=sections)


def _sections(settings: Settings) -> Iterator[tuple[str, BaseModel]]:
    for name, value in settings:
        if isinstance(value, BaseModel):
            yield name, value
