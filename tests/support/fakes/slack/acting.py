"""What people do in the workspace: a command, a button, a choice in a form, sending it. Each gives what the app answered."""

import secrets
from typing import Any

from tests.support.fakes.slack import kit
from tests.support.fakes.slack.methods import replace_view
from tests.support.fakes.slack.server import Acknowledged, FakeSlack
from tests.support.fakes.slack.state import RESPONSE_SECONDS, Answering, Modal, Posting


class Acting:
    """One person, by their id."""

    def __init__(self, slack: FakeSlack, member: str) -> None:
        self._slack = slack
        self.member = member

    @property
    def _state(self) -> Any:
        return self._slack.state

    async def slash(self, text: str, channel: str = "", **more: str) -> Acknowledged:
        channel = channel or self._state.direct_with(self.member)
        fields = {
            "command": "/pgbastion",
            "text": text,
            "user_id": self.member,
            "user_name": self._state.members[self.member].name,
            "channel_id": channel,
            "team_id": self._state.team_id,
            "api_app_id": self._state.app_id,
            "trigger_id": self._state.trigger(self.member),
            "response_url": self._response_url(channel, None),
            **more,
        }
        return await self._slack.send("slash_commands", fields)

    async def press(self, posting: Posting, action_id: str, *, value: str | None = None) -> Acknowledged:
        """`value`: as if the button said something else."""
        button = posting.buttons[action_id]
        return await self.press_as_shown(posting, action_id, button["value"] if value is None else value)

    async def press_as_shown(self, posting: Posting, action_id: str, value: str) -> Acknowledged:
        """A button that this person still sees, although it is gone: their screen is behind, or somebody replays the press."""
        message = {"ts": posting.ts, "text": posting.text, "blocks": posting.blocks}
        payload = {
            **self._who(),
            "type": "block_actions",
            "trigger_id": self._state.trigger(self.member),
            "response_url": self._response_url(posting.channel, posting.ts),
            "channel": {"id": posting.channel},
            "container": {"type": "message", "message_ts": posting.ts, "channel_id": posting.channel},
            "message": message,
            "actions": [{"type": "button", "action_id": action_id, "block_id": "b", "value": value}],
        }
        return await self._slack.send("interactive", payload)

    def modal(self) -> Modal:
        """The one that this person has open."""
        found = [each for each in self._state.modals.values() if each.member == self.member and each.is_open]
        assert found, "no form is open"
        return found[-1]

    async def choose(self, action_id: str, value: str) -> Acknowledged:
        """In a select that tells the app at once."""
        modal = self.modal()
        block = next(each for each in kit.inputs(modal.view) if each["element"]["action_id"] == action_id)
        self._put(modal, block, value)
        action = {"type": block["element"]["type"], "action_id": action_id, "block_id": block["block_id"]}
        payload = {
            **self._who(),
            "type": "block_actions",
            "trigger_id": self._state.trigger(self.member),
            "container": {"type": "view", "view_id": modal.id},
            "view": self._shown(modal),
            "actions": [{**action, **modal.values[block["block_id"]][action_id]}],
        }
        return await self._slack.send("interactive", payload)

    async def options(self, action_id: str, typed: str) -> list[dict[str, Any]]:
        """What a select shows whose options come from the app."""
        modal = self.modal()
        block = next(each for each in kit.inputs(modal.view) if each["element"]["action_id"] == action_id)
        payload = {
            **self._who(),
            "type": "block_suggestion",
            "action_id": action_id,
            "block_id": block["block_id"],
            "value": typed,
            "container": {"type": "view", "view_id": modal.id},
            "view": self._shown(modal),
        }
        answer = await self._slack.send("interactive", payload)
        return kit.check_options(answer.body)

    async def submit(self, **filled: Any) -> Modal:
        """`filled`: by the last part of the action id. The form, as it is after the app's answer."""
        modal = self.modal()
        for block in kit.inputs(modal.view):
            name = block["element"]["action_id"].rpartition(".")[2]
            if name in filled:
                self._put(modal, block, filled.pop(name))
        assert not filled, f"no such field: {sorted(filled)}"
        missing = [each for each in kit.inputs(modal.view) if not each.get("optional") and not self._value(modal, each)]
        assert not missing, f"Slack itself asks for: {[each['block_id'] for each in missing]}"
        payload = {
            **self._who(),
            "type": "view_submission",
            "trigger_id": self._state.trigger(self.member),
            "view": self._shown(modal),
            "response_urls": [],
        }
        answer = await self._slack.send("interactive", payload)
        assert answer.status == 200, answer
        self._heed(modal, answer.body)
        return modal

    def _heed(self, modal: Modal, answer: Any) -> None:
        action = answer.get("response_action") if isinstance(answer, dict) else None
        match action:
            case None | "clear":
                modal.is_open = False
            case "errors":
                fields = {each["block_id"] for each in kit.inputs(modal.view)}
                assert answer["errors"], "errors without an error"
                assert set(answer["errors"]) <= fields, f"errors for {set(answer['errors']) - fields}"
                modal.errors = answer["errors"]
            case "update":
                replace_view(self._state, modal, answer["view"])

    def _put(self, modal: Modal, block: dict[str, Any], value: Any) -> None:
        element = block["element"]
        match element["type"]:
            case "static_select" | "external_select":
                found: dict[str, Any] = {
                    "selected_option": {"value": value, "text": {"type": "plain_text", "text": str(value)}}
                }
            case "checkboxes":
                found = {"selected_options": [each for each in element["options"] if each["value"] in value]}
            case "datetimepicker":
                found = {"selected_date_time": value}
            case _:
                assert len(value) <= element.get("max_length", 3000), "Slack takes no more"
                found = {"value": value}
        modal.values.setdefault(block["block_id"], {})[element["action_id"]] = {"type": element["type"], **found}

    def _value(self, modal: Modal, block: dict[str, Any]) -> Any:
        """As Slack would send it: what was filled in, else the initial value."""
        element = block["element"]
        given = modal.values.get(block["block_id"], {}).get(element["action_id"])
        if given is not None:
            return next((value for name, value in given.items() if name != "type"), None)
        return element.get("initial_value") or element.get("initial_option")

    def _shown(self, modal: Modal) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for block in kit.inputs(modal.view):
            element = block["element"]
            empty = {"type": element["type"], **_empty(element)}
            given = modal.values.get(block["block_id"], {}).get(element["action_id"], empty)
            values[block["block_id"]] = {element["action_id"]: given}
        return {**modal.view, "id": modal.id, "hash": modal.hash, "state": {"values": values}}

    def _who(self) -> dict[str, Any]:
        member = self._state.members[self.member]
        return {
            "user": {"id": member.id, "name": member.name, "team_id": member.team_id},
            "team": {"id": self._state.team_id},
            "api_app_id": self._state.app_id,
        }

    def _response_url(self, channel: str, message_ts: str | None) -> str:
        key = secrets.token_hex(8)
        self._state.answering[key] = Answering(self.member, channel, self._state.now + RESPONSE_SECONDS, message_ts)
        return str(self._slack.api_url.replace("/api/", f"/respond/{key}"))

    def told(self) -> list[Posting]:
        """What only this person reads: ephemeral messages, and those of the bot to them."""
        direct = self._state.direct.get(self.member)
        return [each for each in self._state.postings if each.ephemeral_to == self.member or each.channel == direct]


def _empty(element: dict[str, Any]) -> dict[str, Any]:
    match element["type"]:
        case "static_select" | "external_select":
            return {"selected_option": element.get("initial_option")}
        case "checkboxes":
            return {"selected_options": element.get("initial_options", [])}
        case "datetimepicker":
            return {"selected_date_time": element.get("initial_date_time")}
        case _:
            return {"value": element.get("initial_value")}
