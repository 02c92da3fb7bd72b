"""An ID token says who signed in, if all of it holds: the signature, the issuer, for whom it is, when, and our nonce. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from admin_api.oidc.http import JsonObject, ProviderError

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""Of signatures that only the provider can make: not "none", and none that whoever knows the client's secret can make."""

LEEWAY_SECONDS: Final = 60
_MAX_CHARACTERS: Final = 64 * 1024


class UnknownKey(ProviderError):
    """It was signed with a key that is not among those we know: the provider may have a new one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """`nonce` None: of a refreshed one, which need not have it. `subject` None: whoever it is."""

    issuer: str
    client_id: str
    nonce: str | None
    subject: str | None = None


def parse_keys(document: JsonObject) -> KeySet:
    """The provider's key set; keys of kinds that we do not know are left out. Raises ProviderError."""
    found = document.get("keys")
    if not isinstance(found, list):
        raise ProviderError("the identity provider's keys are not a key set")
    usable = [
        key for key in found if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"
    ]
    keys = []
    for key in usable:
        try:
            keys += KeySet.import_key_set({"keys": [key]}).keys
        except (JoseError, ValueError, KeyError, TypeError):
            continue
    if not keys:
        raise ProviderError("the identity provider has no key that we could verify a signature with")
    return KeySet(keys)


def verify(text: str, keys: KeySet, algorithms: Sequence[str], expected: Expected, now: datetime) -> Mapping[str, object]:
    """Its claims. Raises ProviderError, UnknownKey."""
    if len(text) > _MAX_CHARACTERS:
        raise ProviderError("the ID token is too long")
    allowed = [each for each in algorithms if each in ALGORITHMS]
    try:
        token = jwt.decode(text, keys, algorithms=allowed, registry=JWSRegistry(algorithms=allowed, strict_check_header=False))
        _registry(expected, now).validate(token.claims)
    except InvalidKeyIdError as error:
        raise UnknownKey("the ID token was signed with an unknown key") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderError(f"the ID token cannot be trusted: {type(error).__name__} {error}") from error
    audience = token.claims["aud"]
    party = token.claims.get("azp")
    if (isinstance(audience, list) and len(audience) > 1 and party is None) or party not in (None, expected.client_id):
        raise ProviderError("the ID token was made for another party")
    return token.claims


def _registry(expected: Expected, now: datetime) -> JWTClaimsRegistry:
    claims = JWTClaimsRegistry(
        int(now.timestamp()),
        LEEWAY_SECONDS,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True} if expected.subject is None else {"essential": True, "value": expected.subject},
    )
    if expected.nonce is not None:
        claims.options["nonce"] = {"essential": True, "value": expected.nonce}
    return claims
