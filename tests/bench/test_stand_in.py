"""The stand-in for PostgreSQL that ten thousand sessions are measured with: a login there looks like one at PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.demo.postgres import TlsFiles
from tests.bench.proxies.contestant import Door
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.stand_in import ASKED, ground_with_room
from tests.bench.workloads.crowd import Crowd
from tests.support.upstream import Database
from tests.support.wire import Place, RawClient, Refused, packet, query, shape


@pytest.fixture
def ground(database: Database, upstream_ca: Path) -> Ground:
    return Ground(database, upstream_ca, TlsFiles(Path(), Path()), 100)


@pytest.fixture
def roomy(ground: Ground) -> Iterator[Ground]:
    with ground_with_room(ground) as found:
        yield found


def log_in(door: Door, **parameters: str) -> RawClient:
    return Place(door.host, door.port).log_in(door.user, door.password, door.dbname, **parameters)


def reports(client: RawClient) -> dict[str, str]:
    return dict(message.setting for message in client.transcript if message.kind == "S")


def test_a_login_and_its_one_query_look_like_postgresqls(ground: Ground, roomy: Ground) -> None:
    wishes = {"application_name": "ana/1", "default_transaction_read_only": "on", "client_encoding": "UTF8"}
    with log_in(ground.reader(), **wishes) as real, log_in(roomy.reader(), **wishes) as imitated:
        assert reports(imitated) == reports(real)
        assert shape(imitated.transcript) == shape(real.transcript)
        assert imitated.ask(query(ASKED)) == real.ask(query(ASKED))
        assert len(imitated.key) == len(real.key)


def test_it_says_what_it_does_not_know_and_stays(roomy: Ground) -> None:
    with log_in(roomy.reader()) as client:
        assert client.ask(query("SELECT 2"))[0].sqlstate == "0A000"
        assert client.value(ASKED) == "1"
        client.send(packet("X"))
        assert client.until_eof() == []


def test_each_session_has_a_process_id_of_its_own(roomy: Ground) -> None:
    with log_in(roomy.reader()) as first, log_in(roomy.reader()) as second:
        assert first.process_id != second.process_id


def test_a_wrong_password_is_no_way_in(roomy: Ground) -> None:
    door = roomy.reader()
    with pytest.raises(Refused) as refused:
        Place(door.host, door.port).log_in(door.user, "wrong", door.dbname)
    assert refused.value.sqlstate == "28P01"


def test_who_asks_more_is_at_postgresql_itself(roomy: Ground) -> None:
    with log_in(roomy.reader(), application_name="pgbastion/catalog") as client:
        assert client.value("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()") == "pgbastion/catalog"
    with roomy.database.upstream.connect() as superuser:
        assert superuser.execute("SELECT 1 + 1").fetchone() == (2,)


def test_a_crowd_logs_in_and_rests_while_one_asks(roomy: Ground) -> None:
    with closing(Crowd(roomy.reader())) as crowd:
        crowd.grow(20)
        assert len(crowd) == 20
        assert len(crowd.latencies(0.2)) > 10
