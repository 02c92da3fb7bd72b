"""A session whose database changes under it: what is prepared is judged again, and DDL of its own is told."""

import pytest

from gateway.access_mode import AccessMode
from gateway.session.effects import CatalogTouched
from gateway.session.verdicts import PolicyInForce
from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.policy import Policy
from tests.support.playbook import BOUND, PARSED, Playbook, done, failed, playbook, poison_of, ready
from tests.support.wire import SYNC, bind, execute, parse, query

_EVIL = ("20001", "public", "evil", "f", "1", "1", "23", "sql", None, "false", None)
_ENUM = ("20002", "public", "mood", "e", "E", "false", "0", "0", "0", "3504", "enum_in", None)
NOTHING = build_catalog(CatalogRows(types=(_ENUM,)), 16)
EVIL = build_catalog(CatalogRows(types=(_ENUM,), functions=(_EVIL,)), 16)
NO_ENUM = build_catalog(CatalogRows(), 16)


def under(catalog: Catalog, **lists: frozenset[str]) -> PolicyInForce:
    return PolicyInForce(Policy(AccessMode.READ_ONLY, server_major=16, catalog=catalog, **lists), 1000, 1_000_000, 1000)


@pytest.fixture
def book() -> Playbook:
    made = playbook()
    made.shared.in_force = under(NOTHING)
    made.shared.first_policy = made.shared.in_force.policy
    return made


def refused(book: Playbook, *message: bytes) -> bool:
    """Whether it is; the session is in step again afterwards."""
    sent = book.client(*message)
    if b"pgbastion_denied_" not in sent:
        return False
    assert message[0] not in sent
    assert b"C42501\0" in book.upstream(failed("42601", f'at "{poison_of(sent)}"'), ready())
    return True


def test_what_sql_prepared_is_judged_again_when_the_database_changed(book: Playbook) -> None:
    book.client(query("PREPARE a AS SELECT (1).evil"), query("PREPARE b AS SELECT 1"))
    book.upstream(done("PREPARE"), ready(), done("PREPARE"), ready())
    book.shared.adopt(under(EVIL))
    for attack in ("EXECUTE a", "EXPLAIN ANALYZE EXECUTE a", "EXECUTE b; EXECUTE a", "EXECUTE unknown"):
        assert refused(book, query(attack)), attack
    assert refused(book, bind("a"), SYNC)
    assert not refused(book, query("EXECUTE b"))
    book.upstream(done("SELECT 1"), ready())
    assert not refused(book, query("EXPLAIN EXECUTE b"))


def test_what_was_prepared_in_between_is_judged_when_the_first_policy_comes_back(book: Playbook) -> None:
    first = under(EVIL)
    book.shared.in_force, book.shared.first_policy = first, first.policy
    book.shared.adopt(under(NOTHING))
    book.client(query("PREPARE a AS SELECT (1).evil"))
    book.upstream(done("PREPARE"), ready())
    book.shared.adopt(first)
    assert refused(book, query("EXECUTE a"))


def test_a_cursor_keeps_its_plan(book: Playbook) -> None:
    """It was judged and planned when it was declared: what came into the database since is none of its. Lists that changed are."""
    book.client(query("BEGIN; DECLARE c CURSOR FOR SELECT 1"))
    book.upstream(done("BEGIN"), done("DECLARE CURSOR"), ready("T"))
    book.shared.adopt(under(EVIL))
    assert not refused(book, query("FETCH c"))
    book.upstream(done("FETCH 1"), ready("T"))
    book.shared.adopt(under(EVIL, allowed_functions=frozenset({"public.f"})))
    assert refused(book, query("FETCH c"))


def test_a_parameters_type_is_judged_again(book: Playbook) -> None:
    book.client(parse("SELECT $1", "a", [20002]), SYNC)
    book.upstream(PARSED, ready())
    run = (bind("a", values=[b"x"]), execute(), SYNC)
    assert not refused(book, *run)
    book.upstream(BOUND, done("SELECT 1"), ready())
    book.shared.adopt(under(NO_ENUM))
    assert refused(book, bind("a", values=[b"x"]), SYNC)
    book.shared.adopt(under(NOTHING))
    assert not refused(book, *run)


def test_what_still_may_run_is_judged_once(book: Playbook) -> None:
    book.client(parse("SELECT 1", "a"), SYNC)
    book.upstream(PARSED, ready())
    book.shared.adopt(under(EVIL))
    for _ in range(2):
        book.client(bind("a"), execute(), SYNC)
        book.upstream(BOUND, done("SELECT 1"), ready())
    known = book.shared.prepared.lookup(b"a")
    assert getattr(known, "policy", None) is book.shared.in_force.policy


def told(book: Playbook) -> int:
    return sum(isinstance(effect, CatalogTouched) for effect in book.effects)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_ddl_is_told_when_its_transaction_is_over(end: str) -> None:
    book = playbook(AccessMode.READ_WRITE)
    book.client(query("SELECT 1"), query(end), query(end))  # known from here on
    book.upstream(*(part for tag in ("SELECT 1", end, end) for part in (done(tag), ready())))
    assert told(book) == 0
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    book.client(query("CREATE VIEW v AS SELECT 1"))
    book.upstream(done("CREATE VIEW"), ready("T"))
    assert told(book) == 0
    book.client(query(end))
    book.upstream(done(end), ready())
    assert told(book) == 1
    book.client(query("SELECT 1"))
    book.upstream(done("SELECT 1"), ready())
    assert told(book) == 1


@pytest.mark.parametrize("sql", ["DROP VIEW v", "DO 'BEGIN END'", "SELECT 1 INTO t", "CREATE TABLE t AS SELECT 1", "CALL p()"])
def test_whatever_may_change_the_catalog_is_told(sql: str) -> None:
    book = playbook(AccessMode.READ_WRITE)
    book.client(parse(sql), bind(), execute(), SYNC)
    book.upstream(PARSED, BOUND, done("DONE"), ready())
    assert told(book) == 1
