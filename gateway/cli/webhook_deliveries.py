"""pgbastion webhooks deliveries and redeliver: what was to be told elsewhere, and what became of it."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.instants import away, utc_now
from gateway.cli.options import AsJson, Reason
from gateway.cli.output import Record, print_json, say, show
from gateway.cli.reach import admin
from gateway.ports import OutboxState

_COLUMNS: Final = {
    "id": "id",
    "topic": "told of",
    "destination": "to",
    "state": "state",
    "attempts": "tries",
    "created": "since",
    "next": "next try",
    "last_error": "last error",
}
_STYLES: Final = {"state": {"delivered": "green", "pending": "yellow", "dead": "red"}}
_MOST: Final = 100

OfWebhook = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="Only to this webhook.",
        show_default="all; Slack, e-mail and people, too",
        autocompletion=names.webhooks,
    ),
]


class Kind(StrEnum):
    """Of a destination."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    MAIL = "mail"
    PERSON = "person"
    ON_CALL = "on-call"


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion webhooks`."""
    admin(
        app,
        examples=["pgbastion webhooks deliveries siem", "pgbastion webhooks deliveries --kind slack --state dead --json"],
    )(deliveries)
    admin(
        app,
        examples=["pgbastion webhooks redeliver 1f3c9a2e-...", "pgbastion webhooks redeliver --all-dead --webhook siem"],
    )(redeliver)


def deliveries(
    api: Api,
    name: OfWebhook = None,
    state: Annotated[OutboxState | None, typer.Option("--state", help="Only in this state.", show_default="all")] = None,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Only to such destinations.", show_default="all")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = _MOST,
    as_json: AsJson = False,
) -> None:
    """List what was sent and what is still to be sent, the newest first. dead: given up, until you send it again."""
    found = _found(api, name, state, kind, limit)
    if as_json:
        print_json(found)
        return
    rows = [_row(each) for each in found]
    columns = {field: heading for field, heading in _COLUMNS.items() if any(row.get(field) for row in rows)}
    empty = "Nothing was sent yet." if name is None else f'Nothing was sent to "{name}" yet.'
    show(rows, as_json=False, columns=columns, empty=empty, styles=_STYLES, stacked=("id", "state"))


def redeliver(
    api: Api,
    delivery: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which delivery.", show_default=False)] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Instead: each that was given up.")] = False,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="With --all-dead: only to this one.", autocompletion=names.webhooks)
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Send again, with the same id: a receiver that has it already knows that."""
    if (delivery is None) != all_dead or (webhook is not None and not all_dead):
        raise typer.BadParameter("give either a delivery's ID or --all-dead")
    wanted = [delivery] if delivery is not None else [str(each["id"]) for each in _found(api, webhook, OutboxState.DEAD)]
    sent = [api.post(path("deliveries", each, "redeliver"), reason=reason) for each in wanted]
    if as_json:
        print_json(sent)
        return
    say(f"{len(sent)} will be sent again." if sent else "There is nothing to send again.")


def _found(
    api: Api, webhook: str | None, state: OutboxState | None, kind: Kind | None = None, limit: int | None = None
) -> list[Record]:
    return api.all(
        path("deliveries"),
        webhook=webhook,
        state=None if state is None else state.value,
        kind=None if kind is None else kind.value,
        limit=limit,
    )


def _row(each: Record) -> Record:
    now = utc_now()
    return {
        **each,
        "topic": str(each.get("topic")).removeprefix("access_request."),
        "created": away(each.get("created_at"), now),
        "next": away(each.get("next_at"), now) if each.get("state") == OutboxState.PENDING else "",
    }
