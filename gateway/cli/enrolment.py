"""Setting up an authenticator: what it needs to know is shown here, once, and so are the recovery codes."""

import sys
from getpass import getpass
from typing import Final

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.output import Record, complain, say
from gateway.secret import Secret

_TRIES: Final = 3
_NO_TERMINAL: Final = "Run it where you can type."


def ask_password(question: str = "Password: ") -> Secret:
    """Raises CommandError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password", "Use --password-stdin.")
    return Secret(getpass(question))


def ask_code(question: str) -> str:
    """Raises CommandError where nobody can be asked. Empty: there is none."""
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for a code", _NO_TERMINAL)
    return str(typer.prompt(question, default="", show_default=False)).strip()


def read_proofs() -> tuple[Secret, str]:
    """From standard input: the password, and on a second line a code, if there is one. Raises CommandError."""
    try:
        lines = sys.stdin.buffer.read(4096).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise CommandError("the password from standard input is not UTF-8") from None
    if not lines or not lines[0]:
        raise CommandError("the password from standard input is empty")
    return Secret(lines[0]), lines[1].strip() if len(lines) > 1 else ""


def set_up(api: Api, name: str, password: Secret, code: str) -> Record:
    """What signing in gives. `code`: of the authenticator that there is. Raises CommandError."""
    proofs = {"name": name, "password": password.reveal()}
    begun = api.post(path("sign-in", "enrolment"), {**proofs, "code": code})
    say(f"Add this account to your authenticator, by its secret: {begun.get('secret')}")
    say(f"or by this URL, which programs turn into a QR code:   {begun.get('url')}")
    for left in range(_TRIES - 1, -1, -1):
        shown = ask_code("Code that it shows")
        try:
            made = api.post(path("sign-in", "enrolment", "confirm"), {**proofs, "code": shown, "pending": begun.get("pending")})
        except CommandError as error:
            if error.rule != "sign-in-refused" or not left:
                raise
            complain("that is not the code", "Wait for the next one. If it happens again: is the clock right, there and here?")
        else:
            _say_codes(made)
            return made
    raise AssertionError("unreachable")


def _say_codes(made: Record) -> None:
    codes = made.get("recovery_codes")
    say("Recovery codes, shown only now. Each is good for one sign-in without the authenticator: keep them apart from it.")
    for each in codes if isinstance(codes, list) else []:
        say(f"  {each}")
