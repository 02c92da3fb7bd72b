"""A session that was opened ahead, as transcripts: taken over, named again after each RESET, and the client sees nothing of it."""

from dataclasses import replace

import pytest

from gateway.access_mode import AccessMode
from gateway.session.client_side import ClientSide
from gateway.session.conversation import Conversation
from gateway.session.effects import NameAgain
from gateway.session.hand_over import HandOver, name_query, named_ahead, suits
from gateway.session.startup_settings import Wishes, pinned_settings
from gateway.session.upstream_login import UpstreamRefused, Welcome
from gateway.session.upstream_side import UpstreamSide
from gateway.wire.errors import ProtocolViolation
from tests.support.playbook import BOUND, CLOSED, PARSED, Playbook, done, failed, in_force, playbook, ready
from tests.support.wire import SYNC, bind, execute, packet, parse, query, text

NAME = "ada/s1 report"
WAITING = "pgbastion/s1 opened ahead"


def reported(name: str, value: str) -> bytes:
    return packet("S", text(name) + text(value))


RESET = done("RESET") + reported("application_name", WAITING)
NAMED = PARSED + BOUND + done("SET") + CLOSED + CLOSED + reported("application_name", NAME)


@pytest.fixture
def book() -> Playbook:
    facts, naming = playbook(AccessMode.READ_WRITE).shared.facts, named_ahead("s1", NAME, "0123456789abcdef")
    shared = Conversation(facts, "s1", in_force(AccessMode.READ_WRITE), b'"session":"s1"', naming=naming)
    return Playbook(shared, ClientSide(shared), UpstreamSide(shared))


def asked_again(book: Playbook) -> int:
    found = [effect for effect in book.effects if isinstance(effect, NameAgain)]
    book.effects = [effect for effect in book.effects if not isinstance(effect, NameAgain)]
    return len(found)


def test_after_a_reset_the_name_is_put_right_and_the_client_reads_only_that(book: Playbook) -> None:
    book.client(query("RESET ALL"))
    assert book.upstream(RESET + ready()) == done("RESET") + ready()
    assert asked_again(book) == 1
    assert not book.shared.busy, "nothing of the client's runs"
    assert book.upstream(NAMED + ready()) == reported("application_name", NAME)
    assert (asked_again(book), book.owed, book.end) == (0, 0, None)
    book.client(query("SELECT 1"))
    assert book.upstream(done("SELECT 1") + ready()) == done("SELECT 1") + ready()


def test_what_the_client_sends_meanwhile_is_answered_behind_it(book: Playbook) -> None:
    book.client(query("RESET ALL"))
    book.upstream(RESET + ready("T"))
    sent = parse("SELECT 1") + bind() + execute() + SYNC
    assert book.client(sent) == sent
    answer = PARSED + BOUND + done("SELECT 1") + ready("T")
    assert book.upstream(NAMED + ready("T") + answer) == reported("application_name", NAME) + answer
    assert (book.owed, book.shared.status) == (0, b"T")


def test_behind_a_pipeline_it_is_put_right_when_nothing_is_owed(book: Playbook) -> None:
    book.client(query("RESET ALL") + query("SELECT 1"))
    book.upstream(RESET + ready())
    assert asked_again(book) == 0
    book.upstream(done("SELECT 1") + ready())
    assert asked_again(book) == 1


def test_not_within_a_group_that_is_not_ended(book: Playbook) -> None:
    book.client(query("RESET ALL") + parse("SELECT 1"))
    book.upstream(RESET + ready() + PARSED)
    assert asked_again(book) == 0
    book.client(SYNC)
    book.upstream(ready())
    assert asked_again(book) == 1


def test_a_transaction_that_failed_is_waited_for(book: Playbook) -> None:
    book.client(query("RESET ALL; SELECT 1/0"))
    book.upstream(RESET + failed("22012") + ready("E"))
    assert asked_again(book) == 0
    book.client(query("ROLLBACK"))
    book.upstream(done("ROLLBACK") + reported("application_name", NAME) + ready())
    assert asked_again(book) == 0


def test_a_cancel_that_hits_it_is_unseen_and_it_is_tried_once_more(book: Playbook) -> None:
    book.client(query("RESET ALL"))
    book.upstream(RESET + ready())
    assert asked_again(book) == 1
    assert book.upstream(failed("57014") + ready()) == b""
    assert asked_again(book) == 1
    assert book.upstream(failed("57014") + ready()) == b""
    assert book.end is not None
    assert book.end.reason == "tripwire: application_name"


def test_a_cancel_that_takes_the_clients_transaction_along_ends_the_session(book: Playbook) -> None:
    book.client(query("BEGIN") + query("RESET ALL"))
    book.upstream(done("BEGIN") + ready("T") + RESET + ready("T"))
    assert asked_again(book) == 1
    assert book.upstream(failed("57014") + ready("E")) == b""
    assert book.end is not None


def test_a_name_that_stays_wrong_ends_the_session(book: Playbook) -> None:
    book.client(query("RESET ALL"))
    book.upstream(RESET + ready())
    book.upstream(PARSED + BOUND + done("SET") + CLOSED + CLOSED + ready())
    assert book.end is not None


def test_any_other_name_ends_it_as_in_every_session(book: Playbook) -> None:
    book.client(query("SELECT 1"))
    book.upstream(done("SELECT 1") + reported("application_name", "pgbastion/s2 opened ahead") + ready())
    assert book.end is not None


def test_a_session_of_its_own_knows_no_such_name() -> None:
    fresh = playbook(AccessMode.READ_WRITE)
    fresh.client(query("RESET ALL"))
    fresh.upstream(RESET + ready())
    assert fresh.end is not None


# -- taking it over ----------------------------------------------------------------------------------------------------

PINNED = pinned_settings(AccessMode.READ_ONLY, "app_ro")
WELCOME = Welcome({**PINNED, "application_name": WAITING, "TimeZone": "UTC"}, 7, b"key", b"", False, False)


def hand_over() -> HandOver:
    return HandOver(WELCOME, NAME, PINNED)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_answer_in_any_pieces_is_the_clients_welcome(size: int) -> None:
    answer = done("SET") + reported("application_name", NAME) + reported("TimeZone", "Asia/Tokyo") + ready()
    taking, found = hand_over(), []
    for start in range(0, len(answer), size):
        found.append(taking.feed(answer[start : start + size]))
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] == replace(WELCOME, statuses={**WELCOME.statuses, "application_name": NAME, "TimeZone": "Asia/Tokyo"})


@pytest.mark.parametrize(
    "answer",
    [
        done("SET") + ready(),  # the name is not reported
        done("SET") + reported("application_name", "else") + ready(),
        done("SET") + reported("application_name", NAME) + reported("default_transaction_read_only", "off") + ready(),
        done("SET") + reported("application_name", NAME) + ready("T"),
        done("SET") + reported("application_name", NAME) + ready() + packet("N"),
        done("SELECT 1") + ready(),
        packet("D", b"\0\0"),
        failed("57P01", severity="FATAL"),
        b"S\xff\xff\xff\xff",
        packet("N", bytes(70_000)),
    ],
)
def test_anything_else_is_no_session_to_hand_over(answer: bytes) -> None:
    with pytest.raises((UpstreamRefused, ProtocolViolation)):
        hand_over().feed(answer)


def test_a_name_is_quoted() -> None:
    assert name_query("it's \\ me") == query("SET application_name = E'it''s \\\\ me'")


def test_who_asks_for_settings_needs_another_session() -> None:
    assert suits(Wishes((), "psql", "this gateway speaks UTF8"))
    assert not suits(Wishes((("datestyle", "German"),), "", ""))
