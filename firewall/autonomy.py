"""Autonomy levels: applied as one change, undone from what the audit entry noted. Policies' own versions keep what they were."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField
from django.db.models.functions import Cast

from firewall import selectors, services
from firewall.engine.autonomy import LEVELS, Level
from firewall.models import Policy
from workspaces import audit
from workspaces.errors import Conflict, NotFound, ValidationFailed
from workspaces.models import AuditEntry, User, Workspace
from workspaces.selectors import hold

APPLIED, UNDONE = "firewall_autonomy_applied", "firewall_autonomy_undone"


@dataclass(frozen=True, slots=True)
class Applied:
    """``policy_id`` None: the level has no policy. ``unaffected_keys`` have a policy of their own: ``{"id", "name"}``."""

    audit_id: int
    level: str
    policy_id: int | None
    observe_mode: bool
    unaffected_keys: list[dict]
    guardrail_id: int | None = None


def level_of(name: object) -> Level:
    found = LEVELS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValidationFailed(f"One of {', '.join(LEVELS)}.", param="level")
    return found


# --- Applying -------------------------------------------------------------------------------------------------------
@transaction.atomic
def apply_level(workspace: Workspace, *, level: object, actor: User, at: datetime) -> Applied:
    """Make a level the workspace's posture: its policy the default, observe mode on or off. Keys with a policy of their own keep it."""
    chosen = level_of(level)
    hold(workspace.pk)
    former = workspace.policies.filter(is_default=True).first()
    own = workspace.policies.filter(name=chosen.policy_name).first() if chosen.default_verdict else None
    before: dict[str, Any] = {
        "observe_mode": selectors.settings_of(workspace).observe_mode,
        "default": former and _noted(former),
        "policy": own and _noted(own),
    }
    policy = _written(workspace, chosen, own, actor=actor, at=at)
    if policy is None and former:
        services.change_policy(former, changes={"is_default": False}, actor=actor, at=at)
    services.change_settings(workspace, changes={"observe_mode": chosen.observe_mode}, actor=actor, at=at)
    if former:
        former.refresh_from_db()
    after = {"observe_mode": chosen.observe_mode, "default": former and _noted(former), "policy": policy and _noted(policy)}
    payload = {"level": chosen.name, "before": before, "after": after}
    entry = audit.record(workspace=workspace, actor=actor, action=APPLIED, target=workspace, target_label=chosen.name, at=at, payload=payload)
    return Applied(entry.pk, chosen.name, policy.pk if policy else None, chosen.observe_mode, unaffected_keys(workspace, policy))


def unaffected_keys(workspace: Workspace, policy: Policy | None) -> list[dict]:
    """Keys that another enabled policy is bound to: the workspace's default is not theirs."""
    bound = workspace.policies.filter(enabled=True, api_keys__isnull=False)
    if policy:
        bound = bound.exclude(pk=policy.pk)
    rows = bound.order_by("api_keys__id").values_list("api_keys__id", "api_keys__name")
    return [{"id": key_id, "name": name} for key_id, name in rows]


def _written(workspace: Workspace, level: Level, own: Policy | None, *, actor: User, at: datetime) -> Policy | None:
    """The level's policy as the default; the one of an earlier time is made what the level says again."""
    if level.default_verdict is None:
        return None
    rules = [dict(rule) for rule in level.rules]
    fields = {"enabled": True, "is_default": True, "shadow_mode": False, "default_verdict": level.default_verdict}
    if own is None:
        fields["name"] = level.policy_name
        return services.create_policy(workspace, fields=fields, rules=rules, actor=actor, at=at, words=f"Made by the autonomy level {level.name}.")
    services.replace_policy(own, fields=fields, rules=rules, actor=actor, at=at, words=f"Made what the autonomy level {level.name} says.")
    return own


def _noted(policy: Policy) -> dict:
    return {"id": policy.pk, "name": policy.name, "version": policy.version}


# --- What stands ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Standing:
    """``level`` None: the posture is none of the three. ``default`` is the policy in force for keys without one of their own.

    ``undoable`` is the latest application of a level that was not undone.
    """

    level: str | None
    default: Policy | None
    observe_mode: bool
    is_edited: bool
    undoable: AuditEntry | None


def standing(workspace: Workspace) -> Standing:
    """The posture as it is now."""
    default = workspace.policies.filter(is_default=True, enabled=True).first()
    observes = selectors.settings_of(workspace).observe_mode
    undone = workspace.audit_entries.filter(action=UNDONE).values_list(Cast("payload__audit_id", BigIntegerField()))
    applied = workspace.audit_entries.filter(action=APPLIED).exclude(pk__in=undone).first()
    names = {level.policy_name: level.name for level in LEVELS.values() if level.default_verdict}
    level = names.get(default.name) if default else "permissive" if observes else None
    after = applied.payload["after"]["policy"] if applied else None
    is_edited = bool(default and level and after and after["id"] == default.pk and not _is_as_noted(default, after))
    return Standing(level, default, observes, is_edited, applied)


# --- Undoing --------------------------------------------------------------------------------------------------------
@transaction.atomic
def undo_level(workspace: Workspace, *, audit_id: int, force: bool, actor: User, at: datetime) -> str:
    """Restore what was before a level was applied, and delete the policy that the apply made; the level's name.

    Raises ``Conflict`` naming what was changed or bound since; ``force`` restores all the same, and lets go of bound keys.
    """
    hold(workspace.pk)
    entry = workspace.audit_entries.filter(pk=audit_id, action=APPLIED).first()
    if entry is None:
        raise NotFound("No autonomy level was applied under this id.")
    if workspace.audit_entries.filter(action=UNDONE, payload__audit_id=entry.pk).exists():
        raise Conflict("This was undone already.", param="audit_id")
    before, after = entry.payload["before"], entry.payload["after"]
    changed, keys = _changed_since(workspace, before, after)
    if (changed or keys) and not force:
        named = [*changed, *(f"key {key['name']} is bound" for key in keys)]
        raise Conflict(f"Since then: {'; '.join(named)}. With force it is restored all the same.", changed=changed, keys=keys)
    _restore(workspace, before, after, actor=actor, at=at)
    payload = {"audit_id": entry.pk, "level": entry.payload["level"], "forced": force, "unbound_keys": keys}
    audit.record(workspace=workspace, actor=actor, action=UNDONE, target=workspace, target_label=entry.payload["level"], at=at, payload=payload)
    return entry.payload["level"]


def _changed_since(workspace: Workspace, before: dict, after: dict) -> tuple[list[str], list[dict]]:
    """What is not as the apply left it, in words, and the keys bound to the policy that it made."""
    changed = []
    for noted in {each["id"]: each for each in (after["policy"], after["default"]) if each}.values():
        policy = workspace.policies.filter(pk=noted["id"]).first()
        if policy is None:
            changed.append(f"policy {noted['name']} was deleted")
        elif not _is_as_noted(policy, noted):
            changed.append(f"policy {policy.name} was changed")
    default = workspace.policies.filter(is_default=True).first()
    if default and default.pk != (after["policy"] or {}).get("id"):
        changed.append(f"policy {default.name} became the default")
    if selectors.settings_of(workspace).observe_mode != after["observe_mode"]:
        changed.append("observe mode was switched")
    made = workspace.policies.filter(pk=after["policy"]["id"]).first() if after["policy"] and not before["policy"] else None
    return changed, [dict(key) for key in made.api_keys.order_by("id").values("id", "name")] if made else []


def _is_as_noted(policy: Policy, noted: dict) -> bool:
    """Whether a policy is what it was at the noted version: it may have been changed, and put back by another undo."""
    if policy.version == noted["version"]:
        return True
    kept = selectors.versions(policy.workspace, policy.pk).filter(version=noted["version"]).first()
    return kept is not None and kept.snapshot == services.snapshot(policy)


def _restore(workspace: Workspace, before: dict, after: dict, *, actor: User, at: datetime) -> None:
    if after["policy"] and not before["policy"]:
        made = workspace.policies.filter(pk=after["policy"]["id"]).first()
        if made:
            made.api_keys.update(firewall_policy=None)
            services.delete_policy(made, actor=actor, at=at)
    # The default last: its place is taken back from whichever has it.
    for noted in {each["id"]: each for each in (before["policy"], before["default"]) if each}.values():
        _bring_back(workspace, noted, actor=actor, at=at)
    if not before["default"]:
        for policy in workspace.policies.filter(is_default=True):
            services.change_policy(policy, changes={"is_default": False}, actor=actor, at=at)
    services.change_settings(workspace, changes={"observe_mode": before["observe_mode"]}, actor=actor, at=at)


def _bring_back(workspace: Workspace, noted: dict, *, actor: User, at: datetime) -> None:
    """Make a policy what it was at the noted version; one that was deleted since is made anew, under another id."""
    policy = workspace.policies.filter(pk=noted["id"]).first()
    if policy:
        services.restore_version(policy, version=noted["version"], actor=actor, at=at)
        return
    kept = selectors.versions(workspace, noted["id"]).get(version=noted["version"]).snapshot
    fields = {name: kept[name] for name in services.POLICY_FIELDS if name in kept}
    services.create_policy(workspace, fields=fields, rules=kept["rules"], actor=actor, at=at, words="Brought back by an undo.")
