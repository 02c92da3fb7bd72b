"""K10: no password of an SQL text is written down, and other texts are left alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.events import statement_fragment
from gateway.audit.redaction import MASK, redact, redact_beginning
from gateway.statements.verdict import Facts, Verdict

CANARY = "cAnArY"

HOLDS_A_PASSWORD = [
    "CREATE ROLE a LOGIN PASSWORD '{}' VALID UNTIL 'infinity'",
    "create user a encrypted password '{}'",
    "ALTER USER a PASSWORD\n\t'{}'",
    "ALTER ROLE a PASSWORD/**/'{}'",
    "ALTER ROLE a PASSWORD -- it's\n '{}'",
    "ALTER ROLE a PASSWORD E'x\\'{}'",
    "ALTER ROLE a PASSWORD e'{}\\\\'",
    "ALTER ROLE a PASSWORD U&'{}' UESCAPE '!'",
    "ALTER ROLE a PASSWORD 'it''s {}'",
    "ALTER ROLE a PASSWORD $${}$$",
    "ALTER ROLE a PASSWORD $x${}$x$",
    "ALTER ROLE a PASSWORD 'x'\n'{}'",
    "ALTER ROLE a PASSWORD '{}",  # never ends
    "ALTER ROLE \"o'brien\" PASSWORD '{}'",
    "ALTER ROLE U&\"o'b\" PASSWORD '{}'",
    "select $1, 'a', \"b'\"; ALTER ROLE a PASSWORD '{}'",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', password '{}')",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', \"password\" '{}')",
    "ALTER USER MAPPING FOR a SERVER s OPTIONS (SET password '{}')",
    "ALTER SERVER s OPTIONS (ADD sslpassword '{}')",
    "select dblink_connect('host=h user=u password={}')",
    "select dblink('host=h password=''a {}'' dbname=d', 'select 1')",
    "select dblink(E'password=\\'a {}\\'', 'select 1')",
    "select dblink($$password='a {}'$$, 'select 1')",
    "select dblink('postgresql://u:{}@h/d', 'select 1')",
    "select dblink('postgres://h/d?password={}', 'select 1')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password={}' PUBLICATION p",
    "select dblink('password=' || '{}')",
    "select dblink(format('host=h password=%s', '{}'))",
    "select f(password => '{}')",
    "select f(password := 'a' || '{}')",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''{}'''; END $$",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', '{}'); END $$",
    "DO $a$ BEGIN EXECUTE $b$ALTER ROLE a PASSWORD '{}'$b$; END $a$",
    "-- ALTER ROLE a PASSWORD '{}'\nselect 1",
    "/* ALTER ROLE a PASSWORD '{}' */ select 1",
    "/* a /* b */ password={} */ select 1",
    "ALTER ROLE a PASSWORD {}",  # an error; typed all the same
    "ALTER ROLE a PASSWORD {} VALID UNTIL 'infinity'",
    'select 1; create user a password "{}"',
    "ALTER ROLE a PASSWORD 12{}!",
    "/* c */ SET my.password = {}",
    "ALTER SYSTEM SET my.password TO {}",
    "select dblink(concat('password', '=', '{}'))",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (uid 'u', pwd '{}')",
    "ALTER SERVER s OPTIONS (ADD secret '{}')",
]

HOLDS_NONE = [
    "select password from users where name = 'ann'",
    "select count(*) from users where password is null and name = 'ann'",
    "select * from logins where password_changed_at > '2024-01-01'",
    "comment on column users.password is 'hashed'",
    "select 'http://example.org:8080/x'",
    "insert into users (name, password) select a, b from t where c = 'x'",
    "select 'my password'",
    "SET ROLE a; select password from users where name = 'ann'",
    "create table a (password text not null)",
    "update a set password = crypt(b, gen_salt('bf'))",
    "ALTER ROLE a PASSWORD NULL",
    "ALTER ROLE a SET password_encryption = 'scram-sha-256'",
    "select pwd, secret from t where x = 'b'",
]


@pytest.mark.parametrize("template", HOLDS_A_PASSWORD)
def test_a_password_is_masked(template: str) -> None:
    sql = template.replace("{}", CANARY)
    masked = redact(sql)
    assert CANARY not in masked
    assert "***" in masked
    assert redact(sql.upper()).count(CANARY.upper()) == 0
    assert CANARY not in redact("select 'o''k', E'\\'', \"a\"\"b\" /* ' */ ; " + sql)


@pytest.mark.parametrize("sql", HOLDS_NONE)
def test_what_holds_none_stays_as_it_is(sql: str) -> None:
    assert redact(sql) == sql


@given(st.text())
def test_ordinary_text_is_not_even_copied(sql: str) -> None:
    if "passw" not in sql.lower() and "://" not in sql:
        assert redact(sql) is sql


@given(st.text("'\"$eE\\/*- \npassword=:@%|,()ab"), st.text("'\"$eE\\/*- \npassword=:@%|,()ab"))
def test_redaction_never_fails_and_what_stands_around_is_kept(before: str, after: str) -> None:
    redact(before + " password '" + after)
    redact(before + "://" + after)


@given(st.text("abc'\"$ "), st.text("xyz' "))
def test_surroundings_do_not_unmask(before: str, name: str) -> None:
    quoted = '"' + name.replace('"', "") + '"'
    literal = "'" + before.replace("'", "''") + "'"
    assert CANARY not in redact(f"select {literal}; alter role {quoted} password '{CANARY}'; select {literal}")


@pytest.mark.parametrize("template", HOLDS_A_PASSWORD)
def test_a_text_that_is_cut_anywhere_is_masked_up_to_the_cut(template: str) -> None:
    # The canary's beginning is as secret as the whole of it.
    sql = template.replace("{}", CANARY)
    for length in range(len(sql)):
        assert CANARY[:4] not in redact_beginning(sql[:length])


def test_the_record_of_a_password_and_the_message_about_it() -> None:
    sql = f"alter role a password '{CANARY}"
    verdict = Verdict(False, "syntax-error", Facts(""), "42601", f'unterminated quoted string at or near "\'{CANARY}"')
    fragment = statement_fragment(sql, verdict, 1000)
    assert CANARY.encode() not in fragment
    assert b'"redacted":true' in fragment
    assert CANARY.encode() not in statement_fragment(sql + "x" * 2000, verdict, 30)


HOSTILE = (
    *("password ", "'password", '"password', "/*password", "$$password", "E'password\\", "://a:", "password'"),
    *("$a$password$b$", "password="),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_take_time_in_proportion(piece: str) -> None:
    text = piece * (64 * 1024 // len(piece))
    at = time.process_time()
    redact(text)
    assert time.process_time() - at < 0.5


@pytest.mark.parametrize(
    "piece",
    ["pwd,", "'pass',", "secret ", "-- pwd\n", "$a$pwd$a$,", "/*pwd*/", "/*", "/*pwd", "'pwd ',", "$", ";a"],
)
def test_of_too_many_places_the_rest_is_masked(piece: str) -> None:
    """However they are nested; a password behind them is not shown, and the text before them is."""
    before, after = "SELECT a, ", f"; ALTER ROLE a PASSWORD '{CANARY}'"
    few, many = before + piece * 300 + after, before + piece * 20_000 + after
    for text in (few, many, "SELECT $x$ pwd " + many + "$x$", "-- pwd " + many.replace("\n", "")):
        assert CANARY not in redact(text)
    shown = redact(many)
    assert shown.startswith(before)
    assert shown.endswith(MASK)
    assert len(shown) < len(many) // 2


@pytest.mark.parametrize(
    "row", ["(1, 'Smith', 1.5), ", "($1, $2), ", "(a.b, lower(c) || 'x'), ", "('it''s', \"Name\", x -1), "]
)
def test_a_long_list_costs_no_patience(row: str) -> None:
    text = "INSERT INTO users (password) VALUES " + row * 900 + "(0)"
    assert redact(text) == text
