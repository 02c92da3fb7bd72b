"""Slack as a channel of the courier: it brings messages out and, in Socket Mode, hears what people do."""

from collections.abc import Sequence

from gateway.access.model import Snapshot, User
from gateway.access.request_record import AccessRequest
from gateway.notify.delivering import Means, Outcome
from gateway.notify.slack.app import make_app
from gateway.notify.slack.connecting import how_to
from gateway.notify.slack.deliverer import Receipted, SlackDeliverer
from gateway.notify.slack.desk import Desk
from gateway.notify.slack.people import People
from gateway.notify.slack.socket import PING_SECONDS, SocketMode
from gateway.notify.slack.workspace import SlackUnusable, Workspace, read_token
from gateway.ports import OutboxMessage
from gateway.settings.notify import Slack
from gateway.store.sql_store import SqlStore


class SlackOffice:
    """Implements Channel, for "slack:<channel id>", and PersonalDeliverer."""

    def __init__(self, means: Means, *, ping_seconds: float = PING_SECONDS) -> None:
        """Raises SlackUnusable. `ping_seconds`: how often a connection is looked at."""
        settings = means.settings.slack
        workspace = workspace_of(settings)
        people = People(workspace, means.clock)
        self._deliverer = SlackDeliverer(workspace, people, _Records(means.store), how_to(means.settings))
        self._socket: SocketMode | None = None
        if settings.app_token_file is not None:
            app = make_app(Desk(workspace, people, means.store, means.clock), None)
            self._socket = SocketMode(app, read_token(settings.app_token_file, "Slack app's token"), ping_seconds)

    async def start(self) -> None:
        if self._socket is not None:
            await self._socket.start()

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def deliver(self, message: OutboxMessage) -> Outcome:
        return await self._deliverer.deliver(message)

    async def deliver_to(self, message: OutboxMessage, user: User) -> Outcome | None:
        return await self._deliverer.deliver_to(message, user)


class _Records:
    """Implements Records."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def read(self) -> Snapshot:
        return await self._store.read()

    async def access_request(self, key: str | int) -> AccessRequest | None:
        return await self._store.access_request(key)

    async def receipts(self, request_id: str) -> Sequence[Receipted]:
        return await self._store.outbox.receipts(request_id)


def workspace_of(settings: Slack) -> Workspace:
    """Raises SlackUnusable."""
    if settings.bot_token_file is None:
        raise SlackUnusable("slack.bot_token_file is not set")
    return Workspace(read_token(settings.bot_token_file, "Slack bot's token"), settings.api_url)
