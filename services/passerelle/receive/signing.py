"""Standard Webhooks signatures: whoever holds the secret can tell that a message is ours, whole, and of just now.

https://www.standardwebhooks.com: `v1,` and the base64 of HMAC-SHA-256 over ``id.timestamp.body``.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

SECRET_BYTES = 32
"""24 to 64 are asked for."""
PREFIX = "whsec_"


def secret_text(secret: bytes) -> str:
    """Return the secret as receivers' libraries take it."""
    return PREFIX + base64.b64encode(secret).decode()


def signed(secret: bytes, message_id: str, at_s: int, body: bytes) -> Mapping[str, str]:
    """Return the three header fields. ``message_id`` is the same in every attempt, the time is the attempt's."""
    content = f"{message_id}.{at_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}
