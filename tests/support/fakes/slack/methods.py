"""The Web API's methods, as their pages describe them."""

from typing import Any

from tests.support.fakes.slack import kit
from tests.support.fakes.slack.state import Modal, Posting, SlackError, State

Arguments = dict[str, Any]


def call(state: State, method: str, given: Arguments) -> dict[str, Any]:
    """The answer. Raises SlackError."""
    match method:
        case "auth.test":
            return {"ok": True, "team_id": state.team_id, "user_id": state.bot_id, "bot_id": "B0PGBASTION", "team": "home"}
        case "chat.postMessage":
            return _post(state, given)
        case "chat.update":
            return _update(state, given)
        case "chat.postEphemeral":
            return _ephemeral(state, given)
        case "conversations.open":
            return _open_conversation(state, given)
        case "views.open":
            return _open_view(state, given)
        case "views.update":
            return _update_view(state, given)
        case "users.info":
            return {"ok": True, "user": _member(state, str(given.get("user")))}
        case "users.lookupByEmail":
            wanted = str(given.get("email")).lower()
            known = [each for each in state.members.values() if each.email.lower() == wanted and not each.flags.get("deleted")]
            if not known:
                raise SlackError("users_not_found")
            return {"ok": True, "user": _member(state, known[0].id)}
        case _:
            raise SlackError("unknown_method")


def _member(state: State, member_id: str) -> dict[str, Any]:
    if member_id not in state.members:
        raise SlackError("user_not_found")
    return state.members[member_id].shown(with_email="users:read.email" in state.scopes)


def _into(state: State, channel: str) -> str:
    if channel not in state.channels:
        raise SlackError("channel_not_found")
    if state.bot_id not in state.channels[channel] and "chat:write.public" not in state.scopes:
        raise SlackError("not_in_channel")
    return channel


def _post(state: State, given: Arguments) -> dict[str, Any]:
    channel = _into(state, str(given.get("channel")))
    text = str(given.get("text") or "")
    blocks = kit.check_message(text, given.get("blocks"))
    thread = given.get("thread_ts")
    if thread is not None and state.find(channel, str(thread)) is None:
        raise SlackError("thread_not_found")
    posting = Posting(channel, state.new_ts(), text, blocks, thread_ts=thread, metadata=given.get("metadata"))
    state.postings.append(posting)
    return {"ok": True, "channel": channel, "ts": posting.ts, "message": {"text": text, "ts": posting.ts}}


def _update(state: State, given: Arguments) -> dict[str, Any]:
    channel = _into(state, str(given.get("channel")))
    posting = state.find(channel, str(given.get("ts")))
    if posting is None or posting.ephemeral_to is not None:
        raise SlackError("message_not_found")
    text = str(given.get("text") or "")
    posting.blocks = kit.check_message(text, given.get("blocks"))
    posting.text = text
    posting.edits += 1
    return {"ok": True, "channel": channel, "ts": posting.ts, "text": text}


def _ephemeral(state: State, given: Arguments) -> dict[str, Any]:
    channel, member = _into(state, str(given.get("channel"))), str(given.get("user"))
    if member not in state.channels[channel]:
        raise SlackError("user_not_in_channel")
    text = str(given.get("text") or "")
    blocks = kit.check_message(text, given.get("blocks"))
    posting = Posting(channel, state.new_ts(), text, blocks, ephemeral_to=member)
    state.postings.append(posting)
    return {"ok": True, "message_ts": posting.ts}


def _open_conversation(state: State, given: Arguments) -> dict[str, Any]:
    users = given.get("users") or ""
    members = users if isinstance(users, list) else [each for each in str(users).split(",") if each]
    if len(members) != 1 or members[0] not in state.members:
        raise SlackError("user_not_found")
    if state.members[members[0]].flags.get("deleted"):
        raise SlackError("user_disabled")
    if state.members[members[0]].flags.get("is_bot"):
        raise SlackError("cannot_dm_bot")
    return {"ok": True, "channel": {"id": state.direct_with(members[0])}}


def _open_view(state: State, given: Arguments) -> dict[str, Any]:
    member = state.exchange(str(given.get("trigger_id")))
    modal = Modal(f"V{state.number():08d}", member, kit.check_view(given.get("view")), str(state.number()))
    state.modals[modal.id] = modal
    return {"ok": True, "view": {**modal.view, "id": modal.id, "hash": modal.hash}}


def _update_view(state: State, given: Arguments) -> dict[str, Any]:
    modal = state.modals.get(str(given.get("view_id")))
    if modal is None or not modal.is_open:
        raise SlackError("not_found")
    if given.get("hash") is not None and given["hash"] != modal.hash:
        raise SlackError("hash_conflict")
    replace_view(state, modal, given.get("view"))
    return {"ok": True, "view": {**modal.view, "id": modal.id, "hash": modal.hash}}


def replace_view(state: State, modal: Modal, view: Any) -> None:
    """What was filled in stays, where block and action are the same."""
    modal.view = kit.check_view(view)
    modal.hash = str(state.number())
    modal.errors = {}
    fields = {(each["block_id"], each["element"]["action_id"]) for each in kit.inputs(modal.view)}
    modal.values = {
        block: {action: value for action, value in actions.items() if (block, action) in fields}
        for block, actions in modal.values.items()
    }
