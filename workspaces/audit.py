"""The audit log: who changed what, in an order that cannot be edited without showing.

Each entry carries an HMAC-SHA256 over itself and the entry before it, under a key derived from the signing key. Who can
write to the database but does not hold that key cannot make a row that fits. The rows are append-only by trigger as well.
Signed checkpoints say how long a chain was, so that a chain cut short shows too.
"""

import hashlib
import hmac
import json
import logging
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

from workspaces import selectors
from workspaces.models import AuditCheckpoint, AuditEntry, User, Workspace
from workspaces.times import rfc3339

log = logging.getLogger(__name__)

#: What stands where the first entry of a workspace would name the one before it.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class BadEntry:
    """The first entry at which a chain does not hold. ``sequence`` is the number that was expected there."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What an entry says was done to what. ``payload`` is safe metadata: ids, names, choices; never a secret."""

    action: str
    target: models.Model
    payload: Mapping[str, object] = field(default_factory=dict)
    target_label: str = ""


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

    ``actor`` is None for the installation itself. See ``record_all``.
    """
    [entry] = record_all(workspace=workspace, actor=actor, at=at, changes=[Change(action, target, payload or {}, target_label)])
    return entry


def record_all(*, workspace: Workspace, actor: User | None, at: datetime, changes: Sequence[Change]) -> list[AuditEntry]:
    """Append an entry for each change, in order and by one statement.

    The workspace's row is held from here to the commit, so entries of one workspace are written one after the other.
    """
    selectors.hold(workspace.pk)
    last = workspace.audit_entries.order_by("-sequence").values_list("sequence", "entry_hash").first()
    count, previous_hash = last or (0, GENESIS)
    entries: list[AuditEntry] = []
    for sequence, change in enumerate(changes, count + 1):
        entry = AuditEntry(
            workspace=workspace,
            sequence=sequence,
            at=at,
            actor_id=actor.pk if actor else None,
            actor_label=actor.email if actor else "system",
            action=change.action,
            target_kind=change.target._meta.label_lower,
            target_id=str(change.target.pk),
            target_label=(change.target_label or getattr(change.target, "name", ""))[:254],
            payload=_plain(change.payload),
            previous_hash=previous_hash,
        )
        entry.entry_hash = previous_hash = _hash(entry)
        entries.append(entry)
    return AuditEntry.objects.bulk_create(entries)


def verify(workspace: Workspace) -> BadEntry | None:
    """Walk the chain from its first entry and hold it against its checkpoints; None when all of it holds."""
    expected, previous_hash = 1, GENESIS
    promised = dict(workspace.audit_checkpoints.values_list("count", "head"))
    for entry in workspace.audit_entries.order_by("sequence").iterator(chunk_size=1000):
        if entry.sequence != expected:
            return BadEntry(expected, f"is missing: the next one is {entry.sequence}")
        if entry.previous_hash != previous_hash:
            return BadEntry(expected, "does not continue the entry before it")
        if not hmac.compare_digest(_hash(entry), entry.entry_hash):
            return BadEntry(expected, "was changed after it was written")
        if promised.pop(entry.sequence, entry.entry_hash) != entry.entry_hash:
            return BadEntry(expected, "is another one than a checkpoint signed")
        expected, previous_hash = expected + 1, entry.entry_hash
    if promised:
        return BadEntry(expected, f"is missing: a checkpoint signed {max(promised)} entries")
    forged = next((checkpoint for checkpoint in workspace.audit_checkpoints.order_by("pk") if not _is_signed(checkpoint)), None)
    return BadEntry(forged.count, "has a checkpoint that was not signed here") if forged else None


def sign_checkpoint(workspace: Workspace, *, at: datetime) -> AuditCheckpoint | None:
    """Sign how far the chain has come; None when nothing was added since the last time.

    The same goes to the log as a line, which usually leaves the machine: who then removes entries and checkpoints
    together is given away by it.
    """
    last = workspace.audit_entries.order_by("-sequence").values_list("sequence", "entry_hash").first()
    if last is None or workspace.audit_checkpoints.filter(count=last[0]).exists():
        return None
    checkpoint = AuditCheckpoint(workspace=workspace, at=at, count=last[0], head=last[1])
    checkpoint.signature = _signing_key(settings.SIGNING_KEY).sign(_statement(checkpoint)).hex()
    checkpoint.save(force_insert=True)
    log.info("audit checkpoint %s signature %s", _statement(checkpoint).decode(), checkpoint.signature)
    return checkpoint


def _is_signed(checkpoint: AuditCheckpoint) -> bool:
    try:
        _signing_key(settings.SIGNING_KEY).public_key().verify(bytes.fromhex(checkpoint.signature), _statement(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return True


def _statement(checkpoint: AuditCheckpoint) -> bytes:
    return _canonical({"workspace": checkpoint.workspace_id, "at": _moment(checkpoint.at), "count": checkpoint.count, "head": checkpoint.head})


def _hash(entry: AuditEntry) -> str:
    content = {
        "workspace": entry.workspace_id,
        "sequence": entry.sequence,
        "at": _moment(entry.at),
        "actor": [entry.actor_id, entry.actor_label],
        "action": entry.action,
        "target": [entry.target_kind, entry.target_id, entry.target_label],
        "payload": entry.payload,
        "previous": entry.previous_hash,
    }
    return hmac.digest(_chain_key(settings.SIGNING_KEY), _canonical(content), hashlib.sha256).hex()


def _canonical(content: dict) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@cache
def _signing_key(signing_key: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b64decode(signing_key))


@cache
def _chain_key(signing_key: str) -> bytes:
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
            return rfc3339(value)
    return str(value)
