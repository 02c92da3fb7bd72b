"""A refused text is held while its way out is sought, once; whatever comes of that, it is refused."""

from dataclasses import dataclass

import pytest

from gateway.session.effects import SeekWayOut
from gateway.session.verdicts import Judged
from tests.support.playbook import Playbook, failed, playbook, poison_of, ready
from tests.support.wire import SYNC, parse, query

WRITE = "DELETE FROM accounts"


@dataclass
class Known:
    ways: dict[bytes, str]

    def way_out(self, judged: Judged) -> str | None:
        return self.ways.get(judged.sql)


def seeking(known: dict[bytes, str]) -> Playbook:
    book = playbook()
    book.shared.adviser = Known(known)
    return book


def found(book: Playbook, text: str) -> bytes:
    (effect,) = book.effects
    assert isinstance(effect, SeekWayOut)
    book.effects.clear()
    out = book.client_side.way_out_found(effect, text, 0.0)
    book._after()
    return out


@pytest.mark.parametrize("text", ["Or ask for it.", ""])
@pytest.mark.parametrize("message", [query(WRITE), parse(WRITE) + SYNC])
def test_it_is_refused_with_what_was_found(message: bytes, text: str) -> None:
    book = seeking({})
    behind = query("SELECT 1")
    assert book.client(query("SELECT 2") + message + behind) == query("SELECT 2")
    assert book.shared.tally.denied == 0
    assert book.client(query("SELECT 3")) == b""
    out = found(book, text)
    assert WRITE.encode() not in out
    assert out.endswith(behind + query("SELECT 3"))
    book.upstream(ready(), failed("42601", f'syntax error at or near "{poison_of(out)}"'))
    assert book.shared.tally.denied == 1


def test_what_is_known_holds_nobody() -> None:
    book = seeking({WRITE.encode(): "Or ask for it."})
    out = book.client(query(WRITE))
    assert book.effects == []
    answer = book.upstream(failed("42601", f'syntax error at or near "{poison_of(out)}"'))
    assert b"Or ask for it." in answer
    assert b"C25006" in answer


def test_each_is_sought_for_itself() -> None:
    book = seeking({})
    book.client(query(WRITE) + query("DELETE FROM others"))
    first = found(book, "the first")
    second = found(book, "the second")
    answer = book.upstream(failed("42601", f'syntax error at or near "{poison_of(first)}"') + ready())
    assert b"the first" in answer
    answer = book.upstream(failed("42601", f'syntax error at or near "{poison_of(second)}"') + ready())
    assert b"the second" in answer


def test_nothing_leaves_a_session_that_ended_meanwhile() -> None:
    book = seeking({})
    book.client(query(WRITE))
    book.client_side.drop()
    assert found(book, "late") == b""
