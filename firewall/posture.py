"""Policies made in one step, from a template, and rules put into one, from a preset."""

from datetime import datetime

from firewall import services
from firewall.engine.presets import Fields, Preset
from firewall.engine.templates import TEMPLATES
from firewall.models import Policy
from workspaces.errors import ValidationFailed
from workspaces.models import User, Workspace


def apply_template(workspace: Workspace, *, template: object, name: object = None, actor: User, at: datetime) -> Policy:
    """Make a policy of a template's id, bound to no key and not the default. ``name`` None: the template's own.

    Raises ``Conflict`` when a policy has that name already.
    """
    chosen = TEMPLATES.get(template) if isinstance(template, str) else None
    if chosen is None:
        raise ValidationFailed(f"One of {', '.join(TEMPLATES)}.", param="template")
    fields = {
        "name": chosen.name if name is None else name,
        "default_verdict": chosen.default_verdict,
        "max_runs_per_key_per_hour": chosen.max_runs_per_key_per_hour,
    }
    rules = [dict(rule) for rule in chosen.rules]
    return services.create_policy(workspace, fields=fields, rules=rules, actor=actor, at=at, words=f"Made from the template {chosen.name}.")


def missing_rules(policy: Policy, preset: Preset) -> list[Fields]:
    """Rules of a preset that the policy does not have, enabled, in these very words of the language; its names and notes may be others."""
    names = [name for name in services.RULE_FIELDS if name not in ("priority", "label", "notes")]
    present = [{name: getattr(rule, name) for name in names} for rule in policy.rules.all()]
    return [rule for rule in preset.rules if {name: value for name, value in services.whole_rule(rule).items() if name in names} not in present]


def insert_preset(policy: Policy, preset: Preset, *, expected_version: int | None = None, actor: User, at: datetime) -> int:
    """Put what the policy does not have of a preset before its other rules. Returns how many rules that were; none changes nothing."""
    rules = missing_rules(policy, preset)
    if rules:
        services.insert_rules(policy, rules, expected_version=expected_version, actor=actor, at=at, words=f"Inserted the preset {preset.name}.")
    return len(rules)
