"""Which operators a built-in name turns to, asked of a real server: what the rules take for impossible is tried with each type."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.statements.catalog_objects import FunctionUse, Operator
from gateway.statements.operator_choice import (
    _BINARY,
    _COMPARED,
    _COMPARISONS,
    _OVER_RECORDS,
    _OVER_TEXTS,
    _PREFIX,
    OperatorChoice,
)
from tests.policy.catalogs import load_catalog
from tests.support.upstream import Upstream

_TYPES = """
CREATE TYPE public.tone AS ENUM ('low', 'high');
CREATE TYPE public.stretch AS RANGE (SUBTYPE = float8);
CREATE TYPE public.pair AS (a int, b text);
CREATE TYPE public.code;
CREATE FUNCTION public.code_in(cstring) RETURNS public.code LANGUAGE internal STRICT IMMUTABLE AS 'int8in';
CREATE FUNCTION public.code_out(public.code) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'int8out';
CREATE TYPE public.code (INPUT = public.code_in, OUTPUT = public.code_out, LIKE = int8);
CREATE TYPE public.label;
CREATE FUNCTION public.label_in(cstring) RETURNS public.label LANGUAGE internal STRICT IMMUTABLE AS 'textin';
CREATE FUNCTION public.label_out(public.label) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'textout';
CREATE TYPE public.label (INPUT = public.label_in, OUTPUT = public.label_out, LIKE = text, CATEGORY = 'S');
CREATE DOMAIN public.doc AS json;
CREATE DOMAIN public.mail AS text;
"""
# Tries every way to write an operator without a value of the type: each pair of a type's NULL and an untyped one, and two types.
_TRY = """
CREATE FUNCTION public.tried(name text, with_pairs boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE one text; other text; place text;
BEGIN
  FOR one IN SELECT 'NULL::' || t.oid::regtype FROM pg_type t WHERE t.oid < 10000 AND t.typtype <> 'p' AND t.typname !~ '^pg_|^_pg'
    UNION ALL SELECT 'NULL' UNION ALL SELECT 's' LOOP
    FOR other IN SELECT 'NULL' UNION ALL SELECT 's' UNION ALL SELECT 'NULL::' || t.oid::regtype FROM pg_type t
      WHERE with_pairs AND t.oid < 4000 AND t.typtype <> 'p' AND t.typelem = 0 LOOP
      FOREACH place IN ARRAY ARRAY[one || ' OPERATOR(!) ' || other, other || ' OPERATOR(!) ' || one] LOOP
        BEGIN
          EXECUTE 'SELECT ' || replace(place, 'OPERATOR(!)', name) || ' FROM (SELECT 1 AS a, ''x''::text AS b) s';
        EXCEPTION
          WHEN sqlstate 'PB001' THEN RETURN place;
          WHEN others THEN NULL;
        END;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN '';
END $$;
CREATE FUNCTION public.tried_alone(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE one text;
BEGIN
  FOR one IN SELECT 'NULL::' || t.oid::regtype FROM pg_type t WHERE t.oid < 10000 AND t.typtype <> 'p' AND t.typname !~ '^pg_|^_pg'
    UNION ALL SELECT 'NULL' UNION ALL SELECT 's' LOOP
    BEGIN
      EXECUTE 'SELECT ' || name || ' ' || one || ' FROM (SELECT 1 AS a, ''x''::text AS b) s';
    EXCEPTION
      WHEN sqlstate 'PB001' THEN RETURN one;
      WHEN others THEN NULL;
    END;
  END LOOP;
  RETURN '';
END $$;
"""
_CHOSEN = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'chosen' USING ERRCODE = 'PB001'; END $$"
_USERS = ("tone", "stretch", "pair", "code", "label", "doc", "mail")
_NAMES = ["+", "*", "->", "@>", "@@", "&&", "=", "<", "||", "~", "*="]

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def database(postgres: Upstream) -> Iterator[Connection]:
    with postgres.connect() as admin:
        admin.execute("CREATE DATABASE operators")
        try:
            with postgres.connect("operators") as connection:
                connection.execute(_TYPES)
                connection.execute(_TRY)
                yield connection
        finally:
            admin.execute("DROP DATABASE operators WITH (FORCE)")


@pytest.fixture(scope="module")
def choice(database: Connection, postgres: Upstream) -> OperatorChoice:
    with postgres.connect("operators") as another:
        return OperatorChoice(load_catalog(another))


def _tried(database: Connection, name: str, operands: tuple[int, ...], *, pairs: bool = False) -> str:
    """The first way to come to users' operator of this name without a value of users; "" when there is none."""
    kinds = [database.execute("SELECT %s::oid::regtype::text", [oid]).fetchone()[0] for oid in operands]
    with database.transaction(force_rollback=True):
        database.execute(f"CREATE FUNCTION public.chosen({', '.join(kinds)}) RETURNS bool {_CHOSEN}".encode())
        sides = zip(("LEFTARG", "RIGHTARG") if len(kinds) == 2 else ("RIGHTARG",), kinds, strict=True)
        written = ", ".join(f"{side} = {kind}" for side, kind in sides)
        database.execute(f"CREATE OPERATOR public.{name} ({written}, FUNCTION = public.chosen)".encode())
        if len(kinds) == 1:
            return str(database.execute("SELECT public.tried_alone(%s)", [name]).fetchone()[0])
        return str(database.execute("SELECT public.tried(%s, %s)", [name, pairs]).fetchone()[0])


def _oid(database: Connection, name: str) -> int:
    return int(database.execute("SELECT %s::regtype::oid", [f"public.{name}"]).fetchone()[0])


def _operator(name: str, operands: tuple[int, ...]) -> Operator:
    return Operator("public", name, operands, FunctionUse(20000, "chosen"), "")


@pytest.mark.parametrize("kind", _USERS)
def test_over_users_types_only(database: Connection, choice: OperatorChoice, kind: str) -> None:
    oid = _oid(database, kind)
    tried = [(name, (oid, oid)) for name in _NAMES] + [(name, (oid,)) for name in sorted(_PREFIX)]
    possible = [each for each in tried if choice.needs_a_value(_operator(*each))]
    assert possible or kind in ("doc", "mail")
    found = {each: _tried(database, *each, pairs=each[0] == "=" and kind == "code") for each in possible}
    assert not {each: way for each, way in found.items() if way}


@pytest.mark.parametrize("kind", ["tone", "code", "pair", "label", "doc"])
def test_over_a_built_in_type_and_a_users(database: Connection, choice: OperatorChoice, kind: str) -> None:
    oid = _oid(database, kind)
    tried = [
        (name, operands)
        for name in ("=", "<")
        for other in (16, 20, 25, 1700, 3802)
        for operands in ((other, oid), (oid, other))
    ]
    possible = [each for each in tried if choice.needs_a_value(_operator(*each))]
    assert bool(possible) == (kind in ("tone", "code"))
    found = {each: _tried(database, *each, pairs=each == ("=", (20, oid)) and kind == "code") for each in possible}
    assert not {each: way for each, way in found.items() if way}


def test_each_built_in_type_has_the_comparisons_over_two_of_it(database: Connection) -> None:
    for oid in sorted(_COMPARED):
        for name in sorted(_COMPARISONS):
            query = sql.SQL(
                "SELECT count(*) FROM pg_operator WHERE oid < 10000 AND oprname = %s AND oprleft = %s AND oprright = %s"
            )
            assert database.execute(query, [name, oid, oid]).fetchone()[0] == 1, (name, oid)


def test_each_name_has_a_built_in_operator_over_as_many_operands(database: Connection) -> None:
    rows = database.execute("SELECT oprname, oprleft::int, oprright::int FROM pg_operator WHERE oid < 10000").fetchall()
    assert {name for name, left, right in rows if left and right} >= _BINARY
    assert {name for name, left, right in rows if not left} >= _PREFIX
    assert {name for name, left, right in rows if (left, right) == (25, 25)} >= _OVER_TEXTS
    assert {name for name, left, right in rows if (left, right) == (2249, 2249)} >= _OVER_RECORDS


def test_what_is_told_apart_is_really_chosen_where_it_is_not(database: Connection, choice: OperatorChoice) -> None:
    """The trial sees a choice: of domains, rows, texts, and names with other operands only."""
    doc, pair, tone, label = (_oid(database, name) for name in ("doc", "pair", "tone", "label"))
    for name, operands in (
        ("=", (doc, doc)),
        ("+", (pair, pair)),
        ("|/", (tone, tone)),
        ("*", (label, label)),
        ("<->", (tone,)),
    ):
        assert not choice.needs_a_value(_operator(name, operands))
        assert _tried(database, name, operands), (name, operands)
