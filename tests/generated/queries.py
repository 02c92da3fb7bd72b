"""SELECT as a whole: WITH, FROM, WHERE, GROUP BY, set operations, ORDER BY."""

from collections.abc import Sequence

from tests.generated.expressions import COMPARED, Column, Expressions, Named, Scope
from tests.generated.grammar import SQL_TYPES
from tests.generated.pieces import Piece

Parts = list[str | Piece]


class Honest(Expressions):
    """Queries of an honest reader: the same seed, the same text."""

    def query(self, depth: int, outer: tuple[Column, ...], kinds: Sequence[str] | None) -> tuple[Piece, Named]:
        return _query(self, depth, outer, kinds)


def _query(made: Expressions, depth: int, outer: tuple[Column, ...], kinds: Sequence[str] | None) -> tuple[Piece, Named]:
    """`kinds`: the types of the outputs (None: any)."""
    before = len(made.ctes)
    head = _with(made, depth) if depth > 0 and made.sometimes(0.2) else ()
    if kinds is None:
        kinds = [made.random.choice(made.grammar.types) for _ in range(made.random.randint(1, 3))]
    if depth > 0 and made.sometimes(0.15):
        body, named = _set_operation(made, depth, outer, kinds)
    elif made.sometimes(0.06):
        body, named = made.values(kinds)
    else:
        body, named = _select(made, depth, outer, kinds)
    del made.ctes[before:]
    return (Piece("query", (*head, body)) if head else body), named


def _with(made: Expressions, depth: int) -> tuple[str | Piece, ...]:
    parts: Parts = ["WITH "]
    recursive = made.sometimes(0.25)
    if recursive:
        parts.append("RECURSIVE ")
    for number in range(made.random.randint(1, 2)):
        name = made.name("w")
        parts.append(", " * (number > 0))
        if recursive and number == 0:
            start = made.expression("int", Scope(below=1))
            extra = made.random.choice(
                ("", "", f" SEARCH DEPTH FIRST BY n SET o{name.strip(chr(34))[-2:].strip()}", " CYCLE n SET loop USING path")
            )
            step = f"))::int % 4 UNION ALL SELECT n + 1 FROM {name} WHERE n < 5){extra} "
            parts += [f"{name} (n) AS (SELECT ((", start, step]
            made.ctes.append((name, (("n", "int"),)))
            continue
        inner, named = _query(made, depth - 1, (), None)
        hint = made.random.choice(("", "", "MATERIALIZED ", "NOT MATERIALIZED "))
        parts += [f"{name} AS {hint}(", inner, ") "]
        made.ctes.append((name, named))
    return tuple(parts)


def _set_operation(made: Expressions, depth: int, outer: tuple[Column, ...], kinds: Sequence[str]) -> tuple[Piece, Named]:
    kinds = [kind if kind in COMPARED else "text" if kind not in ("json", "iarr", "tarr") else kind for kind in kinds]
    left, named = _query(made, depth - 1, outer, kinds)
    right, _ = _query(made, depth - 1, outer, kinds)
    word = made.random.choice((" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ", " EXCEPT ALL ", " UNION DISTINCT "))
    parts: Parts = ["(", left, ")", word, "(", right, ")"]
    if made.sometimes(0.4):
        parts.append(Piece("clause", (" ORDER BY 1", made.random.choice(("", " DESC", " NULLS FIRST", " USING <"))), ""))
    parts += _limit(made)
    return Piece("query", tuple(parts)), named


def _limit(made: Expressions) -> Parts:
    choices = (
        " LIMIT 5", " LIMIT 3 OFFSET 1", " OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY", " LIMIT ALL", " FETCH NEXT ROW ONLY",
        " LIMIT (SELECT 2)", " LIMIT 2 + 1",
    )  # fmt: skip
    return [Piece("clause", (made.random.choice(choices),), "")] if made.sometimes(0.3) else []


def _from(made: Expressions, depth: int, outer: tuple[Column, ...]) -> tuple[Parts, tuple[Column, ...]]:
    piece, columns = made.item(depth, outer)
    parts: Parts = [piece]
    for _ in range(made.random.choice((0, 0, 0, 1, 1, 2))):
        lateral = made.random.random() < 0.3
        other, more = made.item(depth - 1, columns if lateral else ())
        kinds = {column.type for column in columns} & {column.type for column in more} & set(COMPARED)
        if not kinds:
            parts += [made.random.choice((" CROSS JOIN ", ", ")), other]
            columns += more
            continue
        kind = made.random.choice(sorted(kinds))
        left = made.random.choice([column for column in columns if column.type == kind])
        right = made.random.choice([column for column in more if column.type == kind])
        word = made.random.choice((" JOIN ", " INNER JOIN ", " LEFT JOIN ", " LEFT OUTER JOIN "))
        if "LATERAL" not in str(other):
            word = made.random.choice((word, " RIGHT JOIN ", " FULL JOIN "))
        parts += [word, other, f" ON {left.ref} = {right.ref}"]
        if "FULL" not in word and made.sometimes(0.3):
            parts.append(Piece("clause", (" AND ", made.expression("bool", Scope((*columns, *more), below=1))), ""))
        columns += more
    return parts, columns


def _select(made: Expressions, depth: int, outer: tuple[Column, ...], kinds: Sequence[str]) -> tuple[Piece, Named]:
    parts: Parts = []
    columns: tuple[Column, ...] = ()
    tail: Parts = []
    if made.sometimes(0.85):
        items, columns = _from(made, depth, outer)
        tail += [" FROM ", *items]
    visible = (*columns, *outer)
    if made.sometimes(0.55):
        tail.append(Piece("clause", (" WHERE ", made.expression("bool", Scope(visible, below=2))), ""))
    scope = Scope(visible, windows=made.sometimes(0.3))
    keys = [column for column in columns if column.type in COMPARED]
    grouped = bool(keys) and made.sometimes(0.3)
    if grouped:
        chosen = tuple(dict.fromkeys(made.random.choice(keys) for _ in range(made.random.randint(1, 3))))
        tail.append(Piece("clause", (" GROUP BY ", _grouping(made, chosen))))
        scope = Scope((*chosen, *outer), columns, windows=scope.windows)
        if made.sometimes(0.4):
            tail.append(Piece("clause", (" HAVING ", made.expression("bool", Scope(scope.columns, columns, below=2))), ""))
    elif columns and made.sometimes(0.12):
        scope = Scope(outer, columns)
    distinct = made.sometimes(0.1) and all(kind in COMPARED for kind in kinds)
    named: list[tuple[str, str]] = []
    for number, kind in enumerate(kinds):
        name = made.name("c")
        named.append((name, kind))
        parts += [
            ", " * (number > 0),
            made.expression(kind, scope),
            f"::{SQL_TYPES[kind]}" * made.sometimes(0.05),
            f" AS {name}",
        ]
    if made.sometimes(0.35) and kinds:
        tail += _order(made, scope, named, distinct=distinct)
    tail += _limit(made)
    return Piece("query", ("SELECT DISTINCT " if distinct else "SELECT ", *parts, *tail)), tuple(named)


def _order(made: Expressions, scope: Scope, named: Sequence[tuple[str, str]], *, distinct: bool) -> Parts:
    kind = made.random.choice(("int", "text", "num", "ts"))
    what: Parts = ["1"]
    if named[0][1] not in COMPARED or (not distinct and made.sometimes(0.6)):
        what = [made.expression(kind, Scope(scope.columns, scope.inner, scope.windows, 1)), f"::{SQL_TYPES[kind]}"]
    elif made.sometimes(0.3):
        what = [named[0][0]]
    how = made.random.choice(("", " ASC", " DESC NULLS LAST", " USING >", " USING OPERATOR(pg_catalog.<)"))
    return [Piece("clause", (" ORDER BY ", *what, how), "")]


def _grouping(made: Expressions, keys: tuple[Column, ...]) -> str:
    names = [column.ref for column in keys]
    every = ", ".join(names)
    return made.random.choice(
        (
            every, every, every, f"ROLLUP ({every})", f"CUBE ({every})", f"GROUPING SETS (({every}), ())",
            f"GROUPING SETS (({every}), ROLLUP ({names[0]}))", f"({every}), {names[0]}",
        )
    )  # fmt: skip
