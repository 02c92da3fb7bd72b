"""One harmful expression in its many notations: calls, attributes, operators, casts, functions in FROM. See shapes.txt."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

from tests.generated.payloads import Call, Payloads, call_text, quoted

_BLANK = re.compile(r"\{(o|p|t|name|qualified|inside|plain|database|value|kind|bare|left|right|)\}")


@cache
def shapes(group: str) -> tuple[str, ...]:
    """The shapes of a group."""
    lines = (Path(__file__).parent / "shapes.txt").read_text().splitlines()
    return tuple(line.split(" ", 1)[1] for line in lines if line.startswith(f"{group} "))


def filled(shape: str, values: Mapping[str, str]) -> str:
    """The shape with its blanks filled in; those without a value are left."""
    return _BLANK.sub(lambda found: values.get(found[1], found[0]), shape)


def expression(random: Random, payloads: Payloads, database: str) -> str:
    """Something harmful, written somehow."""
    choices = (
        (10, payloads.calls), (5, payloads.expressions), (2, payloads.casts), (2, payloads.operators), (3, payloads.queries),
    )  # fmt: skip
    there = [(weight, group) for weight, group in choices if group]
    group = random.choices([group for _, group in there], [weight for weight, _ in there])[0]
    found = random.choice(group)
    match found:
        case Call():
            text = _called(random, found, database)
        case (value, kind):
            values = {"value": value, "kind": kind, "bare": kind.rpartition(".")[2]}
            text = filled(random.choice(shapes("cast")), values)
        case (left, name, right):
            text = filled(random.choice(shapes("operator")), {"left": left, "name": name, "right": right})
        case _:
            text = f"({found})" if group is payloads.queries else str(found)
    return filled(random.choice(shapes("around")), {"": text})


def _called(random: Random, call: Call, database: str) -> str:
    *schema, name = call.name
    values = {
        "plain": call_text(call),
        "name": name if random.random() < 0.5 else quoted(name),
        "qualified": ".".join(map(quoted, (*(schema or ["pg_catalog"]), name))),
        "inside": ", ".join(call.arguments),
        "database": database,
    }
    groups = ["call", "call", "attribute"] if len(call.arguments) == 1 else ["call"]
    values["value"] = values["inside"]
    return filled(random.choice(shapes(random.choice(groups))), values)
