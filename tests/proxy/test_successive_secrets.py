"""Which of two passwords is tried, and that one which was refused leads to the other."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.access.model import DatabaseRole, ListMode, Snapshot, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.custody.sources import KeptSecrets
from gateway.custody.successors import SuccessiveSecrets
from gateway.secret import Secret

CURRENT = DatabaseRole("r", "app_ro", b"old")
BETWEEN = replace(CURRENT, pending_secret=b"new")
AFTER = replace(CURRENT, sealed_secret=b"new")


class Unsealed:
    """Implements ports.Vault: what is sealed is what it holds."""

    def open(self, role: DatabaseRole) -> Secret:
        return Secret(role.sealed_secret.decode())


def holding(role: DatabaseRole, revision: int = 1) -> Snapshot:
    target = target_with(role)
    return Snapshot(revision, {}, {target.name: target}, {}, (), {}, {}, {})


def target_with(role: DatabaseRole) -> Target:
    roles = {AccessMode.READ_ONLY: role}
    return Target("t", "sales", "db", 5432, "sales", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, roles)


class News:
    """Implements ports.Directory; `coming` is there a moment after somebody asked for it."""

    def __init__(self, snapshot: Snapshot, coming: Snapshot | None = None) -> None:
        self.snapshot = snapshot
        self._coming = coming

    @property
    def fresh(self) -> bool:
        return True

    @property
    def stale_for_seconds(self) -> float:
        return 0.0

    def wake(self) -> None:
        if self._coming is not None:
            asyncio.get_running_loop().call_later(0.02, setattr, self, "snapshot", self._coming)

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None:
        raise NotImplementedError


def secrets_with(directory: News | None) -> SuccessiveSecrets:
    vault = Unsealed()
    return SuccessiveSecrets(KeptSecrets(vault), vault, directory)


async def after(secrets: SuccessiveSecrets, role: DatabaseRole, refused: str) -> str | None:
    found = await secrets.after_refusal(target_with(role), role, Secret(refused))
    return None if found is None else found.reveal()


def first(secrets: SuccessiveSecrets, role: DatabaseRole) -> str:
    found = secrets.at_hand(target_with(role), role)
    assert found is not None
    return found.reveal()


@pytest.mark.parametrize("with_directory", [True, False])
async def test_during_a_rotation_the_refused_one_leads_to_the_other(with_directory: bool) -> None:
    secrets = secrets_with(News(holding(BETWEEN)) if with_directory else None)
    assert first(secrets, BETWEEN) == "old"
    assert await after(secrets, BETWEEN, "old") == "new"
    assert first(secrets, BETWEEN) == "new"  # the next login is not refused again
    assert await after(secrets, BETWEEN, "new") == "old"  # it was put back
    assert first(secrets, BETWEEN) == "old"


@pytest.mark.parametrize(("now", "found"), [(BETWEEN, "new"), (AFTER, "new")])
async def test_what_the_directory_knows_by_now_counts(now: DatabaseRole, found: str) -> None:
    assert await after(secrets_with(News(holding(now))), CURRENT, "old") == found


@pytest.mark.parametrize("coming", [BETWEEN, AFTER])
async def test_what_comes_a_moment_later_is_waited_for(coming: DatabaseRole) -> None:
    assert await after(secrets_with(News(holding(CURRENT), holding(coming, 2))), CURRENT, "old") == "new"


async def test_right_after_a_rotation_an_older_state_leads_to_the_new_one() -> None:
    assert await after(secrets_with(News(holding(AFTER))), BETWEEN, "old") == "new"
    assert await after(secrets_with(None), BETWEEN, "old") == "new"


async def test_a_password_that_is_just_wrong_has_none() -> None:
    for news in (News(holding(CURRENT)), News(holding(CURRENT), holding(CURRENT, 2)), None):
        assert await after(secrets_with(news), CURRENT, "old") is None


async def test_of_another_rotation_the_preference_is_forgotten() -> None:
    secrets = secrets_with(News(holding(BETWEEN)))
    assert await after(secrets, BETWEEN, "old") == "new"
    later = replace(AFTER, pending_secret=b"newer")
    assert first(secrets, later) == "new"
