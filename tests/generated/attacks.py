"""Harmful parts grafted into honest statements: at any expression, table, query or clause, in any notation, in any wrapping."""

from dataclasses import dataclass, replace
from random import Random

from tests.generated.grammar import SQL_TYPES, Grammar
from tests.generated.notation import expression, filled, shapes
from tests.generated.payloads import Payloads
from tests.generated.pieces import Path, Piece, pieces_of, replaced
from tests.generated.scripts import Script, Text, plain_script, spelled

_WEIGHTS = {"expression": 10, "table": 4, "query": 6, "clause": 3, "window": 2}


@dataclass(frozen=True)
class Attacks:
    """What attacks on one database are made of. `database` is its name."""

    grammar: Grammar
    major: int
    payloads: Payloads
    database: str

    def script(self, seed: str) -> Script:
        """The statements of one case. `seed` decides everything."""
        random = Random(seed)
        script = self._statement(random) if random.random() < 0.25 else self._grafted(random)
        return spelled(script, random) if random.random() < 0.5 else script

    def _statement(self, random: Random) -> Script:
        harmful = random.choice(self.payloads.statements)
        messages = random.choice(shapes("statement")).replace("\\n", "\n").split("\t")
        script = [Text(Piece("text", (filled(message, {"": harmful}),), "SELECT 1")) for message in messages]
        if len(script) == 1 and random.random() < 0.2:
            script = [replace(script[0], values=())]
        if random.random() < 0.3:
            script.insert(random.choice((0, len(script))), plain_script(random, self.grammar, self.major)[-1])
        return tuple(script)

    def _grafted(self, random: Random) -> Script:
        script = plain_script(random, self.grammar, self.major)
        for _ in range(random.choice((1, 1, 1, 2))):
            number, path, piece = _place(random, script)
            new = Piece(piece.kind, tuple(self._graft(random, piece)))
            text = replace(script[number], piece=replaced(script[number].piece, path, new))
            script = (*script[:number], text, *script[number + 1 :])
        return script

    def _graft(self, random: Random, piece: Piece) -> list[str | Piece]:
        payloads = self.payloads
        kind, _, type_name = piece.kind.partition(" ")
        match kind:
            case "expression":
                shape = filled(random.choice(shapes("expression")), {"t": SQL_TYPES[type_name]})
                return _around(shape, piece, self._expression(random))
            case "table" if payloads.tables:
                return _around(random.choice(shapes("table")), piece, random.choice(payloads.tables))
            case "query" if payloads.writes and random.random() < 0.4:
                return _around(random.choice(shapes("write")), piece, random.choice(payloads.writes))
            case "query":
                return _around(random.choice(shapes("query")), piece, random.choice(payloads.queries))
            case "window":
                return [f"(PARTITION BY ({self._expression(random)})::text)"]
            case "clause":
                alike = [shape for shape in shapes("clause") if str(piece).split()[:1] == shape.split()[:1]]
                return [" ", filled(random.choice(alike or shapes("clause")), {"p": self._expression(random)})]
            case _:
                return ["SELECT ", self._expression(random)]

    def _expression(self, random: Random) -> str:
        return expression(random, self.payloads, self.database)


def _place(random: Random, script: Script) -> tuple[int, Path, Piece]:
    """Any place where something can be grafted: by its kind first, however many there are."""
    found: dict[str, list[tuple[int, Path, Piece]]] = {}
    for number, text in enumerate(script):
        for path, piece in pieces_of(text.piece):
            kind = piece.kind.split()[0]
            if path and kind in _WEIGHTS:
                found.setdefault(kind, []).append((number, path, piece))
    if not found:
        return 0, (), script[0].piece
    kinds = sorted(found)
    return random.choice(found[random.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]])


def _around(shape: str, original: Piece, payload: str) -> list[str | Piece]:
    parts: list[str | Piece] = []
    for number, before in enumerate(shape.split("{o}")):
        parts += [original] * (number > 0) + [filled(before, {"p": payload})]
    return parts
