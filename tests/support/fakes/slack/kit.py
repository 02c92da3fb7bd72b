"""Block Kit's rules, as its reference says them: what Slack would refuse, is refused here."""

import json
from typing import Any, Final

from tests.support.fakes.slack.state import SlackError

_IN_MESSAGES: Final = {"section", "header", "actions", "context", "divider", "input"}
_IN_MODALS: Final = {"section", "header", "actions", "context", "divider", "input"}
_ELEMENTS: Final = {"button", "static_select", "external_select", "plain_text_input", "datetimepicker", "checkboxes"}


class _Wrong(Exception):
    """Block Kit does not take this."""


def check_message(text: str, blocks: Any) -> list[dict[str, Any]]:
    """The blocks as JSON. Raises SlackError."""
    found = _loaded(blocks) if blocks else []
    if not text and not found:
        raise SlackError("no_text")
    if len(text) > 40_000:
        raise SlackError("msg_too_long")
    try:
        _blocks(found, 50, _IN_MESSAGES)
    except _Wrong as wrong:
        raise SlackError("invalid_blocks", response_metadata={"messages": [str(wrong)]}) from None
    return found


def check_view(view: Any) -> dict[str, Any]:
    """The view as JSON. Raises SlackError."""
    found = _loaded(view)
    try:
        _expect(isinstance(found, dict) and found.get("type") == "modal", "no modal")
        _text(found.get("title"), 24, "title", {"plain_text"})
        for name in ("submit", "close"):
            if found.get(name) is not None:
                _text(found[name], 24, name, {"plain_text"})
        _expect(len(found.get("private_metadata") or "") <= 3000, "private_metadata")
        _expect(len(found.get("callback_id") or "") <= 255, "callback_id")
        _blocks(found.get("blocks"), 100, _IN_MODALS)
        has_input = any(each["type"] == "input" for each in found["blocks"])
        _expect(not has_input or found.get("submit") is not None, "a modal with inputs has a submit")
    except _Wrong as wrong:
        raise SlackError("invalid_arguments", response_metadata={"messages": [str(wrong)]}) from None
    if len(json.dumps(found)) > 250_000:
        raise SlackError("view_too_large")
    return found


def check_options(answer: Any) -> list[dict[str, Any]]:
    """Of a select whose options come from the app."""
    options = answer.get("options") if isinstance(answer, dict) else None
    _options(options, 100)
    assert isinstance(options, list)
    return options


def inputs(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in view["blocks"] if each["type"] == "input"]


def _loaded(found: Any) -> Any:
    if isinstance(found, str):
        try:
            return json.loads(found)
        except ValueError:
            raise SlackError("invalid_blocks_format") from None
    return found


def _blocks(blocks: Any, most: int, kinds: set[str]) -> None:
    _expect(isinstance(blocks, list) and 0 <= len(blocks) <= most, f"at most {most} blocks")
    ids = [each["block_id"] for each in blocks if each.get("block_id") is not None]
    _expect(len(ids) == len(set(ids)), "block ids are unique")
    actions: list[str] = []
    for index, block in enumerate(blocks):
        _expect(block.get("type") in kinds, f"block {index}: type {block.get('type')}")
        _expect(len(block.get("block_id") or "") <= 255, f"block {index}: block_id")
        block.setdefault("block_id", f"b{index}")
        _block(block, actions)


def _block(block: dict[str, Any], actions: list[str]) -> None:
    match block["type"]:
        case "section":
            _expect(block.get("text") is not None or block.get("fields"), "a section says something")
            if block.get("text") is not None:
                _text(block["text"], 3000, "section")
            fields = block.get("fields") or []
            _expect(len(fields) <= 10, "at most 10 fields")
            for each in fields:
                _text(each, 2000, "field")
            if block.get("accessory") is not None:
                _element(block["accessory"], actions)
        case "header":
            _text(block["text"], 150, "header", {"plain_text"})
        case "context":
            _expect(1 <= len(block["elements"]) <= 10, "1 to 10 elements of a context")
            for each in block["elements"]:
                _text(each, 3000, "context")
        case "actions":
            _expect(1 <= len(block["elements"]) <= 25, "1 to 25 elements of actions")
            for each in block["elements"]:
                _element(each, actions)
        case "input":
            _text(block.get("label"), 2000, "label", {"plain_text"})
            if block.get("hint") is not None:
                _text(block["hint"], 2000, "hint", {"plain_text"})
            _element(block.get("element"), actions)


def _element(element: Any, actions: list[str]) -> None:
    _expect(isinstance(element, dict) and element.get("type") in _ELEMENTS, "an element that is known")
    action_id = element.get("action_id")
    _expect(isinstance(action_id, str) and 0 < len(action_id) <= 255, "action_id")
    if element.get("placeholder") is not None:
        _text(element["placeholder"], 150, "placeholder", {"plain_text"})
    match element["type"]:
        case "button":
            _text(element.get("text"), 75, "button", {"plain_text"})
            _expect(len(element.get("value") or "") <= 2000, "a button's value")
            _expect(element.get("style") in (None, "primary", "danger"), "a button's style")
            if element.get("confirm") is not None:
                _confirm(element["confirm"])
        case "static_select":
            _expect((element.get("options") is None) != (element.get("option_groups") is None), "options or option_groups")
            groups = element.get("option_groups")
            if groups is not None:
                _expect(1 <= len(groups) <= 100, "1 to 100 groups")
                for each in groups:
                    _text(each["label"], 75, "group", {"plain_text"})
                    _options(each["options"], 100)
            else:
                _options(element["options"], 100)
            initial = element.get("initial_option")
            known = [each for group in groups or [element] for each in group["options"]]
            _expect(initial is None or initial in known, "initial_option is one of the options")
        case "checkboxes":
            _options(element.get("options"), 10)
        case "plain_text_input":
            most = element.get("max_length")
            _expect(most is None or 1 <= most <= 3000, "max_length")
            _expect(len(element.get("initial_value") or "") <= (most or 3000), "initial_value")
    actions.append(action_id)


def _options(options: Any, most: int) -> None:
    _expect(isinstance(options, list) and 1 <= len(options) <= most, f"1 to {most} options")
    for each in options:
        _text(each.get("text"), 75, "option")
        _expect(isinstance(each.get("value"), str) and 0 < len(each["value"]) <= 150, "an option's value")
    values = [each["value"] for each in options]
    _expect(len(values) == len(set(values)), "values of options are unique")


def _confirm(found: dict[str, Any]) -> None:
    _text(found.get("title"), 100, "confirm title", {"plain_text"})
    _text(found.get("text"), 300, "confirm text")
    _text(found.get("confirm"), 30, "confirm", {"plain_text"})
    _text(found.get("deny"), 30, "deny", {"plain_text"})


def _text(found: Any, most: int, what: str, kinds: set[str] | None = None) -> None:
    _expect(isinstance(found, dict) and found.get("type") in (kinds or {"plain_text", "mrkdwn"}), f"{what}: a text object")
    _expect(isinstance(found.get("text"), str) and 1 <= len(found["text"]) <= most, f"{what}: 1 to {most} characters")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise _Wrong(what)
