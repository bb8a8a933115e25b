"""Policies made in one step: from a template."""

from datetime import datetime

from firewall import services
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
