"""Manifest files: YAML in and out. Whatever is wrong with one is said with the file and the line."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final, cast

import yaml

from gateway.cli.errors import CommandError
from gateway.cli.output import JsonValue, Record

YamlValue = None | bool | int | float | str | date | Sequence["YamlValue"] | Mapping[str, "YamlValue"]

_MAX_BYTES: Final = 32 * 1024 * 1024
_QUOTED_WORD: Final = re.compile(r"'(?!<)[^']{3,}'|\"[^\"]{3,}\"")
_QUOTED_NAME: Final = re.compile(r' "[^"]*"')
_PLACE: Final = re.compile(r'[a-z_]+(?:\[\d+\](?: "[^"]*")?)?(?:\.[a-z_]+(?:\[\d+\])?)*')
_OBJECT: Final = re.compile(r'(environment|user|group|role|account|target) "([^"]*)"')
_HEADER: Final = """\
# Written by `pgbastion export`; `pgbastion apply` reads it. No secret is in it: those that are in the store stay.
# To set one, add  password: {env: NAME}  or  password: {file: PATH}  to a user, a login or an account.
"""


class ManifestFile:
    """A file as YAML's values (`data`), and where in it each of them stands."""

    def __init__(self, path: Path) -> None:
        """Raises CommandError."""
        self.path = path
        text = _read(path)
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self._refuse_repetitions(self._root)
            self.data = cast(YamlValue, yaml.safe_load(text))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise CommandError(f"{path}:{line}: not YAML: {_unquoted(error.problem or error.context or '')}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise CommandError(f"{path}: not YAML: {_unquoted(str(error).splitlines()[0])}") from None

    def located(self, message: str) -> str:
        """A refusal's message: those of its parts that are about a place in the file begin with its line."""
        return "\n".join(self._line(part) + part for part in message.split("; "))

    def _line(self, part: str) -> str:
        node = self._root
        if found := _OBJECT.match(part):
            node = self._named(f"{found[1]}s", found[2]) or node
        elif place := _PLACE.match(part):
            node = self._at(_QUOTED_NAME.sub("", place[0])) or node
        return f"{self.path}:{node.start_mark.line + 1}: " if node is not None and node is not self._root else ""

    def _at(self, place: str) -> yaml.Node | None:
        """`users[2].port`; where there is no such field, what would have it."""
        node = self._root
        for step in place.replace("[", ".[").split("."):
            if node is None:
                return None
            inner = _item(node, int(step[1:-1])) if step.startswith("[") else _field(node, step)
            if inner is None:
                return node
            node = inner
        return node

    def _named(self, section: str, name: str) -> yaml.Node | None:
        found = _field(self._root, section) if self._root is not None else None
        for each in found.value if isinstance(found, yaml.SequenceNode) else []:
            label = _field(each, "name") or _field(each, "user")
            if isinstance(label, yaml.ScalarNode) and label.value == name:
                return cast(yaml.Node, each)
        return None

    def _refuse_repetitions(self, node: yaml.Node | None) -> None:
        """YAML loaders let the last one win, silently."""
        match node:
            case yaml.MappingNode():
                seen: set[str] = set()
                for key, value in node.value:
                    if isinstance(key, yaml.ScalarNode) and key.value in seen:
                        raise CommandError(f"{self.path}:{key.start_mark.line + 1}: {key.value} is there twice")
                    seen.add(str(key.value))
                    self._refuse_repetitions(value)
            case yaml.SequenceNode():
                for value in node.value:
                    self._refuse_repetitions(value)


def _unquoted(problem: str) -> str:
    """Without the words of the file: a password that begins with * is an alias that nobody knows. Single characters stay."""
    return _QUOTED_WORD.sub("(...)", problem)


def write_manifest(manifest: Record) -> str:
    """As text, a section at a time."""
    parts = [_HEADER]
    for name, section in manifest.items():
        parts.append(_dump({name: section}))
    return "\n".join(parts)


def _dump(value: Mapping[str, JsonValue]) -> str:
    """Small things on one line, but never the section itself."""
    has_parts = any(isinstance(each, list | dict) and each for each in value.values())
    flow = None if has_parts else False
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=120, default_flow_style=flow)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise CommandError(f"{path} is too large")
        return raw.decode("utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text") from None


def _field(node: yaml.Node, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                return _marked_as(key, value)
    return None


def _marked_as(key: yaml.Node, value: yaml.Node) -> yaml.Node:
    """Fields are looked for where their name stands, not where their value begins."""
    value.start_mark = key.start_mark
    return value


def _item(node: yaml.Node, number: int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and number < len(node.value):
        return cast(yaml.Node, node.value[number])
    return None
