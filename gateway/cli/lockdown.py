"""pgbastion lockdown ..."""

import typer

from gateway.cli.client import Api, path
from gateway.cli.options import AsJson, Reason, Yes
from gateway.cli.output import print_json, say
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Nobody in, everybody out: the kill switch.")


@admin(app, examples=['pgbastion lockdown on --reason "incident 42: credentials on a public page"'])
def on(api: Api, reason: Reason = "", yes: Yes = False) -> None:
    """End every session and let nobody in, until it is lifted. Clients read the reason."""
    if not yes:
        confirm(f"End all sessions of {api.where} and let nobody in?")
    api.put(path("lockdown"), reason=reason)
    say("Locked down: all sessions end, nobody is let in. To lift it: pgbastion lockdown off")


@admin(app, examples=['pgbastion lockdown off --reason "passwords changed"'])
def off(api: Api, reason: Reason = "") -> None:
    """Lift the lockdown: rights are as they were."""
    api.delete(path("lockdown"), reason=reason)
    say("The lockdown is lifted.")


@admin(app, examples=["pgbastion lockdown status"])
def status(api: Api, as_json: AsJson = False) -> None:
    """Say whether there is a lockdown."""
    found = api.get(path("lockdown")).record
    if as_json:
        print_json(found)
    elif found.get("active"):
        say(f"Locked down: {found.get('reason') or 'no reason was given'}")
    else:
        say("No lockdown.")
