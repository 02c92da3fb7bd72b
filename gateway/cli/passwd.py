"""`pgbastion passwd`: one's own password, changed where one logs in. Only a verifier of the new one travels."""

import asyncio
import os
import secrets
import sys
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from gateway.access.user_rules import UserRules, generate
from gateway.access.verifiers import make_verifier
from gateway.cli.errors import CommandError
from gateway.cli.options import PasswordFile, PasswordStdin
from gateway.cli.output import note, say
from gateway.cli.passwords import ask_for_password, given_password
from gateway.cli.reach import example_text
from gateway.secret import Secret

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

    Asks for the password that you have ($PGPASSWORD or ~/.pgpass are taken first), then for the new one.
    """
    uri = connection or "postgresql://"
    if not uri.startswith(("postgresql://", "postgres://")):
        raise typer.BadParameter("give a URI: postgresql://you@gateway:6432/target?sslmode=verify-full")
    current = _current(uri)
    new = given_password(from_stdin=password_stdin, file=password_file, prompt=None)
    if new is None and not generate_it:
        if not sys.stdin.isatty():
            raise CommandError(
                "there is no terminal to ask for the new password", "Use --password-stdin, --password-file FILE or --generate."
            )
        new = ask_for_password(_NEW)
    chosen = new or Secret(generate(UserRules(), secrets.choice))
    if new is not None and (wrong := UserRules().wrong_password(new.reveal())) is not None:
        raise CommandError(wrong)
    asyncio.run(_change(uri, current, make_verifier(chosen.reveal(), secrets.token_bytes(_SALT_BYTES))))
    if new is not None:
        say("Your password was changed.")
    else:
        say(f'Your password was changed to "{chosen.reveal()}".')
        note("It is shown only now.")


def _current(uri: str) -> str | None:
    """None: whatever the driver finds by itself."""
    if "PGPASSWORD" in os.environ or urlsplit(uri).password or not sys.stdin.isatty():
        return None
    from getpass import getpass

    return getpass("Current password (empty: as psql would find it): ") or None


async def _change(uri: str, current: str | None, verifier: str) -> None:
    """Raises CommandError. Whom CURRENT_USER names is the session's person, whatever the role is upstream."""
    import asyncpg

    try:
        session = await asyncpg.connect(uri, password=current, timeout=_SECONDS, ssl=None)
        try:
            await session.execute(f"ALTER USER CURRENT_USER PASSWORD '{verifier}'")
        finally:
            await session.close(timeout=_SECONDS)
    except asyncpg.PostgresError as error:
        raise CommandError(str(error), getattr(error, "hint", None) or "") from None
    except (OSError, TimeoutError, ValueError, asyncpg.InterfaceError) as error:
        raise CommandError(f"cannot connect: {error or 'no answer in time'}", "Can you connect there with psql?") from None
