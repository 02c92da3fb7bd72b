"""Verifiers: PostgreSQL's own is the oracle for the text form and for every password (A11), and mocks look real (A02, A05)."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from gateway.access.verifiers import (
    DEFAULT_ITERATIONS,
    VerifierError,
    make_verifier,
    mock_verifier,
    parse_verifier,
    password_fits,
    saslprep,
)

SALT = bytes(range(16))

PASSWORDS = [
    "pencil", "x", " leading and trailing ", "tab\tinside", "bell\x07", "quote'\"\\", "a" * 1024,
    "Ä", "é", "e\u0301", "ﬁ", "①", "Ⅳ", "ª", "ſ", "\u2126", "한국", "\u1112\u1161\u11ab",
    "soft\u00adhyphen", "zero\u200bwidth", "joiner\u200d", "\u2060", "\ufeffbom", "variation\ufe0f", "\u00ad", "\u200b",
    "no\u00a0break", "ideographic\u3000space", "ogham\u1680", "line\u2028sep", "rtl\u200emark",
    "עברית", "عربى", "א1א", "אa", "aא", "1א", "א1", "אbא", "\u0627\u0031", "(א)",
    "private\ue000", "noncharacter\ufdd0", "tag\U000e0001", "replacement\ufffd", "control\u0080é", "ascii\x01é", "del\x7fé",
    "unassigned\u0221", "unassigned\u0378", "emoji 😀", "new\u20bf", "\U0001d7d8", "mixed\u200b\u00ad é", "\u1e9b\u0323",
    "\u3131", "ｶﾞ", "\ufb2c", "\u2f00", "\u0345é", "İ", "ß", "ẞ",
]  # fmt: skip


@pytest.fixture(scope="module")
def postgres_verifiers(postgres):
    """What the server itself makes of each password."""
    found = {}
    with postgres.connect() as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        connection.execute("CREATE ROLE verifier_oracle")
        try:
            for password in PASSWORDS:
                connection.execute(sql.SQL("ALTER ROLE verifier_oracle PASSWORD {}").format(sql.Literal(password)))
                row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'verifier_oracle'").fetchone()
                found[password] = row[0]
        finally:
            connection.execute("DROP ROLE verifier_oracle")
    return found


def test_every_password_gives_the_verifier_that_postgresql_makes(postgres_verifiers):
    wrong = [
        password
        for password, text in postgres_verifiers.items()
        if make_verifier(password, parse_verifier(text).salt, parse_verifier(text).iterations) != text
    ]
    assert wrong == []


def test_our_default_is_postgresqls(postgres_verifiers):
    assert {parse_verifier(text).iterations for text in postgres_verifiers.values()} == {DEFAULT_ITERATIONS}


def test_the_rfc_7677_example():
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = parse_verifier(make_verifier("pencil", salt, 4096))
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(verifier.server_key, message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_only_the_password_fits(password, other):
    verifier = parse_verifier(make_verifier(password, SALT, 2))
    assert password_fits(password, verifier)
    assert password_fits(other, verifier) is (saslprep(other) == saslprep(password))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_is_left_alone(text):
    assert saslprep(text) == text


GOOD = make_verifier("pencil", SALT)


@pytest.mark.parametrize(
    "text",
    [
        "", "md5" + "0" * 32, "pencil", GOOD[:-1], GOOD + "=", GOOD.replace("256$4096", "256$0"), GOOD.replace("4096", "-1"),
        GOOD.replace("4096", "99999999999"), GOOD.replace("4096", "4096 "), GOOD.replace("SCRAM", "scram"), GOOD.replace(":", "$"),
        GOOD + "\n", "SCRAM-SHA-256$4096:AA==$AA==:AA==", f"SCRAM-SHA-256$4096:$${'A' * 43}=",
    ],
)  # fmt: skip
def test_a_broken_verifier_is_an_error_that_does_not_repeat_it(text):
    with pytest.raises(VerifierError) as caught:
        parse_verifier(text)
    assert len(text) < 10 or text not in str(caught.value)


def test_a_verifier_does_not_print_its_keys():
    verifier = parse_verifier(GOOD)
    assert repr(verifier.stored_key) not in repr(verifier)
    assert repr(verifier.server_key) not in repr(verifier)


def test_mocks_are_stable_distinct_and_shaped_like_real_ones():
    secret = hashlib.sha256(b"one gateway").digest()
    real = parse_verifier(GOOD)
    mocks = [mock_verifier(f"user{i}", secret) for i in range(1000)]
    assert mocks == [mock_verifier(f"user{i}", secret) for i in range(1000)]
    for part in (lambda v: v.salt, lambda v: v.stored_key, lambda v: v.server_key):
        assert len({part(mock) for mock in mocks}) == 1000
        assert {len(part(mock)) for mock in mocks} == {len(part(real))}
    assert {mock.iterations for mock in mocks} == {real.iterations}
    assert mock_verifier("user1", b"another gateway's secret").salt != mocks[1].salt
