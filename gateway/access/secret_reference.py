"""Where an upstream secret is kept instead of in the store, as text: `PROVIDER:PLACE`. It holds no secret itself."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SHAPES: Final = (
    "file:/PATH, env:NAME, vault:MOUNT/PATH#FIELD, aws-sm:NAME#FIELD, "
    "gcp-sm:projects/PROJECT/secrets/NAME#FIELD or rds-iam:REGION"
)
_MAX_LENGTH: Final = 1000


class SecretProvider(StrEnum):
    """Who keeps it."""

    FILE = "file"
    ENVIRONMENT = "env"
    VAULT = "vault"
    AWS = "aws-sm"
    GOOGLE = "gcp-sm"
    RDS_IAM = "rds-iam"


_PLACES: Final = {
    SecretProvider.FILE: re.compile(r"/[^\x00-\x1f\x7f]+"),
    SecretProvider.ENVIRONMENT: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}"),
    SecretProvider.VAULT: re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*(/[A-Za-z0-9_@-][A-Za-z0-9_.@-]*)+"),
    SecretProvider.AWS: re.compile(r"(arn:[a-z0-9-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:)?[A-Za-z0-9/_+=.@-]{1,512}"),
    SecretProvider.GOOGLE: re.compile(
        r"projects/[A-Za-z0-9:.-]{1,63}(/locations/[a-z0-9-]{1,40})?/secrets/[A-Za-z0-9_-]{1,255}(/versions/[A-Za-z0-9_-]{1,63})?"
    ),
    SecretProvider.RDS_IAM: re.compile(r"([a-z]{2}(-[a-z]+)+-[0-9])?"),
}
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_WITH_FIELD: Final = frozenset({SecretProvider.VAULT, SecretProvider.AWS, SecretProvider.GOOGLE})


@dataclass(frozen=True, slots=True)
class SecretReference:
    """`place`: as the provider names it. `field`: of several values kept there together; "": the whole, or the usual one."""

    provider: SecretProvider
    place: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.provider.value}:{self.place}" + (f"#{self.field}" if self.field else "")

    @classmethod
    def parse(cls, text: str) -> "SecretReference":
        """The reverse of `str`. Raises ValueError, with a sentence for whoever wrote it that does not repeat it.

        Not repeated, because somebody may have written the password itself here.
        """
        kind, colon, rest = text.partition(":")
        try:
            provider = SecretProvider(kind)
        except ValueError:
            provider = None
        if not colon or provider is None or len(text) > _MAX_LENGTH:
            raise ValueError(f"a reference to a secret is {SHAPES}")
        place, hash_, field = rest.partition("#") if provider in _WITH_FIELD else (rest, "", "")
        if not _PLACES[provider].fullmatch(place) or (hash_ and not _FIELD.fullmatch(field)):
            raise ValueError(f'this is no place of "{provider.value}:": a reference to a secret is {SHAPES}')
        return cls(provider, place, field)
