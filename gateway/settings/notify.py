"""Whom the gateway tells, and whom it asks: e-mail, PagerDuty, and how messages are delivered at all."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.settings.secrets import Address
from gateway.settings.sign_in import is_private


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
    base_url: Address = "https://api.pagerduty.com"
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 10.0
    cache_seconds: Annotated[float, Field(ge=0, le=60)] = 30.0
