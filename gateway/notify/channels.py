"""Who delivers to which kind of destination. What is not set up is not loaded: its library may not be installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

import structlog

from gateway.notify.delivering import Channel, Dead, Deliverer, Means, Outcome, PersonalDeliverer
from gateway.notify.people import People
from gateway.notify.quiet import quieten
from gateway.notify.webhooks import Webhooks
from gateway.ports import OutboxMessage
from gateway.settings import Settings

_LIBRARIES: Final = {"mail": "aiosmtplib", "on-call": "pagerduty", "slack": "slack_bolt"}
_EXTRAS: Final = {"mail": "mail", "on-call": "pagerduty", "slack": "slack"}
_log: Final = structlog.stdlib.get_logger("gateway.courier")


class Channels:
    """`start` and `close` are for all of them. One that cannot be opened is the loss of its own messages only."""

    def __init__(self, means: Means) -> None:
        """Raises nothing: what is wrong with a channel is what becomes of its messages."""
        quieten()
        self._open: dict[str, Channel] = {}
        self._wrong: dict[str, str] = {}
        personal: list[PersonalDeliverer] = []
        self._make(means, personal)
        self._people = People(means, personal)

    async def start(self) -> None:
        for kind, channel in self._open.items():
            try:
                await channel.start()
            except Exception as error:  # it is tried again with each message
                _log.error("a channel could not begin", channel=kind, error=type(error).__name__)

    async def close(self) -> None:
        for kind, channel in self._open.items():
            try:
                await channel.close()
            except Exception as error:
                _log.warning("a channel could not be closed", channel=kind, error=type(error).__name__)

    def of(self, destination: str) -> Deliverer:
        kind, colon, place = destination.partition(":")
        if not colon or not place:
            return _Nobody("this is no destination")
        if kind == "person":
            return self._people
        known = self._open.get(kind)
        return known if known is not None else _Nobody(self._wrong.get(kind, f'nothing delivers to "{kind}:"'))

    def _make(self, means: Means, personal: list[PersonalDeliverer]) -> None:
        wanted = configured(means.settings)
        for kind, is_wanted in wanted.items():
            if not is_wanted:
                self._wrong[kind] = f"{_NAMES[kind]} is not set up"
            elif find_spec(_LIBRARIES[kind]) is None:
                self._wrong[kind] = f'{_NAMES[kind]} needs more than is installed: pip install "pgbastion[{_EXTRAS[kind]}]"'
        try:
            self._open["webhook"] = Webhooks(means)
        except OSError as error:
            self._wrong["webhook"] = f"notify.ca_file cannot be read as PEM certificates ({error.strerror})"
        if "mail" not in self._wrong:
            from gateway.notify.mail import MailOffice

            try:
                mail = MailOffice(means)
            except OSError as error:
                self._wrong["mail"] = f"mail.ca_file cannot be read as PEM certificates ({error.strerror})"
            else:
                self._open["mail"] = mail
                personal.append(mail)
        if "slack" not in self._wrong:
            self._make_slack(means, personal)
        if "on-call" not in self._wrong:
            from gateway.notify.on_call import OnCall

            self._open["on-call"] = OnCall(means)

    def _make_slack(self, means: Means, personal: list[PersonalDeliverer]) -> None:
        from gateway.notify.slack.office import SlackOffice
        from gateway.notify.slack.workspace import SlackUnusable

        try:
            slack = SlackOffice(means)
        except SlackUnusable as error:
            self._wrong["slack"] = str(error)
        else:
            self._open["slack"] = slack
            personal.insert(0, slack)  # where people talk comes before their post


_NAMES: Final = {"mail": "e-mail", "on-call": "PagerDuty", "slack": "Slack"}


def configured(settings: Settings) -> Mapping[str, bool]:
    """Which of the kinds that need settings have them."""
    return {
        "mail": bool(settings.mail.host),
        "on-call": settings.pagerduty.token_file is not None,
        "slack": settings.slack.bot_token_file is not None,
    }


class _Nobody:
    """Implements Deliverer, for what has none."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def deliver(self, _message: OutboxMessage) -> Outcome:
        return Dead(self._why)
