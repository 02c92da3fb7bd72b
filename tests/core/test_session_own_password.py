"""A person's own password in a session, as transcripts: what goes upstream of it, and what the client reads."""

import json
from dataclasses import replace

import pytest

from gateway.access.verifiers import make_verifier
from gateway.access_mode import AccessMode
from gateway.session.effects import ChangeOwnPassword
from gateway.session.own_password import CHANGED, refused
from gateway.statements.password_change import password_change
from gateway.statements.verdict import Verdict
from tests.support.playbook import Playbook, done, failed, playbook, poison_of, ready
from tests.support.wire import SYNC, bind, execute, packet, parse, query

VERIFIER = make_verifier("a new password", b"0123456789abcdef")
BY_NAME = f"ALTER USER ada PASSWORD '{VERIFIER}'"
EMPTY = query("")
EMPTY_REPLY = packet("I")


@pytest.fixture(params=list(AccessMode))
def book(request: pytest.FixtureRequest) -> Playbook:
    made = playbook(request.param)
    made.shared.facts = replace(made.shared.facts, login="app_ro")
    return made


def asked(book: Playbook) -> ChangeOwnPassword | None:
    return next((effect for effect in book.effects if isinstance(effect, ChangeOwnPassword)), None)


def concluded(book: Playbook, verdict: Verdict) -> bytes:
    effect = asked(book)
    assert effect is not None
    book.effects.remove(effect)
    out = book.client_side.password_changed(effect, verdict, 1.0)
    book._after()
    return out


def records(book: Playbook, event: str) -> list[dict[str, object]]:
    found = [json.loads(b"{" + record + b"}") for record in book.records]
    return [record for record in found if record["event"] == event]


@pytest.mark.parametrize(
    "sql",
    [
        BY_NAME,
        f"ALTER USER \"app_ro\" PASSWORD '{VERIFIER}'",
        f"alter role current_user with encrypted password '{VERIFIER}' ;",
        f"ALTER USER SESSION_USER PASSWORD '{VERIFIER}'",
    ],
)
def test_the_verifier_goes_to_the_gateway_and_nothing_of_it_upstream(book: Playbook, sql: str) -> None:
    assert book.client(query(sql)) == b""
    effect = asked(book)
    assert effect is not None
    assert effect.verifier.reveal() == VERIFIER
    assert VERIFIER not in repr(effect)
    assert book.client_side.on_hold
    assert concluded(book, CHANGED) == EMPTY
    assert book.upstream(EMPTY_REPLY, ready()) == done("ALTER ROLE") + ready()
    assert book.owed == 0
    assert VERIFIER not in b"".join(book.records).decode()
    (statement,) = records(book, "statement")
    assert statement["rule"] == "own-password"
    (end,) = records(book, "statement_end")
    assert end["outcome"] == "ok"


def test_what_is_behind_it_waits_and_comes_in_order(book: Playbook) -> None:
    assert book.client(query("SELECT 1"), query(BY_NAME), query("SELECT 2")) == query("SELECT 1")
    assert asked(book) is None
    assert book.upstream(done("SELECT 1"), ready()) == done("SELECT 1") + ready()
    assert book.resume() == b""
    assert concluded(book, CHANGED) == EMPTY + query("SELECT 2")
    answer = book.upstream(EMPTY_REPLY, ready(), done("SELECT 2"), ready())
    assert answer == done("ALTER ROLE") + ready() + done("SELECT 2") + ready()


def test_a_refusal_of_the_gateway_is_an_error_and_the_session_goes_on(book: Playbook) -> None:
    book.client(query(BY_NAME))
    sent = concluded(book, refused("user-protected", 'User "ada" is protected'))
    assert VERIFIER.encode() not in sent
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert b"is protected (rule user-protected)" in answer
    assert answer.endswith(ready())
    assert book.client(query("SELECT 1")) == query("SELECT 1")


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("'hunter2'", "own-password-in-clear"),
        ("'md5" + 32 * "0" + "'", "own-password-md5"),
        ("NULL", "own-password-empty"),
        ("''", "own-password-empty"),
    ],
)
def test_what_is_no_verifier_is_refused_and_not_written_down(book: Playbook, password: str, rule: str) -> None:
    sent = book.client(query(f"ALTER USER ada PASSWORD {password}"))
    assert asked(book) is None
    answer = book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    assert f"(rule {rule})".encode() in answer
    assert b"hunter2" not in sent + answer + b"".join(book.records)


def test_not_within_a_transaction(book: Playbook) -> None:
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    sent = book.client(query(BY_NAME))
    assert asked(book) is None
    assert b"C25001\0" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready("E"))


def test_not_within_an_extended_group(book: Playbook) -> None:
    sent = book.client(parse("SELECT 1"), bind(), execute(), query(BY_NAME))
    assert b"pgbastion_denied" in sent
    assert asked(book) is None


def test_not_in_a_session_that_was_begun_without_it(book: Playbook) -> None:
    book.shared.facts = replace(book.shared.facts, by_password=False)
    sent = book.client(query(BY_NAME))
    assert asked(book) is None
    assert b"own-password-not-shown" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())


@pytest.mark.parametrize(
    "sql",
    [
        f"ALTER USER bob PASSWORD '{VERIFIER}'",
        f"ALTER USER postgres PASSWORD '{VERIFIER}'",
        f"ALTER USER ada PASSWORD '{VERIFIER}' SUPERUSER",
        f"ALTER USER ada PASSWORD '{VERIFIER}'; SELECT 1",
        f"ALTER USER ALL SET password_encryption = '{VERIFIER}'",
        f"ALTER USER \"ADA\" PASSWORD '{VERIFIER}'",
        "ALTER USER ada SUPERUSER",
        "ALTER USER ada RENAME TO eve",
    ],
)
def test_anything_else_about_roles_stays_refused(book: Playbook, sql: str) -> None:
    assert b"pgbastion_denied" in book.client(query(sql))
    assert asked(book) is None


def test_by_the_extended_protocol_it_stays_refused(book: Playbook) -> None:
    assert b"pgbastion_denied" in book.client(parse(BY_NAME), bind(), execute(), SYNC)
    assert asked(book) is None


def test_a_session_that_ends_meanwhile_sends_nothing(book: Playbook) -> None:
    book.client(query(BY_NAME))
    book.client_side.drop()
    assert concluded(book, CHANGED) == b""


@pytest.mark.parametrize("sql", [b"", b"\xff", b"ALTER USER", b"SELECT 1", b"ALTER USER a PASSWORD 'x' --" + 5000 * b"-"])
def test_what_is_no_such_statement(sql: bytes) -> None:
    assert password_change(sql) is None
