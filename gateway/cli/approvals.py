"""pgbastion approvals ...: who may approve what, as data."""

from typing import Annotated, Final

import typer

from gateway.cli import names
from gateway.cli.approval_options import (
    Announce,
    Bound,
    DecideWithin,
    Default,
    Glass,
    Modes,
    Most,
    OnCall,
    ReasonRequired,
    Roles,
    Rules,
    Steps,
    TicketRequired,
    list_fields,
    term_fields,
)
from gateway.cli.approval_terms import break_glass_text, rule_text, step_text
from gateway.cli.client import Api, path
from gateway.cli.instants import exactly
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import JsonValue, Record, print_json, say, say_wrapped, show
from gateway.cli.reach import admin

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Approval policies: what may be asked for in an environment, and who decides. Where there is none, nothing can be.",
)

_LIST: Final = {
    "name": "name",
    "environment": "environment",
    "modes": "modes",
    "steps": "who decides",
    "rules": "by itself",
    "max": "at most",
}

Name = Annotated[str, typer.Argument(help="The policy's name.", show_default=False, autocompletion=names.approvals)]


@admin(
    app,
    examples=[
        "pgbastion approvals create staging --environment staging --mode ro --mode rw --step group:developers "
        "--rule 'short-read 4h' --max 1d",
        "pgbastion approvals create production --environment production --mode rw --step '2 of role:dba' "
        "--step 'user:cara else role:heads after 30m' --require-reason --max 8h --announce slack:C024BE91L "
        "--break-glass 'role:on-call for 30m'",
    ],
)
def create(
    api: Api,
    name: Name,
    environment: Annotated[str, typer.Option("--environment", help="Where it holds.", autocompletion=names.environments)],
    mode: Modes = None,
    step: Steps = None,
    rule: Rules = None,
    database_role: Roles = None,
    announce: Announce = None,
    on_call: OnCall = None,
    break_glass: Glass = None,
    default: Default = None,
    most: Most = None,
    decide_within: DecideWithin = None,
    require_reason: ReasonRequired = None,
    require_ticket: TicketRequired = None,
    bound: Bound = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Open access modes of an environment to requests, and say who decides about them. Nobody ever decides about their own."""
    if not mode or not step:
        raise typer.BadParameter("say which access modes (--mode), and who decides (--step)")
    body: dict[str, JsonValue] = {"name": name, "environment": environment}
    body |= list_fields(mode, step, rule, database_role, announce)
    body |= term_fields(on_call, break_glass, default, most, decide_within, require_reason, require_ticket, bound)
    made = api.post(path("approval-policies"), body, reason=reason)
    if as_json:
        print_json(made)
    else:
        say(f'Approval policy "{name}" created: {_modes_text(made)} can be asked for in "{environment}".')


@admin(app, "list", examples=["pgbastion approvals list"])
def list_policies(api: Api, as_json: AsJson = False) -> None:
    """List approval policies: what may be asked for where, and who decides."""
    found = api.all(path("approval-policies"))
    if as_json:
        print_json(found)
        return
    empty = "No approval policies: nobody can ask for anything. Create one: pgbastion approvals create --help"
    show([_row(each) for each in found], as_json=False, columns=_LIST, empty=empty, stacked=("steps", "rules", "modes"))


@admin(app, "show", examples=["pgbastion approvals show production"])
def show_policy(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show one approval policy."""
    found = api.get(path("approval-policies", name)).record
    if as_json:
        print_json(found)
        return
    say_wrapped(f'Approval policy "{name}": {_modes_text(found)} in environment "{found.get("environment")}"', indent=2)
    for number, step in enumerate(_records(found.get("steps")), 1):
        say(f"  step {number}       {step_text(step)}")
    for heading, text in (
        ("by itself", "; ".join(rule_text(each) for each in _records(found.get("rules"))) or "nothing"),
        ("on call", str(found.get("on_call") or "nobody is asked")),
        ("emergency", break_glass_text(found.get("break_glass"))),
        ("how long", f"{exactly(found.get('default_seconds'))}, at most {exactly(found.get('max_seconds'))}"),
        ("decided", f"within {exactly(found.get('decide_within_seconds'))}, or it expires"),
        (
            "needs",
            ", ".join(each for each in ("reason", "ticket") if found.get(f"{each}_required")) or "neither reason nor ticket",
        ),
        ("ends", "with an approver's right to approve, too" if found.get("bound_to_approvers") else "when its time is over"),
        ("roles", _joined(found.get("database_roles")) or "none of the databases'"),
        ("told", _joined(found.get("announce")) or "nobody but the people themselves"),
    ):
        say_wrapped(f"  {heading:<13}{text}", indent=15)


@admin(
    app,
    examples=[
        "pgbastion approvals update production --max 4h",
        "pgbastion approvals update staging --rule 'short-read 1h' --rule 'again 8h since 7d'",
        "pgbastion approvals update production --break-glass none",
    ],
)
def update(
    api: Api,
    name: Name,
    mode: Modes = None,
    step: Steps = None,
    rule: Rules = None,
    no_rules: Annotated[bool, typer.Option("--no-rules", help="Nothing is approved by itself.")] = False,
    database_role: Roles = None,
    no_database_roles: Annotated[bool, typer.Option("--no-database-roles", help="None may be asked for.")] = False,
    announce: Announce = None,
    no_announce: Annotated[bool, typer.Option("--no-announce", help="Tell nobody but the people themselves.")] = False,
    on_call: OnCall = None,
    break_glass: Glass = None,
    default: Default = None,
    most: Most = None,
    decide_within: DecideWithin = None,
    require_reason: ReasonRequired = None,
    require_ticket: TicketRequired = None,
    bound: Bound = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Change a policy: what is given, each list as a whole. Requests that are under way go by the policy as it was."""
    body = list_fields(mode, step, rule, database_role, announce)
    for empty, field in ((no_rules, "rules"), (no_database_roles, "database_roles"), (no_announce, "announce")):
        if empty and field in body:
            raise typer.BadParameter(f"give either --no-{field.replace('_', '-')} or what is to be in it")
        body |= {field: []} if empty else {}
    body |= term_fields(on_call, break_glass, default, most, decide_within, require_reason, require_ticket, bound)
    if not body:
        raise typer.BadParameter("say what to change: see pgbastion approvals update --help")
    changed = api.patch(path("approval-policies", name), body, reason=reason, version=if_version)
    if as_json:
        print_json(changed)
    else:
        say(f'Approval policy "{name}" changed. Requests that are under way go by it as it was.')


@admin(app, examples=['pgbastion approvals delete staging --reason "the environment goes"'])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete a policy: nothing more can be asked for by it, and what waits for an answer ends. Rights that were given stay."""
    api.delete(path("approval-policies", name), reason=reason, version=if_version)
    say(f'Approval policy "{name}" deleted.')


def _row(policy: Record) -> Record:
    return {
        **policy,
        "steps": [step_text(each) for each in _records(policy.get("steps"))],
        "rules": [rule_text(each) for each in _records(policy.get("rules"))],
        "max": exactly(policy.get("max_seconds")),
    }


def _modes_text(policy: Record) -> str:
    modes = policy.get("modes")
    return " and ".join(str(each) for each in modes) if isinstance(modes, list) else ""


def _joined(value: JsonValue) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else ""


def _records(value: JsonValue) -> list[Record]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
