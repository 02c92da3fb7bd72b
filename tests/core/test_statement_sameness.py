"""The same statement, or another: what makes a difference and what does not."""

import json
from pathlib import Path
from random import Random

import pglast.ast
import pytest

from gateway.statements.parse import ParseFailure, parse
from gateway.statements.sameness import PLACES, digests

CORPUS = Path(__file__).parents[1] / "policy" / "own.jsonl"

SAME = [
    ("SELECT a, b FROM t WHERE a IN (1, 2)", "select  a ,b\nfrom T -- all\nwhere/* only */a in(1,2)"),
    ("SELECT ARRAY[1, 2]", "SELECT ARRAY [ 1,2 ] ;"),
    ("SELECT 'it''s'", "SELECT E'it\\'s'"),
    ("SELECT $1::int", "SELECT CAST($1 AS int)"),
    ("LISTEN c; SELECT 1", "listen c;;select 1"),
]
OTHER = [
    ("SELECT 1", "SELECT 2"),
    ("SELECT 1", "SELECT '1'"),
    ("SELECT 1", "SELECT 1.0"),
    ("SELECT 'a'", "SELECT 'A'"),
    ("SELECT 'a'", "SELECT 'a '"),
    ("SELECT a FROM t", 'SELECT "A" FROM t'),
    ("SELECT a FROM t", "SELECT a FROM public.t"),
    ("SELECT a FROM t", "SELECT a FROM t LIMIT 10"),
    ("SELECT a FROM t", "SELECT a FROM ONLY t"),
    ("SELECT $1", "SELECT $2"),
    ("SELECT true", "SELECT false"),
    ("SELECT 0", "SELECT 1"),
    ("SELECT ''", "SELECT NULL"),
    ("SELECT a", "SELECT a; SELECT a"),
    ("SELECT 1; SELECT 2", "SELECT 2; SELECT 1"),
    ("DELETE FROM t WHERE a = 1", "DELETE FROM t"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one: str, other: str) -> None:
    assert digests(one) == digests(other) is not None


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another(one: str, other: str) -> None:
    assert digests(one) != digests(other)
    assert None not in (digests(one), digests(other))


@pytest.mark.parametrize("text", ["", " -- nothing", "SELEC 1", "SELECT " + "(" * 30_000 + "1" + ")" * 30_000])
def test_what_is_no_statement_is_the_same_as_nothing(text: str) -> None:
    assert digests(text) is None


def test_no_place_of_the_grammar_is_forgotten() -> None:
    """Else a blank would make another statement of one that was approved."""
    slots = [getattr(node, "__slots__", None) for node in vars(pglast.ast).values()]
    places = {field for each in slots if isinstance(each, dict) for field, kind in each.items() if kind.c_type == "ParseLoc"}
    assert places
    assert places == PLACES


def texts() -> list[str]:
    found = [
        str(step["sql"]) for line in CORPUS.read_text().splitlines() for step in json.loads(line)["steps"] if "sql" in step
    ]
    return [each for each in dict.fromkeys(found) if not isinstance(parse(each), ParseFailure) and parse(each)]


def test_statements_of_the_corpus_differ_and_stay_what_they_are() -> None:
    """Each is itself behind a comment; no two different texts that are not the same to a reader are the same here."""
    random, by_digest = Random(5), {}
    for text in texts():
        found = digests(text)
        assert found is not None
        assert digests(f"/* {random.random()} */ {text}") == found
        by_digest.setdefault(found, []).append(" ".join(text.lower().split()).rstrip("; "))
    shared = [each for each in by_digest.values() if len(set(each)) > 1]
    assert len(by_digest) > 400
    assert len(shared) < len(by_digest) / 50, shared
