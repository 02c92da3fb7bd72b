"""S38 and the cost of judging: huge and deep texts are answered, small ones quickly, and `is_small` tells them apart."""

import time

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.limits import Bounds
from gateway.statements.policy import Policy, is_small, judge

POLICY = Policy(AccessMode.READ_ONLY)
_INLINE = 16 * 1024


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1" + "+1" * 64_000,
        "SELECT 1" + "::int" * 30_000,
        "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
        "SELECT 1 WHERE true" + " AND true" * 50_000,
        "SELECT " + "NOT " * 50_000 + "true",
        "SELECT " + "(SELECT " * 5_000 + "1" + ")" * 5_000,
        "SELECT * FROM a" + " CROSS JOIN a" * 30_000,
        "SELECT 1" + " UNION SELECT 1" * 20_000,
        "SELECT '" + "x" * (16 * 1024 * 1024) + "'",
        "SELECT " + "/*" * 20_000 + "*/" * 20_000 + " 1",
        "SELECT 1" + "/**/" * 200_000,
        "SELECT 1" + "+" * 900_000 + "1",
        "SELECT 1" + (" " + "+" * 2_000) * 500 + "1",
        ";" * 1_000_000,
        "SELECT $a$" + "$a" * 300_000,
    ],
    ids=lambda text: text[:24],
)
def test_huge_and_deep_texts_are_answered(text: str) -> None:
    sql = text.encode()
    assert not is_small(sql, _INLINE)
    before = time.process_time()
    verdict = judge(sql, POLICY)
    assert time.process_time() - before < 5
    assert verdict.allowed or verdict.sqlstate in {"54000", "54001", "42601"}
    assert verdict.rule != "internal-error"


def test_long_lists_are_fine() -> None:
    assert judge(b"SELECT 1 WHERE 1 IN (1" + b",1" * 20_000 + b")", POLICY).allowed
    assert judge(b"SELECT 1 WHERE true" + b" AND 1=1" * 2_000, POLICY).allowed
    assert judge(b"SELECT 1 /* " + b"=" * 5_000 + b" */ -- " + b"-" * 5_000, POLICY).allowed


def test_the_limit_is_the_policys() -> None:
    small = Policy(AccessMode.READ_ONLY, max_statement_bytes=10)
    assert judge(b"SELECT   1", small).allowed
    refused = judge(b"SELECT    1", small)
    assert (refused.rule, refused.sqlstate) == ("statement-too-long", "54000")


TIGHT = Policy(AccessMode.READ_ONLY, bounds=Bounds(tokens=40, nesting=3, comment_depth=2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT (((1)))", None),
        ("SELECT ((((1))))", "brackets nest deeper than 3 levels"),
        ("SELECT ARRAY[(ARRAY[(1)])]", "brackets nest deeper than 3 levels"),
        ("SELECT (1), (1), (1), (1), (1)", None),
        ("SELECT '((((', \"((((\", E'\\'((((', $a$ (((( $a$ -- ((((\n /* (((( ' */", None),
        ("SELECT $1, $1, ((1)), '$1', 1 -- ))))\n, ((((1))))", "brackets nest deeper than 3 levels"),
        ("SELECT /* /* */ */ 1", None),
        ("SELECT /* /* /* */ */ */ 1", "comments nest deeper than 2 levels"),
        ("SELECT '/*/*/*/*'", None),
        ("SELECT 1" + ",1" * 19, None),
        ("SELECT 1" + ",1" * 20, "more than 40 words"),
        ("SELECT 'a b c d e f g h i j k l m n o p q r s t u v w x y z , , , , , , , , , , , , , , , , , , '", None),
        ("SELECT 1 /* a b c d e f g h i j k l m n o p q r s t u v w x y z , , , , , , , , , , , , , , , , */", None),
        ("SELECT $$ a b c d e f g h i j k l m n o p q r s t u v w x y z , , , , , , , , , , , , , , , , $$", None),
    ],
)
def test_what_a_text_is_made_of_is_bounded(text: str, words: str | None) -> None:
    verdict = judge(text.encode(), TIGHT)
    if words is None:
        assert verdict.rule != "statement-too-complex"
    else:
        assert (verdict.rule, verdict.sqlstate) == ("statement-too-complex", "54001")
        assert words in verdict.message


def test_other_bounds_are_another_policy() -> None:
    assert Policy(AccessMode.READ_ONLY).revision == POLICY.revision != TIGHT.revision


@pytest.mark.parametrize("run", ["+" * 128, "a " * 31 + "=" * 128, "a" * 65 + "<" * 200 + "1"])
def test_no_long_run_is_overlooked(run: str) -> None:
    """Whatever place it starts at: 500 runs of 2,000 are more steps than anybody writes."""
    for shift in range(0, 128, 7):
        text = "SELECT " + " " * shift + (run + "+" * 6_500 + " ") * 2
        assert judge(text.encode(), POLICY).rule == "statement-too-complex"


# (before, repeated, after): what makes trees wide, deep, or the lexer slow.
_SHAPES = [
    *(
        ("SELECT 1", piece, "")
        for piece in (
            *(
                "+1",
                ",1",
                ",a.b",
                ", 'x'",
                "::int",
                " and a=1",
                " union select 1",
                " is null",
                " collate x",
                ",$1",
                ",(1)",
                ",f(a)",
            ),
            *(
                "||'a'",
                "/**/",
                "-- \n+1",
                ", not a",
                ",a[1]",
                ",case when a then b end",
                ",interval '1'",
                ",$$a$$",
                ";begin",
                ',"a"',
            ),
            *(",cast(a as int)", ",extract(year from a)", ",a in (1)", ",a like b", ",a over(b)", ",a b", " as a, 1", "'a'\n"),
        )
    ),
    *(
        ("SELECT ", piece, "1")
        for piece in ("not ", "-", "+", "(", "- ", "@ ", "(select ", "case when ", "array[", "f(", "row(")
    ),
    *(
        ("SELECT * FROM a", piece, "")
        for piece in (" cross join a", ",a", " natural join a", ",lateral(select 1)a", " join a using(b)")
    ),
    *(("SELECT '", piece, "'") for piece in ("'' ", "x", "/*")),
    *(("SELECT /*", piece, "*/ 1") for piece in ("*", "/ ", "/a")),
]


@pytest.mark.parametrize("shape", _SHAPES, ids=lambda shape: shape[1].strip()[:20] or "blank")
def test_small_texts_cost_little(shape: tuple[str, str, str]) -> None:
    """The largest text of each shape that still counts as small: about 5 ms; three times that where the machine is shared."""
    before, piece, after = shape
    count = _INLINE // len(piece)
    while not is_small((before + piece * count + after).encode(), _INLINE):
        count = int(count * 0.9)
    sql = (before + piece * count + after).encode()
    spent = []
    for _ in range(4):
        started = time.process_time()
        judge(sql, POLICY)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.015


def test_what_people_write_is_small() -> None:
    assert is_small(b"SELECT 1", _INLINE)
    query = "SELECT " + ", ".join(f"t.column_{n} AS c{n}" for n in range(60)) + " FROM t WHERE a = 1 AND b <> 'x' GROUP BY 1"
    assert is_small(query.encode(), _INLINE)
    assert not is_small(b"SELECT '" + b"x" * _INLINE + b"'", _INLINE)


@pytest.mark.parametrize("word", [b"and", b"AND", b"aNd", b"{and}", b"\nand\n"])
def test_words_that_nest_are_counted_where_they_are_words(word: bytes) -> None:
    """In whatever case, between whatever signs; not as a part of another."""
    assert not is_small(b"SELECT x " + b" ".join([word, b"x"] * 270), _INLINE)
    assert is_small(b"SELECT x " + b" ".join([b"band", b"andy", b"an_d", b"2and", b"and2"] * 54), _INLINE)
