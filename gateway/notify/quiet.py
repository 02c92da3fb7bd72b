"""What the libraries here may log: nothing. They name what they send and where to, and a webhook's URL may be a secret."""

import logging
from typing import Final

_LIBRARIES: Final = ("httpx", "httpcore", "httpx2", "httpcore2", "pagerduty", "aiosmtplib")


def quieten() -> None:
    """Whatever the root's level and handlers are."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
