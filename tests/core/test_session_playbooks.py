"""The relay of one session as transcripts: what the client sent, what went upstream, what came back, what the client read."""

import pytest

from gateway.access_mode import AccessMode
from gateway.session.effects import ClientQuit, JudgeElsewhere
from tests.support.playbook import (
    BOUND,
    CLOSED,
    COPY_IN,
    NO_DATA,
    PARSED,
    done,
    failed,
    in_force,
    playbook,
    poison_of,
    ready,
)
from tests.support.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close,
    copy_data,
    describe,
    execute,
    extended,
    packet,
    parse,
    query,
    text,
)

WRITE = "DELETE FROM accounts"
ROW = packet("D", b"\0\1\0\0\0\x011")


def refused_in(answer: bytes) -> bool:
    return b"C25006\0" in answer and b"pgbastion_denied" not in answer


# -- what passes -------------------------------------------------------------------------------------------------------


def test_an_allowed_query_passes_as_the_very_bytes() -> None:
    book = playbook()
    sent = query("SELECT 1")
    assert book.client_side.feed(sent, 0.0) is sent
    reply = packet("T", b"\0\0") + ROW + done("SELECT 1") + ready()
    assert book.upstream_side.feed(reply, 0.0) is reply
    assert book.owed == 0


def test_a_statement_is_recorded_before_it_leaves() -> None:
    book = playbook()
    book.client_side.feed(query("SELECT 1"), 0.0)
    assert any(b'"SELECT 1"' in record for record in book.shared.records)


def test_every_split_gives_the_same() -> None:
    """Bytes of both directions, cut anywhere."""
    sent = extended("SELECT 1") + SYNC + query(WRITE) + query("SELECT 2")
    whole = playbook()
    upstream_reads = whole.client(sent)
    reply = PARSED + BOUND + ROW + done("SELECT 1") + ready() + failed("42601", f'at "{poison_of(upstream_reads)}"') + ready()
    reply += packet("T", b"\0\0") + done("SELECT 1") + ready()
    client_reads = whole.upstream(reply)
    assert whole.owed == 0
    for cut in range(1, len(sent)):
        book = playbook()
        assert book.client(sent[:cut]) + book.client(sent[cut:]) == upstream_reads
        if cut < len(reply):
            assert book.upstream(reply[:cut]) + book.upstream(reply[cut:]) == client_reads
        else:
            assert book.upstream(reply) == client_reads
        assert book.owed == 0
    book = playbook()
    assert b"".join(book.client(bytes((byte,))) for byte in sent) == upstream_reads
    assert b"".join(book.upstream(bytes((byte,))) for byte in reply) == client_reads


def test_no_byte_of_an_unread_message_leaves() -> None:
    """A text that comes in pieces is judged before its first byte goes on."""
    book = playbook()
    sent = query("SELECT 1")
    assert all(book.client(sent[at : at + 1]) == b"" for at in range(len(sent) - 1))
    assert book.client(sent[-1:]) == sent


def test_copy_data_passes_in_pieces() -> None:
    book = playbook(AccessMode.READ_WRITE)
    book.client(query("COPY t FROM STDIN"))
    book.upstream(COPY_IN)
    data = copy_data(b"x" * 1000)
    assert book.client(data[:100]) == data[:100]
    assert book.client_side.mid_message
    assert book.client(data[100:]) == data[100:]
    assert not book.client_side.mid_message


# -- denials -----------------------------------------------------------------------------------------------------------


def test_a_refused_query_is_replaced_and_its_error_swapped() -> None:
    book = playbook()
    sent = book.client(query(WRITE))
    assert b"accounts" not in sent
    assert b"write-statement" in sent
    answer = book.upstream(failed("42601", f'syntax error at or near "{poison_of(sent)}"'), ready())
    assert refused_in(answer)
    assert answer.endswith(ready())


def test_marks_are_single_use() -> None:
    book = playbook()
    first, second = book.client(query(WRITE)), book.client(query(WRITE))
    assert poison_of(first) != poison_of(second)
    answer = book.upstream(failed("42601", f'at "{poison_of(second)}"'), ready())
    assert not refused_in(answer)  # another statement's mark


def test_an_earlier_error_is_passed_on_and_swallows_the_denial() -> None:
    book = playbook()
    book.client(parse("SELECT a FROM b"), parse(WRITE), SYNC)
    answer = book.upstream(failed("42P01"), ready())
    assert b"C42P01\0" in answer
    assert not refused_in(answer)
    assert book.owed == 0


def test_another_error_in_the_place_of_a_denial_is_passed_on() -> None:
    """A cancel, a time-out, a FATAL: it is upstream's word."""
    book = playbook()
    book.client(query(WRITE))
    assert b"C57014\0" in book.upstream(failed("57014"), ready())
    book.client(query(WRITE))
    assert b"C57P01\0" in book.upstream(failed("57P01", severity="FATAL"))
    assert book.shared.upstream_fatal == "57P01"
    assert book.end is None


@pytest.mark.parametrize(
    "reply", [done("DELETE 5") + ready(), ready(), PARSED, ROW + done("x")], ids=["done", "ready", "1", "row"]
)
def test_a_success_in_the_place_of_a_denial_ends_the_session(reply: bytes) -> None:
    book = playbook()
    book.client(query(WRITE))
    answer = book.upstream(reply)
    assert book.end is not None
    assert b"DELETE 5" not in answer
    assert book.upstream(ready()) == b""


def test_a_denial_in_a_pipeline_skips_to_sync() -> None:
    book = playbook()
    sent = book.client(extended("SELECT 1"), parse(WRITE), bind(), execute(), SYNC, query("SELECT 2"))
    book.upstream(PARSED, BOUND, ROW, done("SELECT 1"), failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert book.owed == 1
    book.upstream(packet("T", b"\0\0"), done("SELECT 1"), ready())
    assert book.owed == 0
    assert book.end is None


def test_what_is_sent_while_upstream_skips_is_owed_nothing() -> None:
    book = playbook()
    sent = book.client(parse(WRITE))
    book.upstream(failed("42601", f'at "{poison_of(sent)}"'))
    assert book.shared.ledger.skipping
    book.client(bind(), describe("P"), execute(), query("SELECT 1"), parse(WRITE), FLUSH)
    assert book.owed == 0
    book.client(SYNC)
    assert book.owed == 1
    book.upstream(ready())
    assert book.owed == 0


def test_a_refused_text_under_a_name_leaves_the_name_alone() -> None:
    book = playbook()
    book.client(parse("SELECT 1", "a"), SYNC)
    book.upstream(PARSED, ready())
    sent = book.client(parse(WRITE, "a"), SYNC)
    book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert book.shared.prepared.lookup(b"a") is not None


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_name_of_an_unanswered_group_waits() -> None:
    """Whether "a" exists depends on a reply: the message that uses it, and all behind it, is held until that is here."""
    book = playbook()
    group = parse("SELECT 1", "a") + SYNC
    assert book.client(group, bind("a"), execute(), SYNC) == group
    assert book.client_side.waiting_for_replies
    assert book.client(query("SELECT 2")) == b""
    book.upstream(PARSED)
    assert book.resume() == bind("a") + execute() + SYNC + query("SELECT 2")
    assert not book.client_side.on_hold


def test_a_name_whose_parse_failed_is_unknown() -> None:
    book = playbook()
    book.client(parse("SELECT 1", "a"), SYNC, bind("a"))
    book.upstream(failed("42P01"), ready())
    assert book.resume() == bind("a")
    assert book.shared.prepared.lookup(b"a") is None


def test_names_within_a_group_need_no_reply() -> None:
    book = playbook()
    sent = parse("SELECT 1", "a") + bind("a", "p") + execute("p") + close("S", "a") + SYNC
    assert book.client(sent) == sent
    book.upstream(PARSED, BOUND, done("SELECT 1"), CLOSED, ready())
    assert book.shared.prepared.lookup(b"a") is None
    assert book.owed == 0


def test_too_many_names_are_refused() -> None:
    book = playbook(max_names=2)
    sent = book.client(*(parse("SELECT 1", name) for name in "abc"), SYNC)
    answer = book.upstream(PARSED, PARSED, failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"C53400\0" in answer


def test_too_many_portals_are_refused() -> None:
    book = playbook(max_names=2)
    sent = book.client(parse("SELECT 1"), *(bind("", portal) for portal in "pqr"), bind(), SYNC)
    answer = book.upstream(PARSED, BOUND, BOUND, failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"C53400\0" in answer
    assert book.owed == 0


def test_the_reserved_name_is_refused() -> None:
    book = playbook()
    sent = book.client(parse("SELECT 1", "pgbastion_denied"))
    assert b"SELECT 1" not in sent


def test_a_new_policy_is_asked_at_bind_and_execute() -> None:
    listed = frozenset({"public.f"})
    book = playbook()
    book.shared.in_force = in_force(allowed_functions=listed)
    book.shared.first_policy = book.shared.in_force.policy
    book.client(parse("SELECT public.f()", "a"), SYNC, query("BEGIN"))
    book.upstream(PARSED, ready(), done("BEGIN"), ready("T"))
    book.client(bind("a", "p"), SYNC)
    book.upstream(BOUND, ready("T"))
    book.shared.in_force = in_force()
    for late in (execute("p"), bind("a")):
        sent = book.client(late, SYNC)
        assert b"pgbastion_denied" in sent
        assert late not in sent
        answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready("E"))
        assert b"C42501\0" in answer


# -- late verdicts -----------------------------------------------------------------------------------------------------


def test_a_late_verdict_holds_everything_behind_it() -> None:
    book = playbook(inline_bytes=20)
    large, behind = query("SELECT 1 /* this is too long to be judged here */"), query("SELECT 2")
    assert book.client(query("SELECT 0"), large, behind) == query("SELECT 0")
    assert isinstance(book.effects[0], JudgeElsewhere)
    assert book.client(SYNC) == b""
    assert book.judged() == large + behind + SYNC
    assert book.client(large) == large  # remembered


def test_a_late_denial() -> None:
    book = playbook(inline_bytes=20)
    book.client(query("DELETE FROM accounts /* this is too long to be judged here */"), query("SELECT 2"))
    sent = book.judged()
    assert b"accounts" not in sent
    assert sent.endswith(query("SELECT 2"))


def test_a_verdict_under_an_older_policy_does_not_count() -> None:
    book = playbook(inline_bytes=20)
    large = query("SELECT 1 /* this is too long to be judged here */")
    book.client(large)
    book.shared.in_force = in_force(allowed_functions=frozenset({"public.f"}))
    assert book.judged() == b""
    assert book.client_side.on_hold
    assert book.judged() == large


def test_what_is_held_is_dropped_with_the_session() -> None:
    book = playbook(inline_bytes=20)
    book.client(query("SELECT 1 /* this is too long to be judged here */"))
    book.client_side.drop()
    assert book.judged() == b""
    assert book.client(query("SELECT 1")) == b""


# -- COPY --------------------------------------------------------------------------------------------------------------


def test_syncs_inside_a_copy_are_swallowed() -> None:
    """The one behind Execute (libpq sends it at once) and those before CopyDone are answered by nothing."""
    book = playbook(AccessMode.READ_WRITE)
    book.client(extended("COPY t FROM STDIN"), SYNC)
    book.upstream(PARSED, BOUND, COPY_IN)
    book.client(copy_data(b"1\n"), SYNC, COPY_DONE, SYNC)
    book.upstream(done("COPY 1"), ready())
    assert book.owed == 0
    assert book.end is None


def test_syncs_sent_before_the_copy_was_announced() -> None:
    book = playbook(AccessMode.READ_WRITE)
    book.client(extended("COPY t FROM STDIN"), SYNC, copy_data(b"1\n"), COPY_DONE, SYNC, query("SELECT 1"))
    book.upstream(PARSED, BOUND, COPY_IN, done("COPY 1"), ready(), packet("T", b"\0\0"), done("SELECT 1"), ready())
    assert book.owed == 0
    assert book.end is None


def test_a_copy_that_fails_before_its_syncs_were_read() -> None:
    """Then they count: the surplus ReadyForQuery is explained, not a breach."""
    book = playbook(AccessMode.READ_WRITE)
    book.client(extended("COPY t FROM STDIN"))
    book.upstream(PARSED, BOUND, COPY_IN)
    book.client(copy_data(b"x\n"), SYNC, COPY_DONE, SYNC)
    answer = book.upstream(failed("22P02"), ready(), ready())
    assert answer.count(ready()) == 2
    assert book.end is None


def test_a_copy_that_fails_before_its_syncs_were_read_and_a_query_behind() -> None:
    """The surplus ReadyForQuery is not the query's."""
    book = playbook(AccessMode.READ_WRITE)
    book.client(query("COPY t FROM STDIN"))
    book.upstream(COPY_IN)
    book.client(copy_data(b"x\n"), SYNC, COPY_DONE, query("SELECT 1"), query(""))
    book.upstream(failed("22P02"), ready(), ready(), packet("T", b"\0\0"), done("SELECT 1"), ready(), packet("I"), ready())
    assert book.owed == 0
    assert book.end is None
    assert book.upstream(ready()) == b""
    assert book.end is not None


def test_copy_messages_outside_of_a_copy_are_owed_nothing() -> None:
    book = playbook()
    book.client(copy_data(b"x"), COPY_DONE, query("SELECT 1"), COPY_DONE, parse("SELECT 2"), COPY_DONE, SYNC)
    book.upstream(packet("T", b"\0\0"), done("SELECT 1"), ready(), PARSED, ready())
    assert book.owed == 0
    assert book.end is None


# -- broken peers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "breach",
    [
        PARSED,
        BOUND,
        CLOSED,
        NO_DATA,
        COPY_IN,
        done("SELECT 1"),
        ready(),
        ready("X"),
        packet("E", b""),
        packet("W"),
        packet("R", bytes(4)),
    ],
)
def test_a_reply_that_nobody_waits_for_ends_the_session(breach: bytes) -> None:
    book = playbook()
    assert book.upstream(breach, ROW) == b""
    assert book.end is not None
    assert book.end.farewell is not None
    assert book.end.farewell.sqlstate == "08006"


def test_what_stood_before_a_breach_still_goes() -> None:
    """So that the farewell stands between two whole messages."""
    book = playbook()
    book.client(query("SELECT 1"))
    row = packet("D", b"\0\1\0\0\0\x64" + b"x" * 100)
    assert book.upstream(row[:50]) == row[:50]
    assert book.upstream_side.mid_message
    assert book.upstream(row[50:], PARSED, ROW) == row[50:]
    assert not book.upstream_side.mid_message
    assert book.end is not None


@pytest.mark.parametrize(
    ("name", "value"), [("standard_conforming_strings", "off"), ("client_encoding", "SJIS"), ("application_name", "somebody")]
)
def test_a_pinned_setting_that_changes_is_a_tripwire(name: str, value: str) -> None:
    book = playbook()
    book.client(query("SELECT 1"))
    assert book.upstream(ROW, packet("S", text(name) + text(value)), ROW, ready()) == ROW
    assert book.end is not None
    assert book.end.reason == f"tripwire: {name}"


def test_notices_notifications_and_settings_are_nobodys_reply() -> None:
    book = playbook()
    asides = packet("N", b"SNOTICE\0\0") + packet("A", bytes(4) + b"x\0\0") + packet("S", text("TimeZone") + text("UTC"))
    assert book.upstream(asides) == asides
    sent = book.client(query(WRITE))
    answer = book.upstream(asides, failed("42601", f'at "{poison_of(sent)}"'), asides, ready(), asides)
    assert refused_in(answer)
    assert book.end is None


def test_session_authorization_shows_the_person() -> None:
    book = playbook()
    told = book.upstream(packet("S", text("session_authorization") + text("app_ro")))
    assert told == packet("S", text("session_authorization") + text("ada"))


@pytest.mark.parametrize("kind", [b"\0", b"R", b"T", b"Z", b"p", b"\xff"])
def test_other_client_messages_end_the_session(kind: bytes) -> None:
    book = playbook()
    assert book.client(query("SELECT 1"), kind + b"\0\0\0\4", query("SELECT 2")) in (b"", query("SELECT 1"))
    assert book.end is not None
    assert book.end.farewell is not None
    assert book.end.farewell.sqlstate == "08P01"


def test_terminate_is_the_last_thing_that_passes() -> None:
    book = playbook()
    assert book.client(query("SELECT 1"), TERMINATE, query("SELECT 2")) == query("SELECT 1") + TERMINATE
    assert isinstance(book.effects[-1], ClientQuit)
    assert book.client(query("SELECT 3")) == b""


def test_nothing_passes_while_the_audit_cannot_be_written() -> None:
    book = playbook()
    book.client(parse("SELECT 1", "a"), SYNC)
    book.upstream(PARSED, ready())
    book.shared.audit_sqlstate = "53100"
    for data in (query("SELECT 1"), parse("SELECT 1"), bind("a"), execute()):
        sent = book.client(data, SYNC)
        assert data not in sent
        answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), *[ready()] * sent.count(SYNC))
        assert b"C53100\0" in answer
        if data[:1] == b"Q":
            book.upstream(ready())


def test_statements_that_nobody_will_hear_of_end_as_unknown() -> None:
    book = playbook()
    book.client(query("SELECT 1"), extended("SELECT 2"))
    book.shared.abandon_all(1.0)
    assert sum(b'"unknown"' in record for record in book.shared.records) == 2
