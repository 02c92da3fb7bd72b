"""Names and passwords by the default rules and by others; what the settings take."""

import secrets
import string
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.access.user_rules import (
    ANY_RULES,
    UserRules,
    characters,
    generate,
    read_password_rules,
    write_password_rules,
)
from gateway.settings import Settings

RULES = UserRules()
LENGTH = "Name must contain between 6 and 32 characters"
FORM = "Name must start with a letter and contain only A-Z a-z 0-9 _"
PASSWORD_LENGTH = "Password must contain between 24 and 64 characters"


@pytest.mark.parametrize("name", ["my_user", "Abcde1", "a" * 32, "a_____"])
def test_names_that_are_taken(name: str) -> None:
    assert RULES.wrong_name(name) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("", LENGTH),
        ("short", LENGTH),
        ("a" * 33, LENGTH),
        ("1_user", FORM),
        ("_my_user", FORM),
        ("my-user", FORM),
        ("my.user", FORM),
        ("ana@example", FORM),
        ("éléonore", FORM),
        ("my_usér", FORM),
        ("my_user\n", FORM),
    ],
)
def test_names_that_are_not(name: str, wrong: str) -> None:
    assert RULES.wrong_name(name) == wrong


def test_passwords() -> None:
    assert RULES.wrong_password("x" * 24) is None
    assert RULES.wrong_password("x" * 64) is None
    for password in ("", "x" * 23, "x" * 65):
        assert RULES.wrong_password(password) == PASSWORD_LENGTH
    for sign in "\"'":
        assert RULES.wrong_password("x" * 30 + sign) == "Password must not contain \" or '"
    assert RULES.wrong_password("x" * 30 + "\n") == "Password must not contain control characters"


def test_a_generated_password_has_each_kind_of_character_and_fits_the_rules() -> None:
    seen = set()
    for _ in range(200):
        made = generate(RULES, secrets.choice)
        seen.add(made)
        assert len(made) == 64
        assert RULES.wrong_password(made) is None
        for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-_.~"):
            assert set(kind) & set(made)
    assert len(seen) == 200


def test_no_forbidden_character_is_generated() -> None:
    rules = UserRules(password_forbidden="-_.~", generated_length=24)
    made = generate(rules, secrets.choice)
    assert len(made) == 24
    assert made.isalnum()


def test_what_the_gateway_can_bear() -> None:
    assert ANY_RULES.wrong_name("a.b@example-1.com") is None
    assert ANY_RULES.wrong_name("a b") is not None
    assert characters("a-c_-") == set("abc_-")


def settings(**users: object) -> Settings:
    return Settings.model_validate({"state_dir": Path("state"), "users": users})


def test_settings_make_the_rules() -> None:
    assert settings().users.rules == RULES
    assert settings(name_min=3, name_characters="a-z.", password_forbidden="").users.rules == UserRules(
        name_min=3, name_characters="a-z.", password_forbidden=""
    )


@pytest.mark.parametrize(
    "users",
    [
        {"name_min": 40},
        {"name_max": 64},
        {"name_min": 0},
        {"name_characters": "a-z "},
        {"name_characters": "z-a"},
        {"password_min": 65},
        {"password_min": 11},
        {"password_max": 300},
        {"generated_length": 23},
        {"password_forbidden": "a"},
    ],
)
def test_settings_that_make_no_sense(users: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(**users)


@pytest.mark.parametrize("rules", [UserRules(), ANY_RULES, UserRules(password_min=30, password_max=40, generated_length=35)])
def test_rules_for_passwords_are_told_and_read(rules: UserRules) -> None:
    read = read_password_rules(write_password_rules(rules))
    for password in ("", "x" * 12, "x" * 24, "x" * 33, "x" * 64, "x" * 30 + '"', "x" * 257):
        assert read.wrong_password(password) == rules.wrong_password(password)
    assert read.generated_length == rules.generated_length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"password_min":24}',
        '{"password_min":"24","password_max":64,"password_forbidden":"","generated_length":64}',
        '{"password_min":true,"password_max":64,"password_forbidden":"","generated_length":64}',
        '{"password_min":64,"password_max":24,"password_forbidden":"","generated_length":64}',
        '{"password_min":24,"password_max":64,"password_forbidden":"","generated_length":1000000000}',
    ],
)
def test_what_is_no_rule_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_password_rules(text)
