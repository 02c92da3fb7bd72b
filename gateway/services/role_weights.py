"""How much a finding about an upstream role weighs, given what people have been granted. Pure."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from gateway.access.model import Snapshot, Target
from gateway.access_mode import AccessMode, GrantOption
from gateway.ports import RoleAudit, RoleFinding, Severity
from gateway.services.lookup import all_grants, is_live

_WEIGHTS: Final = list(Severity)
_WANTED: Final = "Grants on this target carry temporary-tables: their sessions need it."


def weigh(audit: RoleAudit, snapshot: Snapshot, target: Target, mode: AccessMode, now: datetime) -> RoleAudit:
    """The right to make temporary tables is nothing to mend where live grants use it: INFO. The heaviest findings first."""
    if mode is not AccessMode.READ_ONLY or not _uses_temporary_tables(snapshot, target, now):
        return audit
    found = [_wanted(each) if each.check == "temporary" else each for each in audit.findings]
    return replace(audit, findings=tuple(sorted(found, key=lambda each: _WEIGHTS.index(each.severity))))


def _wanted(finding: RoleFinding) -> RoleFinding:
    return replace(finding, severity=Severity.INFO, meaning=f"{finding.meaning} {_WANTED}")


def _uses_temporary_tables(snapshot: Snapshot, target: Target, now: datetime) -> bool:
    return any(
        grant.target_id == target.id and GrantOption.TEMPORARY_TABLES in grant.options and is_live(grant.valid_until, now)
        for grant in all_grants(snapshot)
    )
