"""Upstream logins whose password is kept elsewhere: the store has where, and never what."""

from dataclasses import replace

from gateway.access.model import DatabaseRole, Target
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.naming import check_identifier


def read_reference(text: str) -> SecretReference:
    """Raises ServiceError. It does not repeat the text: somebody may have written the password itself."""
    try:
        return SecretReference.parse(text)
    except ValueError as error:
        raise ServiceError("reference-invalid", f"this says no place where a secret is kept: {error}", "") from None


async def refer_login(
    store: Store,
    *,
    name: str,
    mode: AccessMode,
    login: str,
    reference: SecretReference,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """The database role that sessions in this access mode use upstream, with a password that is fetched when it is needed."""
    check_identifier("database role's name", login)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        known = old.roles.get(mode)
        # The same row for the same login: what its password is kept in must not look like another role to live sessions.
        role_id = known.id if known is not None and known.login == login else new_id()
        role = DatabaseRole(role_id, login, b"", None, reference)
        target = replace(old, roles={**old.roles, mode: role}, revision=old.revision + 1)
        detail: dict[str, DetailValue] = {
            "mode": mode.value,
            "login": login,
            "before": known.login if known else None,
            "secret_from": str(reference),
        }
        return await change.save(target, "target.login_changed", name, detail)
