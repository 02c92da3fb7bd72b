"""What people do in Slack, heard over signed HTTP: for the admin API, which has the server."""

from collections.abc import Callable
from datetime import datetime

from slack_bolt.async_app import AsyncApp

from gateway.notify.slack.app import make_app
from gateway.notify.slack.desk import Desk
from gateway.notify.slack.office import workspace_of
from gateway.notify.slack.people import People
from gateway.notify.slack.workspace import SlackUnusable, read_token
from gateway.services.request_people import RequestStore
from gateway.settings.notify import Slack


def app_over_http(settings: Slack, store: RequestStore, clock: Callable[[], datetime]) -> AsyncApp:
    """Raises SlackUnusable."""
    if settings.signing_secret_file is None:
        raise SlackUnusable("slack.signing_secret_file is not set")
    secret = read_token(settings.signing_secret_file, "Slack app's signing secret")
    workspace = workspace_of(settings)
    return make_app(Desk(workspace, People(workspace, clock), store, clock), secret)
