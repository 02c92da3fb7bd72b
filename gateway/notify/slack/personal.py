"""What one person is told in a direct message: of their own request. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ConfirmObject,
    ContextBlock,
    MarkdownTextObject,
    SectionBlock,
)

from gateway.notify.slack import names, text
from gateway.notify.slack.announcements import Message, status, what, who
from gateway.notify.slack.facts import Shown, Told
from gateway.notify.slack.names import Pressed
from gateway.services.request_messages import Topic

_COMMENT: Final = 500


@dataclass(frozen=True, slots=True)
class Connecting:
    """How to use a right: `command` of ours, and `uri` for any client, without a password; "": it is not known."""

    command: str
    uri: str = ""


HowTo = Callable[[Shown], Connecting]


def personal(told: Told, how_to: HowTo) -> Message:
    """A message of its own, so that the phone rings. Buttons: Cancel while it is pending, Relinquish while there is a right."""
    request = told.request
    line = _line(told)
    blocks: list[Block] = [_section(line)]
    if told.topic in (Topic.APPROVED, Topic.ACTIVE, Topic.BREAK_GLASS) and request.state in ("active", "approved"):
        blocks.append(_section(_connecting(how_to(request))))
    blocks += buttons(request)
    return Message(_without_dates(told, line), blocks)


def settled(request: Shown) -> Message:
    """What stands in place of an earlier message once its button would do nothing any more."""
    line = f"Request {request.number}: {what(request)}. {status(request)}"
    return Message(line[: text.FALLBACK], [ContextBlock(elements=[_marked(line)])])


def buttons(request: Shown) -> list[Block]:
    """Those by which its requester or holder ends it."""
    value = str(Pressed(request.id, request.fingerprint))
    match request.state:
        case "pending" | "approved":
            return [ActionsBlock(elements=[ButtonElement(text="Cancel the request", action_id=names.CANCEL, value=value)])]
        case "active":
            sure = ConfirmObject(
                title="Give it back?",
                text="Open sessions end at once. To have it again, it must be asked for again.",
                confirm="Relinquish",
                deny="Keep it",
            )
            button = ButtonElement(text="Relinquish", action_id=names.RELINQUISH, value=value, style="danger", confirm=sure)
            return [ActionsBlock(elements=[button])]
        case _:
            return []


def _line(told: Told) -> str:
    request = told.request
    subject = f"request {request.number} ({what(request)})"
    comment = next((each.comment for each in reversed(request.decisions) if each.comment.strip()), "")
    why = f"\n{text.quoted(comment, _COMMENT)}" if comment else ""
    because = "" if request.ended_because == names.FROM_SLACK else request.ended_because
    ended = f": {text.escaped(because, _COMMENT)}" if because else "."
    until = f" It expires {text.moment(request.ends_at)}." if request.ends_at is not None else ""
    match told.topic:
        case Topic.CREATED:
            return (
                f":hourglass_flowing_sand: Your {subject} is made. Its approvers have been told; you will be, once they decide."
            )
        case Topic.ESCALATED:
            return f":hourglass_flowing_sand: Nobody has decided about your {subject} yet; more people have been asked."
        case Topic.APPROVED if request.state == "approved" and request.starts_at is not None:
            return f":white_check_mark: Your {subject} is approved, from {text.moment(request.starts_at)}.{until}{why}"
        case Topic.APPROVED:
            return f":white_check_mark: Your {subject} is approved.{until}{why}"
        case Topic.ACTIVE:
            return f":white_check_mark: Your {subject} begins now.{until}"
        case Topic.BREAK_GLASS:
            return f":rotating_light: *Emergency access*: your {subject} is given, and everybody is told.{until}"
        case Topic.DENIED:
            by = next((each.by for each in reversed(request.decisions) if each.word == "deny"), "")
            return f":no_entry: Your {subject} was denied{f' by {text.escaped(by, 100)}' if by else ''}.{why}"
        case Topic.EXPIRING:
            return f":alarm_clock: Your access of {subject} ends soon.{until} Sessions end then."
        case Topic.REVIEW_DUE:
            return f":mag: The emergency access of {subject} is over; it will be reviewed."
        case Topic.EXPIRED:
            return f":alarm_clock: Your {subject} has expired{ended}"
        case Topic.CANCELLED:
            return f":wastebasket: Your {subject} is taken back{ended}"
        case Topic.RELINQUISHED:
            return f":leftwards_arrow_with_hook: Your {subject} is given back{ended}"
        case Topic.REVOKED:
            return f":no_entry_sign: Your {subject} was revoked{ended}"
        case Topic.ON_CALL:
            return f":hourglass_flowing_sand: It is looked up whether you are on call, for your {subject}."
        case Topic.ERRORED:
            return f":warning: Your {subject} failed{ended}"


def _connecting(how: Connecting) -> str:
    lines = ["To connect:", f"```{text.escaped(how.command, 500)}```"]
    if how.uri:
        lines += ["or, with a client of your own and your password:", f"```{text.escaped(how.uri, 1000)}```"]
    return "\n".join(lines)


def _without_dates(told: Told, line: str) -> str:
    """Notifications show no dates of Slack's own making."""
    request = told.request
    return (
        f"Request {request.number}, {who(request)}, {what(request)}: {request.state}"
        if "<!date" in line
        else line[: text.FALLBACK]
    )


def _section(marked: str) -> SectionBlock:
    return SectionBlock(text=_marked(marked))


def _marked(marked: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=marked[: text.SECTION], verbatim=True)
