"""Generated text as a tree, so that any part of it can be replaced: by an attack, or by something smaller."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """`kind` says what may stand here: an expression's type, "query", "table", "clause". `least`: the smallest text that may,
    None when there is none.
    """

    kind: str
    parts: "tuple[str | Piece, ...]"
    least: str | None = None

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


Path = tuple[int, ...]
"""Where a piece stands in a tree: the number of the part, and so on downwards."""


def pieces_of(root: Piece) -> Iterator[tuple[Path, Piece]]:
    """Every piece, the root first."""
    yield (), root
    for number, part in enumerate(root.parts):
        if isinstance(part, Piece):
            for path, piece in pieces_of(part):
                yield (number, *path), piece


def replaced(root: Piece, path: Path, new: "str | Piece") -> Piece:
    """The tree with another part at `path`. An empty path wants a piece."""
    if not path:
        assert isinstance(new, Piece)
        return new
    first, *rest = path
    old = root.parts[first]
    if rest:
        assert isinstance(old, Piece)
        new = replaced(old, tuple(rest), new)
    return Piece(root.kind, (*root.parts[:first], new, *root.parts[first + 1 :]), root.least)


def smaller(root: Piece) -> Iterator[Piece]:
    """Trees with less in them, the ones with much less first."""
    found = list(pieces_of(root))
    for path, piece in found:
        if path and piece.least is not None and str(piece) != piece.least:
            yield replaced(root, path, Piece(piece.kind, (piece.least,), piece.least))
    for path, piece in found:
        for below, inner in pieces_of(piece):
            if below and inner.kind == piece.kind and str(inner) != str(piece):
                yield replaced(root, path, inner)
