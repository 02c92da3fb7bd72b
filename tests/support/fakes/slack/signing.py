"""How Slack signs what it posts."""

import hashlib
import hmac


def signed(secret: str, body: bytes, timestamp: int) -> dict[str, str]:
    """The headers."""
    base = b"v0:" + str(timestamp).encode() + b":" + body
    signature = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={signature}"}
