"""Row ceilings as transcripts: what goes upstream before a tag is known, what after it, and what the client reads."""

import json
from collections.abc import Iterator

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.session.verdicts import PolicyInForce
from gateway.statements.policy import Policy
from tests.support.playbook import BOUND, CLOSED, COPY_IN, NO_DATA, PARSED, Playbook, done, failed, playbook, poison_of, ready
from tests.support.wire import COPY_DONE, FLUSH, SYNC, bind, close, copy_data, describe, execute, extended, packet, parse, query

CEILING = 5
DELETE = "DELETE FROM t WHERE true"
IN_PARTS = parse(DELETE) + bind() + describe("P") + execute() + FLUSH
COMMIT = close("P") + SYNC
RAN = PARSED + BOUND + NO_DATA
ROW = packet("D", b"\0\1\0\0\0\x011")
COLUMNS = packet("T", b"\0\0")
SUSPENDED = packet("s")


def under(ceiling: int | None, *options: GrantOption) -> PolicyInForce:
    policy = Policy(AccessMode.READ_WRITE, server_major=16, options=frozenset(options), max_changed_rows=ceiling)
    return PolicyInForce(policy, 1000, 1_000_000, 1000)


def book_under(ceiling: int | None, *options: GrantOption, inline_bytes: int = 10_000) -> Playbook:
    made = playbook(AccessMode.READ_WRITE, inline_bytes=inline_bytes)
    made.shared.in_force = under(ceiling, *options)
    made.shared.first_policy = made.shared.in_force.policy
    return made


@pytest.fixture
def book() -> Iterator[Playbook]:
    """Nothing may be left over in the end."""
    made = book_under(CEILING)
    yield made
    assert made.end is None
    assert made.owed == 0
    assert made.shared.watched is None
    assert not made.client_side.on_hold


def told(book: Playbook, event: str, **more: str) -> list[dict[str, object]]:
    found = [json.loads(b"{" + record + b"}") for record in book.records]
    return [record for record in found if record["event"] == event and more.items() <= record.items()]


def refused(book: Playbook, sent: bytes, *behind: bytes, status: str = "I") -> bytes:
    """Upstream answers a poison; what the client reads of it."""
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), *behind, ready(status))
    assert b"pgbastion_denied" not in answer
    return answer


# -- Query -------------------------------------------------------------------------------------------------------------


def test_a_query_commits_when_its_tag_is_known(book: Playbook) -> None:
    assert book.client(query(DELETE)) == IN_PARTS
    assert book.upstream(RAN, done("DELETE 5")) == b""
    assert book.resume() == COMMIT
    assert book.upstream(CLOSED, ready()) == done("DELETE 5") + ready()
    assert book.resume() == b""
    assert told(book, "statement_end")[0]["rows"] == 5


def test_a_query_over_the_ceiling_is_rolled_back(book: Playbook) -> None:
    book.client(query(DELETE))
    assert book.upstream(RAN, done("DELETE 6")) == b""
    sent = book.resume()
    assert sent.startswith(b"P")
    assert sent.endswith(SYNC)
    answer = refused(book, sent)
    assert b"DELETE 6" not in answer
    assert b"C54000\0" in answer
    assert b"6 rows" in answer
    assert b"the 5 that" in answer
    assert answer.endswith(ready())
    assert book.resume() == b""
    (end,) = told(book, "statement_end")
    assert (end["outcome"], end["sqlstate"], end["rows"]) == ("error", "54000", 6)
    (denial,) = told(book, "refused")
    assert (denial["rule"], denial["rows"], denial["ceiling"], denial["statement"]) == ("row-ceiling", 6, CEILING, 1)


def test_rows_of_returning_are_relayed_before(book: Playbook) -> None:
    book.client(query("DELETE FROM t WHERE true RETURNING a"))
    assert book.upstream(PARSED, BOUND, COLUMNS, ROW * 6, done("DELETE 6")) == COLUMNS + ROW * 6
    assert b"C54000\0" in refused(book, book.resume())
    book.resume()


def test_what_is_behind_a_query_waits_until_it_is_over(book: Playbook) -> None:
    book.client(query(DELETE), query("SELECT 1"))
    assert book.client(query("SELECT 2")) == b""
    book.upstream(RAN, done("DELETE 1"))
    assert book.resume() == COMMIT
    book.upstream(ready())
    assert book.resume() == query("SELECT 1") + query("SELECT 2")
    book.upstream(*[COLUMNS, done("SELECT 1"), ready()] * 2)


def test_an_error_of_the_statement_is_passed_on(book: Playbook) -> None:
    book.client(query(DELETE))
    assert b"C23503\0" in book.upstream(PARSED, BOUND, NO_DATA, failed("23503"))
    assert book.resume() == SYNC
    assert book.upstream(ready()) == ready()
    book.resume()
    assert told(book, "statement_end")[0]["sqlstate"] == "23503"


def test_an_error_at_the_commit_takes_the_tag_away(book: Playbook) -> None:
    """A deferred constraint: PostgreSQL says nothing of success either."""
    book.client(query(DELETE))
    book.upstream(RAN, done("DELETE 1"))
    book.resume()
    answer = book.upstream(failed("23503"), ready())
    assert b"DELETE 1" not in answer
    assert b"C23503\0" in answer
    book.resume()


def test_a_query_in_a_transaction(book: Playbook) -> None:
    """The same way: its Sync commits nothing there, and the poison leaves the block failed."""
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    book.client(query(DELETE))
    book.upstream(RAN, done("DELETE 9"))
    assert refused(book, book.resume(), status="E").endswith(ready("E"))
    book.resume()
    assert book.shared.status == b"E"


def test_a_query_behind_messages_without_a_sync(book: Playbook) -> None:
    """They are the same transaction, which ends with the Query: as if PostgreSQL had got it."""
    sent = extended("SELECT 1")
    assert book.client(sent, query(DELETE)) == sent + FLUSH
    assert book.upstream(PARSED, BOUND, ROW) == PARSED + BOUND + ROW
    assert book.resume() == b""  # asked once
    book.upstream(done("SELECT 1"))
    assert book.resume() == IN_PARTS
    book.upstream(RAN, done("DELETE 1"))
    assert book.resume() == COMMIT
    book.upstream(ready())
    book.resume()


def test_a_query_behind_an_error_is_skipped(book: Playbook) -> None:
    book.client(parse("SELECT nothing"), query(DELETE))
    book.upstream(failed("42703"))
    assert book.resume() == b""
    assert told(book, "statement_end", outcome="skipped")
    book.client(SYNC)
    book.upstream(ready())


def test_the_empty_names_are_not_the_clients(book: Playbook) -> None:
    """As behind any Query: the unnamed statement is gone, and so is the portal."""
    book.client(parse("SELECT 1"), SYNC)
    book.upstream(PARSED, ready())
    book.client(query(DELETE))
    book.upstream(RAN, done("DELETE 1"))
    book.resume()
    book.upstream(ready())
    book.resume()
    for message, code in (
        (bind(), b"26000"),
        (describe("S"), b"26000"),
    ):
        sent = book.client(message, SYNC)
        assert message not in sent
        assert b"C%b\0" % code in refused(book, sent)
    book.client(parse("SELECT 1"), bind(), execute(), SYNC)
    assert book.upstream(PARSED, BOUND, ROW, done("SELECT 1"), ready())


def test_a_query_with_parameters_leaves_nothing_to_bind(book: Playbook) -> None:
    """Upstream parses it and then misses the values: what is under the empty name now is no longer the client's own."""
    book.client(parse("SELECT $1"), SYNC)
    book.upstream(PARSED, ready())
    book.client(query("DELETE FROM t WHERE a < $1"))
    book.upstream(PARSED, failed("08P01"))
    assert book.resume() == SYNC
    book.upstream(ready())
    book.resume()
    run = bind(values=[b"9"]) + execute() + SYNC
    for _ in range(2):
        sent = book.client(run)
        assert run not in sent
        assert b"C26000\0" in refused(book, sent)


def test_a_late_verdict_first() -> None:
    book = book_under(CEILING, inline_bytes=20)
    assert book.client(query(DELETE), query("SELECT 1")) == b""
    assert book.judged() == IN_PARTS
    book.upstream(RAN, done("DELETE 1"))
    assert book.resume() == COMMIT
    book.upstream(ready())
    assert book.resume() == query("SELECT 1")


# -- Execute -----------------------------------------------------------------------------------------------------------


def test_an_execute_waits_for_its_tag_before_the_sync(book: Playbook) -> None:
    sent = extended(DELETE)
    assert book.client(sent, SYNC) == sent + FLUSH
    assert book.upstream(PARSED, BOUND, done("DELETE 5")) == PARSED + BOUND + done("DELETE 5")
    assert book.resume() == SYNC
    book.upstream(ready())


def test_an_execute_over_the_ceiling(book: Playbook) -> None:
    book.client(extended(DELETE), SYNC)
    assert book.upstream(PARSED, BOUND, done("DELETE 6")) == PARSED + BOUND
    sent = book.resume()
    assert sent.endswith(SYNC)
    assert b"C54000\0" in refused(book, sent)
    assert told(book, "statement_end")[0]["sqlstate"] == "54000"


def test_a_pipeline_counts_each(book: Playbook) -> None:
    first, second = extended(DELETE), extended("UPDATE t SET a = 1 WHERE b")
    assert book.client(first, second, extended("SELECT 1"), SYNC) == first + FLUSH
    book.upstream(PARSED, BOUND, done("DELETE 3"))
    assert book.resume() == second + FLUSH
    assert book.upstream(PARSED, BOUND, done("UPDATE 7")) == PARSED + BOUND
    sent = book.resume()
    assert sent.endswith(extended("SELECT 1") + SYNC)  # upstream skips them
    refused(book, sent)


def test_another_write_behind_one_over_the_ceiling_is_skipped(book: Playbook) -> None:
    book.client(extended(DELETE), extended(DELETE), SYNC)
    book.upstream(PARSED, BOUND, done("DELETE 6"))
    sent = book.resume()
    assert not sent.endswith(SYNC)  # its Execute waits for the error
    book.upstream(failed("42601", f'at "{poison_of(sent)}"'))
    assert book.resume() == execute() + SYNC
    book.upstream(ready())
    assert told(book, "statement_end", outcome="skipped")


def test_a_client_that_asks_for_replies_first(book: Playbook) -> None:
    """No Sync until it has them."""
    assert book.client(extended(DELETE), FLUSH) == extended(DELETE) + FLUSH
    assert book.upstream(PARSED, BOUND, done("DELETE 1")).endswith(done("DELETE 1"))
    assert book.resume() == FLUSH
    assert book.client(SYNC) == SYNC
    book.upstream(ready())


def test_a_write_behind_something_that_runs_waits(book: Playbook) -> None:
    first, second = extended("SELECT 1"), extended(DELETE)
    assert book.client(first, second, SYNC) == first + parse(DELETE) + bind() + FLUSH
    book.upstream(PARSED, BOUND, ROW, done("SELECT 1"))
    assert book.resume() == execute() + FLUSH
    book.upstream(PARSED, BOUND, done("DELETE 1"))
    assert book.resume() == SYNC
    book.upstream(ready())


def test_a_limit_that_is_reached_is_too_little_to_know(book: Playbook) -> None:
    """Its rows are changed already, and nobody says how many: rolled back. Without RETURNING PostgreSQL knows no limit."""
    book.client(parse(DELETE), bind(), execute(rows=1), SYNC)
    assert book.upstream(PARSED, BOUND, ROW, SUSPENDED) == PARSED + BOUND + ROW
    answer = refused(book, book.resume())
    assert b"C54000\0" in answer
    assert b"row-ceiling-uncounted" in answer
    book.client(parse(DELETE), bind(), execute(rows=1), SYNC)
    book.upstream(PARSED, BOUND, done("DELETE 1"))
    assert book.resume() == SYNC
    book.upstream(ready())


def test_a_named_portal_and_statement(book: Playbook) -> None:
    book.client(query("BEGIN"), parse(DELETE, "s"), SYNC, bind("s", "p"), SYNC)
    book.upstream(done("BEGIN"), ready("T"), PARSED, ready("T"))
    book.resume()
    book.upstream(BOUND, ready("T"))
    assert book.client(execute("p"), SYNC) == execute("p") + FLUSH
    book.upstream(done("DELETE 6"))
    refused(book, book.resume(), status="E")


@pytest.mark.parametrize("use", [query("EXECUTE a"), bind("a") + execute() + SYNC], ids=["sql", "protocol"])
def test_what_sql_prepared_is_counted(book: Playbook, use: bytes) -> None:
    book.client(query(f"PREPARE a AS {DELETE}"))
    book.upstream(RAN, done("PREPARE"))
    book.resume()
    book.upstream(ready())
    book.resume()
    book.client(use)
    book.upstream(*([RAN] if use.startswith(b"Q") else [BOUND]), done("DELETE 6"))
    assert b"C54000\0" in refused(book, book.resume())
    book.resume()


def test_a_text_that_nobody_saw_is_counted(book: Playbook) -> None:
    """A statement that PREPARE may have made in a text that failed."""
    book.client(bind("a"), execute(), SYNC)
    book.upstream(BOUND, done("DELETE 6"))
    assert b"C54000\0" in refused(book, book.resume())


def test_a_prepared_select_is_not(book: Playbook) -> None:
    book.client(query("EXECUTE a"))
    assert book.upstream(PARSED, BOUND, COLUMNS, ROW * 9, done("SELECT 9")) == COLUMNS + ROW * 9
    assert book.resume() == COMMIT
    assert book.upstream(ready()) == done("SELECT 9") + ready()
    book.resume()


def test_an_error_and_a_cancel_let_go(book: Playbook) -> None:
    for code in ("23505", "57014"):
        book.client(extended(DELETE), SYNC)
        assert b"C%b\0" % code.encode() in book.upstream(PARSED, BOUND, failed(code))
        assert book.resume() == SYNC
        book.upstream(ready())


# -- other states ------------------------------------------------------------------------------------------------------


def test_within_a_copy_it_is_refused(book: Playbook) -> None:
    book.shared.in_force = under(None)
    book.client(query("COPY t FROM STDIN"))
    book.upstream(COPY_IN)
    book.shared.in_force = under(CEILING)
    assert DELETE.encode() not in book.client(query(DELETE))
    book.client(copy_data(b"1\n"), COPY_DONE)
    book.upstream(failed("08P01"), ready())
    book.shared.ledger.queue.clear()


def test_a_copy_on_its_way_is_waited_for(book: Playbook) -> None:
    book.shared.in_force = under(None)
    book.client(query("COPY t FROM STDIN"))
    book.shared.in_force = under(CEILING)
    assert book.client(copy_data(b"1\n"), COPY_DONE, query(DELETE)) == copy_data(b"1\n") + COPY_DONE + FLUSH
    book.upstream(COPY_IN)
    assert book.resume() == b""
    book.upstream(done("COPY 1"), ready())
    assert book.resume() == IN_PARTS
    book.upstream(RAN, done("DELETE 1"))
    book.resume()
    book.upstream(ready())
    book.resume()


def test_a_new_policy_counts_what_was_prepared_before(book: Playbook) -> None:
    book.shared.adopt(under(None))
    sent = parse(DELETE, "s") + SYNC
    assert book.client(sent) == sent
    book.upstream(PARSED, ready())
    run = bind("s") + execute() + SYNC
    assert book.client(run) == run
    book.upstream(BOUND, done("DELETE 100"), ready())
    book.shared.adopt(under(CEILING))
    assert book.client(run) == bind("s") + execute() + FLUSH
    book.upstream(BOUND, done("DELETE 100"))
    refused(book, book.resume())


def test_a_policy_that_changes_while_it_runs_does_not_let_go(book: Playbook) -> None:
    book.client(query(DELETE))
    book.shared.adopt(under(None))
    book.upstream(RAN, done("DELETE 6"))
    assert b"C54000\0" in refused(book, book.resume())
    book.resume()


def test_nothing_leaves_when_the_session_ends(book: Playbook) -> None:
    other = book_under(CEILING)
    other.client(query(DELETE), query("SELECT 1"))
    other.client_side.drop()
    other.upstream(RAN, done("DELETE 1"))
    assert other.resume() == b""
    other.shared.abandon_all(1.0)
    assert b'"outcome":"unknown"' in other.shared.records[-1]


def test_a_report_only_grant_is_told_of_and_not_held() -> None:
    book = book_under(CEILING, GrantOption.REPORT_ONLY)
    sent = query(DELETE)
    assert book.client(sent, query("SELECT 1")) == sent + query("SELECT 1")
    reply = done("DELETE 6") + ready()
    assert book.upstream(reply) == reply
    book.upstream(COLUMNS, done("SELECT 9"), ready())
    (report,) = told(book, "row_ceiling_reported")
    assert (report["rows"], report["ceiling"], report["statement"]) == (6, CEILING, 1)
    book.client(extended(DELETE), SYNC)
    book.upstream(PARSED, BOUND, done("DELETE 7"), ready())
    assert told(book, "row_ceiling_reported")[-1]["rows"] == 7
    assert book.owed == 0


def test_every_split_gives_the_same() -> None:
    """Both directions, cut anywhere, with the chunks of upstream's answer between."""

    def play(cut: int | None) -> tuple[bytes, bytes, int]:
        book = book_under(CEILING)
        sent = extended(DELETE) + SYNC + query(DELETE) + query("SELECT 1")
        upstream_reads = book.client(sent) if cut is None else book.client(sent[:cut]) + book.client(sent[cut:])
        client_reads = b""
        for reply in (
            [PARSED, BOUND, done("DELETE 1")],
            [ready()],
            [RAN, done("DELETE 2")],
            [ready()],
            [COLUMNS, done("SELECT 1"), ready()],
        ):
            for byte in b"".join(reply) if cut is not None else [b"".join(reply)]:
                client_reads += book.upstream(bytes([byte]) if isinstance(byte, int) else byte)
                if book.client_side.waiting_for_replies:
                    upstream_reads += book.resume()
        return upstream_reads, client_reads, book.owed

    whole = play(None)
    assert whole[2] == 0
    size = len(extended(DELETE) + SYNC + query(DELETE) + query("SELECT 1"))
    for cut in range(1, size):
        assert play(cut) == whole


@pytest.mark.parametrize("breach", [COPY_IN, packet("1", b"x"), packet("3"), ready(), done("DELETE")])
def test_an_upstream_that_breaks_its_word_ends_the_session(breach: bytes) -> None:
    book = book_under(CEILING)
    book.client(query(DELETE))
    book.upstream(breach)
    assert book.end is not None
