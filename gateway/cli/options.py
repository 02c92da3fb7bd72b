"""The options that many commands share, and how their texts are read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.access_mode import AccessMode
from gateway.durations import read_duration

_MODES: Final = {"ro": AccessMode.READ_ONLY, "rw": AccessMode.READ_WRITE}
NEVER: Final = "never"
NEW_EXPIRY_HELP: Final = "A duration (8h), an instant, or never."
URL_VARIABLE: Final = "PGBASTION_URL"
TOKEN_FILE_VARIABLE: Final = "PGBASTION_TOKEN_FILE"  # noqa: S105
CA_FILE_VARIABLE: Final = "PGBASTION_CA_FILE"


def parse_expiry(text: str, now: datetime) -> datetime | None:
    """`8h`, `1d12h`, an ISO instant (UTC unless it says otherwise), or `never`. Raises typer.BadParameter."""
    if text == NEVER:
        return None
    try:
        if (span := read_duration(text)) is not None:
            return now + span
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a duration such as 8h, 30m or 1d12h, nor an instant such as 2030-01-31T18:00Z, nor never"
        ) from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def parse_span(text: str) -> int:
    """`8h`, `90m`, `1d12h`: in seconds. Raises typer.BadParameter for what is none, and for no time at all."""
    span = read_duration(text)
    if not span:
        raise typer.BadParameter(f"{text!r} is no duration such as 2h, 30m or 1d12h")
    return int(span.total_seconds())


def parse_mode(text: str) -> AccessMode:
    """read_only, read_write, or ro, rw. Raises typer.BadParameter."""
    try:
        return _MODES.get(text) or AccessMode(text.replace("-", "_"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no access mode: use read_only or read_write") from None


def _modes(incomplete: str) -> list[str]:
    """For shell completion."""
    return [mode.value for mode in AccessMode if mode.value.startswith(incomplete)]


def check_expiry(text: str) -> str:
    parse_expiry(text, datetime.now(UTC))  # refuse it as a usage error now; the verb reads it again
    return text


def expiry(text: str | None) -> datetime | None:
    return None if text is None else parse_expiry(text, datetime.now(UTC))


def file_of_secret(file: Path | None) -> Path | None:
    """Never repeats what it was given: who gives a secret itself in place of its file should not meet it in a log."""
    try:
        if file is None or (file.exists() and not file.is_dir()):
            return file
    except (OSError, ValueError):  # such as a name that is too long for one
        pass
    raise typer.BadParameter("there is no such file (it names a file: the secret itself never stands on a command line)")


def until(text: str | None) -> str | None:
    """As the API wants it."""
    found = expiry(text)
    return None if found is None else found.isoformat()


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The gateway's configuration file.",
        exists=True,
        dir_okay=False,
        show_default="$PGBASTION_CONFIG, ./pgbastion.toml or /etc/pgbastion/pgbastion.toml",
        rich_help_panel="Everywhere",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Everywhere")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.", show_default=False, rich_help_panel="Everywhere")]
Expires = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="WHEN",
        parser=check_expiry,
        help="When it ends: a duration (8h, 30m, 1d12h) or an instant (2030-01-31T18:00Z; UTC unless it says otherwise).",
        show_default="never",
    ),
]
NewExpiry = Annotated[str, typer.Option("--expires", metavar="WHEN", parser=check_expiry, help=NEW_EXPIRY_HELP)]
Mode = Annotated[
    AccessMode,
    typer.Option("--mode", metavar="MODE", parser=parse_mode, help="read_only or read_write (ro, rw).", autocompletion=_modes),
]
AnyMode = Annotated[
    AccessMode | None,
    typer.Option(
        "--mode", metavar="MODE", parser=parse_mode, help="Only this access mode.", show_default="all", autocompletion=_modes
    ),
]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="Read the password from this file.", callback=file_of_secret),
]
IfVersion = Annotated[
    int | None,
    typer.Option(
        "--if-version",
        metavar="N",
        help="Only if it is still at this version (show --json tells it), so that nobody's change in between is lost.",
        show_default=False,
        rich_help_panel="Everywhere",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Ask this admin API instead of this machine's store.",
        show_default=f"${URL_VARIABLE}",
        rich_help_panel="Everywhere",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="The API token for --url.",
        show_default=f"${TOKEN_FILE_VARIABLE}, or the token itself in $PGBASTION_TOKEN",
        callback=file_of_secret,
        rich_help_panel="Everywhere",
    ),
]
ApiCa = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="CA certificates to trust for --url (PEM).",
        show_default=f"${CA_FILE_VARIABLE}, or the system's",
        exists=True,
        dir_okay=False,
        rich_help_panel="Everywhere",
    ),
]
