"""Slack's tokens, the signing secret, tickets of WebSockets, addresses for answers: while all goes well and while all goes wrong,
with every library saying all that it can say.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.notify.slack import names
from tests.canary.canaries import Canaries
from tests.canary.places import file_places, process_places
from tests.canary.scanner import Figures, Place, Scanner
from tests.slack.world import SlackWorld, bare_world, make_store

DEBUGGED = Path(__file__).with_name("debugged")


async def test_the_courier_tells_nobody(tmp_path: Path, figures: Figures) -> None:
    await make_store(tmp_path / "state")
    scanner = Scanner(Canaries(), figures)
    async with bare_world(tmp_path / "state") as world:
        for name in ("bot_token", "app_token", "signing_secret"):
            scanner.canaries.note(f"slack {name}", getattr(world.slack, name))
        config = tmp_path / "pgbastion.toml"
        config.write_text(written(world))
        log = tmp_path / "log"
        environment = {**os.environ, "PYTHONPATH": f"{DEBUGGED}:{Path.cwd()}", "PYTHONASYNCIODEBUG": "1"}
        with log.open("w") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.notify", "--config", str(config), stdout=out, stderr=out, env=environment
            )
        try:
            await world.slack.until_connected()
            await good_and_bad_days(world)
            assert not scanner.look(process_places([process.pid]))
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        scanner.canaries.note("tickets", "\n".join(sorted(world.slack.issued)))
        for secret in (*world.slack.issued, *world.slack.state.answering):
            scanner.canaries.note("tickets and answers", secret)
        given = [tmp_path / "state" / f"slack-{name}" for name in ("bot_token", "app_token", "signing_secret")]
        said = log.read_text()
        assert "DEBUG" in said, "nobody was talkative"
        assert len(world.slack.issued) > 1
        assert not scanner.look([Place("log", "courier", said.encode())])
        assert not scanner.look(file_places(tmp_path / "state", "state file", but=given))


async def good_and_bad_days(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.acting("ben").press(posting, names.APPROVE)
    await world.until(lambda: not posting.buttons)
    (former,) = world.slack.sockets
    await world.slack.refresh()
    await world.until(lambda: world.slack.sockets and former not in world.slack.sockets)
    token, world.slack.bot_token = world.slack.bot_token, "xoxb-another"
    await world.acting("cleo").press_as_shown(posting, names.APPROVE, f"{'0' * 36}/{'0' * 64}")
    await world.acting("cleo").slash("requests", world.channel)
    await asyncio.sleep(0.5)
    world.slack.bot_token = token
    world.slack.down = True
    await world.acting("cleo").slash("requests", world.channel)
    await asyncio.sleep(0.5)
    world.slack.down = False
    world.slack.closed = True
    refused = world.slack.refused
    await world.slack.drop()
    await world.until(lambda: world.slack.refused > refused)
    await asyncio.sleep(0.2)


def written(world: SlackWorld) -> str:
    slack = world.settings.slack
    files = {name: getattr(slack, name) for name in ("bot_token_file", "app_token_file", "signing_secret_file")}
    lines = [f'{name} = "{file}"' for name, file in files.items()]
    return "\n".join([f'state_dir = "{world.folder}"', "[slack]", f'api_url = "{slack.api_url}"', *lines]) + "\n"
