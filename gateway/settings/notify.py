"""Whom the gateway tells, and whom it asks: e-mail, PagerDuty, and how messages are delivered at all."""

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.settings.secrets import Address
from gateway.settings.sign_in import is_private

_SLACK: Final = ("https://slack.com/api/", "https://slack-gov.com/api/")


def _slack_api(text: str) -> str:
    found = urlsplit(text)
    whole = text if text.endswith("/") else f"{text}/"
    if whole not in _SLACK and not (found.scheme == "http" and is_private("http", found.hostname or "")):
        raise ValueError(f'should be "{_SLACK[0]}" or "{_SLACK[1]}" (anything else: on loopback, for tests)')
    return whole


def _https(text: str) -> str:
    if not text.startswith("https://"):
        raise ValueError("should be an https:// URL")
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Notify(_Section):
    """What holds for every message. One that was not delivered is tried `attempts` times, after pauses that grow to an hour.

    `keep_days`: how long is kept what was delivered, or given up. `ca_file`: what verifies the receivers of webhooks; None: the
    system's CAs.
    """

    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 15.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 15
    keep_days: Annotated[int, Field(ge=1, le=365)] = 30
    ca_file: Path | None = None


class Mail(_Section):
    """The server that takes our e-mail. `host` "": there is none.

    `tls`: "starttls", "tls" (from the first byte), or "none" on this machine only. `sender`: the address that messages come from.
    """

    host: str = Field("", pattern=r"^[A-Za-z0-9._:-]*$")
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    sender: str = Field("", pattern=r"^([\x21-\x3f\x41-\x7e]+@[\x21-\x3f\x41-\x7e]+)?$")

    @model_validator(mode="after")
    def _complete(self) -> "Mail":
        if self.host and not self.sender:
            raise ValueError("host needs sender, the address that messages come from")
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file go together: set both or neither")
        if self.tls == "none" and self.host and not is_private("http", self.host):
            raise ValueError('tls = "none" is for a server on this machine (a loopback address) only')
        return self


class PagerDuty(_Section):
    """Who is on call. `token_file`: an API key of PagerDuty's, read-only is enough; None: nobody is asked.

    `base_url`: of another service region ("https://api.eu.pagerduty.com"). Answers are used for `cache_seconds`.
    """

    token_file: Path | None = None
    base_url: Annotated[Address, AfterValidator(_https)] = "https://api.pagerduty.com"
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 10.0
    cache_seconds: Annotated[float, Field(ge=0, le=60)] = 30.0


class Slack(_Section):
    """A Slack app of the workspace. `bot_token_file`: of its bot (xoxb-...); None: nothing is said in Slack.

    What people do there comes by a WebSocket that we open (Socket Mode: `app_token_file`, xapp-...), or is posted to the admin API
    at /slack/events (`signing_secret_file`), or both.
    """

    bot_token_file: Path | None = None
    app_token_file: Path | None = None
    signing_secret_file: Path | None = None
    api_url: Annotated[str, AfterValidator(_slack_api)] = _SLACK[0]

    @model_validator(mode="after")
    def _complete(self) -> "Slack":
        ways = (self.app_token_file, self.signing_secret_file)
        if self.bot_token_file is None and any(each is not None for each in ways):
            raise ValueError("app_token_file and signing_secret_file need bot_token_file")
        if self.bot_token_file is not None and all(each is None for each in ways):
            raise ValueError(
                "bot_token_file needs app_token_file or signing_secret_file: buttons that lead nowhere are not shown"
            )
        return self
