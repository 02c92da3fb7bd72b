"""Properties over generated texts: judging never raises, blocked stays blocked however it is spelled, edits keep the label."""

import json
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from gateway.statements.parse import ParseFailure, parse
from gateway.statements.policy import Policy, is_small, judge, relabel
from gateway.statements.verdict import LabelEdit, ValueEdit

READ_ONLY = Policy(AccessMode.READ_ONLY)
READ_WRITE = Policy(AccessMode.READ_WRITE)
MODES = st.sampled_from([READ_ONLY, READ_WRITE])

_LINES = [json.loads(line) for line in (Path(__file__).parent.parent / "policy" / "corpus.jsonl").read_text().splitlines()]
_PG_DUMP = "a-pg_dump-007"  # passes as this very text only


def _texts(expect: str) -> list[str]:
    return [
        entry["steps"][0]["sql"]
        for entry in _LINES
        if entry["expect"] == expect
        and entry["id"] != _PG_DUMP
        and "server_major" not in entry
        and list(entry["steps"][0]) == ["sql"]
        and len(entry["steps"]) == 1
    ]


REFUSED, ALLOWED = _texts("refuse"), _texts("allow")

_WORDS = re.findall(
    r"\S+",
    "select insert update delete from where into t public pg_catalog . , ; ( ) * + = == := :: $1 $$ $a$ 'x' E'\\\\' U&'\\0041' "
    '"q" nextval set_config ( ) [ ] -- /* */ for explain analyze copy to stdout begin read write only set local role = off '
    "with as not in case when end array row values lateral join on using union all order by group having limit",
)

_TOKEN = re.compile(
    r"(?P<keep>[uUeEnNbBxX]&?'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|[uU]&\"(?:[^\"]|\"\")*\"|\"(?:[^\"]|\"\")*\"|"
    r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n\r]*[\n\r]?|/\*.*?\*/)|(?P<word>[A-Za-z_]\w*)|(?P<blank>\s+)|(?P<other>.)",
    re.DOTALL,
)
_BLANKS = st.sampled_from([" ", "\n", "\t\r\n ", " /* select */ ", "/**/", " -- delete\n", " /* /* ; */ */ "])


@st.composite
def respelled(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with other blanks, comments and letter case: the same tokens to the server."""
    text = draw(st.sampled_from(texts))
    if "/*" in text or "--" in text:
        return text
    pieces = []
    literal_before = False
    for found in _TOKEN.finditer(text):
        token = found[0]
        if found["word"]:
            token = draw(st.sampled_from([token, token.upper(), token.swapcase()]))
        elif found["blank"] and not literal_before:
            # (between two literals a line break would join them)
            token = draw(_BLANKS)
        literal_before = bool(found["keep"]) or (literal_before and bool(found["blank"]))
        pieces.append(token)
    return "".join(pieces)


@given(st.binary(max_size=200), MODES)
def test_any_bytes_get_a_verdict(sql: bytes, policy: Policy) -> None:
    verdict = judge(sql, policy)
    assert verdict.rule != "internal-error"
    assert verdict.allowed == (verdict.rule == "allowed")
    assert is_small(sql, 1000)


@given(st.text(max_size=100) | st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join), MODES)
def test_any_text_gets_a_verdict(text: str, policy: Policy) -> None:
    verdict = judge(text.encode("utf-8", "surrogatepass"), policy)
    assert verdict.rule != "internal-error"
    assert 0 <= verdict.position <= len(text) + 1


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(REFUSED + ALLOWED), st.data())
def test_mutilated_texts_get_a_verdict(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    other = data.draw(st.sampled_from(REFUSED + ALLOWED))
    piece = other[: data.draw(st.integers(0, 30))]
    for policy in (READ_ONLY, READ_WRITE):
        assert judge((text[:start] + piece + text[end:]).encode(), policy).rule != "internal-error"


@settings(max_examples=400)
@given(respelled(REFUSED))
def test_a_refused_text_stays_refused_in_any_spelling(text: str) -> None:
    assert not judge(text.encode(), READ_ONLY).allowed


@settings(max_examples=400)
@given(respelled(ALLOWED))
def test_an_allowed_text_stays_allowed_in_any_spelling(text: str) -> None:
    verdict = judge(text.encode(), READ_ONLY)
    assert verdict.allowed, verdict.message


@settings(max_examples=200)
@given(st.sampled_from(REFUSED), st.sampled_from(ALLOWED), st.booleans())
def test_a_refused_statement_refuses_its_batch(refused: str, allowed: str, first: bool) -> None:
    texts = [refused, allowed] if first else [allowed, refused]
    assert not judge("\n;\n".join(texts).encode(), READ_ONLY).allowed


@settings(max_examples=200)
@given(
    st.sampled_from(REFUSED),
    st.sampled_from(["EXPLAIN {}", "PREPARE p AS {}", "DECLARE c CURSOR FOR {}", "COPY ({}) TO STDOUT"]),
)
def test_a_refused_statement_is_refused_inside_others(refused: str, around: str) -> None:
    assert not judge(around.format(refused).encode(), READ_ONLY).allowed


_VALUE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
_LABEL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)
_SET = st.sampled_from(
    [
        "SET application_name = {}",
        "SET SESSION application_name TO {}",
        "/* é */ SET LOCAL APPLICATION_NAME={} -- done",
        'SET "application_name" = {} /* x */',
    ]
)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@given(st.lists(st.tuples(_SET, _VALUE), min_size=1, max_size=3), _LABEL, MODES)
def test_set_application_name_keeps_the_label(batch: list[tuple[str, str]], label: str, policy: Policy) -> None:
    sql = "\n;".join(shape.format(_literal(value)) for shape, value in batch).encode()
    verdict = judge(sql, policy)
    assert verdict.allowed, verdict.message
    assert len(verdict.edits) == len(batch)
    changed = relabel(sql, verdict, label)
    statements = parse(changed.decode())
    assert not isinstance(statements, ParseFailure)
    for statement, (_, value) in zip(statements, batch, strict=True):
        (argument,) = statement.node["args"]
        assert argument["A_Const"]["sval"]["sval"] == f"{label} {value}"
    assert judge(changed, policy).allowed


@given(
    st.sampled_from(["$1", "'x'", "E'\\n'", "$$x$$", "U&'\\0041'", "'x'::text", "CAST($1 AS text)", "N'x'", "B'1'", "3"]),
    _LABEL,
)
def test_set_config_of_application_name_keeps_the_label(value: str, label: str) -> None:
    sql = f"SELECT pg_catalog.set_config('Application_Name', {value}, false)".encode()
    verdict = judge(sql, READ_ONLY)
    if not verdict.allowed:
        assert value in {"N'x'", "B'1'", "3"}
        return
    (edit,) = verdict.edits
    assert isinstance(edit, LabelEdit)
    changed = relabel(sql, verdict, label)
    statements = parse(changed.decode())
    assert not isinstance(statements, ParseFailure)
    call = statements[0].node["targetList"][0]["ResTarget"]["val"]["FuncCall"]
    argument = call["args"][1]
    while "TypeCast" in argument:
        argument = argument["TypeCast"]["arg"]
    joined = argument["A_Expr"]
    assert joined["name"] == [{"String": {"sval": "||"}}]
    assert joined["lexpr"]["A_Const"]["sval"]["sval"] == f"{label} "


def test_words_and_quoted_names_are_values_too() -> None:
    for value, text in (
        ("report", "report"),
        ('"Two Words"', "Two Words"),
        ("MiXed", "mixed"),
        ("17", "17"),
        ("E'a\\x41'", "aA"),
    ):
        sql = f"SET application_name TO {value};SELECT 1".encode()
        verdict = judge(sql, READ_ONLY)
        assert relabel(sql, verdict, "ann [1]") == f"SET application_name TO 'ann [1] {text}';SELECT 1".encode()


def test_what_cannot_be_edited_is_refused() -> None:
    for sql in (
        "SET application_name = 'a', 'b'",
        "SET application_name = 'a'\n'b'",
        "SET application_name = $$a$$",
        "SELECT set_config('application_name', lower('x'), false)",
        "SELECT set_config('application_name', CAST($1 AS varchar(2)), false)",
        "SELECT set_config('application_name', CAST('x' AS \"char\"), false)",
        "SELECT set_config('application_name', 'x' || 'y', false)",
        "SELECT set_config(setting_name => 'application_name', new_value => 'x', is_local => true)",
    ):
        for policy in (READ_ONLY, READ_WRITE):
            assert not judge(sql.encode(), policy).allowed, sql


def test_going_back_to_the_default_needs_no_edit() -> None:
    for sql in ("RESET application_name", "SET application_name TO DEFAULT", "RESET ALL", "DISCARD ALL"):
        verdict = judge(sql.encode(), READ_ONLY)
        assert (verdict.allowed, verdict.edits) == (True, ())


def test_a_timeout_beyond_its_cap_is_lowered_to_it() -> None:
    for value in ("0", "'0'", "'9 d'", "'2d'", "99999999999"):
        sql = f"SET statement_timeout = {value}; SET lock_timeout TO {value} -- x".encode()
        verdict = judge(sql, READ_ONLY)
        assert verdict.allowed
        assert all(isinstance(edit, ValueEdit) for edit in verdict.edits)
        assert verdict.notice
        assert relabel(sql, verdict, "x") == b"SET statement_timeout = 86400000; SET lock_timeout TO 86400000 -- x"
    assert judge(b"SET statement_timeout = 0", READ_WRITE).edits == ()
