"""The forms: to ask for access, to say why not, to review; what stands in a form's place while or after it is worked on. Pure."""

from collections.abc import Sequence
from typing import Final

from slack_sdk.models.blocks import (
    Block,
    CheckboxesElement,
    ContextBlock,
    DateTimePickerElement,
    ExternalDataSelectElement,
    InputBlock,
    MarkdownTextObject,
    Option,
    OptionGroup,
    PlainTextInputElement,
    PlainTextObject,
    SectionBlock,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from gateway.access_mode import AccessMode
from gateway.durations import write_duration
from gateway.notify.slack import names, text
from gateway.notify.slack.places import Access, Chosen, Kind, Place, Way

MOST_OPTIONS: Final = 100
"""That a select may hold: with more, people type a part of the name."""
MOST_TEXT: Final = 500
"""Characters that a reason or a comment may have, as everywhere in the gateway."""
MOST_TICKET: Final = 200

_LABELS: Final = {
    (Kind.MODE, AccessMode.READ_ONLY): "Read only",
    (Kind.MODE, AccessMode.READ_WRITE): "Read and write",
    (Kind.ROLE, AccessMode.READ_ONLY): "Database role, read only",
    (Kind.ROLE, AccessMode.READ_WRITE): "Database role, read and write",
}


def ask_view(places: Sequence[Place], chosen: Chosen) -> View:
    """Fields that the choice decides about have the choice in their ids: what was typed for another one is not kept."""
    blocks: list[Block] = [_place(places, chosen.place)]
    if chosen.place is not None:
        blocks.append(_access(chosen.place, chosen.access))
    if chosen.place is not None and chosen.access is not None and (way := chosen.way) is not None:
        blocks += _details(f"{chosen.place.name}:{chosen.access}", chosen.access, way)
    return View(
        type="modal",
        callback_id=names.ASK_FORM,
        title="Ask for access",
        submit="Ask",
        close="Close",
        blocks=blocks,
    )


def place_options(places: Sequence[Place], typed: str = "") -> list[Option]:
    """Those whose name or environment holds what was typed, as many as may be shown."""
    wanted = typed.strip().lower()
    found = [each for each in places if wanted in each.name.lower() or wanted in each.environment.lower()]
    return [_place_option(each) for each in found[:MOST_OPTIONS]]


def deny_view(origin: str) -> View:
    """`origin`: what comes back with it."""
    return _comment_view(names.DENY_FORM, "Deny the request", "Deny", "Why (the requester reads it)", origin)


def review_view(origin: str) -> View:
    return _comment_view(names.REVIEW_FORM, "Review", "Reviewed", "What was found", origin)


def said_view(title: str, said: str) -> View:
    """A form that is over: `said` is mrkdwn."""
    block = SectionBlock(text=MarkdownTextObject(text=said[: text.SECTION], verbatim=True))
    return View(type="modal", title=title, close="Close", blocks=[block])


def working_view(title: str) -> View:
    return said_view(title, ":hourglass_flowing_sand: One moment…")


def _place(places: Sequence[Place], place: Place | None) -> InputBlock:
    initial = None if place is None else _place_option(place)
    element: StaticSelectElement | ExternalDataSelectElement
    if len(places) > MOST_OPTIONS:
        element = ExternalDataSelectElement(
            action_id=names.PLACE, placeholder="Type a part of its name", initial_option=initial, min_query_length=0
        )
    else:
        environments = sorted({each.environment for each in places})
        groups = [
            OptionGroup(
                label=text.one_line(environment, text.OPTION),
                options=[_place_option(each) for each in places if each.environment == environment],
            )
            for environment in environments
        ]
        element = StaticSelectElement(
            action_id=names.PLACE, placeholder="Choose a database", option_groups=groups, initial_option=initial
        )
    return InputBlock(block_id=names.PLACE, label="Database", element=element, dispatch_action=True)


def _place_option(place: Place) -> Option:
    return Option(value=place.name, text=PlainTextObject(text=text.one_line(place.name, text.OPTION), emoji=False))


def _access(place: Place, access: Access | None) -> InputBlock:
    options = [_access_option(each) for each in place.accesses]
    initial = None if access is None else _access_option(access)
    element = StaticSelectElement(action_id=names.ACCESS, options=options, initial_option=initial)
    return InputBlock(block_id=f"{names.ACCESS}:{place.name}", label="Access type", element=element, dispatch_action=True)


def _access_option(access: Access) -> Option:
    return Option(value=str(access), label=_LABELS[access.kind, access.mode])


def _details(key: str, access: Access, way: Way) -> list[Block]:
    blocks: list[Block] = []
    if access.kind is Kind.ROLE:
        options = [Option(value=each, label=text.one_line(each, text.OPTION)) for each in way.roles[:MOST_OPTIONS]]
        role = StaticSelectElement(action_id=names.ROLE, placeholder="Choose a role", options=options)
        blocks.append(InputBlock(block_id=f"{names.ROLE}:{key}", label="Database role", element=role))
    for_how_long = PlainTextInputElement(
        action_id=names.DURATION, initial_value=write_duration(way.default_seconds), max_length=40
    )
    hint = f"Such as 45m, 4h or 2d. At most {write_duration(way.max_seconds)}."
    blocks += [
        InputBlock(block_id=f"{names.DURATION}:{key}", label="For how long", element=for_how_long, hint=hint),
        _line(names.REASON, "Reason", "Those who decide read it.", needed=way.reason_required),
    ]
    if way.ticket_required:
        blocks.append(_line(names.TICKET, "Ticket", "Its reference.", needed=True, most=MOST_TICKET))
    start = DateTimePickerElement(action_id=names.START)
    blocks.append(
        InputBlock(block_id=names.START, label="From", element=start, hint="Empty: as soon as it is approved.", optional=True)
    )
    if way.emergency_seconds is not None:
        blocks += _emergency(key, way.emergency_seconds)
    return blocks


def _emergency(key: str, most_seconds: int) -> list[Block]:
    option = Option(value="yes", label="Emergency: give it to me now, without an approval")
    element = CheckboxesElement(action_id=names.EMERGENCY, options=[option])
    said = f"For at most {write_duration(most_seconds)}. Everybody is told at once, and it is reviewed afterwards."
    return [
        InputBlock(block_id=f"{names.EMERGENCY}:{key}", label="Break glass", element=element, optional=True),
        ContextBlock(elements=[MarkdownTextObject(text=said, verbatim=True)]),
    ]


def _line(name: str, label: str, hint: str, *, needed: bool, most: int = MOST_TEXT) -> InputBlock:
    element = PlainTextInputElement(action_id=name, max_length=most)
    return InputBlock(block_id=name, label=label, element=element, hint=hint, optional=not needed)


def _comment_view(form: str, title: str, submit: str, label: str, origin: str) -> View:
    return View(
        type="modal",
        callback_id=form,
        title=title,
        submit=submit,
        close="Close",
        private_metadata=origin,
        blocks=[_line(names.COMMENT, label, "One line.", needed=True)],
    )
