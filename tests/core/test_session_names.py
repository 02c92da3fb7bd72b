"""The one name space of all sessions that never defined a name: nothing can get into it."""

import pytest

from gateway.session.names import NOTHING_NAMED, Names
from tests.support.playbook import playbook
from tests.support.wire import SYNC, bind, execute, parse, query


def test_where_nothing_was_defined_nothing_is_found_and_all_may_be_dropped() -> None:
    NOTHING_NAMED.will_drop(b"")
    NOTHING_NAMED.dropped(b"s")
    NOTHING_NAMED.confirm(b"s", None)
    NOTHING_NAMED.abandon(b"s")
    NOTHING_NAMED.group_sent()
    NOTHING_NAMED.will_drop_all()
    NOTHING_NAMED.all_dropped()
    assert NOTHING_NAMED.lookup(b"") is None
    assert NOTHING_NAMED.lookup(b"s") is None
    assert len(NOTHING_NAMED) == 0


def test_nothing_can_be_defined_there() -> None:
    other: Names[str] = NOTHING_NAMED  # type: ignore[assignment]
    for define in (lambda: other.send(b"s", "x"), lambda: other.send_with_sync(b"s"), lambda: other.confirm(b"s", "x")):
        with pytest.raises(RuntimeError):
            define()
    with pytest.raises(RuntimeError):
        _ = other.tables
    assert len(NOTHING_NAMED) == 0


def test_a_session_has_names_of_its_own_from_its_first_definition_on() -> None:
    asks, defines, other = playbook(), playbook(), playbook()
    asks.client(query("SELECT 1"))
    defines.client(parse("SELECT 1", "s") + bind(statement="s") + execute() + SYNC)
    assert asks.shared.prepared is asks.shared.portals is NOTHING_NAMED
    assert defines.shared.prepared is not NOTHING_NAMED
    assert defines.shared.prepared is not defines.shared.portals
    assert other.shared.prepared.lookup(b"s") is None
