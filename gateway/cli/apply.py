"""`pgbastion apply`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.client import Api, path, records
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Reason, Yes
from gateway.cli.output import JsonValue, Record, print_json, say, say_styled
from gateway.cli.progress import working
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin

if TYPE_CHECKING:
    from gateway.cli.manifest_file import ManifestFile

app = typer.Typer(add_completion=False)

_SIGNS: Final = {"create": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}


@admin(
    app,
    examples=[
        "pgbastion apply access.yaml --dry-run",
        'pgbastion apply access.yaml --reason "as reviewed"',
        "pgbastion apply access.yaml --prune --yes",
    ],
)
def apply(
    api: Api,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What should be, as YAML.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove what the file does not name.")] = False,
    yes: Yes = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make people, targets, grants, admin roles and the rest what a file says: all of it, or nothing.

    Shows the difference and asks. A second time, there is nothing to do. Secrets are references: {env: NAME} or {file: PATH}.
    """
    from gateway.cli.manifest_file import ManifestFile

    manifest = ManifestFile(file)
    try:
        body = _resolved(manifest)
        with working("Comparing"):
            plan = api.post(path("manifest"), body, dry_run=True, prune=prune)
        changes = records(plan.get("changes"))
        if not as_json:
            _show(changes)
            _tell_of_the_rest(0 if prune else _number(plan.get("not_named")))
        if changes and not dry_run:
            if not yes:
                confirm(f"Make {_counted(len(changes), 'change')} on {api.where}?")
            with working("Applying"):
                plan = api.post(path("manifest"), body, prune=prune, revision=_number(plan.get("revision")), reason=reason)
    except CommandError as error:
        raise CommandError(manifest.located(error.message), error.hint, error.rule) from error
    if as_json:
        print_json(plan)
    elif changes and not dry_run:
        say(f"Done: {_counted(len(changes), 'change')}, revision {plan.get('revision')}.")


def _resolved(manifest: "ManifestFile") -> Record:
    from gateway.services.errors import ServiceError
    from gateway.services.manifest_secrets import resolve_secrets

    folder = manifest.path.resolve().parent
    try:
        found = resolve_secrets(
            manifest.data, read_env=os.environ.get, read_file=lambda name: (folder / name).read_text("utf-8")
        )
    except ServiceError as error:
        raise CommandError(error.message, error.hint, error.rule) from error
    if not isinstance(found, dict):
        raise CommandError("manifest: not a mapping of sections", "See configs/manifest.example.yaml.", "manifest-invalid")
    return found


def _show(changes: list[Record]) -> None:
    for change in changes:
        sign, colour = _SIGNS.get(str(change.get("action")), ("?", ""))
        say_styled(f"{sign} {change.get('kind')} {change.get('name')}", colour)
        before, after = _fields(change.get("before")), _fields(change.get("after"))
        for field in dict.fromkeys([*before, *after]):
            if sign == "~":
                say_styled(f"    {field}: {_value(before.get(field))} -> {_value(after.get(field))}", colour)
            elif sign == "+" and after.get(field) not in (None, [], ""):
                say_styled(f"    {field}: {_value(after.get(field))}", colour)
    counts = [sum(change.get("action") == action for change in changes) for action in _SIGNS]
    if changes:
        say("{} to create, {} to change, {} to remove.".format(*counts))
    else:
        say("Nothing to change.")


def _tell_of_the_rest(number: int) -> None:
    if number == 1:
        say("1 object is not named in the file and stays (see --prune).")
    elif number:
        say(f"{number} objects are not named in the file and stay (see --prune).")


def _fields(value: JsonValue) -> Record:
    return value if isinstance(value, dict) else {}


def _value(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            text = str(value)
            return f"{text.splitlines()[0]} ..." if "\n" in text else text
        case dict():
            return ", ".join(f"{name}: {_value(each)}" for name, each in value.items()) or "none"
        case list():
            return ", ".join(_value(each) for each in value) or "none"
    return "?"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
