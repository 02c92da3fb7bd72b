"""When passwords of upstream logins are to be changed: never later than their schedule says, and not all at once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.model import DatabaseRole, ListMode, Snapshot, Target, TlsMode
from gateway.access.password_age import PasswordAge, password_ages
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.cli.doctor_passwords import look_at_admin_logins, look_at_passwords
from gateway.cli.findings import State
from gateway.ports import TargetAdmin

THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def age(row_id: str = "r", every: int | None = 30, *, half_done: bool = False) -> PasswordAge:
    return PasswordAge("sales", "read_only", row_id, "app_ro", THEN, every, half_done)


@given(st.text(min_size=1), st.integers(1, 3650))
def test_a_password_is_due_within_the_last_tenth_of_its_time(row_id: str, every: int) -> None:
    due = age(row_id, every).due_at
    assert due is not None
    assert THEN + every * DAY * 0.9 - DAY / 1000 <= due <= THEN + every * DAY
    assert age(row_id, every).wants_rotation(due)
    assert not age(row_id, every).wants_rotation(due - timedelta(seconds=1))


def test_they_are_spread() -> None:
    assert len({age(str(number)).due_at for number in range(100)}) == 100


def test_without_a_schedule_only_what_is_half_done_is_wanted() -> None:
    assert not age(every=None).wants_rotation(THEN + 10_000 * DAY)
    assert age(every=None, half_done=True).wants_rotation(THEN)


def snapshot(role: DatabaseRole, every: int | None) -> Snapshot:
    roles = {AccessMode.READ_ONLY: role}
    place = ("t", "sales", "db", 5432, "sales", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, roles)
    return Snapshot(1, {}, {"sales": Target(*place, rotate_every_days=every)}, {}, (), {}, {}, {})


def test_what_the_doctor_says() -> None:
    role = DatabaseRole("r", "app_ro", b"sealed", changed_at=THEN)
    half_done = DatabaseRole("r", "app_ro", b"sealed", b"sealed", changed_at=THEN)
    elsewhere = DatabaseRole("r", "app_ro", b"", None, SecretReference.parse("env:SALES"), THEN)
    assert list(look_at_passwords(snapshot(role, None), THEN + 999 * DAY)) == []
    assert list(look_at_passwords(snapshot(elsewhere, 30), THEN + 999 * DAY)) == []
    assert list(password_ages(snapshot(elsewhere, 30))) == []
    for wanted, found, now in (
        (State.OK, role, THEN + 29 * DAY),
        (State.PROBLEM, role, THEN + 31 * DAY),
        (State.WARNING, half_done, THEN + DAY),
    ):
        (finding,) = look_at_passwords(snapshot(found, 30), now)
        assert finding.state is wanted
        assert wanted is State.OK or "targets rotate-credential sales --role read_only" in finding.remedy
    (unknown,) = look_at_passwords(
        snapshot(DatabaseRole("r", "x", b"s", changed_at=datetime(1970, 1, 1, tzinfo=UTC)), 30), THEN
    )
    assert "since nobody knows when" in unknown.detail


def test_what_the_doctor_says_of_admin_logins() -> None:
    """A week for moving people off the shared password; then it is a warning until that password is changed."""
    there = snapshot(DatabaseRole("r", "app_ro", b"sealed", changed_at=THEN), None)
    adopted = TargetAdmin("t", "tunnel", b"sealed", THEN)
    for wanted, text, admin, now in (
        (State.OK, "others know", adopted, THEN + 6 * DAY),
        (State.WARNING, "others knew", adopted, THEN + 8 * DAY),
        (State.WARNING, "half done", TargetAdmin("t", "tunnel", b"sealed", THEN, b"sealed"), THEN + DAY),
        (State.OK, "nobody has seen", TargetAdmin("t", "tunnel", b"sealed", THEN, None, THEN + DAY), THEN + 99 * DAY),
    ):
        (finding,) = look_at_admin_logins(there, [admin], now)
        assert finding.state is wanted
        assert text in finding.detail
    assert list(look_at_admin_logins(there, [TargetAdmin("gone", "tunnel", b"sealed", THEN)], THEN)) == []
