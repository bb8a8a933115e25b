"""Secrets that must be read back, sealed with AES-256-GCM; and the keyed hash under which tokens are looked up.

A sealed value is ``0x01 | nonce (12) | ciphertext and tag``. What it belongs to (workspace and purpose) is bound as
associated data: a ciphertext copied to another row or workspace does not open.
"""

import base64
import hashlib
import hmac
import secrets
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_VERSION = b"\x01"


class SealBroken(Exception):
    """The value was not sealed here, for this purpose, or under this key."""


@cache
def _cipher(key: str) -> AESGCM:
    return AESGCM(base64.b64decode(key))


def _bound_to(workspace_id: int, purpose: str) -> bytes:
    return f"{workspace_id}:{purpose}".encode()


def seal(plaintext: str, *, workspace_id: int, purpose: str) -> bytes:
    """Encrypt for one workspace and purpose (``"keys.provider"``)."""
    nonce = secrets.token_bytes(12)
    return _VERSION + nonce + _cipher(settings.ENCRYPTION_KEY).encrypt(nonce, plaintext.encode(), _bound_to(workspace_id, purpose))


def unseal(sealed: bytes, *, workspace_id: int, purpose: str) -> str:
    """Decrypt. Raises ``SealBroken`` for a value that was changed, moved or sealed under another key."""
    sealed = bytes(sealed)
    if sealed[:1] != _VERSION:
        raise SealBroken("unknown format of a sealed value")
    try:
        return _cipher(settings.ENCRYPTION_KEY).decrypt(sealed[1:13], sealed[13:], _bound_to(workspace_id, purpose)).decode()
    except InvalidTag as error:
        raise SealBroken("a sealed value does not open") from error


def lookup_hash(token: str) -> str:
    """HMAC-SHA256 of a token under the server's pepper, hex: what is stored and looked up instead of the token."""
    keyed = _keyed(settings.KEY_PEPPER).copy()
    keyed.update(token.encode())
    return keyed.hexdigest()


@cache  # a copy of what has read its key costs less than half of starting anew
def _keyed(pepper: str) -> hmac.HMAC:
    return hmac.new(pepper.encode(), digestmod=hashlib.sha256)
