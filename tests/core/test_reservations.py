"""Sessions are counted once, over all workers, and never beyond a ceiling, whatever order things happen in."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.reservations import Ceilings, Limited, Reservation, Reservations

WORKERS = ("worker:0", "worker:1", "worker:2")
CEILINGS = Ceilings(gateway=5, user=3, target=2)
NAMES = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.tuples(st.sampled_from(("take", "give", "declare", "forget")), st.sampled_from(WORKERS), NAMES, NAMES, NAMES),
    max_size=60,
)


def reservation(session: str, user: str = "u", target: str = "t") -> Reservation:
    return Reservation(session, user, target)


@given(STEPS)
def test_counts_are_those_of_what_is_held(steps: list[tuple[str, str, str, str, str]]) -> None:
    """Against the plainest model: a set of all that is held."""
    counted = Reservations()
    model: dict[tuple[str, str], Reservation] = {}
    for step, worker, session, user, target in steps:
        wanted = reservation(f"{worker}/{session}", user, target)
        held = list(model.values())
        match step:
            case "take":
                if (worker, wanted.session) in model:
                    continue  # a session asks once
                full = counted.take(worker, wanted, CEILINGS)
                users = sum(one.user == user for one in held)
                targets = sum(one.target == target for one in held)
                assert (full is None) == (len(held) < 5 and users < 3 and targets < 2)
                if full is None:
                    model[worker, wanted.session] = wanted
            case "give":
                counted.give_back(worker, wanted.session)
                model.pop((worker, wanted.session), None)
            case "declare":
                counted.declare(worker, [wanted])
                model = {key: one for key, one in model.items() if key[0] != worker} | {(worker, wanted.session): wanted}
            case "forget":
                gone = counted.forget(worker)
                assert sorted(one.session for one in gone) == sorted(key[1] for key in model if key[0] == worker)
                model = {key: one for key, one in model.items() if key[0] != worker}
        assert counted.total == len(model)


def test_which_limit_is_said() -> None:
    counted = Reservations()
    assert counted.take("worker:0", reservation("1"), Ceilings(3, 2, None)) is None
    assert counted.take("worker:1", reservation("2"), Ceilings(3, 2, 1)) is Limited.TARGET
    assert counted.take("worker:1", reservation("2"), Ceilings(3, 2, None)) is None
    assert counted.take("worker:1", reservation("3"), Ceilings(3, 2, None)) is Limited.USER
    assert counted.take("worker:1", reservation("3", user="v"), Ceilings(3, 2, None)) is None
    assert counted.take("worker:1", reservation("4", user="w"), Ceilings(3, 2, None)) is Limited.GATEWAY


def test_what_is_open_upstream_is_known_when_its_worker_dies() -> None:
    counted = Reservations()
    counted.take("worker:0", reservation("1"), CEILINGS)
    counted.take("worker:0", reservation("2", target="other"), CEILINGS)
    counted.opened("worker:0", "1", "process 7")
    counted.opened("worker:0", "unknown", "process 8")
    assert {one.session: one.upstream for one in counted.forget("worker:0")} == {"1": "process 7", "2": ""}
    assert counted.total == 0


def test_a_reservation_survives_its_way_over_the_bus() -> None:
    one = Reservation("s", "u", "t", "process 7")
    assert Reservation.from_payload(one.as_payload()) == one
    assert Reservation.from_payload({"session": 1, "user": "u", "target": "t"}) is None
    assert Reservation.from_payload([]) is None


def test_a_share_is_counted_over_all_workers() -> None:
    counted = Reservations()
    wide = Ceilings(10, 10, None)

    def wanted(session: str, name: str = "c1") -> Reservation:
        return Reservation(session, "u", "t", shares=((f"credential:{name}", 2),))

    assert counted.take("worker:0", wanted("1"), wide) is None
    assert counted.take("worker:1", wanted("2"), wide) is None
    assert counted.take("worker:1", wanted("3"), wide) is Limited.CREDENTIAL
    assert counted.take("worker:1", wanted("3", "c2"), wide) is None
    counted.forget("worker:0")
    assert counted.take("worker:1", wanted("4"), wide) is None
    one = wanted("5")
    assert Reservation.from_payload(one.as_payload()) == one
