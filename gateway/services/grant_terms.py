"""What a grant carries besides its holder, target and access mode: its end, its options, its ceiling. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.access.model import Grant
from gateway.access_mode import OPTIONS_OF, AccessMode, GrantOption
from gateway.audit.admin_event import DetailValue
from gateway.services.change import shown
from gateway.services.errors import ServiceError

MAX_CHANGED_ROWS: Final = 1_000_000_000
"""The highest ceiling that can be set; more is no ceiling."""

TERMS: Final = ("valid_until", "options", "max_changed_rows")
"""The fields of `Terms`, which a Grant has, too."""

_ALLOWED: Final = {
    mode: options if mode is AccessMode.READ_ONLY else frozenset(GrantOption) for mode, options in OPTIONS_OF.items()
}
"""A read_write grant includes read_only, so that it may carry what means something there."""


@dataclass(frozen=True, slots=True)
class Terms:
    """`valid_until` None: without end; `max_changed_rows` None: any number of rows."""

    valid_until: datetime | None = None
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None


def terms_of(grant: Grant) -> Terms:
    return Terms(grant.valid_until, grant.options, grant.max_changed_rows)


def with_terms(grant: Grant, terms: Terms) -> Grant:
    return replace(grant, valid_until=terms.valid_until, options=terms.options, max_changed_rows=terms.max_changed_rows)


def check_terms(mode: AccessMode, terms: Terms) -> None:
    """Options and ceiling; of the end, only who changes it knows whether it may be in the past. Raises ServiceError."""
    check_ceiling(terms.max_changed_rows)
    others = sorted(terms.options - _ALLOWED[mode])
    if not others and (mode is AccessMode.READ_WRITE or terms.max_changed_rows is None):
        return
    what = f"the option {others[0]}" if others else "a ceiling for changed rows"
    raise ServiceError(
        "option-not-for-mode",
        f"{what} means nothing in a {mode} grant",
        f"It is for read_write grants. A {mode} grant may carry: {', '.join(sorted(_ALLOWED[mode]))}.",
    )


def check_ceiling(rows: int | None) -> None:
    if rows is not None and not 1 <= rows <= MAX_CHANGED_ROWS:
        raise ServiceError(
            "max-changed-rows-invalid",
            f"{rows} cannot be the most rows that a statement may change",
            f"Give 1 to {MAX_CHANGED_ROWS}, or nothing for any number. Where no row may change, read_only is the mode.",
        )


def terms_detail(terms: Terms) -> dict[str, DetailValue]:
    """For the audit."""
    return {
        "valid_until": shown(terms.valid_until),
        "options": tuple(sorted(terms.options)),
        "max_changed_rows": terms.max_changed_rows,
    }


def before_detail(terms: Terms) -> dict[str, DetailValue]:
    """For the audit: what was there before a change."""
    return {f"before_{name}": value for name, value in terms_detail(terms).items()}
