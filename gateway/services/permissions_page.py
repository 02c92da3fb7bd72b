"""The tables of docs/permissions.md, made from the data that authorizes."""

from gateway.access.model import Permission
from gateway.access.permissions import TITLES, Scope, all_verbs, included, matrix, without_counterpart

_WHO = {
    Scope.ACCOUNT: "owners",
    Scope.SELF: "everybody, of what is their own; owners",
    Scope.ANYBODY: "everybody who is known",
}


def as_markdown() -> str:
    """Permissions with what they include, verbs with who may do them, and the rows that mean nothing here."""
    return "\n".join([*_permissions(), "", *_verbs(), "", *_nothing()]) + "\n"


def _permissions() -> list[str]:
    rows = ["| permission | name | includes |", "|---|---|---|"]
    for each in Permission:
        others = [TITLES[other] for other in Permission if other in included(each) - {each}]
        rows.append(f"| {TITLES[each]} | `{each}` | {'everything' if each is Permission.ADMIN else ', '.join(others) or '-'} |")
    return rows


def _verbs() -> list[str]:
    columns = [each for each in Permission if each is not Permission.BASIC_READ]
    head = " | ".join(TITLES[each] for each in columns)
    rows = [f"| verb | row of the matrix | {head} |", "|---|---|" + "---|" * len(columns)]
    for verb in (each for each in all_verbs().values() if each.scope in (Scope.TARGET, Scope.ENVIRONMENT)):
        everybody = (verb.resource, verb.action) == ("any", "see")
        row = "any permission" if everybody else f"{verb.resource}: {verb.action}"
        rows.append(
            f"| `{verb.name}` | {row} | " + " | ".join("x" if each in verb.allowed_by else "" for each in columns) + " |"
        )
    rows += ["", "| verb | who |", "|---|---|"]
    rows += [f"| `{verb.name}` | {_WHO[verb.scope]} |" for verb in all_verbs().values() if verb.scope in _WHO]
    return rows


def _nothing() -> list[str]:
    asked = {(verb.resource, verb.action) for verb in all_verbs().values()}
    rows = ["| row of the published matrix | why it has no counterpart here |", "|---|---|"]
    rows += [f"| {resource}: {action} | {reason} |" for resource, action, reason in without_counterpart()]
    rows += [
        f"| {resource}: {action} | no verb of this version |"
        for resource, action in matrix()
        if (resource, action) not in asked
    ]
    return rows
