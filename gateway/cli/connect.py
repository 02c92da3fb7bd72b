"""pgbastion connect TARGET: psql, with a short-lived credential."""

import os
import shutil
from collections.abc import Mapping
from typing import Annotated, Final

import typer

from gateway.cli.client import Api
from gateway.cli.door import Address, ForUser, Lifetime, Mode, Target, Wish, issue
from gateway.cli.errors import CommandError
from gateway.cli.options import Reason
from gateway.cli.output import note
from gateway.cli.reach import admin
from gateway.connection_strings import Door

app = typer.Typer(add_completion=False)

#: Of libpq's, what would lead elsewhere or stand in the way of what we say.
_OTHERS: Final = frozenset({"PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGPASSFILE", "PGREQUIRESSL", "PGGSSENCMODE"})


@admin(
    app,
    "connect",
    examples=["pgbastion connect shop", "pgbastion connect shop:rw --for 8h", "pgbastion connect shop -- -c 'SELECT 1'"],
)
def connect(
    api: Api,
    target: Target,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PSQL ARGUMENTS]", help="For psql.", show_default=False)
    ] = None,
    mode: Mode = None,
    lifetime: Lifetime = None,
    address: Address = None,
    user: ForUser = None,
    reason: Reason = "",
) -> None:
    """Run psql on a target, with a login that was made for this: nothing to copy, no password to keep."""
    psql = shutil.which("psql")
    if psql is None:
        raise CommandError("there is no psql here", "Install PostgreSQL's client, or use another: pgbastion tunnel TARGET")
    issued = issue(api, Wish(target, mode, lifetime, address, user), reason=reason)
    note(f"Connecting to {issued.door.target} as {issued.door.user}; this login ends at {issued.record.get('valid_until')}.")
    environment = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    os.execve(psql, [psql, *(arguments or [])], {**environment, **psql_environment(issued.door)})  # noqa: S606


def psql_environment(door: Door) -> Mapping[str, str]:
    """What other users of the machine cannot see, as they could a command line."""
    tls = {"PGSSLMODE": door.tls["sslmode"]}
    if (root := door.tls.get("sslrootcert")) is not None:
        tls["PGSSLROOTCERT"] = root
    return {
        "PGHOST": door.host,
        "PGPORT": str(door.port),
        "PGDATABASE": door.target,
        "PGUSER": door.user,
        "PGPASSWORD": door.password,
        **tls,
    }
