"""The permission matrix: which permission of an admin role allows what. Pure but for reading its own data, once.

`data/permissions.csv` says for each action on a resource which permissions allow it; `data/verbs.csv` says which action each verb
of this program is. What neither names nobody may do but owners. Permissions add up, and some include others (`effective`).
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from gateway.access.model import Permission

TITLES: Final = {
    Permission.BASIC_READ: "Basic Visibility",
    Permission.READ: "Full Visibility",
    Permission.ADMIN: "Environment Admin",
    Permission.DEPLOY: "Deployment",
    Permission.DESTROY: "Destruction",
    Permission.OBSERVABILITY: "Ops",
    Permission.SENSITIVE: "Sensitive Access",
    Permission.TUNNEL: "Tunnel",
}

_INCLUDED: Final[Mapping[Permission, frozenset[Permission]]] = {
    Permission.ADMIN: frozenset(Permission),
    Permission.DEPLOY: frozenset({Permission.OBSERVABILITY}),
    Permission.SENSITIVE: frozenset({Permission.READ}),
}
"""Besides Basic Visibility, which everything includes."""

_COLUMNS: Final = {
    "environment_admin": Permission.ADMIN,
    "full_visibility": Permission.READ,
    "deployment": Permission.DEPLOY,
    "destruction": Permission.DESTROY,
    "ops": Permission.OBSERVABILITY,
    "sensitive_access": Permission.SENSITIVE,
    "tunnel": Permission.TUNNEL,
}
_ANY: Final = ("any", "see")


class Scope(StrEnum):
    """What a verb is asked about. TARGET and ENVIRONMENT: permissions in an environment allow it. ACCOUNT: owners alone. SELF: it
    is everybody's own, and owners'. ANYBODY: whoever is known."""

    TARGET = "target"
    ENVIRONMENT = "environment"
    ACCOUNT = "account"
    SELF = "self"
    ANYBODY = "anybody"


class Kind(StrEnum):
    LOOK = "look"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Verb:
    """One line of verbs.csv. `allowed_by`: each of these permissions alone allows it (in the environment)."""

    name: str
    resource: str
    action: str
    scope: Scope
    kind: Kind
    allowed_by: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Holding:
    """Why somebody has a permission: a role holds it, or another one that includes it."""

    role: str
    held: Permission
    gives: Permission

    @property
    def explicit(self) -> bool:
        return self.held is self.gives


def included(permission: Permission) -> frozenset[Permission]:
    """The permission itself and what it implies."""
    return _INCLUDED.get(permission, frozenset()) | {permission, Permission.BASIC_READ}


def effective(permissions: Iterable[Permission]) -> frozenset[Permission]:
    """All that these add up to."""
    return frozenset().union(*(included(each) for each in permissions))


def explain(roles: Iterable[tuple[str, Iterable[Permission]]], verb: Verb) -> list[Holding]:
    """Which of these roles' permissions allow the verb, explicit ones first. `roles`: name, and what it holds in the place."""
    found = {
        Holding(role, held, gives)
        for role, permissions in roles
        for held in permissions
        for gives in included(held) & verb.allowed_by
    }
    return sorted(found, key=lambda each: (not each.explicit, each.role, each.held, each.gives))


def verb_called(name: str) -> Verb | None:
    return all_verbs().get(name)


@cache
def all_verbs() -> Mapping[str, Verb]:
    """By name, in the order of the file. Raises LookupError or ValueError when the data does not fit together."""
    found = {}
    for row in _rows("verbs.csv"):
        scope = Scope(row["scope"])
        allowed = matrix()[row["resource"], row["action"]] if scope in (Scope.TARGET, Scope.ENVIRONMENT) else frozenset()
        found[row["verb"]] = Verb(row["verb"], row["resource"], row["action"], scope, Kind(row["kind"]), allowed)
    return found


@cache
def matrix() -> Mapping[tuple[str, str], frozenset[Permission]]:
    """By resource and action: the permissions that allow it. Whoever has any permission may see the basic facts."""
    found = {
        (row["resource"], row["action"]): frozenset(permission for column, permission in _COLUMNS.items() if row[column] == "1")
        for row in _rows("permissions.csv")
    }
    return {_ANY: frozenset(Permission), **found}


@cache
def without_counterpart() -> tuple[tuple[str, str, str], ...]:
    """Rows of the published matrix that mean nothing here: resource, action, why."""
    return tuple((row["resource"], row["action"], row["reason"]) for row in _rows("without_counterpart.csv"))


def _rows(name: str) -> list[dict[str, str]]:
    text = files("gateway.access").joinpath("data", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
