"""What `doctor` looks at of admins: is there an owner, does the identity provider answer, is it asked in time about everybody."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from gateway.access.accounts import Account, Standing
from gateway.access.model import Snapshot
from gateway.cli.findings import Finding, ok, problem, warning
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.provider_checks import PlannedCheck

_PROVIDER: Final = "identity provider"
_CHECKS: Final = "provider checks"
_LATE: Final = timedelta(minutes=2)
"""Beyond its time: the watch looks every few seconds, but may have many to ask about."""


async def look_at_sign_in(settings: "Settings", snapshot: Snapshot, now: datetime) -> AsyncIterator[Finding]:
    yield _owners(snapshot, now)
    issuer = settings.oidc.issuer
    linked = [account for account in snapshot.accounts.values() if account.identity is not None]
    others = [account for account in linked if account.identity is not None and account.identity.issuer != issuer]
    if others:
        text = f"{_counted(len(others), 'account is', 'accounts are')} linked to another one than oidc.issuer names"
        yield warning(_PROVIDER, text, "They cannot sign in through it: pgbastion accounts list; accounts unlink NAME")
    if not issuer:
        if snapshot.claim_mappings:
            text = f"there is none, but {_counted(len(snapshot.claim_mappings), 'mapping', 'mappings')} of its groups"
            yield warning(_PROVIDER, text, "Set oidc.issuer, or delete them: pgbastion oidc mappings list")
        return
    try:
        from gateway.store.sql_store import SqlStore

        planned = await SqlStore(settings).planned_checks()
    except StoreError as error:
        yield problem(_CHECKS, str(error), "Is the store there?")
        return
    yield await _answers(settings, snapshot, planned)
    for finding in _asked(settings, snapshot, planned, now):
        yield finding


def _owners(snapshot: Snapshot, now: datetime) -> Finding:
    ids = {member for role in snapshot.admin_roles.values() if role.owners for member in role.members}
    users = [user for user in snapshot.users.values() if user.id in ids]
    able = [user for user in users if user.enabled and (user.valid_until is None or now < user.valid_until)]
    if users and not able:
        text = f"none of {len(users)} may log in: only this machine's commands can do everything"
        return warning("owners", text, "pgbastion users enable NAME; or: pgbastion roles members owners --add NAME")
    if not able:
        return ok("owners", "nobody but whoever runs commands on this machine")
    return ok("owners", ", ".join(sorted(user.name for user in able)))


async def _answers(settings: "Settings", snapshot: Snapshot, planned: "Sequence[PlannedCheck]") -> Finding:
    """Discovery and keys, as a sign-in would read them; and what follows when they cannot be read."""
    from admin_api.oidc.http import ProviderError
    from admin_api.oidc.provider import Provider
    from gateway.cli.doctor_files import now_utc

    try:
        provider = Provider(settings.oidc, now_utc)
        try:
            await provider.check()
        finally:
            await provider.close()
    except ProviderError as error:
        text = f"{error}: nobody can sign in through it{_consequence(settings, snapshot, planned)}"
        return problem(_PROVIDER, text, "Can this machine reach it? In the settings: oidc.issuer, ca_file, client_secret_file.")
    return ok(_PROVIDER, f"{settings.oidc.issuer} answers")


def _consequence(settings: "Settings", snapshot: Snapshot, planned: "Sequence[PlannedCheck]") -> str:
    """Who loses what, and when."""
    managed = {account.id for account in snapshot.accounts.values() if account.managed and account.standing is Standing.GOOD}
    last = [check.vouched_at for check in planned if check.account_id in managed]
    if not last:
        return ""
    ends = min(last) + timedelta(minutes=settings.oidc.unverified_minutes)
    people = _counted(len(managed), "managed person loses", "managed people lose")
    return f"; {people} access to databases from {ends:%Y-%m-%d %H:%M} UTC on, until it answers"


def _asked(settings: "Settings", snapshot: Snapshot, planned: "Sequence[PlannedCheck]", now: datetime) -> Iterator[Finding]:
    late = [check for check in planned if check.due_at + _LATE < now]
    if late:
        since = min(check.due_at for check in late)
        text = f"{len(late)} of {len(planned)} are late, the first since {since:%Y-%m-%d %H:%M} UTC"
        why = "" if settings.admin_api.enabled else " The admin API is switched off, which would ask: admin_api.enabled."
        yield problem(
            _CHECKS, text, f"The admin API's process asks the provider: does the gateway run? Look into its log.{why}"
        )
        return
    unverified = _of(snapshot, Standing.UNVERIFIED)
    refused = len(_of(snapshot, Standing.REFUSED))
    if unverified:
        text = f"{_counted(len(unverified), 'person is', 'people are')} out because the provider has not answered for too long"
        yield warning(_CHECKS, text, "They are in again once it answers, or when they sign in anew.")
        return
    every = f"every {settings.oidc.recheck_minutes:g} minutes"
    yield ok(
        _CHECKS, f"{_counted(len(planned), 'person is', 'people are')} asked about {every}; {refused} refused by the provider"
    )


def _of(snapshot: Snapshot, standing: Standing) -> list[Account]:
    return [account for account in snapshot.accounts.values() if account.standing is standing]


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
