"""Expressions, and what may stand in FROM, that an honest reader may write: valid by construction as far as that goes. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from tests.generated.grammar import SQL_TYPES, Grammar, Production, Table
from tests.generated.pieces import Piece

#: Outputs and aliases with names that also mean something else.
_NAMES = ("total", "count", "name", "lower", "value", '"select"', '"Mixed Case"', "now", "text", "n", "x", "date", "é", "max")
_SAMPLED = frozenset({"accounts", "orders", "staging", "customers", "public.orders"})
#: Types whose values can be compared, grouped and sorted.
COMPARED = ("int", "num", "text", "date", "ts", "bool", "float", "name", "oid")


@dataclass(frozen=True, slots=True)
class Column:
    """`ref` is how it is written."""

    ref: str
    type: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name. `inner`: what the arguments of aggregates may, None where none may stand. `windows`: whether
    window functions may.
    """

    columns: tuple[Column, ...] = ()
    inner: tuple[Column, ...] | None = None
    windows: bool = False
    below: int = 3

    def deeper(self) -> "Scope":
        return replace(self, below=self.below - 1)


Named = tuple[tuple[str, str], ...]
"""The outputs of a query: (name, type)."""


@dataclass
class Expressions(ABC):
    """One text's worth. `parameters` are those that expressions may use, `ctes` what WITH names so far."""

    grammar: Grammar
    random: Random
    parameters: tuple[Column, ...] = ()
    ctes: list[tuple[str, Named]] = field(default_factory=list)
    _number: int = 0

    def name(self, stem: str = "t") -> str:
        self._number += 1
        if self.random.random() < 0.15:
            stem = self.random.choice(_NAMES)
        return f'"{stem.strip(chr(34))} {self._number}"' if stem.startswith('"') else f"{stem}{self._number}"

    def sometimes(self, share: float) -> bool:
        return self.random.random() < share

    # Expressions

    def expression(self, kind: str, scope: Scope) -> Piece:
        least = f"NULL::{SQL_TYPES[kind]}"
        return Piece(f"expression {kind}", self._expression(kind, scope), least)

    def _expression(self, kind: str, scope: Scope) -> tuple[str | Piece, ...]:
        random, grammar = self.random, self.grammar
        fitting = [column for column in (*scope.columns, *self.parameters) if column.type == kind]
        if scope.inner is not None and self.sometimes(0.4) and (found := grammar.aggregates.get(kind)):
            return self._made(random.choice(found), Scope(scope.inner, below=scope.below - 1))
        if scope.windows and self.sometimes(0.35) and (found := grammar.windows.get(kind)):
            return self._made(random.choice(found), replace(scope.deeper(), windows=False))
        if fitting and self.sometimes(0.5 if scope.below > 0 else 0.9):
            return (random.choice(fitting).ref,)
        if scope.below > 1 and self.sometimes(0.07):
            query, _ = self.query(1, scope.columns, (kind,))
            if kind in ("iarr", "tarr", "addr") or self.sometimes(0.8):
                return ("(SELECT * FROM (", query, f") AS {self.name('s')} LIMIT 1)")
            return ("((ARRAY(", query, "))[1])")
        if kind == "bool" and scope.below > 1 and self.sometimes(0.12):
            return self._sublink(scope)
        if scope.below > 0 and (plain := grammar.plain.get(kind)) and self.sometimes(0.85):
            return ("(", *self._made(random.choice(plain), scope.deeper()), ")")
        return ("(", *self._made(random.choice(grammar.literals.get(kind) or grammar.plain[kind]), scope.deeper()), ")")

    def _made(self, production: Production, scope: Scope) -> tuple[str | Piece, ...]:
        """(Windows may not hold windows, nor aggregates aggregates.)"""
        made: list[str | Piece] = []
        for place, part in enumerate(production.parts):
            if place % 2 == 0:
                made.append(part)
            elif part == "window":
                made.append(self._window(scope))
            else:
                made.append(self.expression(part, scope))
        return tuple(made)

    def _sublink(self, scope: Scope) -> tuple[str | Piece, ...]:
        kind = self.random.choice(("int", "text", "num"))
        match self.random.randrange(4):
            case 0:
                return ("EXISTS (", self.query(1, scope.columns, None)[0], ")")
            case 1:
                return (self.expression(kind, scope.deeper()), " IN (", self.query(1, scope.columns, (kind,))[0], ")")
            case 2:
                word = self.random.choice(("= ANY", "<> ALL", "< SOME"))
                return (self.expression(kind, scope.deeper()), f" {word} (", self.query(1, scope.columns, (kind,))[0], ")")
            case _:
                left = [self.expression(each, scope.deeper()) for each in ("int", "text")]
                inner = self.query(1, scope.columns, ("int", "text"))[0]
                return ("(", left[0], ", ", left[1], ") NOT IN (", inner, ")")

    def _window(self, scope: Scope) -> Piece:
        inner = replace(scope, windows=False, below=1)
        parts: list[str | Piece] = []
        if self.sometimes(0.6):
            parts += ["PARTITION BY ", self.expression(self.random.choice(COMPARED), inner), " "]
        parts += ["ORDER BY ", self.expression("int", inner), " "]
        frames = (
            "", "", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "ROWS 2 PRECEDING EXCLUDE TIES",
            "RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW", "GROUPS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        )  # fmt: skip
        return Piece("window", ("(", *parts, self.random.choice(frames), ")"), "(ORDER BY 1)")

    # FROM

    def item(self, depth: int, outer: tuple[Column, ...]) -> tuple[Piece, tuple[Column, ...]]:
        """Something in FROM with its columns. `outer`: what LATERAL may name."""
        alias = self.name()
        choices: list[Callable[[], tuple[tuple[str | Piece, ...], Named]]] = [self._table, self._table, self._table]
        if depth > 0:
            choices += [lambda: self._subquery(depth, ()), lambda: self._subquery(depth, outer), lambda: self._function(outer)]
            choices += [lambda: self._rows(outer), self._values]
        if self.ctes:
            choices += [self._cte, self._cte]
        parts, named = self.random.choice(choices)()
        renamed = self.sometimes(0.15) and all(table.whole or table.name != parts[0] for table in self.grammar.tables)
        if renamed:
            named = tuple((self.name("c"), kind) for _, kind in named)
        names = f" ({', '.join(name for name, _ in named)})" if renamed else ""
        word = " AS " if self.sometimes(0.7) else " "
        sample = " TABLESAMPLE bernoulli (50) REPEATABLE (7)" * (parts[0] in _SAMPLED and self.sometimes(0.1))
        piece = Piece("table", (*parts, word, alias, names, sample))
        return piece, tuple(Column(f"{alias}.{name}", kind) for name, kind in named)

    def _table(self) -> tuple[tuple[str | Piece, ...], Named]:
        table: Table = self.random.choice([table for table in self.grammar.tables if table.whole or self.sometimes(0.2)])
        name = table.name
        if "." not in name and not name.startswith("pg_") and self.sometimes(0.3):
            name = f"public.{name}"
        if name in _SAMPLED and self.sometimes(0.1):
            name = f"ONLY {name}"
        return (name,), table.columns

    def _subquery(self, depth: int, outer: tuple[Column, ...]) -> tuple[tuple[str | Piece, ...], Named]:
        query, named = self.query(depth - 1, outer, None)
        return ("LATERAL (" if outer else "(", query, ")"), named

    def _function(self, outer: tuple[Column, ...]) -> tuple[tuple[str | Piece, ...], Named]:
        kind = self.random.choice(sorted(self.grammar.sets))
        call = self._made(self.random.choice(self.grammar.sets[kind]), Scope(outer, below=1))
        head = "LATERAL (" if outer else "("
        if self.sometimes(0.4):
            return (head, "SELECT z.a, z.b::int FROM ", *call, " WITH ORDINALITY AS z (a, b))"), (("a", kind), ("b", "int"))
        return (head, "SELECT z FROM ", *call, " AS z)"), (("z", kind),)

    def _rows(self, outer: tuple[Column, ...]) -> tuple[tuple[str | Piece, ...], Named]:
        match self.random.randrange(3):
            case 0:
                call = self._made(self.random.choice(self.grammar.sets["int"]), Scope(outer, below=1))
                text = self._made(self.random.choice(self.grammar.sets["text"]), Scope(outer, below=1))
                return ("LATERAL (" if outer else "(", "SELECT * FROM ROWS FROM (", *call, ", ", *text, ") AS r (a, b))"), (
                    ("a", "int"),
                    ("b", "text"),
                )
            case 1:
                what = """jsonb_to_recordset('[{"a": 1, "b": "x"}]') AS r (a int, b text COLLATE "C", c numeric(5, 2)))"""
                return (f"(SELECT * FROM {what}",), (("a", "int"), ("b", "text"), ("c", "num"))
            case _:
                return self._xml_or_json()

    def _xml_or_json(self) -> tuple[tuple[str | Piece, ...], Named]:
        has_json = any("JSON_SCALAR" in made.parts[0] for made in self.grammar.plain["json"])
        has_xml = any("xmlexists" in made.parts[0] for made in self.grammar.plain["bool"])
        if not (has_json or has_xml):
            return self._values()
        if has_json and (not has_xml or self.sometimes(0.6)):
            more = "NESTED PATH '$.c[*]' COLUMNS (d text PATH '$')"
            columns = f"n FOR ORDINALITY, a int PATH '$.a' ERROR ON ERROR, e bool EXISTS PATH '$.b', {more}"
            document = """'[{"a": 1, "c": [1, 2]}]'::jsonb"""
            table = f"(SELECT a, e, d FROM JSON_TABLE({document}, '$[*]' COLUMNS ({columns})))"
            return (table,), (("a", "int"), ("e", "bool"), ("d", "text"))
        return (
            "(SELECT a, b FROM XMLTABLE('/r/i' PASSING '<r><i><a>1</a></i></r>'::xml COLUMNS n FOR ORDINALITY, a int PATH 'a', "
            "b text DEFAULT 'none'))",
        ), (("a", "int"), ("b", "text"))

    def _values(self) -> tuple[tuple[str | Piece, ...], Named]:
        query, named = self.values((self.random.choice(COMPARED), "int"))
        return ("(", query, ")"), named

    def _cte(self) -> tuple[tuple[str | Piece, ...], Named]:
        name, named = self.random.choice(self.ctes)
        return (name,), named

    def values(self, kinds: Sequence[str]) -> tuple[Piece, Named]:
        rows: list[str | Piece] = ["VALUES "]
        for number in range(self.random.randint(1, 3)):
            rows.append("(" if number == 0 else "), (")
            for place, kind in enumerate(kinds):
                rows += [", "] * (place > 0) + [self.expression(kind, Scope(below=1)), f"::{SQL_TYPES[kind]}"]
        return Piece("query", (*rows, ")")), tuple((f"column{place}", kind) for place, kind in enumerate(kinds, 1))

    @abstractmethod
    def query(self, depth: int, outer: tuple[Column, ...], kinds: Sequence[str] | None) -> tuple[Piece, Named]:
        """A query with outputs of these types (None: any)."""
