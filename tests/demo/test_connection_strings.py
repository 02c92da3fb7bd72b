"""Each string means the same to the client it is for, whatever the password and the path hold."""

import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg.conninfo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connection_strings import Door, connection_strings

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)
PATHS = st.text("abc '\\/:.-_%&", min_size=1).map(lambda text: Path("/") / text)


def strings(password: str, ca_file: Path) -> dict[str, str]:
    door = Door("127.0.0.1", 6432, "ana", password, "shop", ca_file)
    return {label.split()[0]: text for label, text in connection_strings(door)}


@given(PASSWORDS, PATHS)
def test_libpq_reads_back_what_was_meant(password: str, ca_file: Path) -> None:
    made = strings(password, ca_file)
    common = {
        "host": "127.0.0.1",
        "port": "6432",
        "dbname": "shop",
        "user": "ana",
        "sslmode": "verify-full",
        "sslrootcert": str(ca_file),
    }
    program, words = shlex.split(made["psql"])
    assert program == "psql"
    assert psycopg.conninfo.conninfo_to_dict(words) == common
    assert psycopg.conninfo.conninfo_to_dict(made["URI"]) == common | {"password": password}


@given(PASSWORDS, PATHS)
def test_jdbc_properties(password: str, ca_file: Path) -> None:
    url = urlsplit(strings(password, ca_file)["JDBC"].removeprefix("jdbc:"))
    assert (url.hostname, url.port, url.path) == ("127.0.0.1", 6432, "/shop")
    assert parse_qs(url.query) == {
        "user": ["ana"],
        "password": [password],
        "sslmode": ["verify-full"],
        "sslrootcert": [str(ca_file)],
    }


@pytest.mark.parametrize("password", ["simple", "with:colon", "back\\slash", "a'b c%d"])
def test_libpq_finds_the_password_by_the_pgpass_line(password: str, tmp_path: Path) -> None:
    line = strings(password, Path("/ca.pem"))["~/.pgpass"]
    fields, current, characters = [], "", iter(line)
    for character in characters:  # the rule of libpq: a backslash makes the next character literal
        if character == ":":
            fields.append(current)
            current = ""
        else:
            current += next(characters) if character == "\\" else character
    assert [*fields, current] == ["127.0.0.1", "6432", "shop", "ana", password]
