"""pgbastion webhooks ...: who elsewhere is told of access requests, by signed HTTP."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.access.webhooks import TOPICS, URL_SECRET, Body
from gateway.cli import names, webhook_deliveries
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
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
UrlSecretFile = Annotated[
    Path | None,
    typer.Option(
        "--url-secret-file",
        metavar="FILE",
        help=f"What {URL_SECRET} stands for; it is sealed.",
        show_default="standard input, or asked for",
        callback=file_of_secret,
    ),
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", help=f"Only of this; may be repeated: {', '.join(_SHORT)}.", show_default="all"),
]
Environments = Annotated[
    list[str] | None,
    typer.Option("--environment", help="Only there; may be repeated.", autocompletion=names.environments, show_default="all"),
]
Template = Annotated[
    Path | None,
    typer.Option("--template", metavar="FILE", help="JSON with placeholders (docs/notifications.md).", exists=True),
]
Name = Annotated[str, typer.Argument(help="The webhook's name.", show_default=False, autocompletion=names.webhooks)]


@admin(
    app,
    examples=[
        "pgbastion webhooks create siem --to https://siem.example.com/hook",
        "pgbastion webhooks create dba-chat --to https://chat.example.com/hooks/{secret} --url-secret-file chat.secret "
        "--body chat --environment production",
        "pgbastion webhooks create pager --to https://events.example.com/ --topic break_glass --topic review_due",
    ],
)
def create(
    api: Api,
    name: Name,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help=f"Where to send to. {URL_SECRET} stands for the part that is a secret.",
            show_default=False,
        ),
    ],
    url_secret_file: UrlSecretFile = None,
    topic: Topics = None,
    environment: Environments = None,
    body: Annotated[
        Body, typer.Option("--body", help="json: the message. teams, chat: a text for people. template: your own.")
    ] = Body.JSON,
    template: Template = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a webhook. The secret that signs its messages is shown once, and kept sealed."""
    if (template is not None) != (body is Body.TEMPLATE):
        raise typer.BadParameter("--template goes with --body template")
    given = {"name": name, "body": body.value, **_given(to, url_secret_file, topic, environment, template)}
    made = api.post(path("webhooks"), given, reason=reason)
    if as_json:
        print_json(made)
        return
    say(f'Webhook "{name}" created. Try it: pgbastion webhooks test {name}')
    _say_secret(made)


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


@admin(
    app,
    examples=[
        "pgbastion webhooks update siem --disable",
        "pgbastion webhooks update siem --topic approved --topic break_glass --all-environments",
    ],
)
def update(
    api: Api,
    name: Name,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Where to send to.", show_default="as it is")] = None,
    url_secret_file: UrlSecretFile = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it is told of anything.")] = None,
    topic: Topics = None,
    all_topics: Annotated[bool, typer.Option("--all-topics", help="Of everything.")] = False,
    environment: Environments = None,
    all_environments: Annotated[bool, typer.Option("--all-environments", help="Everywhere.")] = False,
    body: Annotated[Body | None, typer.Option("--body", help="See: webhooks create --help", show_default="as it is")] = None,
    template: Template = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Change a webhook: what is given, each list as a whole. What waits for it is delivered as it is then."""
    if (all_topics and topic) or (all_environments and environment):
        raise typer.BadParameter("give either all of them or some")
    given = _given(to, url_secret_file, topic, environment, template)
    given |= {"enabled": enabled} if enabled is not None else {}
    given |= {"body": body.value} if body is not None else {}
    given |= {"topics": []} if all_topics else {}
    given |= {"environments": []} if all_environments else {}
    if not given:
        raise typer.BadParameter("say what to change: see pgbastion webhooks update --help")
    changed = api.patch(path("webhooks", name), given, reason=reason, version=if_version)
    if as_json:
        print_json(changed)
    else:
        say(f'Webhook "{name}" changed.')


@admin(
    app, "rotate-secret", examples=["pgbastion webhooks rotate-secret siem", "pgbastion webhooks rotate-secret siem --leaked"]
)
def rotate_secret(
    api: Api,
    name: Name,
    leaked: Annotated[bool, typer.Option("--leaked", help="The former one signs no more at once.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Sign with another secret from now on. For a day the former one signs, too, so that no message is refused."""
    made = api.post(path("webhooks", name, "secret"), {"former_hours": 0} if leaked else {}, reason=reason)
    if as_json:
        print_json(made)
    else:
        _say_secret(made)


@admin(app, examples=["pgbastion webhooks delete siem"])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete a webhook. What was not delivered to it yet never is."""
    api.delete(path("webhooks", name), reason=reason, version=if_version)
    say(f'Webhook "{name}" deleted.')


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


webhook_deliveries.register(app)


def _given(
    url: str | None,
    url_secret_file: Path | None,
    topics: list[str] | None,
    environments: list[str] | None,
    template: Path | None,
) -> dict[str, JsonValue]:
    """As the API wants it."""
    given: dict[str, JsonValue] = {} if url is None else {"url": url}
    if url_secret_file is not None or (url is not None and URL_SECRET in url):
        given |= {"url_secret": _url_secret(url_secret_file)}
    given |= {"topics": [_topic(each) for each in topics]} if topics else {}
    given |= {"environments": list(environments)} if environments else {}
    return given | ({"template": _template(template)} if template is not None else {})


def _say_secret(made: Record) -> None:
    if made.get("secret") is None:
        note("Note: the answer with the signing secret was lost. Make another: pgbastion webhooks rotate-secret NAME --leaked")
        return
    note("Its messages are signed (Standard Webhooks). The secret is shown only now:")
    say(str(made.get("secret")))


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
