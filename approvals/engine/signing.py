"""Signatures of webhooks and callbacks: ``X-Orca-Signature`` over the raw body, and the Standard Webhooks headers, which bind id and time.

During a rotation two secrets are valid: a message carries a Standard Webhooks signature of each, and a callback may use
either. Sources: spec/decisions.md 7.5 and 7.6, https://github.com/standard-webhooks/standard-webhooks (1.0.0).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Seconds by which a timestamp may be off, to either side.
TOLERANCE_SECONDS = 300
#: Characters of a secret.
MIN_SECRET, MAX_SECRET = 24, 255
#: Signatures that are looked at in one header: ours has two at most.
MAX_SIGNATURES = 8

_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows for a body: the four headers, empty where they are missing."""

    orca: str = ""
    webhook_id: str = ""
    webhook_timestamp: str = ""
    webhook_signature: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Shown":
        """``headers`` by lower-case name."""
        return cls(*(headers.get(name, "") for name in ("x-orca-signature", "webhook-id", "webhook-timestamp", "webhook-signature")))


# --- Signing --------------------------------------------------------------------------------------------------------
def headers(secrets: Sequence[str], *, event: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt. ``secrets`` newest first; none: the message goes unsigned. ``timestamp`` in Unix seconds."""
    named = {"X-Orca-Event": event, "webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if secrets:
        named["X-Orca-Signature"] = orca_signature(secrets[0], body)
        named["webhook-signature"] = " ".join(standard_signature(secret, message_id, str(timestamp), body) for secret in secrets)
    return named


def orca_signature(secret: str, body: bytes) -> str:
    """The value of ``X-Orca-Signature``, of the raw body. Source: spec/decisions.md 7.5."""
    return f"sha256={hmac.digest(secret.encode(), body, hashlib.sha256).hex()}"


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """One value of ``webhook-signature``; ``timestamp`` as it stands in its header. Source: Standard Webhooks 1.0."""
    signed = f"{message_id}.{timestamp}.".encode(errors="surrogatepass") + body
    return f"v1,{base64.b64encode(hmac.digest(standard_key(secret), signed, hashlib.sha256)).decode()}"


def standard_key(secret: str) -> bytes:
    """The HMAC key of Standard Webhooks: the base64 after ``whsec_`` where the secret has that form, else its UTF-8 bytes."""
    if secret.startswith(_PREFIX):
        encoded = secret.removeprefix(_PREFIX).rstrip("=")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if key:
            return key
    return secret.encode()


# --- Verifying ------------------------------------------------------------------------------------------------------
def is_signed(secrets: Sequence[str], shown: Shown, *, body: bytes, now: float) -> bool:
    """Whether a body is signed by one of ``secrets`` with either scheme. ``now`` in Unix seconds.

    Each scheme that is shown must hold: a wrong signature is not mended by a right one beside it. The plain scheme says
    nothing of the time; the caller looks at the body's own timestamp as well.
    """
    if not (shown.orca or shown.webhook_signature):
        return False
    # Both are computed whatever the first says, so that the time taken tells nothing.
    plain = not shown.orca or holds_orca(secrets, shown.orca, body=body)
    standard = not shown.webhook_signature or holds_standard(secrets, shown, body=body, now=now)
    return plain and standard


def holds_orca(secrets: Sequence[str], signature: str, *, body: bytes) -> bool:
    """Whether it is the plain signature of the body under one of the secrets, in constant time."""
    return _is_among(signature, [orca_signature(secret, body) for secret in secrets])


def holds_standard(secrets: Sequence[str], shown: Shown, *, body: bytes, now: float) -> bool:
    """Whether one of the space-separated ``v1`` signatures is right, and the timestamp fresh."""
    expected = [standard_signature(secret, shown.webhook_id, shown.webhook_timestamp, body) for secret in secrets]
    found = [_is_among(signature, expected) for signature in shown.webhook_signature.split(" ")[:MAX_SIGNATURES]]
    return any(found) and bool(shown.webhook_id) and _seconds(shown.webhook_timestamp, now=now)


def is_fresh(timestamp: float, *, now: float) -> bool:
    """Whether Unix seconds are within the tolerance; not so for NaN."""
    return abs(now - timestamp) <= TOLERANCE_SECONDS


def _seconds(text: str, *, now: float) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12 and is_fresh(int(text), now=now)


def _is_among(signature: str, expected: Sequence[str]) -> bool:
    """Compared in constant time, and with every one."""
    # A header may hold any byte, and compare_digest takes no other text than ASCII.
    given = signature.encode(errors="surrogatepass")
    return sum(hmac.compare_digest(given, each.encode()) for each in expected) > 0


def is_secret(text: str) -> bool:
    """Whether a text may be a signing secret: 24 to 255 visible ASCII characters, so that no editor or shell changes it."""
    return MIN_SECRET <= len(text) <= MAX_SECRET and text.isascii() and text.isprintable() and " " not in text
