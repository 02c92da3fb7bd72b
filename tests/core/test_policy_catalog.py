"""The catalog as a value, and what a stale one refuses. (A real server's catalog: tests/policy/test_policy_database.py.)"""

import pytest

from gateway.access_mode import AccessMode
from gateway.judging.codec import LENGTH, Requests, encode_catalog, encode_request
from gateway.statements.catalog import Catalog, CatalogError, build_catalog
from gateway.statements.catalog_rows import CATALOG_QUERIES, CatalogRows
from gateway.statements.policy import Policy, judge, judge_parameter_types
from gateway.statements.preview import Opened, opened_by

_FUNCTION = ("20001", "public", "f", "f", "1", "1", "23", "plpgsql", None, "false", None)
_ENUM = ("20002", "public", "e", "e", "E", "false", "0", "0", "0", "3504", "enum_in", None)
_VIEW = ("public", "v", " SELECT public.f(1) AS f;", None)


def catalog(**answers: list[tuple[str | None, ...]]) -> Catalog:
    return build_catalog(CatalogRows.from_answers({"path": [("me", "me", '"$user", public', "app")], **answers}), 17)


def policy(known: Catalog | None, *entries: str) -> Policy:
    return Policy(AccessMode.READ_ONLY, frozenset(entries), server_major=17, catalog=known)


def test_the_revision_follows_the_content_and_nothing_else() -> None:
    one = catalog(functions=[_FUNCTION], views=[_VIEW])
    other = build_catalog(CatalogRows.from_answers(dict(reversed(one.rows.as_answers().items()))), 17)
    assert one == other
    assert one.revision == other.revision
    assert len({each.revision for each in (one, one.as_stale(), catalog(functions=[_FUNCTION]), catalog())}) == 4
    revisions = {policy(each).revision for each in (one, one.as_stale(), catalog(), None)}
    assert len(revisions) == 4


def test_rows_that_no_server_sends_are_an_error() -> None:
    for answers in ({"functions": [("x",)]}, {"types": [("x", *[None] * 11)]}, {"path": [("me", "me", "a b", None)]}):
        with pytest.raises(CatalogError):
            build_catalog(CatalogRows.from_answers(answers), 17)


def test_every_field_has_its_query_and_every_query_its_field() -> None:
    names = [query.name for query in CATALOG_QUERIES if query.name]
    assert sorted(names) == sorted(CatalogRows().as_answers())
    assert names[0] == "path"  # before search_path is emptied
    assert CATALOG_QUERIES[1].name == ""


def test_the_path_is_where_sessions_start_and_what_reset_goes_back_to() -> None:
    assert catalog().path == {"me", "public", "app"}
    # Anybody may set it to "$user", wherever sessions start.
    assert catalog(path=[("me", "login", "public", "public")]).path == {"me", "login", "public"}
    shadow = ("20009", "me", "lower", "f", "1", "1", "25", "plpgsql", None, "false", None)
    reached = catalog(path=[("me", "me", "public", "public")], functions=[shadow])
    assert judge(b'SET search_path = "$user", public', policy(reached)).allowed
    assert not judge(b"SELECT lower('A')", policy(reached)).allowed


def test_a_function_in_reach_is_closed_until_it_is_listed() -> None:
    known = catalog(functions=[_FUNCTION], views=[_VIEW])
    for text in ("SELECT f(1)", "SELECT public.f(1)", "SELECT (1).f", "SELECT * FROM v", "TABLE public.v"):
        assert not judge(text.encode(), policy(known)).allowed, text
        for entry in ("public.f", "f", "public.*"):
            assert judge(text.encode(), policy(known, entry)).allowed, (text, entry)


def test_a_refusal_names_the_node_that_decided() -> None:
    known = catalog(functions=[_FUNCTION], views=[_VIEW])
    for text, node in {
        "SELECT f(1)": "FuncCall",
        "SELECT (1).f": "indirection",
        "SELECT * FROM v": "RangeVar",
        "DELETE FROM v": "DeleteStmt",
        "SELECT 1 <~> 2": "A_Expr",
        "SELECT 1 FOR UPDATE": "lockingClause",
        "SELECT 'x'::y": "typeName",
        "selec 1": "",
        "SELECT 1": "",
    }.items():
        assert judge(text.encode(), policy(known)).node == node, text


def test_under_a_stale_catalog_only_what_is_postgresqls_own_runs() -> None:
    stale = catalog(functions=[_FUNCTION], types=[_ENUM]).as_stale()
    for text in ("SELECT 1", "SELECT lower('A'), 1 + 1", "SELECT relname FROM pg_catalog.pg_class", "SHOW timezone", "BEGIN"):
        assert judge(text.encode(), policy(stale)).allowed, text
    for text in (
        "SELECT * FROM t",
        "SELECT * FROM app.t",
        "SELECT f(1)",
        "COPY t TO STDOUT",
        "EXPLAIN SELECT * FROM t",
        "SELECT 'a'::e",
    ):
        verdict = judge(text.encode(), policy(stale, "public.f"))
        assert (verdict.rule, verdict.sqlstate) == ("catalog-stale", "57P03"), text
    assert judge(b"WITH t AS (SELECT 1) SELECT * FROM t", policy(stale)).allowed


def test_parameter_types_are_the_catalogs() -> None:
    known = catalog(types=[_ENUM])
    assert judge_parameter_types([20002, 25], policy(known)) is None
    assert judge_parameter_types([20003], policy(known)) is not None
    assert judge_parameter_types([20002], policy(None)) is not None
    assert judge_parameter_types([20002], policy(known.as_stale())) is not None


def test_a_judging_child_gets_the_same_policy() -> None:
    for known in (None, catalog(functions=[_FUNCTION], views=[_VIEW]), catalog(views=[_VIEW]).as_stale()):
        requests = Requests()
        if known is not None:
            assert requests.decode(encode_catalog(known)[LENGTH.size :]) is None
        found = requests.decode(encode_request(b"SELECT 1", policy(known))[LENGTH.size :])
        assert found is not None
        text, received = found
        assert text == b"SELECT 1"
        assert received == policy(known)
        assert received.revision == policy(known).revision


def test_the_preview_of_an_entry_says_what_it_opens() -> None:
    known = catalog(functions=[_FUNCTION], views=[_VIEW])
    opened = opened_by(known, "public.f", frozenset(), frozenset({"public"}))
    assert [each.oid for each in opened.functions] == [20001]
    assert [(each.schema, each.name) for each in opened.relations] == [("public", "v")]
    assert (opened.operators, opened.casts, opened.types, opened.named) == ((), (), (), True)
    assert opened_by(known, "public.g", frozenset(), frozenset()) == Opened()
    assert opened_by(known, "public.f", frozenset({"public.*"}), frozenset()) == Opened(named=True)
    relation = opened_by(known, "public.v", frozenset(), frozenset())
    assert ([each.name for each in relation.relations], relation.functions, relation.named) == (["v"], (), True)


def test_a_preview_shows_operators_casts_and_types() -> None:
    operator = ("20005", "public", "@@", "23", "23", "20001", "f", None)
    domain = ("20006", "public", "d", "d", "N", "false", "0", "23", "0", "2597", "domain_in", None)
    known = catalog(
        functions=[_FUNCTION],
        operators=[operator],
        casts=[("23", "int4", "25", "text", "i", "f", "20001", "f")],
        types=[domain],
        domain_checks=[("20006", "CHECK ((public.f(VALUE) > 0))")],
    )
    opened = opened_by(known, "public.*", frozenset(), frozenset({"public"}))
    assert opened.operators == (20005,)
    assert [(each.source_name, each.target_name) for each in opened.casts] == [("int4", "text")]
    assert [each.name for each in opened.types] == ["d"]
