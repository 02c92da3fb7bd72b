"""Every command that asks the admin API x every permission: refused as its routes are, with a sentence and status 1."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Final

import pytest

from admin_api.app import AdminApi, acting_as, create_app
from admin_api.context import AdminContext
from gateway.cli import reach
from gateway.cli.client import Transport
from gateway.cli.in_process import InProcess
from gateway.cli.main import COMMANDS, GROUPS, _load, run
from gateway.settings import CurrentSettings, Settings
from gateway.store.vault import SealedVault, ensure_key
from tests.matrix.routes import ANYBODY, LOGS, MODIFY, OWNER, POLICY, READ
from tests.matrix.world import ACTORS, MemoryStore, Need, TwoSessions, allows, base
from tests.support.short_names import SHORT_NAMES

SECRETS: Final = ("database", "read_credentials")
CREDENTIAL: Final = "cccccccc-0000-4000-8000-000000000001"

WORDS: Final[dict[str, Need]] = {
    "credentials issue sales": ("database", "create_tunnels"),
    "credentials list": ANYBODY,
    f"credentials revoke {CREDENTIAL}": OWNER,
    "users create dora_dd --generate": OWNER,
    "users list": ANYBODY,
    "users show carl_c": READ,
    "users update-password bob_b --generate": OWNER,
    "users passwd bob_b --generate": OWNER,
    "users update bob_b --expires 8h": OWNER,
    "users certificates bob_b --add cn:etl": OWNER,
    "users disable bob_b": OWNER,
    "users enable bob_b": OWNER,
    "users delete bob_b --yes": OWNER,
    "groups create new": OWNER,
    "groups list": ANYBODY,
    "groups show staff": READ,
    "groups add staff bob_b": OWNER,
    "groups remove staff carl_c": OWNER,
    "groups delete staff": OWNER,
    "targets create new --host h --dbname d --environment here": ("database", "create"),
    "targets list": ANYBODY,
    "targets show sales": "any",
    "targets update sales --max-sessions 9": MODIFY,
    "targets move sales --environment hollow": POLICY,
    "targets login sales --mode ro --login app --password-stdin": SECRETS,
    "targets logout sales --mode ro": SECRETS,
    "targets disable sales": MODIFY,
    "targets enable sales": MODIFY,
    "targets delete sales": ("database", "deprovision"),
    "targets test sales --mode ro": MODIFY,
    "targets refresh sales": MODIFY,
    "targets rotate-credential sales": SECRETS,
    "targets managed sales --mode per-user": SECRETS,
    "targets managed-logins sales": READ,
    "targets clean sales --dry-run": SECRETS,
    "targets adopt sales": SECRETS,
    "targets adoption sales": READ,
    "targets who-still-uses sales": LOGS,
    "targets observe sales --every 5m": MODIFY,
    "targets health": ANYBODY,
    "targets audit sales --mode ro": READ,
    "targets init-sql sales": READ,
    "targets allow-function sales shop.g": POLICY,
    "targets disallow-function sales shop.f": POLICY,
    "targets allow-schema sales shop": POLICY,
    "targets disallow-schema sales public": POLICY,
    "targets allow-setting sales app.user": POLICY,
    "targets disallow-setting sales app.user": POLICY,
    "environments create new": OWNER,
    "environments list": ANYBODY,
    "environments rename here renamed": ("environment", "rename"),
    "environments delete hollow": ("environment", "deprovision"),
    "grants create --user bob_b --target sales --mode rw": POLICY,
    "grants list": ANYBODY,
    "grants update g-1 --expires 8h": POLICY,
    "grants why --user bob_b --target sales": READ,
    "grants revoke g-1": POLICY,
    "allowlist create 10.9.0.0/16 --target sales": ("database", "create_endpoints"),
    "allowlist list": ANYBODY,
    "allowlist delete n-sales": POLICY,  # it looks for the entry first, which Destruction alone does not show
    "allowlist mode restrict --target sales": ("database", "create_endpoints"),
    "roles create new": OWNER,
    "roles list": ANYBODY,
    "roles grant spare --environment here --permission tunnel": OWNER,
    "roles revoke spare --environment here --permission read": OWNER,
    "roles members spare --add bob_b": OWNER,
    "roles delete spare": OWNER,
    "permissions show --user bob_b": OWNER,
    "permissions why --user bob_b targets.delete sales": OWNER,
    "permissions verbs": ANYBODY,
    "permissions report --csv": OWNER,
    "accounts create carl_c --generate": OWNER,
    "accounts list": OWNER,
    "accounts show bob_b": OWNER,
    "accounts recover bob_b --generate": OWNER,
    "accounts delete bob_b --yes": OWNER,
    "accounts link bob_b --subject bob --issuer https://idp.example": OWNER,
    "accounts unlink bob_b": OWNER,
    "accounts update bob_b --managed": OWNER,
    "accounts sign-out bob_b": OWNER,
    "tokens create new": ANYBODY,
    "tokens list": ANYBODY,
    "tokens revoke bobs": OWNER,
    "sessions list": ANYBODY,
    "sessions show s-sales": LOGS,
    "sessions cancel s-sales": MODIFY,
    "sessions terminate s-sales": MODIFY,
    "lockdown on --yes": OWNER,
    "lockdown off": OWNER,
    "lockdown status": ANYBODY,
    "policy explain SELECT --target sales": READ,
    "export": OWNER,
    "apply FILE --yes": OWNER,
    # Whose request it is, and who decides about it, is no matter of permissions.
    "request create nowhere": ANYBODY,
    "request list": ANYBODY,
    "request targets": ANYBODY,
    "request show 1": READ,
    "request wait 1 --timeout 1s": READ,
    "request approve 1 --yes": READ,
    "request deny 1 --yes": READ,
    "request review 1": READ,
    "request revoke 1": POLICY,
    "approvals create new --environment here --mode rw --step user:boss": OWNER,
    "approvals list": ANYBODY,
    "approvals show here": READ,
    "approvals update here --max 2h": OWNER,
    "approvals delete here": OWNER,
    "webhooks create new --to https://siem.example.com/hook": OWNER,
    "webhooks list": ANYBODY,
    "webhooks show siem": OWNER,
    "webhooks update siem --disable": OWNER,
    "webhooks rotate-secret siem": OWNER,
    "webhooks delete siem": OWNER,
    "webhooks test siem": OWNER,
    "webhooks deliveries": OWNER,
    "webhooks redeliver o-1": OWNER,
    "secrets list": ANYBODY,
    "whoami": ANYBODY,
}
REFUSALS: Final = ("may not do this", "there is no ", "does not exist, or you have no grant")
ELSEWHERE: Final = {
    "connect", "tunnel",  # issue a credential, then run a client
    "login", "logout", "passwd", "accounts enrol", "accounts passwd",  # of who proves by a password who they are
    "audit search", "audit tail",  # read files on this machine; from elsewhere they are the routes
    "serve", "doctor", "backup", "restore", "completion", "store info", "store migrate-to",  # of the machine
    "secrets status", "secrets rotate-key",
    "oidc mappings", "policy check", "policy rules",
    "request cancel", "request relinquish",  # of whose request it is, and of nobody else
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands-matrix")
    ensure_key(folder / "master.key")
    (folder / "tls").mkdir()
    (folder / "tls" / "ca.pem").write_text("any")
    (folder / "pgbastion.toml").write_text("")
    (folder / "manifest.yaml").write_text("version: 1\ngroups: [{name: new, members: []}]\n")
    return folder


class Terminal:
    """Runs commands as one of the admins, over a store in memory that begins anew with each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        settings = Settings.model_validate({"state_dir": folder, "users": SHORT_NAMES})
        self.store = MemoryStore()
        vault = SealedVault.load(folder / "master.key")
        self._context = AdminContext(CurrentSettings(settings), self.store, vault, self.store.read, TwoSessions())
        self._app: AdminApi = create_app(self._context)
        self._app.load_all()
        self.name = ""

    async def connect(self, _place: reach.Place) -> Transport:
        async def close() -> None:
            pass

        return InProcess(acting_as(self._app, f"user:{self.name}"), [], close)

    def run(self, name: str, words: str) -> tuple[int, str]:
        """Status, and what was said about it."""
        self.store.snapshot, self.name = base(), name
        out, err, code = io.StringIO(), io.StringIO(), 0
        arguments = [str(self._folder / "manifest.yaml") if word == "FILE" else word for word in words.split()]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"an upstream password\n")))
            patch.setenv("PGBASTION_CONFIG", str(self._folder / "pgbastion.toml"))
            patch.setattr(reach.Place, "_local", lambda place: self.connect(place))
            try:
                run(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
        return code, err.getvalue()


@pytest.fixture(scope="module")
def terminal(folder: Path) -> Terminal:
    return Terminal(folder)


def test_every_command_is_in_the_table() -> None:
    found = set()
    for name in {**GROUPS, **COMMANDS}:
        inside = getattr(_load(name), "commands", None)
        found |= {name} if inside is None else {f"{name} {each}" for each in inside}
    told = {" ".join(words.split()[:2]) for words in WORDS} | {words.split()[0] for words in WORDS}
    assert found - ELSEWHERE - told == set()


def _asked(need: Need) -> dict[str, str]:
    """What anybody may ask for needs no trial of each."""
    return {each: ACTORS[each] for each in ("owner", "nothing")} if need == ANYBODY else ACTORS


def test_every_command_asks_for_every_permission(terminal: Terminal) -> None:
    wrong, checks = [], 0
    for words, need in WORDS.items():
        for actor, name in _asked(need).items():
            code, said = terminal.run(name, words)
            refused = any(text in said for text in REFUSALS) and "no lockdown" not in said
            if refused == allows(need, actor) or code == 2 or (refused and code != 1) or "Traceback" in said:
                wrong.append((words, actor, code, said[:200]))
            checks += 1
    assert not wrong, "\n".join(map(str, wrong))
    assert checks >= 700
    print(f"\n{checks} checks of commands")
