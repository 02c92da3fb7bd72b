"""Manifest files: what they may hold, where their secrets come from, and that the schema and the example are kept."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.manifest import manifest_schema, parse_manifest, resolve_secrets

CONFIGS = Path(__file__).parents[2] / "configs"
CANARY = "canary-of-a-secret-1d2e"


def test_the_schema_in_configs_is_the_one_of_this_code() -> None:
    """To write it again: json.dumps(manifest_schema(), indent=2), and a line end."""
    assert json.loads((CONFIGS / "manifest.schema.json").read_text()) == manifest_schema()


def test_every_field_of_the_schema_is_described() -> None:
    schema = manifest_schema()
    parts = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert len(parts) == 18
    for part in parts:
        assert part["description"]
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), f"{part['title']}.{name}"


def test_the_example_fits_the_schema() -> None:
    jsonschema_rs.meta.validate(manifest_schema())
    example = yaml.load((CONFIGS / "manifest.example.yaml").read_text(), yaml.BaseLoader)
    for target in example["targets"]:
        target |= {"port": 5432, "allow_md5": False, "enabled": True, "max_sessions": 20, "open_ahead": 2}
        target["rotate_every_days"] = None
    example["accounts"][1]["managed"] = True
    example["users"][1] |= {"enabled": True, "read_only": True, "protected": False}
    example["grants"][0] |= {name: int(value) for name, value in example["grants"][0].items() if str(value).isdigit()}
    example["grants"][1]["max_changed_rows"] = 1000
    jsonschema_rs.validate(manifest_schema(), {**example, "version": 1})


def test_left_out_and_null_are_told_apart() -> None:
    (first, second) = parse_manifest({"version": 1, "users": [{"name": "a"}, {"name": "b", "valid_until": None}]}).users
    assert not first.states("valid_until")
    assert second.states("valid_until")


@pytest.mark.parametrize(
    "text", ["2030-01-31T18:00:00Z", '"2030-01-31T18:00:00+00:00"', "2030-01-31T19:00:00+01:00", '"2030-01-31 18:00"']
)
def test_instants_may_be_quoted_or_not(text: str) -> None:
    data = resolve_secrets(yaml.safe_load(f"valid_until: {text}"), read_env={}.get, read_file=str)
    manifest = parse_manifest({"version": 1, "users": [{"name": "a", **data}]})
    assert manifest.users[0].valid_until == datetime(2030, 1, 31, 18, tzinfo=UTC)


def test_a_day_is_its_first_instant() -> None:
    manifest = parse_manifest(yaml.safe_load("{version: 1, users: [{name: a, valid_until: 2030-01-31}]}"))
    assert manifest.users[0].valid_until == datetime(2030, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "manifest: "),
        ([], "manifest: "),
        ({}, "version: Field required"),
        ({"version": 2}, "version: Input should be 1"),
        ({"version": 1, "user": []}, "user: Extra inputs"),
        ({"version": 1, "users": [{"name": "ana", "admin": True}]}, 'users[0] "ana".admin: Extra inputs'),
        ({"version": 1, "users": [{"name": "ana", "enabled": "yes"}]}, 'users[0] "ana".enabled: Input should be a valid bool'),
        ({"version": 1, "users": [{"name": "ana", "valid_until": "soon"}]}, 'users[0] "ana".valid_until: not an instant'),
        ({"version": 1, "users": [{"name": "ana", "password": {"env": "X"}}]}, "not resolved"),
        ({"version": 1, "users": [{"name": "ana", "password": "x", "verifier": "y"}]}, "either password or verifier"),
        ({"version": 1, "targets": [{"name": "t", "port": 70000}]}, 'targets[0] "t".port: '),
        ({"version": 1, "targets": [{"name": "t", "port": True}]}, 'targets[0] "t".port: '),
        ({"version": 1, "targets": [{"name": "t", "logins": {"admin": {}}}]}, 'targets[0] "t".logins.admin: Extra inputs'),
        ({"version": 1, "grants": [{"target": "t"}]}, "grants[0]: give either user or group"),
        ({"version": 1, "grants": [{"user": "a", "group": "b", "target": "t"}]}, "give either user or group"),
        ({"version": 1, "grants": [{"user": "a", "target": "t", "mode": "rw"}]}, "grants[0].mode: "),
        ({"version": 1, "grants": [{"user": "a", "target": "t", "options": ["ddl"]}]}, "grants[0].options"),
        ({"version": 1, "grants": [{"user": "a", "target": "t", "options": "no-ddl"}]}, "grants[0].options: "),
        ({"version": 1, "grants": [{"user": "a", "target": "t", "max_changed_rows": 0}]}, "grants[0].max_changed_rows: "),
        ({"version": 1, "allowlist": [{"network": "::/0", "user": "a", "target": "t"}]}, "or neither"),
        ({"version": 1, "roles": [{"name": "r", "permissions": {"p": ["root"]}}]}, 'roles[0] "r".permissions.p'),
        ({"version": 1, "accounts": [{"user": "a", "password_hash": "x"}]}, "password_hash: Extra inputs"),
        ({"version": 1, "accounts": [{"user": "a", "identity": {"issuer": "x"}}]}, "identity.subject: "),
        ({"version": 1, "claim_mappings": [{"value": "x"}]}, "give either group or role"),
        ({"version": 1, "claim_mappings": [{"value": "x", "group": "g", "role": "r"}]}, "give either group or role"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: object, said: str) -> None:
    with pytest.raises(ServiceError) as raised:
        parse_manifest(data)
    assert raised.value.rule == "manifest-invalid"
    assert said in raised.value.message


def test_no_error_repeats_a_value_that_may_be_a_secret() -> None:
    wrong = {"name": "ana", "password": [CANARY], "verifier": {"x": CANARY}, "enabled": CANARY, "valid_until": CANARY}
    target = {"name": "t", "ca_pem": {"file": CANARY}, "logins": {"read_only": {"login": "x", "password": {"was": CANARY}}}}
    with pytest.raises(ServiceError) as raised:
        parse_manifest({"version": 1, "users": [wrong], "targets": [target]})
    assert CANARY not in f"{raised.value} {raised.value.message} {raised.value.hint}"
    assert raised.value.__context__ is None


def test_a_manifest_can_be_printed_without_its_secrets() -> None:
    login = {"login": "app", "password": CANARY}
    users = [{"name": "ana", "password": CANARY}, {"name": "b", "verifier": CANARY}]
    manifest = parse_manifest({"version": 1, "users": users, "targets": [{"name": "t", "logins": {"read_only": login}}]})
    assert CANARY not in f"{manifest!r} {manifest}"
    assert isinstance(manifest.users[0].password, Secret)


def resolved(data: object, env: dict[str, str] | None = None, files: dict[str, str] | None = None) -> object:
    def read_file(path: str) -> str:
        try:
            return (files or {})[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return resolve_secrets(data, read_env=(env or {}).get, read_file=read_file)


def test_references_become_what_they_name() -> None:
    data = {
        "version": 1,
        "users": [{"name": "ana", "password": {"env": "A"}}, {"name": "ben"}],
        "accounts": [{"user": "ana", "password": {"file": "p"}}],
        "targets": [
            {
                "name": "t",
                "ca_pem": {"file": "ca.pem"},
                "logins": {"read_only": {"login": "x", "password": {"file": "p"}}, "read_write": None},
            }
        ],
    }
    found = resolved(data, {"A": "secret of ana"}, {"ca.pem": "PEM\n", "p": "secret\nof x\r\n"})
    assert found["users"] == [{"name": "ana", "password": "secret of ana"}, {"name": "ben"}]
    assert found["accounts"][0]["password"] == "secret\nof x"
    assert found["targets"][0]["ca_pem"] == "PEM"
    assert found["targets"][0]["logins"]["read_only"]["password"] == "secret\nof x"
    assert data["users"][0]["password"] == {"env": "A"}  # the file's own is left as it is
    json.dumps(found)


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("plainly here", "secret-in-file"),
        ({"env": "UNSET"}, "reference-unknown"),
        ({"env": "EMPTY"}, "reference-empty"),
        ({"file": "none"}, "reference-unknown"),
        ({"file": "empty"}, "reference-empty"),
        ({"env": "A", "file": "b"}, "reference-invalid"),
        ({"env": 5}, "reference-invalid"),
        ({}, "reference-invalid"),
        (["A"], "reference-invalid"),
        (5, "reference-invalid"),
    ],
)
@pytest.mark.parametrize("where", ["user", "login", "account"])
def test_what_is_no_secret_is_refused_with_its_place(reference: object, rule: str, where: str) -> None:
    user = {"users": [{"name": "ana", "password": reference}]}
    login = {"targets": [{"name": "t", "logins": {"read_only": {"login": "x", "password": reference}}}]}
    account = {"accounts": [{"user": "ana", "password": reference}]}
    data, place = {
        "user": (user, 'users[0] "ana".password'),
        "login": (login, 'targets[0] "t".logins.read_only.password'),
        "account": (account, 'accounts[0] "ana".password'),
    }[where]
    with pytest.raises(ServiceError) as raised:
        resolved({"version": 1, **data}, {"EMPTY": ""}, {"empty": "\n"})
    assert raised.value.rule == rule
    assert raised.value.message.startswith(place)
    assert "plainly" not in raised.value.message


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["users", "name", "targets", "logins"]), inner),
)


@given(yaml_values)
def test_no_file_makes_a_fault(data: object) -> None:
    """Whatever a YAML loader makes of a file is read, or refused by a rule."""
    for read in (resolved, parse_manifest):
        try:
            read(data)
        except ServiceError as error:
            assert error.rule  # noqa: PT017
