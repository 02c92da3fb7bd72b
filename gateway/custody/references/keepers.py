"""Each kind of keeper, made when it is first needed: what it takes may not be installed, and takes long to load."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final, assert_never

from gateway.access.secret_reference import SecretProvider
from gateway.custody.references.amazon import RdsTokens, SecretsManager
from gateway.custody.references.google import GoogleSecretManager
from gateway.custody.references.hashicorp import HashicorpVault
from gateway.custody.references.here import Environment, Files
from gateway.custody.references.provider import Provider
from gateway.ports import SecretUnavailable
from gateway.settings import Settings

#: What a keeper takes: a module, and the extra that brings it.
_EXTRAS: Final = {
    SecretProvider.VAULT: ("hvac", "vault"),
    SecretProvider.AWS: ("boto3", "aws"),
    SecretProvider.RDS_IAM: ("boto3", "aws"),
    SecretProvider.GOOGLE: ("google.cloud.secretmanager_v1", "gcp"),
}


def missing_extra(provider: SecretProvider) -> str:
    """What must be installed before this keeper can be asked, as pip takes it; "": nothing."""
    module, extra = _EXTRAS.get(provider, ("", ""))
    if not module:
        return ""
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    return "" if found else f"pgbastion[{extra}]"


def open_keeper(provider: SecretProvider, settings: Settings) -> Provider:
    """Raises SecretUnavailable when it cannot be asked at all."""
    if extra := missing_extra(provider):
        raise SecretUnavailable(f'{provider.value}: needs more than is installed: pip install "{extra}"')
    match provider:
        case SecretProvider.FILE:
            folders = [Path(each.removeprefix("file:")) for each in settings.secrets.allowed if each.startswith("file:")]
            return Files(folders)
        case SecretProvider.ENVIRONMENT:
            return Environment(os.environ)
        case SecretProvider.VAULT:
            if not settings.vault.address:
                raise SecretUnavailable("vault: the settings do not say where Vault is: vault.address")
            return HashicorpVault(settings.vault)
        case SecretProvider.AWS:
            return SecretsManager(settings.aws)
        case SecretProvider.RDS_IAM:
            return RdsTokens(settings.aws)
        case SecretProvider.GOOGLE:
            return GoogleSecretManager(settings.google)
        case _:
            assert_never(provider)
