"""What the corpora know to be harmful, taken apart: expressions, tables, queries and statements that can stand elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.stream import RawStream
from pglast.visitors import Visitor

from gateway.statements.policy import Policy, judge
from tests.oracle.entries import Entry

_LONGEST = 1500
_WRITES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
_EXPRESSIONS = (
    ast.FuncCall, ast.A_Indirection, ast.TypeCast, ast.A_Expr, ast.ColumnRef, ast.SubLink, ast.JsonFuncExpr, ast.JsonScalarExpr,
    ast.JsonParseExpr, ast.JsonSerializeExpr, ast.JsonObjectConstructor, ast.JsonArrayConstructor, ast.CaseExpr, ast.XmlExpr,
)  # fmt: skip
_TABLES = (
    ast.RangeVar,
    ast.RangeFunction,
    ast.RangeSubselect,
    ast.JoinExpr,
    ast.RangeTableFunc,
    ast.JsonTable,
    ast.RangeTableSample,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A function called with arguments, as SQL."""

    name: tuple[str, ...]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Payloads:
    """SQL by where it may stand. `writes`: statements that WITH takes. `calls` are expressions, `casts` (value, type)."""

    expressions: tuple[str, ...]
    tables: tuple[str, ...]
    queries: tuple[str, ...]
    statements: tuple[str, ...]
    writes: tuple[str, ...]
    calls: tuple[Call, ...]
    casts: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, str, str], ...]


def payloads_of(entries: Sequence[Entry], policy: Policy) -> Payloads:
    """Of the entries that must be refused; `policy` tells which of their parts are why."""

    def refused(sql: str) -> bool:
        return not judge(sql.encode(), policy).allowed

    taker = _Taker()
    for statement in _statements(entries):
        taker.statement(statement)
    calls = [call for call in taker.calls if refused(f"SELECT {call_text(call)}")]
    return Payloads(
        tuple(text for text in dict.fromkeys(taker.expressions) if refused(f"SELECT {text}")),
        tuple(text for text in dict.fromkeys(taker.tables) if refused(f"SELECT * FROM {text}")),
        tuple(text for text in dict.fromkeys(taker.queries) if refused(text)),
        tuple(text for text in dict.fromkeys(taker.statements) if refused(text)),
        tuple(text for text in dict.fromkeys(taker.writes) if refused(text)),
        tuple(dict.fromkeys(calls)),
        tuple((value, kind) for value, kind in dict.fromkeys(taker.casts) if refused(f"SELECT CAST({value} AS {kind})")),
        tuple(each for each in dict.fromkeys(taker.operators) if refused(f"SELECT {' '.join(each)}")),
    )


def call_text(call: Call) -> str:
    return f"{'.'.join(map(quoted, call.name))}({', '.join(call.arguments)})"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _statements(entries: Sequence[Entry]) -> Iterator[ast.Node]:
    for entry in entries:
        if not entry.refuse or entry.place.lists or not entry.plain:
            continue
        for step in entry.steps:
            text = getattr(step, "sql", b"").decode("utf-8", "replace")
            if len(text) > _LONGEST:
                continue
            try:
                yield from (raw.stmt for raw in parse_sql(text))
            except ParseError:
                continue


class _Taker(Visitor):  # type: ignore[misc]
    """Takes statements apart, and prints the parts."""

    def __init__(self) -> None:
        self.expressions: list[str] = []
        self.tables: list[str] = []
        self.queries: list[str] = []
        self.statements: list[str] = []
        self.writes: list[str] = []
        self.calls: list[Call] = []
        self.casts: list[tuple[str, str]] = []
        self.operators: list[tuple[str, str, str]] = []

    def statement(self, node: ast.Node) -> None:
        text = _printed(node)
        if text:
            self.statements.append(text)
            if isinstance(node, _WRITES):
                self.writes.append(text)
        self(node)

    def visit(self, _ancestors: object, node: ast.Node) -> None:
        if isinstance(node, ast.SelectStmt):
            self.queries += _some(_printed(node))
        elif isinstance(node, _WRITES):
            self.writes += _some(_printed(node))
        elif isinstance(node, _TABLES):
            self.tables += _some(_printed(node))
        elif isinstance(node, _EXPRESSIONS):
            self.expressions += _some(_printed(node))
        if isinstance(node, ast.FuncCall) and not (node.over or node.agg_within_group):
            arguments = [_printed(argument) for argument in node.args or ()]
            if all(arguments):
                self.calls.append(Call(tuple(part.sval for part in node.funcname), tuple(map(str, arguments))))
        elif isinstance(node, ast.TypeCast):
            if (value := _printed(node.arg)) and (kind := _printed(node.typeName)):
                self.casts.append((value, kind))
        elif isinstance(node, ast.A_Expr) and node.lexpr and node.rexpr and len(node.name) == 1:
            left, right = _printed(node.lexpr), _printed(node.rexpr)
            if left and right and not node.name[0].sval[0].isalpha():
                self.operators.append((left, node.name[0].sval, right))


def _some(text: str | None) -> list[str]:
    return [text] if text else []


def _printed(node: ast.Node) -> str | None:
    """None: the printer of pglast does not know it, or not well enough."""
    try:
        text = str(RawStream()(node))
    except Exception:  # it has several of its own
        return None
    return None if "@OUT@" in text and "'" not in text else text
