"""What the vendor's libraries may log: warnings, in one line each, without tokens and addresses that open something.

They speak of what they send at DEBUG, and some texts of exceptions hold the address of a WebSocket, which is a secret.
"""

import logging
import re
from typing import Final

import structlog

_MOST: Final = 300
_LIBRARIES: Final = ("slack_bolt", "slack_sdk")
_SECRETS: Final = re.compile(r"\bx(?:ox[a-z]|app)[-.][A-Za-z0-9-.%]+|\b(?:https?|wss?)://\S+", re.IGNORECASE)
_log: Final = structlog.stdlib.get_logger("slack")


class _Redacted(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        first, _, _ = record.getMessage().strip().partition("\n")
        _log.log(record.levelno, "Slack's library", said=redacted(first), source=record.name)


def redacted(said: str) -> str:
    return _SECRETS.sub("***", said)[:_MOST]


def quiet_logger(name: str) -> logging.Logger:
    """For one client or app. No level of the root's changes it, and no handler but ours sees it (nor a traceback)."""
    for each in _LIBRARIES:
        _quieten(logging.getLogger(each))
    logger = logging.getLogger(f"pgbastion.slack.{name}")
    _quieten(logger)
    return logger


def _quieten(logger: logging.Logger) -> None:
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(_Redacted())
