"""pgbastion grants ..."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.local import operator
from gateway.cli.options import AnyMode, AsJson, Config, Expires, Mode, Reason, expiry
from gateway.cli.output import Record, print_json, say, show, when

if TYPE_CHECKING:
    from gateway.services.grants import NamedGrant

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Who may use which target, in which access mode, until when."
)

User = Annotated[str, typer.Option("--user", help="The user's name.")]
Target = Annotated[str, typer.Option("--target", help="The target's name.")]

COLUMNS = {
    "user": "user",
    "target": "target",
    "mode": "mode",
    "valid_until": "expires",
    "live": "live",
    "id": "id",
}


@app.command()
def create(
    user: User,
    target: Target,
    mode: Mode,
    expires: Expires = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a live grant of this kind.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Give a user a target. read_write includes read_only."""
    from gateway.services import grants

    op = operator(config)
    named = op.change(
        grants.create_grant(
            op.store,
            user_name=user,
            target_name=target,
            mode=mode,
            valid_until=expiry(expires),
            replace_live=replace,
            actor=op.actor,
            reason=reason,
        )
    )
    if as_json:
        print_json(record(named))
    else:
        say(f'User "{user}" may use "{target}" {mode}, until {when(named.grant.valid_until) or "revoked"}.')


@app.command("list")
def list_grants(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only on this target.")] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List grants, expired ones too."""
    from gateway.services.grants import name_grants

    found = [
        record(named)
        for named in name_grants(operator(config).read())
        if (user is None or named.user_name == user) and (target is None or named.target_name == target)
    ]
    show(
        found,
        as_json=as_json,
        columns=COLUMNS,
        empty="No grants. See: pgbastion grants create --help",
    )


@app.command()
def revoke(
    grant_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The grant's id.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option("--user", help="Instead of an id: all grants of this user ...")] = None,
    target: Annotated[str | None, typer.Option("--target", help="... on this target.")] = None,
    mode: AnyMode = None,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Take a grant away; sessions that stand on it end within a second."""
    from gateway.services import grants

    op = operator(config)
    if grant_id is not None and user is None and target is None and mode is None:
        gone = [op.change(grants.revoke_grant(op.store, grant_id=grant_id, actor=op.actor, reason=reason))]
    elif grant_id is None and user is not None and target is not None:
        verb = grants.revoke_grants(op.store, user_name=user, target_name=target, mode=mode, actor=op.actor, reason=reason)
        gone = list(op.change(verb))
    else:
        raise typer.BadParameter("give either a grant's ID, or --user and --target")
    if as_json:
        print_json([record(each) for each in gone])
    else:
        for each in gone:
            say(f'User "{each.user_name}" lost {each.grant.mode} on "{each.target_name}".')


def record(named: "NamedGrant") -> Record:
    grant = named.grant
    return {
        "id": grant.id,
        "user": named.user_name,
        "target": named.target_name,
        "mode": grant.mode.value,
        "valid_until": when(grant.valid_until),
        "live": grant.valid_until is None or datetime.now(UTC) < grant.valid_until,
    }
