"""Reads of policies and settings."""

from collections.abc import Iterable

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from firewall.engine import types as engine
from firewall.models import Policy, Rule, Settings
from workspaces.models import Workspace


def policies(workspace: Workspace) -> QuerySet[Policy]:
    """The workspace's policies, each with ``rule_count`` and ``attached_key_count``."""
    rules = workspace.rules.filter(policy=OuterRef("pk")).order_by().values("policy").annotate(count=Count("*")).values("count")
    return workspace.policies.select_related("updated_by").annotate(
        # A subquery: joined with the keys, rules would be counted once for each of them.
        rule_count=Coalesce(Subquery(rules, output_field=IntegerField()), 0),
        attached_key_count=Count("api_keys", distinct=True),
    )


def settings_of(workspace: Workspace) -> Settings:
    """The workspace's firewall settings; the defaults, not yet saved, where none were made."""
    return Settings.objects.filter(workspace=workspace).first() or Settings(workspace=workspace)


def compiled(policy: Policy, rules: Iterable[Rule]) -> engine.Policy:
    """The policy as the engine judges by it."""
    return engine.Policy(
        id=policy.pk,
        name=policy.name,
        version=policy.version,
        default_verdict=engine.Verdict(policy.default_verdict),
        shadow_mode=policy.shadow_mode,
        enabled=policy.enabled,
        rules=tuple(
            engine.Rule(
                id=rule.pk,
                priority=rule.priority,
                label=rule.label,
                stage=engine.Surface(rule.stage) if rule.stage else None,
                tool_name_glob=rule.tool_name_glob,
                verdict=engine.Verdict(rule.verdict),
                enabled=rule.enabled,
            )
            for rule in rules
        ),
    )
