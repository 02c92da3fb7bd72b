"""Secrets are a type that prints `***`: no object of the program shows one, however it is printed."""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from pydantic import BaseModel, SecretStr

import admin_api
import gateway
from gateway.secret import Secret

SUSPICIOUS = re.compile(
    r"password|passwd|secret|token|verifier|credential|passphrase|cookie|recovery|refresh|(^|_)keys?$|(^|_)codes?$|pending|generated"
)

#: What is called like a secret and is none, and why.
HARMLESS = {
    "Snapshot.tokens": "records of tokens: each keeps a hash, and does not print that",
    "Snapshot.credentials": "likewise, of verifiers",
    "UserRules.password_forbidden": "characters",
    "Users.password_forbidden": "characters",
    "Plan.passwords": "names of roles that get one",
    "Enrolment.pending": "sealed",
    "EnrolmentConfirmation.pending": "sealed",
    "EnrolmentBegun.pending": "sealed",
    "Walk.secret": "names of relations",
    "Record.key": "its place in a listing",
    "AdminContext.token_used": "a function",
    "Endpoints.token": "a URL",
    "Endpoints.keys": "a URL",
    "LoginPart.secret_from": "says where it is kept",
    "NewLogin.secret_from": "says where it is kept",
    "TargetRecord.secrets_from": "says where they are kept",
    "Whoami.token": "its name",
    "UserRecord.password_encryption": "the name of a method",
    "UserMade.password_encryption": "the name of a method",
}


def modules() -> Iterator[ModuleType]:
    for package in (gateway, admin_api):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" in found.name or ".migrations" in found.name or found.name.endswith("_c"):
                continue
            yield importlib.import_module(found.name)


def classes() -> list[type]:
    found = {}
    for module in modules():
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__:
                found[f"{each.__module__}.{each.__qualname__}"] = each
    return list(found.values())


@pytest.fixture(scope="module")
def all_classes() -> list[type]:
    return classes()


def texts(annotation: object) -> bool:
    """Whether a value of this type may be text or bytes that would be printed."""
    return re.search(r"\b(str|bytes)\b", str(annotation)) is not None


def test_no_dataclass_prints_a_secret(all_classes: list[type]) -> None:
    wrong, looked = [], 0
    for each in all_classes:
        if not dataclasses.is_dataclass(each) or each.__dataclass_params__.repr is False:  # type: ignore[attr-defined]
            continue
        for field in dataclasses.fields(each):
            looked += 1
            if SUSPICIOUS.search(field.name) and field.repr and texts(field.type):
                place = f"{each.__module__}.{each.__qualname__}.{field.name}"
                if not any(place.endswith(f".{name}") for name in HARMLESS) and place not in HARMLESS:
                    wrong.append(place)
    assert not wrong, "\n".join(wrong)
    assert looked > 500


def test_no_model_prints_a_secret(all_classes: list[type]) -> None:
    wrong, looked = [], 0
    for each in all_classes:
        if not issubclass(each, BaseModel):
            continue
        for name, field in each.model_fields.items():
            looked += 1
            kind = str(field.annotation)
            if SUSPICIOUS.search(name) and field.repr and texts(kind) and "Secret" not in kind:
                place = f"{each.__module__}.{each.__qualname__}.{name}"
                if not any(place.endswith(f".{harmless}") for harmless in HARMLESS) and place not in HARMLESS:
                    wrong.append(place)
    assert not wrong, "\n".join(wrong)
    assert looked > 300


def test_no_model_repeats_what_it_refuses(all_classes: list[type]) -> None:
    """pydantic's errors quote what they were given, unless a model says no."""
    wrong = [
        f"{each.__module__}.{each.__qualname__}"
        for each in all_classes
        if issubclass(each, BaseModel) and each is not BaseModel and not each.model_config.get("hide_input_in_errors")
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_harmless_is_there_still(all_classes: list[type]) -> None:
    known = {
        f"{each.__module__}.{each.__qualname__}.{field.name}"
        for each in all_classes
        if dataclasses.is_dataclass(each)
        for field in dataclasses.fields(each)
    }
    known |= {
        f"{each.__module__}.{each.__qualname__}.{name}"
        for each in all_classes
        if issubclass(each, BaseModel)
        for name in each.model_fields
    }
    for name in HARMLESS:
        assert name in known or any(each.endswith(f".{name}") for each in known), name


@pytest.mark.parametrize("secret", [Secret("plain-text"), SecretStr("plain-text")])
def test_secrets_print_stars(secret: Secret | SecretStr) -> None:
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        repr([secret]),
        repr({"a": secret}),
    ):
        assert "plain-text" not in shown
        assert "***" in shown
