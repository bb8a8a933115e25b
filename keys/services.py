"""Changes of relay keys: one function a verb, one transaction, one audit entry. Providers have ``provider_services``.

Fields are those of ``ApiKey``, already in their stored form (``keys.engine.limits``).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Model, Q

from firewall.models import Policy
from keys import selectors, tasks
from keys.engine import token
from keys.models import ApiKey
from workspaces import audit, errors, tokens, vault
from workspaces.models import User, Workspace
from workspaces.selectors import hold, hold_row
from workspaces.services import touch_config

#: How often one person may read keys again.
REVEALS, REVEALS_WITHIN = 10, timedelta(hours=1)


@transaction.atomic
def create_key(workspace: Workspace, *, fields: Mapping[str, object], actor: User | None, at: datetime) -> tuple[ApiKey, str]:
    """Make a key; its plaintext is returned this once. ``actor`` None is the installation itself.

    A policy comes as the workspace's own row (``policy_of``).
    """
    hold(workspace.pk)
    _policy_stands(workspace, fields)
    plaintext = tokens.new_token(token.PREFIX, token.LENGTH)
    start, end = token.ends(plaintext)
    token_hash = vault.lookup_hash(plaintext)
    sealed = vault.seal(plaintext, workspace_id=workspace.pk, purpose=_seal(token_hash)) if settings.KEEP_SEALED_KEYS else None
    key = workspace.api_keys.create(token_hash=token_hash, token_sealed=sealed, token_start=start, token_end=end, created_by=actor, created_at=at, **fields)
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="key_create", target=key, at=at, payload={name: _shown(value) for name, value in fields.items()})
    return key, plaintext


@transaction.atomic
def change_key(key: ApiKey, *, changes: Mapping[str, object], actor: User | None, at: datetime) -> None:
    """Change the named fields; in force on the key's next call. What is as it was leaves no entry. ``NotFound`` for a key that is gone."""
    hold_row(key)
    _policy_stands(key.workspace, changes)
    before = {name: getattr(key, name) for name in changes}
    changed = {name: value for name, value in changes.items() if before[name] != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(key, name, value)
    key.save(update_fields=list(changed))
    touch_config(key.workspace)
    payload = {name: {"from": _shown(before[name]), "to": _shown(value)} for name, value in changed.items()}
    audit.record(workspace=key.workspace, actor=actor, action="key_update", target=key, at=at, payload=payload)


@transaction.atomic
def change_keys(keys: Iterable[ApiKey], *, changes: Mapping[str, object], actor: User | None, at: datetime) -> None:
    """The same change of several keys: all or none, an entry each."""
    for key in keys:
        change_key(key, changes=changes, actor=actor, at=at)


def disable_keys(keys: Iterable[ApiKey], *, actor: User | None, at: datetime) -> None:
    """Switch keys off, reversibly: limits, bindings and usage stay."""
    change_keys(keys, changes={"is_disabled": True}, actor=actor, at=at)


@transaction.atomic
def delete_keys(workspace: Workspace, *, keys: Iterable[ApiKey], actor: User | None, at: datetime) -> None:
    """Remove keys for good; their events and usage stay. All or none: ``NotFound`` when one is gone."""
    keys = list(keys)
    for key in keys:
        hold_row(key)
    touch_config(workspace)
    for key in keys:
        audit.record(workspace=workspace, actor=actor, action="key_delete", target=key, at=at, payload={"key": masked(key)})
        key.delete()


@transaction.atomic
def reveal_key(key: ApiKey, *, actor: User, at: datetime) -> str:
    """The plaintext once more. The caller has checked role and freshness; the key's creator is told.

    Raises ``RateLimited`` past ten an hour a person, ``Conflict`` where no copy is kept.
    """
    # Held before counting: two requests at once must not both be the tenth.
    hold_row(key)
    if selectors.reveals_since(actor, at - REVEALS_WITHIN) >= REVEALS:
        raise errors.RateLimited(f"A person may reveal {REVEALS} keys an hour.")
    if not settings.KEEP_SEALED_KEYS or key.token_sealed is None:
        raise errors.Conflict("No copy of this key is kept. Make a new one instead.")
    try:
        plaintext = vault.unseal(bytes(key.token_sealed), workspace_id=key.workspace_id, purpose=_seal(key.token_hash))
    except vault.SealBroken as error:
        raise errors.Conflict("The copy of this key cannot be opened. Make a new one instead.") from error
    audit.record(workspace=key.workspace, actor=actor, action="key_reveal", target=key, at=at, payload={"key": masked(key)})

    def tell() -> None:
        tasks.tell_of_reveal.delay(workspace_id=key.workspace_id, key_id=key.pk, revealed_by=actor.email, at=at.isoformat())

    # Robust: the audit entry stands; a broker that is away must not turn what was done into an error.
    transaction.on_commit(tell, robust=True)
    return plaintext


def turns_the_gateway_switch(fields: Mapping[str, object], key: ApiKey | None) -> bool:
    """Whether this change gives a key the gateway's own routes or takes them away, which a role above the ordinary must do.

    Both ways: taken away, the key is an ordinary one that an ordinary role reveals, until somebody gives them back.
    """
    before = key is not None and key.is_firewall_gateway
    return bool(fields.get("is_firewall_gateway", before)) != before


def policy_of(workspace: Workspace, policy_id: int | None) -> Policy | None:
    """The policy that a key is to be bound to; None for 0 and None. Raises ``NotFound`` for another workspace's."""
    if not policy_id:
        return None
    policy = workspace.policies.filter(pk=policy_id).first()
    if policy is None:
        raise errors.NotFound("Not found.", param="firewall_policy_id")
    return policy


def key_of(workspace: Workspace, key_id: int | None) -> ApiKey | None:
    """The key that another is to take the place of; None for 0 and None. Raises ``NotFound`` for another workspace's."""
    if not key_id:
        return None
    key = workspace.api_keys.filter(pk=key_id).first()
    if key is None:
        raise errors.NotFound("Not found.", param="replaces_id")
    return key


def _policy_stands(workspace: Workspace, fields: Mapping[str, object]) -> None:
    # Under the workspace's lock: a delete at the same moment either came first, or finds the key bound.
    if isinstance(policy := fields.get("firewall_policy"), Policy):
        policy_of(workspace, policy.pk)


@transaction.atomic
def note_last_use(workspace: Workspace, *, at: datetime) -> None:
    """Copy each key's last use out of its recent usage, whose rows go with time. Repeats change nothing."""
    # In one order, as a task may run twice at once.
    for key_id, used_at in sorted(selectors.last_uses(workspace, since=at - timedelta(days=2)).items()):
        workspace.api_keys.filter(pk=key_id).filter(Q(accessed_at=None) | Q(accessed_at__lt=used_at)).update(accessed_at=used_at)


def masked(key: ApiKey) -> str:
    return token.mask(key.token_start, key.token_end)


def _seal(token_hash: str) -> str:
    """What a sealed key is bound to: copied to another row, it does not open."""
    return f"keys.token:{token_hash}"


def _shown(value: object) -> object:
    return value.pk if isinstance(value, Model) else value
