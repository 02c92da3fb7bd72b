"""pgbastion tunnel TARGET: a local port, for clients that are easier to set up that way."""

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer

from gateway.cli.client import Api
from gateway.cli.credentials import say_strings
from gateway.cli.door import Address, ForUser, Issued, Lifetime, Mode, Target, Wish, issue, revoke
from gateway.cli.errors import CommandError
from gateway.cli.options import Reason
from gateway.cli.output import note, say
from gateway.cli.reach import admin
from gateway.cli.tunnel_relay import Relay, Way, reason_of, trusting
from gateway.connection_strings import Door, Trust, connection_strings

app = typer.Typer(add_completion=False)


@admin(app, "tunnel", examples=["pgbastion tunnel shop", "pgbastion tunnel shop:rw --port 5433 --for 4h"])
def tunnel(
    api: Api,
    target: Target,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The local port.", show_default="any free one")] = 0,
    mode: Mode = None,
    lifetime: Lifetime = None,
    address: Address = None,
    user: ForUser = None,
    reason: Reason = "",
) -> None:
    """Open a port of this machine that leads to a target, and print how each client connects to it. Ctrl-C closes it.

    The login that it prints was made for this tunnel: it ends with it.
    """
    issued = issue(api, Wish(target, mode, lifetime, address, user), reason=reason)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs come with it ignored
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        api.wait(_run(issued, port))
        say("\nThe login of this tunnel has expired: it is closed.")
    except KeyboardInterrupt:
        say("\nTunnel closed.")
    finally:
        _revoke(api, issued)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _revoke(api: Api, issued: Issued) -> None:
    try:
        revoke(api, issued, reason="the tunnel was closed")
    except CommandError as error:
        note(f"Its login could not be revoked ({error.message}); it ends at {issued.record.get('valid_until')}.")


async def _run(issued: Issued, port: int) -> None:
    """Until the credential expires."""
    door = issued.door
    trust = door.trust if isinstance(door.trust, Trust) else None
    relay = Relay(Way(door.host, door.port, trusting(trust, issued.ca_pem)), note)
    try:
        await relay.check()
    except OSError as error:
        raise CommandError(f"the gateway at {door.host} port {door.port} cannot be reached: {reason_of(error)}") from error
    try:
        local = await relay.listen(port)
    except OSError as error:
        raise CommandError(f"port {port} of this machine cannot be used: {error.strerror}", "Choose another --port.") from error
    _announce(issued, replace(door, host="127.0.0.1", port=local, trust=Trust.SAME_MACHINE))
    left_seconds = (issued.valid_until - datetime.now(UTC)).total_seconds()
    try:
        await asyncio.sleep(max(0.0, left_seconds))
    finally:
        await relay.close()


def _announce(issued: Issued, door: Door) -> None:
    made = issued.record
    say(f'Tunnel to "{made.get("target")}" ({made.get("mode")}) at {door.host}:{door.port}, until {made.get("valid_until")}.')
    say(f"Username: {door.user}")
    say(f"Password (shown only now): {door.password}")
    say_strings(connection_strings(door))
    say("\nCtrl-C to close.")
    sys.stdout.flush()
