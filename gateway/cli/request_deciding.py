"""pgbastion request show, approve, deny, revoke, review: for those who decide about others' requests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Yes
from gateway.cli.output import Record, note, print_json, say
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin
from gateway.cli.request_shown import GIVEN, say_given, say_noted, say_request, say_review, say_statements

_FINGERPRINT: Final = re.compile("[0-9a-f]{64}")
_HIDDEN: Final = frozenset({"not-permitted", "not-an-approver", "request-unknown"})

_SIGN_IN: Final = "Sign in as yourself (pgbastion login --url https://GATEWAY:6480), and give this command the same --url."

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="The request's number, or its id.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.", show_default=False)]
Comment = Annotated[
    str, typer.Option("--comment", "--reason", help="For the requester, and for the audit.", show_default=False)
]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="SHA256",
        parser=lambda text: _read_fingerprint(text),
        help="Of what you looked at, as show prints it: anything else is refused. Does not ask.",
        show_default="that of what is shown now",
    ),
]


@contextmanager
def by_a_person(api: Api) -> Iterator[None]:
    """Only people ask and decide: who runs commands on the gateway's machine is told how to be one."""
    try:
        yield
    except CommandError as error:
        if error.rule != "nobody-signed-in" or api.is_remote:
            raise
        message = "only people ask and decide, and a command on the gateway's own machine is nobody in particular"
        raise CommandError(message, _SIGN_IN, error.rule) from error


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion request`."""
    admin(app, examples=["pgbastion request show 17", "pgbastion request show 17 --json"])(show)
    admin(app, examples=["pgbastion request approve 17", "pgbastion request approve 17 --yes --comment 'until Friday'"])(
        approve
    )
    admin(app, examples=['pgbastion request deny 17 --comment "ask for the replica"'])(deny)
    admin(app, examples=['pgbastion request revoke 17 --reason "the report is done"'])(revoke)
    admin(app, examples=['pgbastion request review 17 --comment "as described in INC-42"'])(review)


def show(api: Api, number: Number, as_json: AsJson = False) -> None:
    """Show one request; to who may decide, also what it would newly allow, what its statements do, and what was asked before."""
    request = api.get(path("access-requests", number)).record
    found = _review(api, number) if _is_for_them(request) else None
    if as_json:
        print_json({**request, "to_decide_on": found})
        return
    _say_whole(request, found)
    if request.get("state") in GIVEN and request.get("connection") is not None:
        say("")
        say_given(request)


def approve(
    api: Api, number: Number, fingerprint: Fingerprint = None, yes: Yes = False, comment: Comment = "", as_json: AsJson = False
) -> None:
    """Say yes. Shows what is asked, and asks you; what you say yes to is bound to what was shown. Nobody approves their own."""
    _decide(api, number, "approve", fingerprint, comment, yes=yes, as_json=as_json)


def deny(
    api: Api, number: Number, fingerprint: Fingerprint = None, yes: Yes = False, comment: Comment = "", as_json: AsJson = False
) -> None:
    """Say no: one is the end of it. The requester reads the comment."""
    _decide(api, number, "deny", fingerprint, comment, yes=yes, as_json=as_json)


def revoke(api: Api, number: Number, reason: Reason = "", as_json: AsJson = False) -> None:
    """Take away what was given. Sessions that stand on it end within a second, with this reason."""
    found = api.post(path("access-requests", number, "revoke"), reason=reason)
    if as_json:
        print_json(found)
    else:
        say_noted(found)


def review(api: Api, number: Number, comment: Comment = "", as_json: AsJson = False) -> None:
    """Say that you have looked at what was done in an emergency (see: audit search)."""
    with by_a_person(api):
        found = api.post(path("access-requests", number, "review"), {"comment": comment})
    if as_json:
        print_json(found)
    else:
        say(f"Request {found.get('number')} is reviewed.")


def _decide(
    api: Api, number: str, word: str, fingerprint: str | None, comment: str, *, yes: bool, as_json: bool
) -> None:  # fmt: skip
    if fingerprint is None:
        request = api.get(path("access-requests", number)).record
        fingerprint = str(request.get("fingerprint"))
        if not as_json:
            _say_whole(request, _review(api, number))
            say("")
        if not yes:
            confirm(f"{word.capitalize()} request {request.get('number')}?")
        else:
            note(f"{word.capitalize()}: request {request.get('number')}, fingerprint {fingerprint}")
    with by_a_person(api):
        decided = api.post(path("access-requests", number, word), {"fingerprint": fingerprint, "comment": comment})
    if as_json:
        print_json(decided)
    else:
        say_noted(decided)


def _say_whole(request: Record, found: Record | None) -> None:
    say_request(request)
    statements = request.get("statements")
    if found is not None:
        say_review(found)
    elif isinstance(statements, list):
        say_statements([str(each) for each in statements])


def _is_for_them(request: Record) -> bool:
    """Whether there is something that whoever looks may decide on, or an owner."""
    return bool(request.get("may_decide") or request.get("may_review")) or (
        request.get("state") == "pending" and not request.get("yours")
    )


def _review(api: Api, number: str) -> Record | None:
    """None: it is not theirs to look at."""
    try:
        return api.get(path("access-requests", number, "review")).record
    except CommandError as error:
        if error.rule in _HIDDEN:
            return None
        raise


def _read_fingerprint(text: str) -> str:
    if not _FINGERPRINT.fullmatch(text):
        raise typer.BadParameter("a fingerprint has 64 hexadecimal digits; request show prints it")
    return text
