"""Secrets that are kept elsewhere: when they are fetched, for how long they are used, and what becomes of those who wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.access.model import DatabaseRole, TlsMode
from gateway.access.secret_reference import SecretProvider, SecretReference
from gateway.custody.references.fetching import Fetching
from gateway.custody.references.keepers import open_keeper
from gateway.custody.references.provider import Wanted
from gateway.custody.sources import KeptSecrets
from gateway.ports import SecretUnavailable
from gateway.secret import Secret
from gateway.settings import CurrentSettings, Settings
from tests.support.snapshots import SALES

CANARY = "kept-canary-77aa"
VAULT = SecretReference.parse("vault:kv/app/shop#password")
ROLE = DatabaseRole("r", "app_ro", b"", None, VAULT)


@dataclass
class Kept:
    """A keeper under the test's control."""

    value: str = CANARY
    asked: list[Wanted] = field(default_factory=list)
    pause: float = 0.0
    failure: Exception | None = None

    def fetch(self, wanted: Wanted) -> Secret:
        self.asked.append(wanted)
        time.sleep(self.pause)
        if self.failure is not None:
            raise self.failure
        return Secret(self.value)


def settings_with(*allowed: str, **more: Any) -> Settings:
    secrets = {"allowed": list(allowed) or ["vault:kv/", "rds-iam:", "env:UPSTREAM_", "file:/run/secrets/"], **more}
    return Settings.model_validate({"state_dir": Path("/nowhere"), "secrets": secrets})


@asynccontextmanager
async def fetching(kept: Kept | None = None, *allowed: str, again_seconds: float = 1.0, **more: Any) -> AsyncIterator[Fetching]:
    current = CurrentSettings(settings_with(*allowed, **more))
    made = Fetching(current, open_keeper if kept is None else lambda *_: kept, again_seconds=again_seconds)
    try:
        yield made
    finally:
        made.close()


async def refusal(work: Any) -> str:
    with pytest.raises(SecretUnavailable) as caught:
        await work
    assert CANARY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}" or (
        caught.value.__suppress_context__
    )
    assert CANARY not in str(caught.value)
    return str(caught.value)


# -- when it is fetched ------------------------------------------------------------------------------------------------


async def test_it_is_fetched_once_for_all_who_ask():
    kept = Kept(pause=0.05)
    async with fetching(kept) as door:
        found = await asyncio.gather(*(door.fetch(SALES, ROLE, VAULT) for _ in range(50)))
        assert {each.reveal() for each in found} == {CANARY}
        assert len(kept.asked) == 1
        at_hand = door.at_hand(SALES, ROLE, VAULT)
        assert at_hand is not None
        assert at_hand.reveal() == CANARY


async def test_it_is_remembered_for_a_moment_and_then_not_used_any_more():
    """Also when the keeper does not answer by then: there is no old one to fall back on."""
    kept = Kept()
    async with fetching(kept, cache_seconds=1) as door:
        await door.fetch(SALES, ROLE, VAULT)
        assert door.at_hand(SALES, ROLE, VAULT) is not None
        await asyncio.sleep(1.05)
        assert door.at_hand(SALES, ROLE, VAULT) is None
        kept.failure = SecretUnavailable("down")
        assert await refusal(door.fetch(SALES, ROLE, VAULT)) == "down"


async def test_a_refused_one_is_fetched_again_once():
    kept = Kept()
    async with fetching(kept, again_seconds=0.0) as door:
        old = await door.fetch(SALES, ROLE, VAULT)
        assert await door.fetch_again(SALES, ROLE, VAULT, old) is None, "it is still the same"
        kept.value = "the new one"
        new = await door.fetch_again(SALES, ROLE, VAULT, old)
        assert new is not None
        assert new.reveal() == "the new one"
        asked = len(kept.asked)
        others = await asyncio.gather(*(door.fetch_again(SALES, ROLE, VAULT, old) for _ in range(50)))
        assert {each.reveal() for each in others if each is not None} == {"the new one"}
        assert len(kept.asked) == asked, "who comes later is given what the first one found"


async def test_wrong_passwords_do_not_storm_the_keeper():
    kept = Kept()
    async with fetching(kept) as door:
        for _ in range(100):
            old = await door.fetch(SALES, ROLE, VAULT)
            assert await door.fetch_again(SALES, ROLE, VAULT, old) is None
        assert len(kept.asked) == 1


async def test_one_failure_stands_for_all_who_ask_in_that_second():
    kept = Kept(failure=SecretUnavailable("vault:kv/app/shop#password: sealed"))
    async with fetching(kept) as door:
        said = {await refusal(door.fetch(SALES, ROLE, VAULT)) for _ in range(100)}
        assert said == {"vault:kv/app/shop#password: sealed"}
        assert len(kept.asked) == 1


# -- who waits ---------------------------------------------------------------------------------------------------------


async def test_a_keeper_that_hangs_costs_its_own_callers_a_bounded_time_and_others_nothing():
    hanging, quick = Kept(pause=2.0), Kept()
    current = CurrentSettings(settings_with("vault:kv/", "env:UPSTREAM_", timeout_seconds=0.3))
    keepers = {SecretProvider.VAULT: hanging, SecretProvider.ENVIRONMENT: quick}
    door = Fetching(current, lambda provider, _settings: keepers[provider])
    other = SecretReference.parse("env:UPSTREAM_X")
    longest, stop = 0.0, asyncio.Event()

    async def measure() -> None:
        nonlocal longest
        while not stop.is_set():
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    measuring = asyncio.create_task(measure())
    began = time.monotonic()
    said = await asyncio.gather(*(refusal(door.fetch(SALES, ROLE, VAULT)) for _ in range(20)))
    assert time.monotonic() - began < 1.0
    assert all("in time" in each for each in said)
    assert (await door.fetch(SALES, replace(ROLE, reference=other), other)).reveal() == CANARY
    stop.set()
    await measuring
    assert longest < 0.2
    assert len(hanging.asked) == 1
    door.close()


async def test_a_caller_who_leaves_does_not_take_the_answer_from_the_others():
    kept = Kept(pause=0.1)
    async with fetching(kept) as door:
        impatient = asyncio.create_task(door.fetch(SALES, ROLE, VAULT))
        patient = asyncio.create_task(door.fetch(SALES, ROLE, VAULT))
        await asyncio.sleep(0.02)
        impatient.cancel()
        assert (await patient).reveal() == CANARY


# -- what may be fetched -----------------------------------------------------------------------------------------------


async def test_only_what_the_settings_allow():
    kept = Kept()
    async with fetching(kept, "vault:kv/other/") as door:
        assert "secrets.allowed" in await refusal(door.fetch(SALES, ROLE, VAULT))
        with pytest.raises(SecretUnavailable, match=r"secrets\.allowed"):
            door.at_hand(SALES, ROLE, VAULT)
        assert not kept.asked


async def test_what_is_not_allowed_any_more_is_not_used_any_more():
    current = CurrentSettings(settings_with("vault:kv/"))
    door = Fetching(current, lambda _provider, _settings: Kept())
    await door.fetch(SALES, ROLE, VAULT)
    current.replace(settings_with("env:UPSTREAM_"))
    with pytest.raises(SecretUnavailable, match=r"secrets\.allowed"):
        door.at_hand(SALES, ROLE, VAULT)
    current.replace(settings_with("vault:kv/"))
    assert door.at_hand(SALES, ROLE, VAULT) is None
    door.close()


@pytest.mark.parametrize("tls", [TlsMode.DISABLE, TlsMode.REQUIRE])
async def test_a_token_goes_only_where_tls_shows_which_server_it_is(tls: TlsMode):
    kept, reference = Kept(), SecretReference.parse("rds-iam:eu-central-1")
    async with fetching(kept) as door:
        said = await refusal(door.fetch(replace(SALES, tls=tls), ROLE, reference))
        assert "verify-full" in said
        await door.fetch(replace(SALES, tls=TlsMode.VERIFY_FULL), ROLE, reference)
        assert len(kept.asked) == 1


async def test_a_token_is_for_one_login_on_one_server():
    kept, reference = Kept(), SecretReference.parse("rds-iam:eu-central-1")
    here = replace(SALES, tls=TlsMode.VERIFY_FULL)
    async with fetching(kept) as door:
        await door.fetch(here, ROLE, reference)
        assert door.at_hand(here, replace(ROLE, login="other"), reference) is None
        for target in (replace(here, host="h2"), replace(here, port=1)):
            assert door.at_hand(target, ROLE, reference) is None
        assert door.at_hand(here, ROLE, reference) is not None


# -- what is said ------------------------------------------------------------------------------------------------------


async def test_a_library_that_quotes_the_secret_is_not_quoted(caplog: pytest.LogCaptureFixture):
    async with fetching(Kept(failure=RuntimeError(f"could not parse {CANARY}"))) as door:
        assert "RuntimeError" in await refusal(door.fetch(SALES, ROLE, VAULT))
    assert CANARY not in caplog.text


async def test_stored_secrets_are_at_hand_and_references_never_open_a_row():
    class Vault:
        def open(self, role: DatabaseRole) -> Secret:
            assert role.reference is None
            return Secret("stored")

    stored = DatabaseRole("s", "app_ro", b"sealed")
    async with fetching(Kept()) as door:
        secrets = KeptSecrets(Vault(), door)
        at_hand = secrets.at_hand(SALES, stored)
        assert at_hand is not None
        assert at_hand.reveal() == "stored"
        assert secrets.at_hand(SALES, ROLE) is None
        assert (await secrets.secret_of(SALES, ROLE)).reveal() == CANARY
        assert await secrets.after_refusal(SALES, stored, Secret("stored")) is None


# -- files and environment ---------------------------------------------------------------------------------------------


def file_reference(path: Path) -> SecretReference:
    return SecretReference.parse(f"file:{path}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def write(path: Path, content: bytes = CANARY.encode() + b"\n", mode: int = 0o440) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


async def from_file(folder: Path, path: Path) -> str:
    async with fetching(None, f"file:{folder}/") as door:
        return (await door.fetch(SALES, ROLE, file_reference(path))).reveal()


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
async def test_a_file_holds_it_with_or_without_the_end_of_its_line(folder: Path, ending: bytes):
    assert await from_file(folder, write(folder / "shop", CANARY.encode() + ending)) == CANARY


async def test_links_within_the_folder_are_followed(folder: Path):
    """As Kubernetes lays out its secrets."""
    (folder / "..2026").mkdir()
    write(folder / "..2026" / "shop")
    (folder / "..data").symlink_to("..2026")
    (folder / "shop").symlink_to("..data/shop")
    assert await from_file(folder, folder / "shop") == CANARY


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none", "No such file"),
        (lambda folder: write(folder / "open", mode=0o444), "everybody may read"),
        (lambda folder: write(folder / "empty", b""), "empty"),
        (lambda folder: write(folder / "two", b"kept-canary-77aa\nkept-canary-77aa\n"), "not one line"),
        (lambda folder: write(folder / "binary", b"\xff\xfe" + CANARY.encode()), "not UTF-8"),
        (lambda folder: write(folder / "large", CANARY.encode() * 5000), "not one line"),
        (lambda folder: folder, "Is a directory"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_and_not_quoted(folder: Path, make: Callable[[Path], Path], said: str):
    path = make(folder)
    async with fetching(None, f"file:{folder.parent}/") as door:
        text = await refusal(door.fetch(SALES, ROLE, file_reference(path)))
    assert said in text
    assert str(path) in text


async def test_no_way_leads_out_of_the_folder(folder: Path, tmp_path: Path):
    outside = write(tmp_path / "outside")
    (folder / "link").symlink_to(outside)
    for path in (folder / "link", Path(f"{folder}/../outside")):
        with pytest.raises(SecretUnavailable, match=r"leads out|secrets\.allowed"):
            await from_file(folder, path)


async def test_a_variable_holds_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UPSTREAM_SHOP", CANARY)
    monkeypatch.setenv("OTHER", CANARY)
    async with fetching(None, "env:UPSTREAM_") as door:
        assert (await door.fetch(SALES, ROLE, SecretReference.parse("env:UPSTREAM_SHOP"))).reveal() == CANARY
        assert "no such environment variable" in await refusal(door.fetch(SALES, ROLE, SecretReference.parse("env:UPSTREAM_X")))
        assert "secrets.allowed" in await refusal(door.fetch(SALES, ROLE, SecretReference.parse("env:OTHER")))
