"""What DBeaver, DataGrip, pgAdmin, Metabase, pgcli and others send by themselves: answered as PostgreSQL answers it directly.

The texts are the honest half of the policy's corpus, captured from these programs. (Texts from entries that start with "b-" pass
changed: a timeout of 0 becomes the cap.)
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.doors import Door
from tests.support.oracle import Step, Twins, same
from tests.support.wire import SYNC, describe, parse, query

_CORPUS = Path(__file__).parent.parent / "policy" / "corpus.jsonl"
_OTHERS = {"analyst", "function", "dos", "lexer", "contrib", "secrets", "guc", "gateway"}
_IN_ONE_SESSION = 10  # entries, so that logins do not take most of the time


def captured() -> list[Any]:
    found: dict[str, list[str]] = {}
    for line in _CORPUS.read_text().splitlines():
        entry = json.loads(line)
        half, tool = entry["id"].split("-")[:2]
        if half == "a" and entry["expect"] == "allow" and tool not in _OTHERS and all("sql" in step for step in entry["steps"]):
            found.setdefault(tool, []).extend(step["sql"] for step in entry["steps"])
    parts = [
        (tool, texts[at : at + _IN_ONE_SESSION], at)
        for tool, texts in found.items()
        for at in range(0, len(texts), _IN_ONE_SESSION)
    ]
    return [pytest.param(texts, id=f"{tool}-{at}") for tool, texts, at in parts]


def step_of(text: str) -> Step:
    """A text with parameters can only be described: the corpus does not hold their values."""
    return same(parse(text), describe("S"), SYNC) if "$1" in text else same(query(text))


@pytest.mark.parametrize("texts", captured())
def test_a_tool_s_own_queries(reader: Door, texts: list[str]) -> None:
    twins = Twins(reader.gateway, reader.database, reader.person, reader.target, reader.mode)
    twins.compare(*map(step_of, texts))
