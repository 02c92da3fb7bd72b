"""What `pgbastion grants why` prints for people."""

from typing import Final

from gateway.cli.grant_terms import terms_text, times_text
from gateway.cli.output import JsonValue, Record, say, show

_COLUMNS: Final = {"part": "part", "reason": "why", "through": "held by", "mode": "mode", "terms": "carries", "id": "id"}


def show_why(found: Record) -> None:
    """The answer, what else stands in the way, and each grant with its part."""
    asked = f'User "{found["user"]}" may {"" if found["admitted"] else "not "}use "{found["target"]}" {found["mode"]} now.'
    say(asked)
    if found.get("changes_at") is not None:
        say(f"By the clock alone that may change at {found['changes_at']}.")
    for obstacle in _records(found.get("obstacles")):
        say(f"In the way: {obstacle['message']} (rule: {obstacle['rule']}).")
    show(
        [_row(each) for each in _records(found.get("grants"))], as_json=False, columns=_COLUMNS, empty="No grant speaks for it."
    )


def _row(each: Record) -> Record:
    grant = each["grant"]
    held: Record = grant if isinstance(grant, dict) else {}
    through = f"group {held['group']}" if held.get("group") is not None else "the user"
    if str(held.get("id", "")).startswith("role:"):
        through = "an admin role"
    terms = ", ".join(filter(None, (terms_text(held), times_text(held)))) or None
    return {**each, "through": through, "mode": held.get("mode"), "terms": terms, "id": held.get("id")}


def _records(value: JsonValue) -> list[Record]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
