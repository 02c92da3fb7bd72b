"""A request as a channel sees it: the message that asks for a decision, and what becomes of it. Pure.

It is one message, which is updated in place: buttons stand under it only while there is something to decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from gateway.durations import write_duration
from gateway.notify.slack import names, text
from gateway.notify.slack.facts import Decided, Shown
from gateway.notify.slack.names import Pressed
from gateway.services.request_messages import Topic

_MODES: Final = {"read_only": "read only", "read_write": "read and write"}
_NAMED_APPROVERS: Final = 10
_SHOWN_DECISIONS: Final = 10
_COMMENT: Final = 300
_REASON: Final = 2500

#: What a state is to the reader, with a picture that is seen before the word.
_STATES: Final = {
    "pending": (":hourglass_flowing_sand:", "Waiting for a decision"),
    "approved": (":white_check_mark:", "Approved"),
    "active": (":white_check_mark:", "Approved"),
    "denied": (":no_entry:", "Denied"),
    "cancelled": (":wastebasket:", "Taken back by who asked"),
    "expired": (":alarm_clock:", "Expired"),
    "relinquished": (":leftwards_arrow_with_hook:", "Given back"),
    "revoked": (":no_entry_sign:", "Revoked"),
    "errored": (":warning:", "Failed"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """`text`: what notifications and screen readers have."""

    text: str
    blocks: Sequence[Block]


def announcement(request: Shown, topic: Topic | None = None) -> Message:
    """The message of a channel, as the request is now. `topic`: what made it so, where that matters."""
    return Message(_summary(request), [*_body(request, topic), *_buttons(request, topic)])


def thread_note(request: Shown, topic: Topic) -> str | None:
    """What else is said below the message, so that people are told and not only shown; None: nothing."""
    match topic:
        case Topic.ESCALATED:
            who = _people(request.approvers)
            return f":rotating_light: Nobody has decided about request {request.number} yet. Now these may, too: {who}"
        case Topic.REVIEW_DUE:
            return f":mag: The emergency access of request {request.number} is over and waits for its review."
        case _:
            return None


def what(request: Shown) -> str:
    """What is asked for, in mrkdwn: "`shop` (read only)"."""
    place = text.code(request.place) if request.kind == "target" else f"each database of {text.code(request.place)}"
    if request.statements:
        count = f"{request.statements} statement{'' if request.statements == 1 else 's'}"
        return f"{place} ({_mode(request)}, {count} only)"
    if request.database_role is not None:
        return f"{place} as database role {text.code(request.database_role)} ({_mode(request)})"
    return f"{place} ({_mode(request)})"


def who(request: Shown) -> str:
    asked = text.escaped(request.requester, 100)
    return asked if request.requester == request.holder else f"{asked} for {text.escaped(request.holder, 100)}"


def status(request: Shown) -> str:
    """The state in words, in mrkdwn: with until when a right holds, and why one ended."""
    picture, word = _STATES.get(request.state, (":grey_question:", text.escaped(request.state, 50)))
    line = f"{picture} *{word}*"
    if request.state == "approved" and request.starts_at is not None:
        line += f", from {text.moment(request.starts_at)}"
    if request.state in ("approved", "active") and request.ends_at is not None:
        line += f", expires {text.moment(request.ends_at)}"
    if request.state == "pending" and (request.needed > 1 or request.steps > 1):
        step = f" in step {request.step} of {request.steps}" if request.steps > 1 else ""
        line += f" ({request.said_yes} of {request.needed} approvals{step})"
    if request.ended_because not in ("", names.FROM_SLACK) and request.state not in ("pending", "approved", "active", "denied"):
        line += f": {text.escaped(request.ended_because, _COMMENT)}"
    return line


def _summary(request: Shown) -> str:
    loud = "BREAK-GLASS: " if request.break_glass else ""
    _, word = _STATES.get(request.state, ("", request.state))
    said = f"{loud}Request {request.number}: {who(request)}, {what(request)} - {word}"
    return said[: text.FALLBACK]


def _body(request: Shown, topic: Topic | None) -> list[Block]:
    title = f"Access request {request.number}"
    if request.break_glass:
        title = f"🚨 BREAK-GLASS: emergency access {request.number}"
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=text.plain(title, text.HEADER), emoji=True))]
    if request.break_glass and topic is Topic.BREAK_GLASS:
        taken = f"<!channel> *{who(request)}* took access without an approval. Look at it now; a review follows."
        blocks.append(_section(taken))
    fields = [
        f"*Who*\n{who(request)}",
        f"*What*\n{what(request)}",
        f"*How long*\n{write_duration(request.duration_seconds)}",
    ]
    if request.wanted_from is not None:
        fields.append(f"*From*\n{text.moment(request.wanted_from)}")
    if request.ticket:
        fields.append(f"*Ticket*\n{text.escaped(request.ticket, 200)}")
    blocks.append(SectionBlock(fields=[_marked(each) for each in fields]))
    if request.reason.strip():
        blocks.append(_section(text.quoted(request.reason, _REASON)))
    reviewed = [] if request.reviewed_by is None else [f":mag: reviewed by *{text.escaped(request.reviewed_by, 100)}*"]
    blocks.append(_section("\n".join([status(request), *_decisions(request.decisions), *reviewed])))
    if request.state == "pending":
        more = "The statements" if request.statements else "What else they may do, and what they asked for before"
        said = f"May decide: {_people(request.approvers)}. {more}: `pgbastion request show {request.number}`"
        blocks.append(ContextBlock(elements=[_marked(said)]))
    return blocks


def _decisions(decisions: Sequence[Decided]) -> list[str]:
    lines = []
    for each in decisions[-_SHOWN_DECISIONS:]:
        said = "approved" if each.word == "approve" else "denied"
        by = f"by rule {text.code(each.rule)}" if each.rule is not None else f"by *{text.escaped(each.by, 100)}*"
        comment = f": {text.escaped(each.comment, _COMMENT)}" if each.comment.strip() else ""
        lines.append(f"{said} {by}{comment}")
    return lines


def _buttons(request: Shown, topic: Topic | None) -> list[Block]:
    value = str(Pressed(request.id, request.fingerprint))
    if request.state == "pending":
        return [
            ActionsBlock(
                elements=[
                    ButtonElement(text="Approve", action_id=names.APPROVE, value=value, style="primary"),
                    ButtonElement(text="Deny", action_id=names.DENY, value=value, style="danger"),
                ]
            )
        ]
    if topic is Topic.REVIEW_DUE and request.awaits_review:
        return [ActionsBlock(elements=[ButtonElement(text="Mark as reviewed", action_id=names.REVIEW, value=value)])]
    return []


def _people(people: Sequence[str]) -> str:
    shown = [text.escaped(each, 100) for each in people[:_NAMED_APPROVERS]]
    more = [f"{len(people) - _NAMED_APPROVERS} more"] if len(people) > _NAMED_APPROVERS else []
    return ", ".join([*shown, *more]) or "nobody"


def _mode(request: Shown) -> str:
    return _MODES.get(request.mode, request.mode)


def _section(marked: str) -> SectionBlock:
    return SectionBlock(text=_marked(marked))


def _marked(marked: str) -> MarkdownTextObject:
    """`verbatim`: Slack looks for no names or links of its own accord."""
    return MarkdownTextObject(text=marked[: text.SECTION], verbatim=True)
