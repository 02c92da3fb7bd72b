"""Vault, AWS and Google through their own clients, against stand-ins that answer as the documented APIs do."""

import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from gateway.access.secret_reference import SecretProvider, SecretReference
from gateway.custody.references.keepers import missing_extra, open_keeper
from gateway.custody.references.provider import Provider, Wanted
from gateway.ports import SecretUnavailable
from gateway.settings import Settings
from tests.support.secret_keepers import FakeGoogle, FakeSecretsManager, FakeVault, Keeper, answering

CANARY = "kept-canary-4f1d"
TOKEN = "hvs.own-canary-0001"
KEY_ID, KEY = "AKIACANARY0000000001", "aws-secret-canary-2c2c"


def settings_of(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate({"state_dir": Path("/nowhere"), **sections})


def fetch(provider: Provider, text: str, host: str = "db.internal", seconds: float = 2.0) -> str:
    return provider.fetch(Wanted(SecretReference.parse(text), host, 5432, "app_ro", seconds)).reveal()


def refusal(provider: Provider, text: str, seconds: float = 2.0) -> str:
    """Nothing that anybody could print of it holds a secret."""
    with pytest.raises(SecretUnavailable) as caught:
        fetch(provider, text, seconds=seconds)
    assert text in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def secret_file(folder: Path, content: str) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.secret"
    path.write_text(f"{content}\n")
    path.chmod(0o600)
    return path


# -- Vault -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def vault(authority: trustme.CA) -> Iterator[FakeVault]:
    made = FakeVault(
        kv2={"kv/app/shop": {"password": CANARY, "app_rw": "rw-" + CANARY, "port": 5432}},
        kv1={"old/app/shop": {"password": "v1-" + CANARY}},
        tokens={TOKEN},
        roles={"role-1": "secret-id-canary"},
        jwts={"pgbastion": "jwt-canary"},
    )
    with answering(made, authority):
        yield made


@pytest.fixture
def token_settings(vault: FakeVault, ca_file: Path, tmp_path: Path) -> dict[str, Any]:
    return {"address": vault.url, "ca_file": ca_file, "token_file": secret_file(tmp_path, TOKEN), "kv1_mounts": ["old"]}


def test_vault_keeps_fields_of_version_2_and_1(vault: FakeVault, token_settings: dict[str, Any]):
    keeper = open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings))
    assert fetch(keeper, "vault:kv/app/shop") == CANARY
    assert fetch(keeper, "vault:kv/app/shop#app_rw") == "rw-" + CANARY
    assert fetch(keeper, "vault:old/app/shop#password") == "v1-" + CANARY
    assert [path for _, path, _, _ in vault.requests] == ["/v1/kv/data/app/shop"] * 2 + ["/v1/old/app/shop"]
    assert {headers["x-vault-request"] for _, _, headers, _ in vault.requests} == {"true"}


def test_vault_is_told_the_namespace(vault: FakeVault, token_settings: dict[str, Any]):
    keeper = open_keeper(SecretProvider.VAULT, settings_of(vault={**token_settings, "namespace": "team/a"}))
    fetch(keeper, "vault:kv/app/shop")
    assert vault.requests[-1][2]["x-vault-namespace"] == "team/a"


def test_a_renewed_token_file_is_read_again(vault: FakeVault, token_settings: dict[str, Any]):
    keeper = open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings))
    vault.tokens = {"hvs.own-canary-0002"}
    assert "does not let us" in refusal(keeper, "vault:kv/app/shop")
    token_settings["token_file"].write_text("hvs.own-canary-0002")
    assert fetch(keeper, "vault:kv/app/shop") == CANARY


@pytest.mark.parametrize(
    "auth",
    [
        {"auth": "approle", "role_id": "role-1"},
        {"auth": "approle", "role_id": "role-1", "auth_mount": "elsewhere"},
        {"auth": "kubernetes", "kubernetes_role": "pgbastion"},
    ],
)
def test_vault_gives_a_token_that_is_used_while_it_lives(vault: FakeVault, ca_file: Path, tmp_path: Path, auth: dict[str, Any]):
    files = {"secret_id_file": secret_file(tmp_path, "secret-id-canary"), "jwt_file": secret_file(tmp_path, "jwt-canary")}
    keeper = open_keeper(SecretProvider.VAULT, settings_of(vault={"address": vault.url, "ca_file": ca_file, **files, **auth}))
    assert [fetch(keeper, "vault:kv/app/shop") for _ in range(3)] == [CANARY] * 3
    assert vault.logins == 1
    vault.tokens.clear()  # revoked
    assert fetch(keeper, "vault:kv/app/shop") == CANARY
    assert vault.logins == 2
    vault.lease_seconds = 1
    vault.tokens.clear()
    fetch(keeper, "vault:kv/app/shop")
    time.sleep(0.9)
    fetch(keeper, "vault:kv/app/shop")
    assert vault.logins == 4
    files["secret_id_file"].write_text("wrong-canary")
    files["jwt_file"].write_text("wrong-canary")
    vault.tokens.clear()
    assert "refuses" in refusal(keeper, "vault:kv/app/shop")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("vault:kv/app/none", "nothing at this path"),
        ("vault:kv/app/gone", "was deleted"),
        ("vault:kv/app/shop#none", 'no text field "none"'),
        ("vault:kv/app/shop#port", 'no text field "port"'),
        ("vault:old/app/none", "nothing at this path"),
    ],
)
def test_what_vault_has_not_is_said(vault: FakeVault, token_settings: dict[str, Any], reference: str, said: str):
    vault.deleted.add("kv/app/gone")
    assert said in refusal(open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings)), reference)


def test_a_vault_that_cannot_answer_is_told_apart(vault: FakeVault, token_settings: dict[str, Any], tmp_path: Path):
    keeper = open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings))
    vault.sealed = True
    assert "sealed" in refusal(keeper, "vault:kv/app/shop")
    vault.hold.set()
    began = time.monotonic()
    assert "in time" in refusal(keeper, "vault:kv/app/shop", seconds=0.3)
    assert time.monotonic() - began < 1.5
    nobody = {**token_settings, "address": "https://127.0.0.1:1"}
    assert "cannot be reached" in refusal(open_keeper(SecretProvider.VAULT, settings_of(vault=nobody)), "vault:kv/app/shop")
    other_ca = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other_ca)
    stranger = {**token_settings, "ca_file": other_ca}
    said = refusal(open_keeper(SecretProvider.VAULT, settings_of(vault=stranger)), "vault:kv/app/shop")
    assert "certificate does not verify" in said


def test_the_token_is_not_sent_elsewhere(vault: FakeVault, token_settings: dict[str, Any], authority: trustme.CA):
    """A server that a redirect names is another one, whoever it is."""
    other = FakeVault(kv2=vault.kv2, tokens=vault.tokens)
    with answering(other, authority):
        vault.active = other.url
        said = refusal(open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings)), "vault:kv/app/shop")
    assert "not an active Vault" in said
    assert other.requests == []


def test_the_token_is_not_taken_from_elsewhere(
    vault: FakeVault, token_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Not the operator's own, from the environment."""
    monkeypatch.setenv("VAULT_TOKEN", "hvs.operator-canary")
    monkeypatch.setenv("VAULT_ADDR", "https://127.0.0.1:1")
    token_settings["token_file"].write_text("")
    refusal(open_keeper(SecretProvider.VAULT, settings_of(vault=token_settings)), "vault:kv/app/shop")
    assert not any("x-vault-token" in headers for _, _, headers, _ in vault.requests)


def test_without_an_address_there_is_no_vault():
    with pytest.raises(SecretUnavailable, match=r"vault\.address"):
        open_keeper(SecretProvider.VAULT, settings_of())


# -- AWS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials as the SDK finds them, and nothing of this machine's."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


ARN = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:prod/shop-AbCdEf"


@pytest.fixture
def manager(aws: None) -> Iterator[FakeSecretsManager]:
    json = f'{{"username": "app_ro", "password": "{CANARY}", "port": 5432}}'
    made = FakeSecretsManager(kept={"prod/shop": json, "plain": CANARY, ARN: json}, key_id=KEY_ID)
    with answering(made):
        yield made


def secrets_manager(manager: Keeper, **more: str) -> Provider:
    return open_keeper(SecretProvider.AWS, settings_of(aws={"endpoint": manager.url, "region": "eu-central-1", **more}))


def test_secrets_manager_keeps_texts_and_fields(manager: FakeSecretsManager):
    keeper = secrets_manager(manager)
    assert fetch(keeper, "aws-sm:plain") == CANARY
    assert fetch(keeper, "aws-sm:prod/shop#password") == CANARY
    assert fetch(keeper, f"aws-sm:{ARN}#password") == CANARY
    signed = [headers["authorization"].split("/")[2] for _, _, headers, _ in manager.requests]
    assert signed == ["eu-central-1", "eu-central-1", "eu-west-3"], "an ARN names its own region"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("aws-sm:none", "no such secret"),
        ("aws-sm:forbidden", "policy of our role"),
        ("aws-sm:plain#password", "not JSON"),
        ("aws-sm:prod/shop#port", "no text field"),
    ],
)
def test_what_secrets_manager_has_not_is_said(manager: FakeSecretsManager, reference: str, said: str):
    assert said in refusal(secrets_manager(manager), reference)


def test_an_aws_that_cannot_answer_is_told_apart(manager: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch):
    manager.key_id = "another"
    assert "does not take our credentials" in refusal(secrets_manager(manager), "aws-sm:plain")
    manager.hold.set()
    began = time.monotonic()
    assert "in time" in refusal(secrets_manager(manager), "aws-sm:plain", seconds=0.3)
    assert time.monotonic() - began < 3.0
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "no AWS credentials" in refusal(secrets_manager(manager), "aws-sm:plain")
    assert "no such profile" in refusal(secrets_manager(manager, profile="nobody"), "aws-sm:plain")


def test_a_token_for_rds_is_signed_here_and_lives_for_a_quarter_of_an_hour(aws: None):
    keeper = open_keeper(SecretProvider.RDS_IAM, settings_of())
    host = "shop.cabc123.eu-central-1.rds.amazonaws.com"
    token = fetch(keeper, "rds-iam:", host=host)
    shown = urlsplit(f"https://{token}")
    asked = {name: value for name, (value,) in parse_qs(shown.query).items()}
    assert (shown.hostname, shown.port) == (host, 5432)
    assert (asked["Action"], asked["DBUser"], asked["X-Amz-Expires"]) == ("connect", "app_ro", "900")
    assert asked["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert re.fullmatch(rf"{KEY_ID}/\d{{8}}/eu-central-1/rds-db/aws4_request", asked["X-Amz-Credential"])
    assert re.fullmatch(r"[0-9a-f]{64}", asked["X-Amz-Signature"])
    at = datetime.strptime(asked["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert KEY not in token


def test_the_region_of_a_token_is_named_or_known(aws: None):
    keeper = open_keeper(SecretProvider.RDS_IAM, settings_of())
    assert "/us-west-2/rds-db/" in fetch(keeper, "rds-iam:us-west-2").replace("%2F", "/")
    assert "no region" in refusal(keeper, "rds-iam:")
    settled = open_keeper(SecretProvider.RDS_IAM, settings_of(aws={"region": "eu-north-1"}))
    assert "/eu-north-1/rds-db/" in fetch(settled, "rds-iam:").replace("%2F", "/")


# -- Google ------------------------------------------------------------------------------------------------------------

SHOP = "projects/p-1/secrets/shop"


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    kept = {
        f"{SHOP}/versions/latest": CANARY,
        f"{SHOP}/versions/3": "third",
        "projects/p-1/secrets/j/versions/latest": '{"a": "b"}',
    }
    made = FakeGoogle(kept=kept)
    with answering(made):
        yield made


def test_google_keeps_versions_and_fields(google: FakeGoogle):
    keeper = open_keeper(SecretProvider.GOOGLE, settings_of(google={"endpoint": google.url}))
    assert fetch(keeper, f"gcp-sm:{SHOP}") == CANARY
    assert fetch(keeper, f"gcp-sm:{SHOP}/versions/3") == "third"
    assert fetch(keeper, "gcp-sm:projects/p-1/secrets/j#a") == "b"


def test_what_google_has_not_is_said(google: FakeGoogle):
    keeper = open_keeper(SecretProvider.GOOGLE, settings_of(google={"endpoint": google.url}))
    assert "no such secret" in refusal(keeper, "gcp-sm:projects/p-1/secrets/none")
    google.hold.set()
    assert "in time" in refusal(keeper, f"gcp-sm:{SHOP}", seconds=0.3)
    nobody = open_keeper(SecretProvider.GOOGLE, settings_of(google={"endpoint": "http://127.0.0.1:1"}))
    assert "cannot be reached" in refusal(nobody, f"gcp-sm:{SHOP}")


def test_without_credentials_google_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "google.json").write_text("{}")
    keeper = open_keeper(SecretProvider.GOOGLE, settings_of(google={"credentials_file": tmp_path / "google.json"}))
    refusal(keeper, f"gcp-sm:{SHOP}")


# -- what is not installed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "module", "extra"),
    [
        (SecretProvider.VAULT, "hvac", "vault"),
        (SecretProvider.AWS, "boto3", "aws"),
        (SecretProvider.RDS_IAM, "boto3", "aws"),
        (SecretProvider.GOOGLE, "google.cloud.secretmanager_v1", "gcp"),
    ],
)
def test_what_is_not_installed_is_named(provider: SecretProvider, module: str, extra: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert missing_extra(provider) == f"pgbastion[{extra}]"
    with pytest.raises(SecretUnavailable, match=rf'pip install "pgbastion\[{extra}\]"'):
        open_keeper(provider, settings_of())


def test_all_that_is_needed_is_installed_where_this_runs():
    assert [missing_extra(each) for each in SecretProvider] == [""] * len(SecretProvider)
