"""Bodies of webhooks as templates: JSON, in whose texts placeholders stand for what a message says. Pure.

A placeholder is `{{headline}}`, `{{details}}`, `{{how_to}}`, `{{text}}` (all three), `{{topic}}`, `{{at}}`, `{{id}}`, or one of
the request's fields, such as `{{request.number}}`. What it stands for is put into the text after the template was read as JSON,
so that nothing in a message changes the shape of the body.
"""

import json
import re
from collections.abc import Callable
from typing import Final, TypeAlias, cast

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

WORDS: Final = frozenset({"headline", "details", "how_to", "text", "topic", "at", "id"})
REQUEST_FIELDS: Final = frozenset(
    {
        "number",
        "state",
        "requester",
        "holder",
        "place",
        "kind",
        "mode",
        "database_role",
        "statements",
        "reason",
        "duration_seconds",
        "starts_at",
        "ends_at",
        "ended_because",
        "ticket",
        "policy",
        "id",
    }
)
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z_.]{1,60})\s*\}\}")
_MOST_BYTES: Final = 16_384
_DEEPEST: Final = 20


class TemplateError(ValueError):
    """The text cannot be a template; the message says why."""


def check_template(text: str) -> None:
    """Raises TemplateError."""
    for name in _names(_read(text), 0):
        known = name in WORDS or (name.startswith("request.") and name.removeprefix("request.") in REQUEST_FIELDS)
        if not known:
            raise TemplateError(f"there is no placeholder {{{{{name}}}}}")


def fill(text: str, value_of: Callable[[str], str]) -> str:
    """The body. `value_of` gives what a placeholder stands for. Raises TemplateError."""
    filled = _filled(_read(text), value_of)
    return json.dumps(filled, ensure_ascii=False)


def _read(text: str) -> Json:
    if len(text.encode("utf-8", "replace")) > _MOST_BYTES:
        raise TemplateError(f"a template has at most {_MOST_BYTES} bytes")
    try:
        return cast(Json, json.loads(text))
    except (ValueError, RecursionError):
        raise TemplateError("a template is JSON, with placeholders in its texts") from None


def _names(value: Json, depth: int) -> list[str]:
    if depth > _DEEPEST:
        raise TemplateError(f"a template has at most {_DEEPEST} levels")
    match value:
        case str():
            return _PLACEHOLDER.findall(value)
        case list():
            return [name for each in value for name in _names(each, depth + 1)]
        case dict():
            return [name for each in value.values() for name in _names(each, depth + 1)]
        case _:
            return []


def _filled(value: Json, value_of: Callable[[str], str]) -> Json:
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda found: value_of(found[1]), value)
        case list():
            return [_filled(each, value_of) for each in value]
        case dict():
            return {key: _filled(each, value_of) for key, each in value.items()}
        case _:
            return value
