"""Statements for the gateway in a session, as transcripts: what goes upstream instead, when it is asked, what is never asked."""

import json
from datetime import UTC, datetime

import pytest

from gateway.access_mode import AccessMode
from gateway.session.addressed import GRANTS, OUTCOME, Answer, refused
from gateway.session.constant_rows import select_of, unanswered
from gateway.session.effects import AnswerAddressed
from gateway.statements.addressed import AskAccess, GiveBack, Show, Shown
from gateway.statements.parse import parse as parse_tree
from tests.support.playbook import BOUND, CLOSED, PARSED, Playbook, done, failed, playbook, poison_of, ready
from tests.support.wire import FLUSH, SYNC, bind, close, describe, execute, packet, parse, query

SHOW = "SHOW pgbastion.grants"
ASK = "SELECT pgbastion.request('rw', '1h', 'fix it')"
UNTIL = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
GRANT = ("shop", "prod", "read_write", ("no-ddl",), "you", "live", None, UNTIL, (), ("public.t",), None, 17, "g1")
PENDING = ((17, "pending", "shop", "read_write", None, "it's waiting"),)
GRANT_TEXT = select_of("pgbastion.grants", GRANTS, (GRANT,)).decode()
PENDING_TEXT = select_of("pgbastion.request", OUTCOME, PENDING).decode()
NAME = "pgbastion_0123456789abcdef_answer"


@pytest.fixture(params=list(AccessMode))
def book(request: pytest.FixtureRequest) -> Playbook:
    return playbook(request.param)


def asked(book: Playbook) -> AnswerAddressed | None:
    return next((effect for effect in book.effects if isinstance(effect, AnswerAddressed)), None)


def answered(book: Playbook, answer: Answer) -> bytes:
    effect = asked(book)
    assert effect is not None
    book.effects.remove(effect)
    out = book.client_side.answered(effect, answer, 1.0)
    book._after()
    return out


def prepared_and_bound(text: str, body: bytes = bind(NAME)) -> bytes:
    return close("S", NAME) + parse(text, NAME) + body + close("S", NAME)


def records(book: Playbook, event: str) -> list[dict[str, object]]:
    found = [json.loads(b"{" + record + b"}") for record in book.records]
    return [record for record in found if record["event"] == event]


def test_a_query_is_answered_by_constants(book: Playbook) -> None:
    assert book.client(query(SHOW), query("SELECT 1")) == b""
    effect = asked(book)
    assert effect is not None
    assert effect.asked == Show(Shown.GRANTS)
    assert answered(book, (GRANT,)) == query(GRANT_TEXT) + query("SELECT 1")
    reply = packet("T", b"\0\0") + packet("D", b"\0\0") + done("SELECT 1") + ready()
    assert book.upstream(reply) == reply
    (text, _), (end,) = records(book, "statement"), records(book, "statement_end")
    assert (text["sql"], text["rule"], text["kind"], end["rows"]) == (SHOW, "gateway-statement", "show", 1)


def test_nothing_is_remembered(book: Playbook) -> None:
    for rows in ((), (GRANT,), (GRANT, GRANT)):
        assert book.client(query(SHOW)) == b""
        assert answered(book, rows) == query(select_of("pgbastion.grants", GRANTS, rows))
        book.upstream(done("SELECT 1"), ready())


def test_a_prepared_one_is_answered_at_each_bind(book: Playbook) -> None:
    """What is prepared for it only describes the columns, so that what runs it by its name in SQL fails."""
    sent = book.client(parse(SHOW, "s"), describe("S", "s"), SYNC)
    assert sent == parse(unanswered(GRANTS), "s") + describe("S", "s") + SYNC
    assert asked(book) is None
    assert book.upstream(PARSED, packet("t", b"\0\0"), packet("T", b"\0\0"), ready())
    for rows in ((GRANT,), ()):
        text = select_of("pgbastion.grants", GRANTS, rows).decode()
        assert book.client(bind("s", "p"), execute("p"), SYNC) == b""
        assert answered(book, rows) == prepared_and_bound(text, bind(NAME, "p")) + execute("p") + SYNC
        assert book.upstream(CLOSED, PARSED, BOUND, CLOSED, done("SELECT 1"), ready()) == BOUND + done("SELECT 1") + ready()
        assert book.owed == 0


def test_in_one_group_with_others(book: Playbook) -> None:
    before, after = parse("SELECT 1") + bind() + execute(), parse("SELECT 2") + bind() + execute() + SYNC
    out = book.client(before, parse(SHOW), describe("S"), bind(), describe("P"), execute(), after)
    assert out == before + parse(unanswered(GRANTS)) + describe("S")
    assert answered(book, (GRANT,)) == prepared_and_bound(GRANT_TEXT) + describe("P") + execute() + after
    replies = (PARSED, BOUND, done("SELECT 1"), PARSED, packet("t", b"\0\0"), packet("T", b"\0\0"))
    assert book.upstream(*replies) == b"".join(replies)
    assert book.upstream(CLOSED, PARSED, BOUND, CLOSED, packet("T", b"\0\0")) == BOUND + packet("T", b"\0\0")
    rest = (done("SELECT 1"), PARSED, BOUND, done("SELECT 1"), ready())
    assert book.upstream(*rest) == b"".join(rest)


def test_a_change_waits_for_all_that_was_sent_before(book: Playbook) -> None:
    group = parse("SELECT 1") + bind() + execute() + parse(ASK)
    assert (
        book.client(group, bind(), execute(), SYNC)
        == parse("SELECT 1") + bind() + execute() + parse(unanswered(OUTCOME)) + FLUSH
    )
    assert asked(book) is None
    book.upstream(PARSED, BOUND)
    assert (book.resume(), asked(book)) == (b"", None)  # and no second Flush
    book.upstream(done("SELECT 1"), PARSED)
    assert book.resume() == b""
    effect = asked(book)
    assert effect is not None
    assert effect.asked == AskAccess(AccessMode.READ_WRITE, 3600, "fix it")
    assert answered(book, PENDING) == prepared_and_bound(PENDING_TEXT) + execute() + SYNC


def test_behind_an_error_nothing_is_asked(book: Playbook) -> None:
    book.client(parse("SELECT 1"), bind(), execute(), parse(ASK), bind(), execute(), SYNC)
    book.upstream(PARSED, BOUND, failed("22012"))
    out = book.resume()
    assert asked(book) is None
    assert out.endswith(SYNC)
    assert book.upstream(ready()) == ready()
    outcomes = [record["outcome"] for record in records(book, "statement_end")]
    assert (outcomes[0], set(outcomes[1:])) == ("error", {"skipped"})


@pytest.mark.parametrize("extended", [False, True])
def test_in_a_failed_transaction_nothing_is_asked(book: Playbook, *, extended: bool) -> None:
    book.client(query("BEGIN"), query("SELECT 1/0"))
    book.upstream(done("BEGIN"), ready("T"), failed("22012"), ready("E"))
    if extended:
        out = book.client(parse(ASK), SYNC)
        assert out == parse(unanswered(OUTCOME)) + SYNC
        assert book.upstream(failed("25P02"), ready("E")) == failed("25P02") + ready("E")
    else:
        assert book.client(query(ASK)) == query(unanswered(OUTCOME))
        assert book.upstream(failed("25P02"), ready("E")) == failed("25P02") + ready("E")
    assert asked(book) is None


def test_a_prepared_one_in_a_failed_transaction_keeps_its_name(book: Playbook) -> None:
    book.client(parse(ASK, "s"), SYNC)
    book.upstream(PARSED, ready())
    book.client(query("BEGIN"), query("SELECT 1/0"))
    book.upstream(done("BEGIN"), ready("T"), failed("22012"), ready("E"))
    assert book.client(bind("s"), execute(), SYNC) == prepared_and_bound(unanswered(OUTCOME).decode()) + execute() + SYNC
    assert book.upstream(CLOSED, failed("25P02"), ready("E")) == failed("25P02") + ready("E")
    book.client(query("ROLLBACK"))
    book.upstream(done("ROLLBACK"), ready())
    assert book.client(bind("s"), execute(), SYNC) == b""
    assert asked(book) is not None


def test_once_for_each_query(book: Playbook) -> None:
    for _ in range(2):
        assert book.client(query(ASK)) == b""
        assert answered(book, PENDING) == query(PENDING_TEXT)
        assert book.upstream(done("SELECT 1"), ready()) == done("SELECT 1") + ready()


def test_a_refusal_is_an_error_in_its_place(book: Playbook) -> None:
    no = refused("request-not-open", "nothing can be asked for here", "Ask an admin.")
    book.client(query("SELECT pgbastion.relinquish(17)"))
    effect = asked(book)
    assert effect is not None
    assert effect.asked == GiveBack(17)
    sent = answered(book, no)
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"nothing can be asked for here (rule request-not-open)" in answer
    assert b"Ask an admin." in answer
    (record,) = records(book, "statement")
    assert (record["verdict"], record["rule"], record["kind"]) == ("denied", "request-not-open", "select")
    sent = book.client(parse(ASK), bind(), execute(), SYNC)
    book.upstream(PARSED)
    book.resume()
    sent = answered(book, no)
    assert sent.endswith(execute() + SYNC)
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"request-not-open" in answer
    assert answer.endswith(ready())


def test_with_parameters_it_is_refused(book: Playbook) -> None:
    sent = book.client(parse(ASK, types=(25,)), bind(values=(b"x",)), execute(), SYNC)
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"takes no parameters" in answer
    assert asked(book) is None
    # Values for parameters that were never there are upstream's to refuse.
    book.client(parse(ASK), bind(values=(b"x",)), execute(), SYNC)
    assert asked(book) is None


def test_within_a_copy_it_is_refused() -> None:
    book = playbook(AccessMode.READ_WRITE)
    book.client(query("COPY t FROM STDIN"))
    book.upstream(packet("G", b"\0\0\0"))
    assert b"pgbastion_denied" in book.client(query(ASK))
    assert asked(book) is None


def test_a_session_that_ends_meanwhile_sends_nothing(book: Playbook) -> None:
    book.client(query(ASK))
    book.client_side.drop()
    assert answered(book, PENDING) == b""


@pytest.mark.parametrize("ahead", ["SELECT 1;", "SELECT 1, ", "/* */ SELECT 1; "])
def test_what_is_more_than_that_is_never_asked(book: Playbook, ahead: str) -> None:
    sent = book.client(query(f"{ahead} SELECT pgbastion.request('rw')" if ";" in ahead else f"{ahead} pgbastion.request('rw')"))
    assert b"pgbastion_denied" in sent
    assert asked(book) is None


def test_values_are_literals_whatever_they_hold() -> None:
    nasty = "'); DROP TABLE x; --\\' \" $$ \U0001f600\n\0end"
    text = select_of("pgbastion.request", OUTCOME, ((None, nasty, "", "\\", UNTIL, "'"), (1, "", "", "", None, nasty))).decode()
    found = parse_tree(text)
    assert isinstance(found, tuple)
    ((statement),) = found
    assert statement.tag == "SelectStmt"
    assert "FuncCall" not in json.dumps(statement.node)
