"""`pgbastion passwd`: one's own password, changed where one logs in. Only a verifier of the new one travels."""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from gateway.access.user_rules import UserRules, generate, read_password_rules
from gateway.access.verifiers import make_verifier
from gateway.cli.errors import CommandError
from gateway.cli.options import PasswordFile, PasswordStdin
from gateway.cli.output import note, say
from gateway.cli.passwords import ask_for_password, given_password
from gateway.cli.reach import example_text
from gateway.secret import Secret
from gateway.session.welcome import PASSWORD_COMMAND, PASSWORD_RULES

app = typer.Typer(add_completion=False)

_SALT_BYTES: Final = 16
_SECONDS: Final = 15.0
_NEW: Final = "New password (Will be generated if left empty): "


@app.command(
    epilog=example_text(
        [
            'pgbastion passwd "postgresql://ana_diaz@gateway.example:6432/shop?sslmode=verify-full"',
            "PGHOST=gateway.example PGPORT=6432 PGUSER=ana_diaz PGDATABASE=shop pgbastion passwd",
        ]
    )
)
def passwd(
    connection: Annotated[
        str | None,
        typer.Argument(
            metavar="URI",
            help="How you connect to any of your targets, as psql takes it. What it leaves out comes from PGHOST, PGUSER ...",
            show_default=False,
        ),
    ] = None,
    generate_it: Annotated[bool, typer.Option("--generate", help="Make the new password, and do not ask for it.")] = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> None:
    """Change your own password. Your other sessions end.

    Asks for the password that you have ($PGPASSWORD or ~/.pgpass are taken first), then for the new one, which has to keep the
    gateway's rules for passwords.
    """
    uri = connection or "postgresql://"
    if not uri.startswith(("postgresql://", "postgres://")):
        raise typer.BadParameter("give a URI: postgresql://you@gateway:6432/target?sslmode=verify-full")
    if not generate_it and not (password_stdin or password_file) and not sys.stdin.isatty():
        raise CommandError(
            "there is no terminal to ask for the new password", "Use --password-stdin, --password-file FILE or --generate."
        )
    new = given_password(from_stdin=password_stdin, file=password_file, prompt=None)
    made = asyncio.run(_change(uri, _current(uri), new, _generated if generate_it else lambda: ask_for_password(_NEW)))
    if made is None:
        say("Your password was changed.")
    else:
        say(f'Your password was changed to "{made.reveal()}".')
        note("It is shown only now.")


def _generated() -> None:
    """Nothing was chosen."""


def _current(uri: str) -> str | None:
    """None: whatever the driver finds by itself."""
    try:
        given = "PGPASSWORD" in os.environ or urlsplit(uri).password
    except ValueError:
        raise _unreadable() from None
    if given or not sys.stdin.isatty():
        return None
    from getpass import getpass

    return getpass("Current password (empty: as psql would find it): ") or None


async def _change(uri: str, current: str | None, given: Secret | None, ask: Callable[[], Secret | None]) -> Secret | None:
    """The password that was made; None: it was `given`, or chosen when we did `ask`. Raises CommandError.

    Whom CURRENT_USER names is the session's person, whatever the role is upstream.
    """
    import asyncpg

    try:
        name = {"application_name": PASSWORD_COMMAND}
        session = await asyncpg.connect(uri, password=current, timeout=_SECONDS, ssl=None, server_settings=name)
        try:
            rules = _rules(getattr(session.get_settings(), PASSWORD_RULES, None))
            chosen = given or ask()
            if chosen is not None and (wrong := rules.wrong_password(chosen.reveal())) is not None:
                raise CommandError(wrong)
            new = chosen or Secret(generate(rules, secrets.choice))
            verifier = make_verifier(new.reveal(), secrets.token_bytes(_SALT_BYTES))
            await session.execute(f"ALTER USER CURRENT_USER PASSWORD '{verifier}'")
        finally:
            await session.close(timeout=_SECONDS)
    except asyncpg.PostgresError as error:
        raise CommandError(str(error), getattr(error, "hint", None) or "") from None
    except ValueError:  # of the URI: its texts repeat a part of it, which may be one of the password
        raise _unreadable() from None
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        raise CommandError(f"cannot connect: {error or 'no answer in time'}", "Can you connect there with psql?") from None
    return None if chosen is not None else new


def _unreadable() -> CommandError:
    return CommandError(
        "the URI cannot be read",
        "In a password, characters such as / ? # @ [ ] stand there as %2F %3F %23 %40 %5B %5D. Or leave it out: you are asked.",
    )


def _rules(told: str | None) -> UserRules:
    """As the gateway says; one that does not say has the usual ones."""
    if told is None:
        return UserRules()
    try:
        return read_password_rules(told)
    except ValueError as error:
        raise CommandError(f"the gateway tells rules for passwords that this command cannot read: {error}") from None
