"""The section of a manifest that is about who is told of access requests by HTTP."""

from typing import Annotated

from pydantic import Field

from gateway.access.webhooks import TOPICS, URL_SECRET, Body
from gateway.services.manifest_fields import Name, SecretReference
from gateway.services.manifest_part import Part

_Names = Annotated[frozenset[Annotated[str, Field(min_length=1, max_length=63)]], Field(strict=False, max_length=1000)]


class WebhookPart(Part):
    """A receiver of messages by HTTP. None of its secrets is ever exported."""

    name: Name = Field(description="The webhook's name.")
    url: str = Field(max_length=2000, description=f"Where to send to; {URL_SECRET} stands for the part that is a secret.")
    url_secret: SecretReference | None = Field(
        None, description=f"Where that part is. Left out: the one that is there stays; a new URL with {URL_SECRET} needs it."
    )
    secret: SecretReference | None = Field(
        None,
        description="Where the secret is that signs its messages: whsec_ and 24 to 64 bytes in base64. Left out: the one that is "
        "there stays; a new webhook needs one.",
    )
    enabled: bool = Field(True, description="False: nothing is sent to it.")
    topics: _Names = Field(
        default=frozenset(), description=f"What it is told of; none: everything. Any of {', '.join(TOPICS)}."
    )
    environments: _Names = Field(default=frozenset(), description="Where it is told of that, by name; none: everywhere.")
    body: Annotated[Body, Field(strict=False)] = Field(Body.JSON, description="What is sent: json, teams, chat or template.")
    template: str | None = Field(None, max_length=16384, description="JSON with placeholders; goes with the body template.")
