"""What `doctor` looks at in upstream passwords: are they as young as their schedule says, and was a rotation left half done."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from gateway.access.model import Snapshot
from gateway.access.password_age import PasswordAge, password_ages
from gateway.cli.findings import Finding, ok, problem, warning

_PATIENCE: Final = timedelta(hours=1)  # the gateway tries again by itself
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


def _since(age: PasswordAge) -> str:
    """A store that was made by an older version may not know."""
    return f"since {age.changed_at:%Y-%m-%d}" if age.changed_at > _YOUNG_PROGRAM else "since nobody knows when"
