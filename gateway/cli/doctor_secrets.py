"""What `doctor` looks at where upstream passwords are kept elsewhere: may they be fetched, can they be, what is not installed."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from gateway.access.model import DatabaseRole, Snapshot, Target
from gateway.access.secret_reference import SecretProvider, SecretReference
from gateway.access_mode import AccessMode
from gateway.cli.findings import Finding, ok, problem, warning
from gateway.ports import SecretUnavailable

if TYPE_CHECKING:
    from gateway.custody.references.fetching import Fetching
    from gateway.settings import Settings

_AT_ONCE: Final = 4


async def look_at_references(settings: "Settings", snapshot: Snapshot) -> AsyncIterator[Finding]:
    """One finding for each login, in the order of the targets' names. The secrets are fetched, and forgotten."""
    found = [
        (target, mode, role, role.reference)
        for _, target in sorted(snapshot.targets.items())
        for mode, role in sorted(target.roles.items())
        if role.reference is not None
    ]
    if not found:
        return
    from gateway.custody.references.fetching import Fetching
    from gateway.settings import CurrentSettings

    fetching = Fetching(CurrentSettings(settings))
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(target: Target, mode: AccessMode, role: DatabaseRole, reference: SecretReference) -> Finding:
        async with room:
            return await _look(fetching, target, mode, role, reference)

    try:
        for each in await asyncio.gather(*(look(*one) for one in found)):
            yield each
    finally:
        fetching.close()


async def _look(
    fetching: "Fetching", target: Target, mode: AccessMode, role: DatabaseRole, reference: SecretReference
) -> Finding:
    from gateway.custody.references.keepers import missing_extra

    check = f"secret of {target.name} ({mode})"
    if extra := missing_extra(reference.provider):
        return problem(check, f"{reference}: what fetches it is not installed", f'pip install "{extra}"')
    try:
        await fetching.fetch(target, role, reference)
    except SecretUnavailable as error:
        if reference.provider is SecretProvider.ENVIRONMENT:
            advice = "The gateway's own environment counts (systemd: EnvironmentFile=); see the check of the target."
            return warning(check, str(error), advice)
        return problem(check, str(error), "See the settings [secrets] and of its keeper, and docs/operations.md, Secrets.")
    return ok(check, f"{reference} can be fetched")
