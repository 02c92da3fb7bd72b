"""Passwords in SQL text, masked before the text is written down. Pure, and linear in the length of the text.

What is masked: the string that follows a password word (`PASSWORD 'x'`, `OPTIONS (password 'x')`, `password => 'x'`), the rest
of a string in which a connection string names a password (`'host=h password=x'`, `'postgres://u:x@h'`), and both of them again
inside comments, function bodies and nested strings. It errs towards masking too much; the statement that reaches the server is
never touched. Of a text with thousands of places that have to be looked at one by one the rest is masked: this happens on an event
loop.
"""

import re
from typing import Final

MASK: Final = "***"

_MAX_DEPTH: Final = 3  # of bodies within bodies; what lies deeper is masked whole
_SIGNS: Final = ("passw", "passphrase", "://", "secret", "pwd")
_SIGN_BYTES: Final = tuple(sign.encode() for sign in _SIGNS)
_WORDS: Final = "password|passwd|pwd|passphrase|client_secret|secret_access_key"
_SECRET_WORD: Final = re.compile(rf"(?:{_WORDS}|\Asecret)\Z", re.IGNORECASE)
#: Here a password is a name or a number only by mistake, and the statement fails; what was typed is one all the same.
_SETS_PASSWORD: Final = re.compile(r"set\b|alter\s+system\b|(?:create|alter)\s+(?:role|user|group|database)\b", re.IGNORECASE)
_NO_PASSWORD: Final = frozenset({"null", "default", "to"})
_PUNCTUATION: Final = "=:>,(|"  # may stand between the word and its string
_EQUALS: Final = frozenset({"=", ":", ":=", "=>"})

# The value of a password inside a string: `password=x`, `password ''x''`, `password := x`, and the user part of a URI.
_INNER_PASSWORD: Final = re.compile(
    rf"(?:{_WORDS})\\?[\"']*\s*"
    r"(?:(?::?=>?|:|%3d)\s*|(?=\\?'|[eE]\\?'|[uU]&\\?'|\$|%))",
    re.IGNORECASE,
)
_CUT_URI_LOGIN: Final = re.compile(r"(?<=://)([^\s:@/?#'\"]{0,256}:)[^@\s'\"]*\Z")
_URI_LOGIN: Final = re.compile(r"(?<=://)([^\s:@/?#'\"]{0,256}:)[^@\s'\"]{1,1024}(?=@)")

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<line>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<escape>[eE]'(?:[^'\\]|\\.|'')*+(?:'|\\?\Z))
    | (?P<string>(?:[uU]&|[bBxXnN])?'(?:[^']|'')*+(?:'|\Z))
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*+(?:"|\Z))
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
#: Tokens that change nothing as long as no password is expected, in one go: words that are no password's, and begin no string;
#: strings and quoted names without any of the signs; no semicolon. (Its groups are not possessive: before 3.11.5 Python gets some
#: of those wrong.)
_PLAIN: Final = re.compile(
    r"""
    (?: [\s0-9.,()=<>+*%\[\]{}@\#^`?~:|!&]++
      | [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+
        (?<!password)(?<!passwd)(?<!pwd)(?<!passphrase)(?<!client_secret)(?<!secret_access_key)(?<!secret)(?!['"&])
      | '(?:[^'ps:]|p(?!ass|wd)|s(?!ecret)|:(?!//))*'(?!')
      | "[^"ps]*+"(?!")
      | \$(?=[0-9]) | -(?!-) | /(?!\*)
    )+
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_MOST_TOKENS: Final = 1000  # that are looked at one by one: a microsecond each

_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")


def redact(sql: str) -> str:
    """The text with every password in it replaced by `***`; the very same object when there is none."""
    lowered = sql.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return sql
    return _redact(sql, _Patience(), depth=0)


def may_hold_password(sql: bytes) -> bool:
    """False: `redact` leaves this text alone, whatever it is that its strings and numbers are changed to that hold none either."""
    lowered = sql.lower()
    for sign in _SIGN_BYTES:  # noqa: SIM110 - for each statement: a generator would cost more than all the rest
        if sign in lowered:
            return True
    return False


def redact_beginning(beginning: str) -> str:
    """`redact` of a text that was cut: a password may be cut in two at its end."""
    return _CUT_URI_LOGIN.sub(rf"\g<1>{MASK}", redact(beginning))


def redact_quotation(message: str) -> str:
    """A parser's message about a text that held a password: it may quote the text, so the quotation is masked."""
    return re.sub(r'(at or near ").*(")', rf"\g<1>{MASK}\g<2>", message, flags=re.DOTALL)


class _Patience:
    """How many more tokens are looked at, in a text and all the bodies in it."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MOST_TOKENS


def _redact(sql: str, patience: _Patience, *, depth: int) -> str:
    if depth > _MAX_DEPTH:
        return MASK
    parts: list[str] = []
    armed = False  # the next string is a password
    masked = False  # the last string was one: its continuations ('a' 'b', 'a' || 'b') are too
    begins, sets = True, False  # a statement begins here; it is one that sets a password
    bare = False  # within a password without quotes
    end = 0
    while True:
        if not (armed or masked or begins or bare) and (plain := _PLAIN.match(sql, end)) is not None:
            parts.append(plain.group())
            end = plain.end()
        match = _TOKEN.match(sql, end)
        if match is None:
            break
        patience.left -= 1
        if patience.left < 0:
            parts.append(MASK)
            break
        kind, text, start = match.lastgroup, match.group(), end
        end = match.end()
        if bare := bare and kind != "space" and text != ";":
            continue
        if kind == "block":
            end = _comment_end(sql, start, patience)
            if patience.left < 0:
                parts.append(MASK)
                break
            close = end - 2 if end - start >= 4 and sql.endswith("*/", start, end) else end
            parts.append("/*" + _body(sql[start + 2 : close], patience, depth=depth, nested=False)[0] + sql[close:end])
        elif kind == "line":
            parts.append("--" + _body(text[2:], patience, depth=depth, nested=False)[0])
        elif kind in ("escape", "string", "dollar"):
            opening, body, closing, end = _literal(sql, match)
            if masked or (armed and body.strip() not in _EQUALS):
                parts.append(f"{opening}{MASK}{closing}")
                armed, masked = False, True
            else:
                body, more = _body(body, patience, depth=depth, nested=kind != "dollar")
                armed = armed or more
                parts.append(f"{opening}{body}{closing}")
        elif kind == "space":
            parts.append(text)
        else:
            if begins:
                begins, sets = False, _SETS_PASSWORD.match(sql, start) is not None
            name = text.strip('"').lower()
            if bare := armed and sets and name not in _NO_PASSWORD and text not in (*_PUNCTUATION, ";", "$", ")"):
                parts.append(MASK)
                armed = False
                continue
            parts.append(text)
            if kind == "other":
                begins = text == ";"
                armed = armed and text in _PUNCTUATION
                masked = masked and text == "|"
            else:
                armed, masked = _SECRET_WORD.search(name) is not None or (armed and name == "to"), False
    return "".join(parts)


def _literal(sql: str, match: re.Match[str]) -> tuple[str, str, str, int]:
    """Opening, body, closing and end of the string that `match` begins; one that never ends reaches to the end."""
    text, end = match.group(), match.end()
    if match.lastgroup == "dollar":
        close = sql.find(text, end)
        return (text, sql[end:], "", len(sql)) if close < 0 else (text, sql[end:close], text, close + len(text))
    quote = text.index("'") + 1
    closed = len(text) > quote and text.endswith("'")
    return text[:quote], text[quote:-1] if closed else text[quote:], "'" if closed else "", end


def _body(body: str, patience: _Patience, *, depth: int, nested: bool) -> tuple[str, bool]:
    """What is inside a string or a comment, redacted, and whether a password is still to come in the next string.

    In a quoted string (`nested`) the quotes of inner texts are doubled, so its end is the only sure end of a password in it.
    """
    lowered = body.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return body, False
    patience.left -= 2  # what follows takes as long as three tokens
    body = _URI_LOGIN.sub(rf"\g<1>{MASK}", body)
    if not nested:
        inner = _INNER_PASSWORD.search(body)
        if inner is not None and "'" not in body and "$" not in body:
            return body[: inner.end()] + MASK, False  # a bare password=x
        return _redact(body, patience, depth=depth + 1), False
    inner = _INNER_PASSWORD.search(body)
    if inner is None:
        return body, _SECRET_WORD.search(body.strip()) is not None
    rest = body[inner.end() :].strip()
    return body[: inner.end()] + (MASK if rest else ""), not rest or rest.startswith("%")


def _comment_end(sql: str, start: int, patience: _Patience) -> int:
    """The end of the (nesting) block comment that begins at `start`; anywhere when there is no patience left."""
    level = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        patience.left -= 1
        if patience.left < 0:
            break
        level += 1 if edge.group() == "/*" else -1
        if level == 0:
            return edge.end()
    return len(sql)
