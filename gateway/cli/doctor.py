"""`pgbastion doctor`."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.errors import CommandError
from gateway.cli.findings import Finding, State, ok, problem
from gateway.cli.local import load_settings
from gateway.cli.options import AsJson, Config
from gateway.cli.output import print_json, say, show
from gateway.cli.progress import working
from gateway.cli.reach import example_text

app = typer.Typer(add_completion=False)

_COLUMNS: Final = {"check": "check", "state": "state", "detail": "found", "remedy": "remedy"}
_STYLES: Final = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red"}


@app.command(epilog=example_text(["pgbastion doctor", "pgbastion doctor --skip-targets --json"]))
def doctor(
    skip_targets: Annotated[bool, typer.Option("--skip-targets", help="Do not log in to the targets.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Check this installation, and say what to do. Changes nothing. Exit status: 1 when there is a problem, else 0.

    Looks at settings, files and their modes, keys, store, secrets kept elsewhere, audit directory, certificate, ports, limits,
    clock, rights, owners, the identity provider, messages about access requests and targets.
    """
    with working("Looking"):
        found = asyncio.run(_look(config, with_targets=not skip_targets))
    if as_json:
        print_json([finding.record() for finding in found])
    else:
        styles = {"state": {state.value: style for state, style in _STYLES.items()}}
        show([finding.record() for finding in found], as_json=False, columns=_COLUMNS, empty="", styles=styles)
        say(_summary(found))
    if any(finding.state is State.PROBLEM for finding in found):
        raise typer.Exit(1)


async def _look(config: Path | None, *, with_targets: bool) -> list[Finding]:
    from gateway.cli import (
        doctor_deliveries,
        doctor_files,
        doctor_managed,
        doctor_passwords,
        doctor_requests,
        doctor_rights,
        doctor_secrets,
        doctor_sign_in,
        doctor_system,
    )
    from gateway.settings import find_config

    try:
        settings = load_settings(config)
        found = [ok("settings", str(find_config(config)))]
    except CommandError as error:
        return [problem("settings", error.message, "See configs/pgbastion.toml for every setting.")]
    now = doctor_files.now_utc()
    found += doctor_files.look_at_files(settings, now)
    if not doctor_files.can_look_into(settings.state_dir):
        return found
    about_store, snapshot = await doctor_rights.look_at_store(settings)
    found += about_store
    last_change_at = await doctor_rights.last_change(settings) if snapshot is not None else None
    found += [finding async for finding in doctor_system.look_at_system(settings, now, last_change_at)]
    if snapshot is not None:
        found += doctor_rights.look_at_rights(snapshot, now)
        found += doctor_passwords.look_at_passwords(snapshot, now)
        found += doctor_passwords.look_at_admin_logins(snapshot, await doctor_rights.admin_logins(settings, snapshot), now)
        found += doctor_managed.look_at_managed(snapshot, now)
        found += doctor_requests.look_at_requests(snapshot, await doctor_requests.unreviewed(settings), now)
        found += [finding async for finding in doctor_sign_in.look_at_sign_in(settings, snapshot, now)]
        found += [finding async for finding in doctor_secrets.look_at_references(settings, snapshot)]
        found += await doctor_deliveries.look_at_deliveries(settings, snapshot, now)
        if with_targets and settings.key_file.exists() and not any(each.state is State.PROBLEM for each in about_store):
            found += [finding async for finding in doctor_rights.look_at_targets(settings, snapshot)]
    return found


def _summary(found: list[Finding]) -> str:
    problems = sum(finding.state is State.PROBLEM for finding in found)
    warnings = sum(finding.state is State.WARNING for finding in found)
    if not problems and not warnings:
        return "All is well."
    parts = [
        f"{number} {what}{'s' if number > 1 else ''}"
        for number, what in ((problems, "problem"), (warnings, "warning"))
        if number
    ]
    return f"{' and '.join(parts)}."
