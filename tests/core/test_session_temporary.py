"""Temporary tables in read-only sessions as transcripts: what stands before the text that may write, and what may not follow."""

import json
from collections.abc import Iterator

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.session.effects import CatalogTouched
from gateway.session.verdicts import PolicyInForce
from gateway.statements.policy import Policy
from tests.support.playbook import BOUND, CLOSED, NO_DATA, PARSED, Playbook, done, failed, packet, playbook, poison_of, ready
from tests.support.wire import FLUSH, SYNC, bind, close, describe, execute, extended, parse, query

CREATE = "CREATE TEMP TABLE t AS SELECT 1 AS a"
LIFT = extended("SET LOCAL transaction_read_only = off")
WARNING = packet("N", b"SWARNING\0VWARNING\0C25P01\0MSET LOCAL\0\0")
LIFTED = PARSED + BOUND + WARNING + done("SET")
IN_PARTS = parse(CREATE) + bind() + describe("P") + execute() + FLUSH
RULE = b"temporary-table-in-transaction"


def under(*options: GrantOption) -> PolicyInForce:
    policy = Policy(AccessMode.READ_ONLY, server_major=16, options=frozenset(options))
    return PolicyInForce(policy, 1000, 1_000_000, 1000)


def allowed(*, max_names: int = 100) -> Playbook:
    made = playbook(max_names=max_names)
    made.shared.in_force = under(GrantOption.TEMPORARY_TABLES)
    made.shared.first_policy = made.shared.in_force.policy
    return made


@pytest.fixture
def book() -> Iterator[Playbook]:
    """Nothing may be left over in the end."""
    made = allowed()
    yield made
    assert made.end is None
    assert made.owed == 0
    assert made.shared.watched is None
    assert made.shared.ledger.lifted is None
    assert not made.client_side.on_hold


def refused(book: Playbook, sent: bytes, *message: bytes, status: str = "I", rule: bytes = RULE) -> bool:
    """Whether `sent` is a poison instead of this message; the session is in step again afterwards."""
    if b"pgbastion_denied_" not in sent:
        return False
    assert not message or message[0] not in sent
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready(status))
    assert b"pgbastion_denied" not in answer
    assert b"C25006\0" in answer
    assert rule in sent
    return True


def make(book: Playbook, sql: str = CREATE) -> None:
    book.client(query(sql))
    book.upstream(LIFTED, PARSED, BOUND, NO_DATA, done("SELECT 1"))
    book.resume()
    book.upstream(ready())
    book.resume()


# -- Query -------------------------------------------------------------------------------------------------------------


def test_a_query_runs_behind_our_lift(book: Playbook) -> None:
    assert book.client(query(CREATE), query("SELECT 1")) == LIFT + IN_PARTS
    assert book.upstream(LIFTED) == b""
    assert book.resume() == b""
    assert book.upstream(PARSED, BOUND, NO_DATA, done("SELECT 1")) == b""
    assert book.resume() == close("P") + SYNC
    assert book.upstream(ready()) == done("SELECT 1") + ready()
    assert book.resume() == query("SELECT 1")
    book.upstream(done("SELECT 1"), ready())
    assert book.shared.temporary == {"t"}
    assert not any(isinstance(effect, CatalogTouched) for effect in book.effects)


def test_every_byte_of_the_answer_alone(book: Playbook) -> None:
    """The warning of our SET LOCAL is never seen, however it is cut; other notices are."""
    book.client(query(CREATE))
    aside = packet("N", b"SNOTICE\0VNOTICE\0C00000\0Mhear\0\0")
    answer = LIFTED + PARSED + BOUND + aside + NO_DATA + done("SELECT 1")
    assert b"".join(book.upstream(bytes([byte])) for byte in answer) == aside
    assert book.resume() == close("P") + SYNC
    assert b"".join(book.upstream(bytes([byte])) for byte in ready()) == done("SELECT 1") + ready()
    book.resume()


def test_an_error_of_the_statement(book: Playbook) -> None:
    book.client(query(CREATE))
    assert b"C42P07\0" in book.upstream(LIFTED, PARSED, BOUND, NO_DATA, failed("42P07"))
    assert book.resume() == SYNC
    assert book.upstream(ready()) == ready()
    book.resume()
    assert not book.shared.temporary


def test_an_error_of_the_lift(book: Playbook) -> None:
    """A standby, a cancel: the client reads why, and its ReadyForQuery. Nobody can run what is left of the lift."""
    book.client(query(CREATE), query("SELECT 1"))
    assert b"C57014\0" in book.upstream(PARSED, BOUND, failed("57014"))
    assert book.resume() == SYNC + query("SELECT 1")
    assert book.upstream(ready()) == ready()
    book.upstream(done("SELECT 1"), ready())
    sent = book.client(bind(), execute(), SYNC)
    assert bind() not in sent
    assert b"C26000\0" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())


@pytest.mark.parametrize("status", ["T", "E"])
def test_a_query_in_a_transaction(book: Playbook, status: str) -> None:
    """In a failed one PostgreSQL says so itself."""
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    if status == "E":
        book.client(query("SELECT 1/0"))
        book.upstream(failed("22012"), ready("E"))
        assert book.client(query(CREATE)) == query(CREATE)
        book.upstream(failed("25P02"), ready("E"))
    else:
        assert refused(book, book.client(query(CREATE)), status="E")


def test_a_query_behind_a_transaction_that_is_not_answered_yet(book: Playbook) -> None:
    assert book.client(query("BEGIN"), query(CREATE)) == query("BEGIN")
    book.upstream(done("BEGIN"), ready("T"))
    assert refused(book, book.resume(), status="E")


def test_a_query_behind_messages_without_a_sync(book: Playbook) -> None:
    """They are in one transaction with it: answered or not."""
    sent = book.client(parse("SELECT 1"), query(CREATE))
    assert sent.startswith(parse("SELECT 1"))
    book.upstream(PARSED)
    assert refused(book, sent)
    book.client(parse("SELECT 1"), FLUSH)
    book.upstream(PARSED)
    assert refused(book, book.client(query(CREATE)))
    make(book)


# -- extended ----------------------------------------------------------------------------------------------------------


def test_a_group_of_its_own(book: Playbook) -> None:
    group = extended(CREATE)
    assert book.client(group, SYNC) == LIFT + group + SYNC
    assert book.upstream(LIFTED, PARSED, BOUND, done("SELECT 1"), ready()) == PARSED + BOUND + done("SELECT 1") + ready()
    assert book.shared.temporary == {"t"}


def test_message_by_message_with_flushes(book: Playbook) -> None:
    """As asyncpg does: no Sync before the end."""
    first = parse(CREATE, "s") + describe("S", "s") + FLUSH
    assert book.client(first) == LIFT + first
    book.upstream(LIFTED, PARSED, packet("t", b"\0\0"), NO_DATA)
    second = bind("s") + execute() + SYNC
    assert book.client(second) == second
    book.upstream(BOUND, done("SELECT 1"), ready())


def test_prepared_before(book: Playbook) -> None:
    for name in ("s", ""):
        book.client(parse(CREATE, name, [25]), SYNC)
        book.upstream(LIFTED, PARSED, ready())
        again = parse(CREATE, "", [25]) if not name else b""
        for _ in range(2):
            sent = book.client(bind(name), describe("P"), execute(), SYNC)
            assert sent == LIFT + again + bind(name) + describe("P") + execute() + SYNC
            answer = book.upstream(LIFTED, PARSED * bool(again), BOUND, NO_DATA, done("SELECT 1"), ready())
            assert answer == BOUND + NO_DATA + done("SELECT 1") + ready()


@pytest.mark.parametrize(
    "attack",
    [
        query("SELECT 1"),
        query("SELECT 2"),  # known: there is a short cut for it
        query(CREATE),
        parse("SELECT 1"),
        parse(CREATE),
        bind("known"),
        bind("known") + execute() + SYNC,
        bind(),
        bind("nobody"),
        execute(),
        execute("cursor"),
        packet("F", bytes(10)),
    ],
    ids=lambda attack: attack[:24].decode("latin-1"),
)
@pytest.mark.parametrize("begun", [True, False], ids=["bound", "parsed"])
def test_nothing_else_runs_while_the_mode_is_lifted(book: Playbook, attack: bytes, begun: bool) -> None:
    book.client(query("SELECT 2"), parse("SELECT 3", "known"), SYNC)
    book.upstream(done("SELECT 1"), ready(), PARSED, ready())
    before = parse(CREATE, "s") + (bind("s", "p") if begun else b"")
    assert book.client(before) == LIFT + before
    sent = book.client(attack)
    assert b"pgbastion_denied_" in sent
    assert attack[:30] not in sent
    for kind in (b"E", b"B"):
        assert not sent.startswith(kind)
    answers = [LIFTED, PARSED, BOUND * begun, failed("42601", f'at "{poison_of(sent)}"')]
    ended = attack[:1] in b"QF"
    if not attack.endswith(SYNC) and not ended:
        book.client(SYNC)
    assert b"pgbastion" not in book.upstream(*answers, ready())
    make(book)  # in step again


def test_only_once(book: Playbook) -> None:
    before = parse(CREATE, "s") + bind("s", "p") + execute("p")
    assert book.client(before) == LIFT + before
    sent = book.client(execute("p"), SYNC)
    assert execute("p") not in sent
    book.upstream(LIFTED, PARSED, BOUND, done("SELECT 1"))
    assert refused(book, sent)


def test_a_usual_request_behind_it(book: Playbook) -> None:
    """What has short cuts does not get them as long as the mode is lifted, and gets them again behind the Sync."""
    book.client(query("SELECT 2"), parse("SELECT 3", "known"), SYNC)
    book.upstream(done("SELECT 1"), ready(), PARSED, ready())
    book.client(parse(CREATE, "s"), FLUSH)
    book.upstream(LIFTED, PARSED)
    usual = bind("known") + execute() + SYNC
    sent = book.client(usual)
    assert refused(book, sent, bind("known"))
    assert book.client(usual) == usual
    book.upstream(BOUND, done("SELECT 1"), ready())
    assert book.client(query("SELECT 2")) == query("SELECT 2")
    book.upstream(done("SELECT 1"), ready())


@pytest.mark.parametrize(
    "first",
    [parse("SELECT 1"), describe("S", "s"), close("S", "x") + parse("SELECT 1"), parse("SELECT 1") + bind() + execute()],
)
def test_only_the_first_of_its_group(book: Playbook, first: bytes) -> None:
    """Else something could have run before in the same transaction."""
    book.client(parse(CREATE, "s"), SYNC)
    book.upstream(LIFTED, PARSED, ready())
    sent = book.client(first, bind("s"), execute(), SYNC)
    assert sent.startswith(first + bind("s") + b"P")
    assert LIFT not in sent
    replies = {"P": PARSED, "D": packet("t", b"\0\0") + NO_DATA, "C": CLOSED + PARSED}[chr(first[0])]
    book.upstream(replies, *([BOUND, done("SELECT 1")] if execute() in first else []), BOUND)
    assert refused(book, sent)


def test_closes_may_stand_before(book: Playbook) -> None:
    """JDBC closes what it forgot in front of its next Parse; that begins no transaction."""
    closes, group = close("S", "x") + close("P", "y"), extended(CREATE)
    assert book.client(query("SELECT 1"), closes, group, SYNC) == query("SELECT 1") + closes
    book.upstream(done("SELECT 1"), ready())
    assert book.resume() == LIFT + group + SYNC
    answer = CLOSED + CLOSED + LIFTED + PARSED + BOUND + done("SELECT 1") + ready()
    told = b"".join(book.upstream(bytes([byte])) for byte in answer)
    assert told == CLOSED + CLOSED + PARSED + BOUND + done("SELECT 1") + ready()


def test_not_in_a_transaction(book: Playbook) -> None:
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    sent = book.client(parse(CREATE), bind(), execute(), SYNC)
    assert sent.startswith(parse(CREATE) + bind() + b"P")
    book.upstream(PARSED, BOUND)
    assert refused(book, sent, status="E")


def test_behind_groups_that_are_not_answered_yet(book: Playbook) -> None:
    """Whether they left a transaction open depends on the replies."""
    begin = extended("BEGIN") + SYNC
    assert book.client(begin, extended(CREATE), SYNC) == begin
    book.upstream(PARSED, BOUND, done("BEGIN"), ready("T"))
    sent = book.resume()
    book.upstream(PARSED, BOUND)
    assert refused(book, sent, status="E")
    book.client(query("ROLLBACK"))
    book.upstream(done("ROLLBACK"), ready())
    assert book.client(query("SELECT 1"), extended(CREATE), SYNC) == query("SELECT 1")
    book.upstream(done("SELECT 1"), ready())
    assert book.resume() == LIFT + extended(CREATE) + SYNC
    book.upstream(LIFTED, PARSED, BOUND, done("SELECT 1"), ready())


def test_a_lift_that_fails_takes_its_group_along(book: Playbook) -> None:
    """A cancel that comes just then leaves our text under the empty name: no Bind reaches it."""
    book.client(parse("SELECT 1"), SYNC)
    book.upstream(PARSED, ready())
    book.client(extended(CREATE), SYNC)
    assert book.upstream(PARSED, BOUND, failed("57014"), ready()) == failed("57014") + ready()
    for attack in (bind() + execute(), describe("S")):
        sent = book.client(attack, SYNC)
        assert attack not in sent
        assert b"C26000\0" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    book.client(parse("SELECT 1"), bind(), execute(), SYNC)
    book.upstream(PARSED, BOUND, done("SELECT 1"), ready())


def test_a_grant_that_loses_the_option_between_parse_and_execute(book: Playbook) -> None:
    book.client(parse(CREATE, "s"), bind("s"), FLUSH)
    book.upstream(LIFTED, PARSED, BOUND)
    book.shared.adopt(under())
    sent = book.client(execute(), SYNC)
    assert refused(book, sent, execute(), rule=b"rule ")


# -- names -------------------------------------------------------------------------------------------------------------


def test_only_what_the_session_made_is_written_to(book: Playbook) -> None:
    insert = query("INSERT INTO t VALUES (1)")
    assert refused(book, book.client(insert), insert, rule=b"write-statement")
    make(book)
    assert book.client(insert) == query("INSERT INTO pg_temp.t VALUES (1)")
    book.upstream(done("INSERT 0 1"), ready())
    other = query("INSERT INTO u VALUES (1)")
    assert refused(book, book.client(other), other, rule=b"write-statement")


def test_a_name_that_is_being_made_is_waited_for(book: Playbook) -> None:
    create, insert = extended(CREATE) + SYNC, query("INSERT INTO t VALUES (1)")
    assert book.client(create, insert) == LIFT + create
    book.upstream(LIFTED, PARSED, BOUND, done("SELECT 1"), ready())
    assert book.resume() == query("INSERT INTO pg_temp.t VALUES (1)")
    book.upstream(done("INSERT 0 1"), ready())


def test_a_name_that_could_not_be_made_is_refused(book: Playbook) -> None:
    book.client(extended(CREATE), SYNC, query("INSERT INTO t VALUES (1)"))
    book.upstream(LIFTED, PARSED, BOUND, failed("42P07"), ready())
    assert refused(book, book.resume(), rule=b"write-statement")


def test_names_are_asked_for_at_execute_too(book: Playbook) -> None:
    """Prepared while it was another's: judged anew by what the session knows."""
    make(book)
    book.client(parse("INSERT INTO t VALUES (1)", "i"), SYNC)
    book.upstream(PARSED, ready())
    book.shared.temporary = frozenset()
    assert refused(book, book.client(bind("i"), execute(), SYNC), bind("i"), rule=b"write-statement")


def test_a_drop_runs_lifted_and_means_a_temporary_table(book: Playbook) -> None:
    drop = query("DROP TABLE t")
    assert refused(book, book.client(drop), drop, rule=b"write-statement")
    make(book)
    sent = book.client(drop)
    assert sent.startswith(LIFT)
    assert b'pg_temp."t"' in sent
    book.upstream(LIFTED, PARSED, BOUND, NO_DATA, done("DROP TABLE"))
    book.resume()
    book.upstream(ready())
    book.resume()


def test_so_many_names_and_no_more() -> None:
    book = allowed(max_names=2)
    for name in "ab":
        make(book, f"CREATE TEMP TABLE {name} (k int)")
    sent = book.client(query("CREATE TEMP TABLE c (k int)"))
    assert b"C53400\0" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())


def test_without_the_option_nothing_is_lifted() -> None:
    book = playbook()
    sent = book.client(query(CREATE))
    assert LIFT not in sent
    assert b"pgbastion_denied" in sent


def test_statements_are_recorded_once(book: Playbook) -> None:
    make(book)
    events = [json.loads(b"{" + record + b"}") for record in book.records]
    assert [event["event"] for event in events] == ["statement", "statement_end"]
    assert events[1]["outcome"] == "ok"
