"""What `doctor` looks at in upstream passwords.

Are they as young as their schedule says, was a rotation left half done, and is an adopted admin's still the one that others know?
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.access.model import Snapshot
from gateway.access.password_age import PasswordAge, password_ages
from gateway.cli.findings import Finding, ok, problem, warning
from gateway.ports import TargetAdmin

_PATIENCE: Final = timedelta(hours=1)  # the gateway tries again by itself
_MIGRATION: Final = timedelta(days=7)  # between adopting a target and the end of its shared login
_YOUNG_PROGRAM: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def look_at_passwords(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    """Of logins whose password has a schedule, or is being changed."""
    for age in sorted(password_ages(snapshot), key=lambda age: (age.target, age.role)):
        check = f"password {age.target} ({age.role})"
        how = f"pgbastion targets rotate-credential {age.target} --role {age.role}"
        if age.half_done:
            text = f'the rotation of "{age.login}" is under way, or was left half done: each login tries both passwords'
            yield warning(check, text, f"The gateway finishes it within minutes while it runs; or: {how}")
        elif age.is_overdue(now, _PATIENCE):
            text = f'"{age.login}" has its password {_since(age)}; it is to be changed every {age.every_days} days'
            yield problem(check, text, f"The gateway's log says why it was not; now: {how}")
        elif age.every_days is not None:
            yield ok(check, f'"{age.login}" has it {_since(age)}; next change at {age.due_at:%Y-%m-%d %H:%M} UTC')


def look_at_admin_logins(snapshot: Snapshot, admins: Sequence[TargetAdmin], now: datetime) -> Iterator[Finding]:
    """Of logins that came with adopted targets: who knew the password then, knows it until it is changed."""
    names = {target.id: name for name, target in snapshot.targets.items()}
    for admin in sorted(admins, key=lambda admin: names.get(admin.target_id, "")):
        name = names.get(admin.target_id)
        if name is None:
            continue
        check, how = f"admin login of {name}", f"pgbastion targets rotate-credential {name} --role admin"
        if admin.pending_secret is not None:
            yield warning(check, f'the rotation of "{admin.login}" was left half done', how)
        elif admin.rotated_at is not None:
            yield ok(check, f'"{admin.login}" has a password that nobody has seen, since {admin.rotated_at:%Y-%m-%d}')
        elif now - admin.adopted_at < _MIGRATION:
            yield ok(check, f'"{admin.login}" was adopted on {admin.adopted_at:%Y-%m-%d}, with a password that others know')
        else:
            text = f'"{admin.login}" still has the password that others knew when it was adopted ({admin.adopted_at:%Y-%m-%d})'
            yield warning(check, text, f"pgbastion targets who-still-uses {name}; then: {how}")


def _since(age: PasswordAge) -> str:
    """A store that was made by an older version may not know."""
    return f"since {age.changed_at:%Y-%m-%d}" if age.changed_at > _YOUNG_PROGRAM else "since nobody knows when"
