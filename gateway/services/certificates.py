"""Which client certificates a machine may log in with, by the names that they were issued for."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gateway.access.model import Snapshot, User, UserKind
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_user

_NAME: Final = re.compile(r"(cn|dns|uri):\S(.{0,498}\S)?")
MAX_CERTIFICATE_NAMES: Final = 20


async def set_certificate_names(
    store: Store,
    *,
    name: str,
    certificate_names: Iterable[str],
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> User:
    """These and no others, each "cn:...", "dns:..." or "uri:..."; none: passwords only. Sessions of a name taken off end."""
    names = frozenset(certificate_names)
    check_certificate_names(names)
    async with begin(store, actor, reason) as change:
        change.require("users.change")
        old = find_user(change.snapshot, name, expected_version)
        check_may_have(change.whole, old, names)
        if names == old.certificate_names:
            raise ServiceError("nothing-to-change", f'user "{name}" has these certificate names already')
        user = replace(old, certificate_names=names)
        return await change.save(user, "user.certificates_changed", name, certificates_detail(old, user))


def certificates_detail(old: User, user: User) -> dict[str, DetailValue]:
    """For the audit."""
    return {"names": tuple(sorted(user.certificate_names)), "before": tuple(sorted(old.certificate_names))}


def check_certificate_names(names: frozenset[str]) -> None:
    for each in sorted(names):
        if not _NAME.fullmatch(each) or not each.isprintable():
            raise ServiceError(
                "certificate-name-invalid",
                f"{each!r} is no name of a certificate",
                "Write cn:NAME for the common name, dns:NAME or uri:URI for an alternative name, as it stands in the certificate.",
            )
    if len(names) > MAX_CERTIFICATE_NAMES:
        raise ServiceError("certificate-names-many", f"a user has at most {MAX_CERTIFICATE_NAMES} certificate names")


def check_may_have(snapshot: Snapshot, user: User, names: frozenset[str]) -> None:
    """A certificate stands for one machine, and for no person."""
    if not names:
        return
    if user.kind is not UserKind.MACHINE:
        text = f'user "{user.name}" is a person: certificates are for machines'
        raise ServiceError("certificates-for-machines", text, "People use a password, or sign in: pgbastion connect TARGET")
    for other in snapshot.users.values():
        if other.id != user.id and (taken := sorted(names & other.certificate_names)):
            text = f'the certificate name {taken[0]} is that of user "{other.name}"'
            raise ServiceError("certificate-name-exists", text, "A certificate stands for one user.")
