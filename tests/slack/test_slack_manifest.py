"""The manifest that the documentation gives is the one that works: no scope too few, none too many."""

import re
from pathlib import Path
from typing import Any

import yaml

from gateway.notify.slack import names
from tests.slack.world import SlackWorld
from tests.support.fakes.slack.server import ALL_SCOPES
from tests.support.fakes.slack.state import SCOPES

DOCUMENT = Path(__file__).parents[2] / "docs" / "notifications.md"


def manifest() -> dict[str, Any]:
    (found,) = re.findall(r"```yaml\n(display_information:.*?)```", DOCUMENT.read_text(), re.DOTALL)
    loaded = yaml.safe_load(found)
    assert isinstance(loaded, dict)
    return loaded


def test_the_manifest_asks_for_what_is_used() -> None:
    found = manifest()
    scopes = set(found["oauth_config"]["scopes"]["bot"])
    assert scopes == ALL_SCOPES == {each for each in SCOPES.values() if each is not None} | {"commands"}
    assert [each["command"] for each in found["features"]["slash_commands"]] == [names.COMMAND]
    assert found["settings"]["interactivity"]["is_enabled"]
    assert found["settings"]["socket_mode_enabled"]


async def test_only_documented_methods_are_called(world: SlackWorld) -> None:
    posting = await world.asked()
    await world.acting("ben").press(posting, names.APPROVE)
    await world.until(lambda: not posting.buttons)
    assert set(world.slack.calls) <= {*SCOPES, "apps.connections.open"}
