"""The workspace that our app is installed in, asked through the vendor's client; and what its refusals mean to a message."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from gateway.notify.delivering import Dead, Later
from gateway.notify.slack.quiet import quiet_logger
from gateway.secret import Secret

CALL_SECONDS: Final = 10
"""One call of Slack's API may take so long."""

NO_ANSWER: Final = (aiohttp.ClientError, TimeoutError, OSError, SlackClientError)
"""What the client raises, for whatever reason it has no answer."""

_FINE: Final = 200
_TOO_MANY: Final = 429
_ANSWERS: Final = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
_WAIT_SECONDS: Final = 30.0
_HOPELESS: Final = frozenset(
    {
        "channel_not_found",
        "is_archived",
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_too_long",
        "no_text",
        "restricted_action",
        "user_not_found",
        "users_not_found",
        "user_disabled",
        "cannot_dm_bot",
    }
)
_GONE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_inactive"})


class SlackUnusable(Exception):
    """What Slack is used with cannot be read. The text names the file, and holds nothing of it."""


def read_token(file: Path, what: str) -> Secret:
    """Raises SlackUnusable."""
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SlackUnusable(f"{file}, which should hold the {what}, cannot be read") from None
    if not text or not text.isascii() or len(text.split()) != 1:
        raise SlackUnusable(f"{file} does not hold the {what}")
    return Secret(text)


class Workspace:
    """The Web API under our bot's token."""

    def __init__(self, token: Secret, api_url: str) -> None:
        logger = quiet_logger("web")
        self.client = AsyncWebClient(token.reveal(), base_url=api_url, timeout=CALL_SECONDS, logger=logger, retry_handlers=[])
        self._answers = frozenset({*_ANSWERS, urlsplit(api_url).netloc})
        self._home: str | None = None
        self._asking = asyncio.Lock()

    async def home(self) -> str:
        """Its id. Raises what the client raises."""
        async with self._asking:
            if self._home is None:
                answer = await self.client.auth_test()
                self._home = str(answer["team_id"])
            return self._home

    async def answer(self, url: str, text: str, blocks: Sequence[Block], *, replacing: bool) -> None:
        """At a response_url, for one person alone. Raises what the client raises, or TimeoutError where it is taken no longer."""
        if urlsplit(url).netloc not in self._answers:
            raise TimeoutError("no response_url")
        client = AsyncWebhookClient(url, timeout=CALL_SECONDS, logger=quiet_logger("answers"), retry_handlers=[])
        answer = await client.send(
            text=text,
            blocks=blocks,
            response_type="ephemeral",
            replace_original=replacing,
            unfurl_links=False,
        )
        if answer.status_code != _FINE:
            raise TimeoutError("the response_url is used up")


def code_of(error: Exception) -> str:
    """Slack's own word for what is wrong, "" where it has said none."""
    answer = error.response if isinstance(error, SlackApiError) else None
    code = answer.get("error") if answer is not None and hasattr(answer, "get") else None
    return code if isinstance(code, str) and code.isprintable() else ""


def is_gone(error: Exception) -> bool:
    """Whether a message cannot be updated, because it is not there any more, or not ours."""
    return code_of(error) in _GONE


def outcome_of(error: Exception) -> Later | Dead:
    """What a failed call means to the message. Nothing of the answer is repeated but Slack's word."""
    code = code_of(error)
    if code in _HOPELESS:
        return Dead(f"Slack says: {code}")
    if (seconds := _asked_to_wait(error)) is not None:
        return Later(seconds, "Slack asks to wait")
    return Later(None, f"Slack says: {code}" if code else f"Slack does not answer ({type(error).__name__})")


def _asked_to_wait(error: Exception) -> float | None:
    answer = error.response if isinstance(error, SlackApiError) else None
    if getattr(answer, "status_code", None) != _TOO_MANY and code_of(error) != "ratelimited":
        return None
    said = str(getattr(answer, "headers", {}).get("Retry-After", ""))
    return float(said) if said.isascii() and said.isdigit() and len(said) < 6 else _WAIT_SECONDS
