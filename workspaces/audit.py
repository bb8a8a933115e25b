"""The audit log: who changed what, in an order that cannot be edited without showing.

Each entry carries an HMAC-SHA256 over itself and the entry before it, under a key derived from the signing key. Who can
write to the database but does not hold that key cannot make a row that fits. The rows are append-only by trigger as well.
"""

import hashlib
import hmac
import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

from workspaces import selectors
from workspaces.models import AuditEntry, User, Workspace

#: What stands where the first entry of a workspace would name the one before it.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class BadEntry:
    """The first entry at which a chain does not hold. ``sequence`` is the number that was expected there."""

    sequence: int
    reason: str


def record(
    *,
    workspace: Workspace,
    actor: User | None,
    action: str,
    target: models.Model,
    at: datetime,
    payload: dict | None = None,
    target_label: str = "",
) -> AuditEntry:
    """Append an entry to the chain, in the transaction of the change; call it last, and before a ``target`` is deleted.

    ``actor`` is None for the installation itself. ``payload`` is safe metadata: ids, names, choices; never a secret.
    The workspace's row is held from here to the commit, so entries of one workspace are written one after the other.
    """
    selectors.hold(workspace.pk)
    last = workspace.audit_entries.order_by("-sequence").values_list("sequence", "entry_hash").first()
    sequence, previous_hash = last or (0, GENESIS)
    entry = AuditEntry(
        workspace=workspace,
        sequence=sequence + 1,
        at=at,
        actor_id=actor.pk if actor else None,
        actor_label=actor.email if actor else "system",
        action=action,
        target_kind=target._meta.label_lower,
        target_id=str(target.pk),
        target_label=(target_label or getattr(target, "name", ""))[:254],
        payload=_plain(payload or {}),
        previous_hash=previous_hash,
    )
    entry.entry_hash = _hash(entry)
    entry.save(force_insert=True)
    return entry


def verify(workspace: Workspace) -> BadEntry | None:
    """Walk the chain from its first entry; None when it holds. Removing the newest entries shows in checkpoints only."""
    expected, previous_hash = 1, GENESIS
    for entry in workspace.audit_entries.order_by("sequence").iterator(chunk_size=1000):
        if entry.sequence != expected:
            return BadEntry(expected, f"is missing: the next one is {entry.sequence}")
        if entry.previous_hash != previous_hash:
            return BadEntry(expected, "does not continue the entry before it")
        if not hmac.compare_digest(_hash(entry), entry.entry_hash):
            return BadEntry(expected, "was changed after it was written")
        expected, previous_hash = expected + 1, entry.entry_hash
    return None


def _hash(entry: AuditEntry) -> str:
    content = {
        "workspace": entry.workspace_id,
        "sequence": entry.sequence,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": [entry.actor_id, entry.actor_label],
        "action": entry.action,
        "target": [entry.target_kind, entry.target_id, entry.target_label],
        "payload": entry.payload,
        "previous": entry.previous_hash,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hmac.digest(_key(settings.SIGNING_KEY), canonical, hashlib.sha256).hex()


@cache
def _key(signing_key: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"orcarouter audit chain 1").derive(b64decode(signing_key))


def _plain(value: object) -> object:
    """What PostgreSQL gives back exactly as it was stored: a float or a decimal would come back written differently."""
    match value:
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else value)]
        case None | bool() | int():
            return value if value is None or isinstance(value, bool) else int(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
    return str(value)
