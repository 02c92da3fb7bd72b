"""What honest people and their programs send: queries, and the statements around them."""

from dataclasses import dataclass, replace
from random import Random

from tests.generated.expressions import Column, Scope
from tests.generated.grammar import SQL_TYPES, Grammar
from tests.generated.pieces import Piece
from tests.generated.queries import Honest
from tests.generated.spelling import respelled

_PARAMETERS = {"int": "7", "text": "blue", "num": "1.5", "date": "2024-03-01", "bool": "t", "json": '{"k": 2}'}


@dataclass(frozen=True, slots=True)
class Text:
    """One message's worth. `values`: sent by Parse, Bind and Execute with these; None: as a simple query. `spelling`: the text
    of the piece spelled otherwise, "" for as it is.
    """

    piece: Piece
    values: tuple[str, ...] | None = None
    spelling: str = ""

    def __str__(self) -> str:
        return self.spelling or str(self.piece)


Script = tuple[Text, ...]


def honest_script(seed: str, grammar: Grammar, major: int) -> Script:
    """The statements of one case. `seed` decides everything."""
    random = Random(seed)
    script = plain_script(random, grammar, major)
    return spelled(script, random) if random.random() < 0.2 else script


def plain_script(random: Random, grammar: Grammar, major: int) -> Script:
    """The same in the spelling of the grammar, so that its pieces can be told apart."""
    made = Honest(grammar, random)
    kinds = random.choices((_query, _explain, _cursor, _prepare, _copy, _batch, _bound, _block), (46, 10, 6, 8, 7, 6, 12, 5))
    return kinds[0](made, major)


def spelled(script: Script, random: Random) -> Script:
    """The same in other spelling."""
    return tuple(replace(text, spelling=respelled(str(text.piece), random)) for text in script)


def _top(made: Honest) -> Piece:
    return made.query(made.random.choice((0, 1, 1, 2)), (), None)[0]


def _text(*parts: str | Piece) -> Text:
    return Text(Piece("text", parts))


def _query(made: Honest, _major: int) -> Script:
    if made.sometimes(0.03):
        return (_text("TABLE ", made.random.choice(made.grammar.tables).name),)
    return (_text(_top(made), made.random.choice(("", "", ";", " ; "))),)


def _explain(made: Honest, major: int) -> Script:
    options = [
        "ANALYZE",
        "VERBOSE",
        "COSTS off",
        "BUFFERS true",
        "FORMAT json",
        "FORMAT yaml",
        "SUMMARY",
        "SETTINGS",
        "VERBOSE 0",
    ]
    options += ["GENERIC_PLAN off"] * (major >= 16) + ["MEMORY", "SERIALIZE none"] * (major >= 17)
    chosen = made.random.sample(options, made.random.randint(1, 3))
    if sum("FORMAT" in each or "VERBOSE" in each for each in chosen) > 1 or "SERIALIZE none" in chosen:
        chosen = ["ANALYZE"]
    head = made.random.choice(("EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN VERBOSE ", f"EXPLAIN ({', '.join(chosen)}) "))
    return (_text(head, _top(made)),)


def _cursor(made: Honest, _major: int) -> Script:
    name, random = made.name("cur"), made.random
    kind = random.choice(
        ("", "BINARY ", "INSENSITIVE ", "SCROLL ", "NO SCROLL ", "ASENSITIVE " if random.random() < 0.1 else "")
    )
    hold = random.choice(("", "", " WITH HOLD", " WITHOUT HOLD"))
    moves = random.choice(("FETCH 3 FROM", "FETCH ALL IN", "FETCH FORWARD 2 FROM", "MOVE 1 IN", "FETCH NEXT FROM"))
    begin = random.choice(("BEGIN", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ"))
    texts = (begin, f"{moves} {name}", f"CLOSE {name}", random.choice(("COMMIT", "END", "ROLLBACK")))
    first, *rest = map(_text, texts)
    return (first, _text(f"DECLARE {name} {kind}CURSOR{hold} FOR ", _top(made)), *rest)


def _with_parameters(made: Honest) -> list[str]:
    kinds = made.random.sample(sorted(_PARAMETERS), made.random.randint(1, 3))
    made.parameters = tuple(Column(f"${place}", kind) for place, kind in enumerate(kinds, 1))
    return kinds


def _prepare(made: Honest, _major: int) -> Script:
    name = made.name("prep")
    kinds = _with_parameters(made)
    query = _top(made)
    made.parameters = ()
    arguments = [part for kind in kinds for part in (", ", made.expression(kind, Scope(below=1)))][1:]
    execute = ("EXECUTE ", name, " (", *arguments, ")")
    types = ", ".join(SQL_TYPES[kind] for kind in kinds)
    last = made.random.choice((f"DEALLOCATE {name}", "DEALLOCATE ALL", "DISCARD ALL", f"DEALLOCATE PREPARE {name}"))
    explain = (_text("EXPLAIN (ANALYZE) ", *execute),) if made.sometimes(0.3) else ()
    return (_text(f"PREPARE {name} ({types}) AS ", query), _text(*execute), *explain, _text(last))


def _bound(made: Honest, _major: int) -> Script:
    kinds = _with_parameters(made) if made.sometimes(0.7) else []
    # The types have to show somewhere.
    casts = ", ".join(f"${place}::{SQL_TYPES[kind]} AS p{place}" for place, kind in enumerate(kinds, 1))
    made.ctes = [("bound_values", tuple((f"p{place}", kind) for place, kind in enumerate(kinds, 1)))] if kinds else []
    made.parameters = ()
    head = f"WITH bound_values AS (SELECT {casts}) " if kinds else ""
    query = _top(made)
    inside = ("SELECT * FROM (", query, ") AS whole") if str(query).startswith("WITH") else (query,)
    return (Text(Piece("text", (head, *inside)), tuple(_PARAMETERS[kind] for kind in kinds)),)


def _copy(made: Honest, _major: int) -> Script:
    options = (
        "",
        " WITH (FORMAT csv, HEADER)",
        " (FORMAT text, DELIMITER '|', NULL 'none')",
        " WITH CSV QUOTE '\"'",
        " (FORMAT binary)",
    )
    how = made.random.choice(options)
    tables = [
        table
        for table in made.grammar.tables
        if "." not in table.name and table.name[:2] not in ("v_", "pg", "pl", "vi", "me", "mv", "ke")
    ]
    if made.sometimes(0.4):
        table = made.random.choice(tables)
        names = [name for name, _ in table.columns]
        columns = f" ({', '.join(names[:2])})" if made.sometimes(0.5) else ""
        return (_text(f"COPY {table.name}{columns} TO STDOUT{how}"),)
    return (_text("COPY (", _top(made), f") TO STDOUT{how}"),)


def _batch(made: Honest, _major: int) -> Script:
    between = (
        "; SHOW server_version; ", "; ;", "; SELECT 1; ", "; SET extra_float_digits = 3; ", "; SET LOCAL work_mem TO '8MB'; ",
        "; BEGIN READ ONLY; SELECT 2; COMMIT; ", "; SET search_path TO public; ", "; RESET search_path; /* ; */ ",
    )  # fmt: skip
    made_of: list[str | Piece] = [_top(made)]
    for _ in range(made.random.randint(1, 2)):
        made_of += [Piece("clause", (made.random.choice(between),), ";"), _top(made)]
    return (_text(*made_of),)


def _block(made: Honest, _major: int) -> Script:
    choice = made.random.choice
    begin = choice(
        ("BEGIN", "BEGIN TRANSACTION READ ONLY, DEFERRABLE", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN WORK")
    )
    back, end = choice(("ROLLBACK TO s", "RELEASE SAVEPOINT s")), choice(("COMMIT", "ROLLBACK", "COMMIT AND CHAIN"))
    first = (_text(begin), _text("SAVEPOINT s"), _text(_top(made)), _text(back))
    return (*first, _text("SET LOCAL statement_timeout = '5s'"), _text(_top(made)), _text(end))
