"""/slack/events: what Slack posts. No part of the API's document: Slack alone speaks it."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from admin_api.slack import PATH, SlackDoor

router = APIRouter()


@router.post(PATH, include_in_schema=False)
async def take_event(request: Request) -> Response:
    door: SlackDoor = request.app.state.slack
    return await door.take(request)
