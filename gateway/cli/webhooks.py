"""pgbastion webhooks ...: who elsewhere is told of access requests, by signed HTTP."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.access.webhooks import TOPICS, URL_SECRET, Body
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.instants import away, utc_now
from gateway.cli.options import AsJson, IfVersion, Reason, file_of_secret
from gateway.cli.output import JsonValue, Record, note, print_json, say, show
from gateway.cli.progress import working
from gateway.cli.reach import admin

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Who elsewhere is told of access requests: messages by HTTP, signed, tried again until they arrive.",
)

_SHORT: Final = tuple(each.partition(".")[2] for each in TOPICS)
_PREFIX: Final = TOPICS[0].partition(".")[0]
_LIST: Final = {
    "name": "name",
    "url": "url",
    "enabled": "enabled",
    "body": "body",
    "topics": "told of",
    "environments": "in",
}
_DELIVERIES: Final = {
    "id": "id",
    "topic": "told of",
    "number": "request",
    "state": "state",
    "attempts": "tries",
    "created": "since",
    "next": "next try",
    "last_error": "last error",
}
_STYLES: Final = {"state": {"delivered": "green", "pending": "yellow", "dead": "red"}}

Name = Annotated[str, typer.Argument(help="The webhook's name.", show_default=False, autocompletion=names.webhooks)]


@admin(
    app,
    examples=[
        "pgbastion webhooks create siem --url https://siem.example.com/hook",
        "pgbastion webhooks create dba-chat --url https://chat.example.com/hooks/{secret} --url-secret-file chat.secret "
        "--body chat --environment production",
        "pgbastion webhooks create pager --url https://events.example.com/ --topic break_glass --topic review_due",
    ],
)
def create(
    api: Api,
    name: Name,
    url: Annotated[
        str,
        typer.Option("--url", help=f"Where to send to. {URL_SECRET} stands for the part that is a secret.", show_default=False),
    ],
    url_secret_file: Annotated[
        Path | None,
        typer.Option(
            "--url-secret-file",
            metavar="FILE",
            help=f"What {URL_SECRET} stands for; it is sealed.",
            show_default="standard input, or asked for",
            callback=file_of_secret,
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help=f"Only of this; may be repeated: {', '.join(_SHORT)}.", show_default="all"),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            "--environment", help="Only there; may be repeated.", autocompletion=names.environments, show_default="all"
        ),
    ] = None,
    body: Annotated[
        Body, typer.Option("--body", help="json: the message. teams, chat: a text for people. template: your own.")
    ] = Body.JSON,
    template: Annotated[
        Path | None,
        typer.Option("--template", metavar="FILE", help="JSON with placeholders (docs/notifications.md).", exists=True),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a webhook. The secret that signs its messages is shown once, and kept sealed."""
    if (template is not None) != (body is Body.TEMPLATE):
        raise typer.BadParameter("--template goes with --body template")
    given: dict[str, JsonValue] = {"name": name, "url": url, "body": body.value}
    if URL_SECRET in url:
        given |= {"url_secret": _url_secret(url_secret_file)}
    elif url_secret_file is not None:
        raise typer.BadParameter(f"say where it goes: {URL_SECRET} in --url")
    given |= {"topics": [_topic(each) for each in topic]} if topic else {}
    given |= {"environments": list(environment)} if environment else {}
    given |= {"template": _template(template)} if template is not None else {}
    made = api.post(path("webhooks"), given, reason=reason)
    if as_json:
        print_json(made)
        return
    say(f'Webhook "{name}" created. Try it: pgbastion webhooks test {name}')
    if made.get("secret") is None:
        note("Note: the answer with its signing secret was lost. Delete it, and create it again.")
    else:
        note("Its messages are signed (Standard Webhooks). The secret is shown only now:")
        say(str(made.get("secret")))


@admin(app, "list", examples=["pgbastion webhooks list"])
def list_webhooks(api: Api, as_json: AsJson = False) -> None:
    """List webhooks."""
    found = api.all(path("webhooks"))
    if as_json:
        print_json(found)
    else:
        rows = [_row(each) for each in found]
        show(rows, as_json=False, columns=_LIST, empty="No webhooks. Create one: pgbastion webhooks create --help")


@admin(app, "show", examples=["pgbastion webhooks show siem"])
def show_webhook(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show one webhook: all but its secrets."""
    found = api.get(path("webhooks", name)).record
    if as_json:
        print_json(found)
    else:
        show([_row(found)], as_json=False, columns=_LIST, empty="")


@admin(app, examples=["pgbastion webhooks delete siem"])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete a webhook. What was not delivered yet never is."""
    api.delete(path("webhooks", name), reason=reason, version=if_version)
    say(f'Webhook "{name}" deleted.')


@admin(app, examples=["pgbastion webhooks deliveries siem", "pgbastion webhooks deliveries siem --state dead --json"])
def deliveries(
    api: Api,
    name: Name,
    state: Annotated[str | None, typer.Option("--state", help="pending, delivered or dead.", show_default="all")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent and what is still to be sent, the newest first. dead: given up, until you send it again."""
    found = api.all(path("webhooks", name, "deliveries"), state=state)
    if as_json:
        print_json(found)
        return
    now = utc_now()
    rows: list[Record] = [
        {
            **each,
            "created": away(each.get("created_at"), now),
            "next": away(each.get("next_at"), now) if each.get("state") == "pending" else "",
        }
        for each in found
    ]
    columns = {field: heading for field, heading in _DELIVERIES.items() if any(row.get(field) for row in rows)}
    show(rows, as_json=False, columns=columns, empty=f'Nothing was sent to "{name}" yet.', styles=_STYLES)


@admin(app, examples=["pgbastion webhooks redeliver siem 1f3c9a2e-...", "pgbastion webhooks redeliver siem --all-dead"])
def redeliver(
    api: Api,
    name: Name,
    delivery: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which delivery.", show_default=False)] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Each that was given up.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Send again, with the same id: a receiver that has it already knows that."""
    if (delivery is None) != all_dead:
        raise typer.BadParameter("give either a delivery's ID or --all-dead")
    wanted = [delivery] if delivery is not None else [str(each["id"]) for each in _dead(api, name)]
    sent = [api.post(path("webhooks", name, "deliveries", each, "redeliver"), reason=reason) for each in wanted]
    if as_json:
        print_json(sent)
        return
    say("There is nothing to send again." if not sent else f'{len(sent)} will be sent to "{name}" again.')


@admin(app, "test", examples=["pgbastion webhooks test siem"])
def send_test(api: Api, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Send a test message now, and say what came back. Exit status: 0 when it was taken, else 1."""
    with working(name):
        found = api.post(path("webhooks", name, "test"), reason=reason)
    if as_json:
        print_json(found)
    elif found.get("ok"):
        say(f'"{name}" took it: {found.get("detail")}.')
    else:
        say(f'"{name}" did not take it: {found.get("detail")}.')
    if not found.get("ok"):
        raise typer.Exit(1)


def _dead(api: Api, name: str) -> list[Record]:
    return api.all(path("webhooks", name, "deliveries"), state="dead")


def _url_secret(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise CommandError("the file with the URL's secret cannot be read") from None
    if sys.stdin.isatty():
        return str(typer.prompt(f"What {URL_SECRET} stands for", hide_input=True, err=True))
    return sys.stdin.readline().strip()


def _template(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read as UTF-8 text") from error


def _topic(text: str) -> str:
    whole = text if "." in text else f"{_PREFIX}.{text}"
    if whole not in TOPICS:
        raise typer.BadParameter(f"{text!r} is nothing to be told of: {', '.join(_SHORT)}")
    return whole


def _row(webhook: Record) -> Record:
    topics, environments = webhook.get("topics"), webhook.get("environments")
    short = [str(each).partition(".")[2] for each in topics] if isinstance(topics, list) else []
    return {**webhook, "topics": short or "everything", "environments": environments or "all"}
