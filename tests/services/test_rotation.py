"""Rotations against a real server: what lets in, what the store holds, and what is left when one is broken off."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.model import DatabaseRole, Target
from gateway.access.password_age import password_ages
from gateway.access.secret_reference import SecretReference
from gateway.audit.admin_event import AdminEvent
from gateway.custody.rotation import Step
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection
from gateway.ports import FormerLogin
from gateway.secret import Secret
from gateway.services import rotation_lease, rotation_logins, rotation_run, targets
from gateway.services.errors import ServiceError
from gateway.services.rotation import Choice, Means, Rotated, Which, rotate_credentials
from gateway.supervision.rotations import Rotations
from tests.support.rotating import BY, RO, RW, Custody, Role, fresh_role
from tests.support.upstream import Database, Login, Upstream, fresh_database

STEPS = [step for step in Step if step not in (Step.HALF_DONE, Step.STUCK)]


@pytest.fixture(scope="module")
def place(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    """Rotations are about roles: one database is enough."""
    with fresh_database(postgres, upstream_logins) as fresh:
        yield fresh


@pytest.fixture
def role(place: Database) -> Iterator[Role]:
    with fresh_role(place) as made:
        yield made


@pytest.fixture
async def custody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Custody:
    monkeypatch.setattr(rotation_run, "_OTHERS_SECONDS", 0.0)
    monkeypatch.setattr(rotation_logins, "_PATIENT_SECONDS", 1.0)
    monkeypatch.setattr(rotation_logins, "_PAUSE_SECONDS", 0.02)
    return await Custody.made(tmp_path)


async def rotate(custody: Custody, name: str = "shop", choice: Choice = Choice.SESSIONS, **more: object) -> list[Rotated]:
    end_sessions = bool(more.pop("end_sessions", False))
    means = Means(custody.vault, **more)  # type: ignore[arg-type]
    return await rotate_credentials(custody.store, means, name=name, choice=choice, end_sessions=end_sessions, **BY)


async def test_the_new_password_lets_in_and_the_old_one_does_not(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    (done,) = await rotate(custody)
    assert (done.end, done.login, done.old_refused) == (Step.DONE, role.name, "28P01")
    (new,) = await custody.passwords("shop")
    assert len(new.reveal()) == 48
    assert (role.lets_in(new), role.lets_in(role.password)) == (True, False)
    assert (await custody.actions())[-2:] == ["target.rotation_begun", "target.credential_rotated"]
    with role.upstream.connect() as connection:
        (kept,) = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role.name,)).fetchone() or ("",)
    assert kept.startswith("SCRAM-SHA-256$4096:")


async def test_no_password_is_in_an_event_or_in_the_servers_log(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    role.alter("SET log_statement = 'all'")
    shown = repr(await rotate(custody))
    (new,) = await custody.passwords("shop")
    written = repr(await custody.store.read_events()) + shown
    if role.upstream.log_file is not None:
        log = role.upstream.log_file.read_text()
        assert f'ALTER ROLE "{role.name}"' in log or "log_statement" in log
        written += log.replace(role.password.reveal(), "", 1)  # the fixture's own CREATE ROLE, where that is logged
    for secret in (new, role.password):
        assert secret.reveal() not in written


class KilledError(Exception):
    """As a kill would: nothing after it is done."""


def killed_at(step: Step) -> Callable[[Step], None]:
    def entering(now: Step) -> None:
        if now is step:
            raise KilledError

    return entering


@pytest.mark.parametrize("step", STEPS)
async def test_broken_off_before_any_step_the_next_run_ends_it(custody: Custody, role: Role, step: Step) -> None:
    await custody.target("shop", role, RO)
    with contextlib.suppress(KilledError):
        await rotate(custody, entering=killed_at(step))
    assert any(role.lets_in(each) for each in await custody.passwords("shop"))
    (done,) = await rotate(custody)
    assert done.end is Step.DONE
    (new,) = await custody.passwords("shop")
    assert (role.lets_in(new), role.lets_in(role.password)) == (True, False)
    assert done.finished_earlier == (step in (Step.TRY_PENDING, Step.PROMOTE))


async def test_what_lets_nobody_in_is_put_back(custody: Custody, role: Role) -> None:
    """The server takes the new password, and has no connection left for a second one."""
    await custody.target("shop", role, RO)
    role.alter("CONNECTION LIMIT 1")
    (failed,) = await rotate(custody)
    assert failed.end is Step.FAILED
    assert failed.trouble is not None
    assert failed.trouble.sqlstate == "53300"
    (same,) = await custody.passwords("shop")
    role.alter("CONNECTION LIMIT -1")
    assert same.reveal() == role.password.reveal()
    assert role.lets_in(same)
    assert (await custody.actions())[-2:] == ["target.rotation_begun", "target.rotation_failed"]


async def test_until_when_passwords_are_valid_is_said_and_stays(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    role.alter("VALID UNTIL '2099-01-31 UTC'")
    (done,) = await rotate(custody)
    assert done.end is Step.DONE
    assert "2099-01-31" in done.notes[0]
    role.alter("VALID UNTIL '2001-01-31 UTC'")
    (failed,) = await rotate(custody)
    assert failed.end is Step.FAILED


async def test_a_password_that_is_not_the_servers_changes_nothing(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO, password=Secret("not the password"))
    (failed,) = await rotate(custody)
    assert failed.end is Step.FAILED
    assert failed.trouble is not None
    assert failed.trouble.sqlstate == "28P01"
    assert f"targets login shop --mode read_only --login {role.name}" in failed.trouble.remedy
    assert role.lets_in(role.password)
    assert len(await custody.passwords("shop")) == 1


async def test_the_admin_of_the_target_mends_a_login_that_cannot_help_itself(
    custody: Custody, role: Role, place: Database
) -> None:
    with fresh_role(place, "CREATEROLE") as boss:
        if place.upstream.major >= 16:
            with place.upstream.connect() as connection:
                connection.execute(f'GRANT "{role.name}" TO "{boss.name}" WITH ADMIN OPTION')
        await custody.target("shop", role, RO, password=Secret("not the password"))
        await custody.admin("shop", boss)
        (done,) = await rotate(custody)
        assert done.end is Step.DONE
        (new,) = await custody.passwords("shop")
        assert (role.lets_in(new), role.lets_in(role.password)) == (True, False)


async def test_all_rows_of_one_login_get_the_new_password(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO, RW)
    await custody.target("stock", role, RW)
    await custody.target("by_address", role, RO, host="127.0.0.1" if role.upstream.host != "127.0.0.1" else "localhost")
    (done,) = await rotate(custody)
    assert (done.also, done.shared_with) == ((Which.READ_WRITE,), ("by_address", "stock"))
    found = [
        await custody.passwords("shop"),
        await custody.passwords("shop", Which.READ_WRITE),
        await custody.passwords("stock", Which.READ_WRITE),
        await custody.passwords("by_address"),
    ]
    assert len({each.reveal() for passwords in found for each in passwords}) == 1
    assert role.lets_in(found[0][0])


async def test_the_same_login_and_password_on_another_server_stay(custody: Custody, role: Role, place: Database) -> None:
    await custody.target("shop", role, RO)
    await custody.target("other", role, RO, host="other.example")
    with fresh_role(place) as stand_in:

        @asynccontextmanager
        async def connect(target: Target, login: str, secret: Secret) -> AsyncIterator[AdminConnection]:
            """As if that place were a server of its own, where the password never changed."""
            if target.name == "other":
                if secret.reveal() != role.password.reveal():
                    raise UpstreamAdminError("refused", "no", "28P01")
                target, login, secret = replace(target, host=role.upstream.host), stand_in.name, stand_in.password
            async with admin_connection(target, login, secret) as connection:
                yield connection

        (done,) = await rotate(custody, connect=connect)
    assert (done.end, done.shared_with) == (Step.DONE, ())
    (same,) = await custody.passwords("other")
    assert same.reveal() == role.password.reveal()


async def test_a_place_that_does_not_answer_keeps_both_passwords(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    await custody.target("far", role, RO, host="far.invalid")
    (done,) = await rotate(custody)
    assert (done.end, done.shared_with) == (Step.DONE, ())
    assert '"far" has the same login' in done.notes[0]
    assert len(await custody.passwords("far")) == 2
    assert len(await custody.passwords("shop")) == 1


async def test_what_is_kept_elsewhere_is_not_changed_from_here(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    await custody.target("stock", role, RW)
    async with custody.store.begin() as work:
        stock = work.snapshot.targets["stock"]
        kept = replace(stock.roles[RW], sealed_secret=b"", reference=SecretReference.parse("env:STOCK"))
        work.put(replace(stock, roles={RW: kept}))
        await work.commit(AdminEvent("os:test", "x.y", "id", "stock", ""))
    for name in ("shop", "stock"):
        with pytest.raises(ServiceError) as caught:
            await rotate(custody, name)
        assert caught.value.rule == "secret-elsewhere"
        assert "where it is kept" in caught.value.hint
    assert role.lets_in(role.password)


async def test_the_admins_old_password_is_dead_and_who_had_it_is_ended(custody: Custody, role: Role, place: Database) -> None:
    with fresh_role(place, "CREATEROLE") as boss:
        await custody.target("shop", role, RO)
        await custody.admin("shop", boss)
        tunnel = boss.log_in(boss.password, application_name="an old tunnel")
        (first,) = await rotate(custody, choice=Choice.ADMIN)
        assert (first.end, first.which, first.old_refused) == (Step.DONE, Which.ADMIN, "28P01")
        assert [(each.application, each.process_id) for each in first.old_sessions] == [
            ("an old tunnel", tunnel.info.backend_pid)
        ]
        assert tunnel.execute("SELECT 1").fetchone() == (1,)
        (refused,) = await rotate(custody, choice=Choice.ADMIN, end_sessions=True)  # the database is hardened
        assert (len(refused.old_sessions), refused.ended_sessions) == (1, 0)
        assert "may not end sessions here (42501)" in refused.notes[0]
        with place.superuser() as superuser:
            superuser.execute(f'GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO "{boss.name}"')
        (second,) = await rotate(custody, choice=Choice.ADMIN, end_sessions=True)
        assert second.ended_sessions == 1
        with pytest.raises(Exception, match="terminating connection"):
            tunnel.execute("SELECT 1")
        (new,) = await custody.passwords("shop", Which.ADMIN)
        assert (boss.lets_in(new), boss.lets_in(boss.password)) == (True, False)
        assert role.lets_in(role.password)
        every = await rotate(custody, choice=Choice.ALL)
        assert [(each.which, each.end) for each in every] == [(Which.READ_ONLY, Step.DONE), (Which.ADMIN, Step.DONE)]


async def test_one_admin_of_several_targets_is_rotated_once_and_can_still_be_put_back(
    custody: Custody, role: Role, place: Database
) -> None:
    """Whoever adopted two databases of one server gave the same login twice; a target's former login may be it, too."""
    with fresh_role(place, "CREATEROLE") as boss:
        for name in ("shop", "stock"):
            await custody.target(name, role, RO)
            await custody.admin(name, boss)
        async with custody.store.begin() as work:
            stock = work.snapshot.targets["stock"]
            former = DatabaseRole("former", boss.name, custody.vault.seal("former", boss.password))
            work.put(FormerLogin(stock.id, RW, former, datetime.now(UTC)))
            await work.commit(AdminEvent("os:test", "x.y", "id", "stock", ""))
        (done,) = await rotate(custody, choice=Choice.ADMIN)
        assert (done.end, done.shared_with) == (Step.DONE, ("stock",))
        (new,) = await custody.passwords("shop", Which.ADMIN)
        (same,) = await custody.passwords("stock", Which.ADMIN)
        (kept,) = await custody.store.former_logins(stock.id)
        assert new.reveal() == same.reveal() == custody.vault.open(kept.role).reveal()
        assert boss.lets_in(new)
        admin = await custody.store.target_admin(stock.id)
        assert admin is not None
        assert admin.rotated_at is not None


async def test_sessions_of_other_logins_are_not_ended_here(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    with pytest.raises(ServiceError, match="admin login only"):
        await rotate(custody, end_sessions=True)
    with pytest.raises(ServiceError) as caught:
        await rotate(custody, choice=Choice.ADMIN)
    assert caught.value.rule == "admin-login-missing"


async def test_two_at_once_come_one_after_the_other(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    first, second = await asyncio.gather(rotate(custody), rotate(custody))
    assert (first[0].end, second[0].end) == (Step.DONE, Step.DONE)
    (new,) = await custody.passwords("shop")
    assert role.lets_in(new)


async def test_who_waits_too_long_is_told(custody: Custody, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_lease, "_PATIENCE_SECONDS", 0.1)
    await custody.target("shop", role, RO)
    assert await custody.store.take_lease("rotation", "another gateway", 60)
    with pytest.raises(ServiceError) as caught:
        await rotate(custody)
    assert caught.value.rule == "rotation-under-way"
    assert role.lets_in(role.password)


@pytest.mark.parametrize("step", [Step.SET, Step.TRY_PENDING, Step.PROMOTE])
async def test_somebody_else_sets_the_login_meanwhile(custody: Custody, role: Role, step: Step) -> None:
    """Who changed the password at the server and here has the last word."""
    theirs = Secret("their password")
    await custody.target("shop", role, RO)
    told = []

    def entering(now: Step) -> None:
        if now is step and not told:
            told.append(now)
            role.alter("PASSWORD 'their password'")
            work = targets.set_login(custody.store, custody.vault, name="shop", mode=RO, login=role.name, password=theirs, **BY)
            thread = threading.Thread(target=asyncio.run, args=(work,))
            thread.start()
            thread.join()

    (found,) = await rotate(custody, entering=entering)
    assert found.end is not Step.DONE
    (kept,) = await custody.passwords("shop")
    assert kept.reveal() == theirs.reveal()
    assert role.lets_in(theirs)


# -- on a schedule -------------------------------------------------------------------------------------------------------


async def aged(custody: Custody, name: str, days: float) -> None:
    """As if its passwords had been set so long ago."""
    async with custody.store.begin() as work:
        target = work.snapshot.targets[name]
        then = datetime.now(UTC) - timedelta(days=days)
        roles = {mode: replace(role, changed_at=then) for mode, role in target.roles.items()}
        work.put(replace(target, roles=roles, rotate_every_days=30))
        await work.commit(AdminEvent("os:test", "x.y", "id", name, ""))


async def test_an_old_password_is_changed_once(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    on_schedule = Rotations(custody.store, custody.store, Means(custody.vault))
    await aged(custody, "shop", 26)
    await on_schedule.look()
    assert role.lets_in(role.password)
    await aged(custody, "shop", 30)
    await asyncio.gather(on_schedule.look(), Rotations(custody.store, custody.store, Means(custody.vault)).look())
    assert not role.lets_in(role.password)
    assert (await custody.actions()).count("target.credential_rotated") == 1
    (age,) = password_ages(await custody.store.read())
    assert datetime.now(UTC) - age.changed_at < timedelta(minutes=1)


async def test_what_was_left_half_done_is_finished_at_the_second_look(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO)
    with pytest.raises(KilledError):
        await rotate(custody, entering=killed_at(Step.PROMOTE))
    on_schedule = Rotations(custody.store, custody.store, Means(custody.vault))
    await on_schedule.look()
    assert len(await custody.passwords("shop")) == 2
    await on_schedule.look()
    (new,) = await custody.passwords("shop")
    assert role.lets_in(new)
    last = (await custody.store.read_events())[-1].event
    assert (last.actor, last.action) == ("system", "target.credential_rotated")


async def test_what_fails_is_tried_later_and_later(custody: Custody, role: Role) -> None:
    await custody.target("shop", role, RO, password=Secret("not the password"))
    await aged(custody, "shop", 40)
    on_schedule = Rotations(custody.store, custody.store, Means(custody.vault))
    for _ in range(3):
        await on_schedule.look()
    assert (await custody.actions()).count("target.rotation_failed") == 1
