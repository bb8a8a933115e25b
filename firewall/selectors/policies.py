"""Reads of policies and settings, and of what policies did."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, TruncDay

from firewall.engine import rule_json
from firewall.engine import types as engine
from firewall.engine.arguments import decoded
from firewall.engine.conditions import paths_in
from firewall.fields import RULE_FIELDS
from firewall.models import Policy, PolicyVersion, Rule, RuleVerdict, Settings
from workspaces.errors import NotFound, ValidationFailed
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: What the engine looks at.
_JUDGED_FIELDS = tuple(name for name in RULE_FIELDS if name != "notes")


#: What a policy does to calls, in the words of its state in the list.
STATES = {
    "enforcing": Q(enabled=True, shadow_mode=False) & (Q(is_default=True) | Q(attached_key_count__gt=0)),
    "shadow": Q(enabled=True, shadow_mode=True),
    "disabled": Q(enabled=False),
    "not in use": Q(enabled=True, shadow_mode=False, is_default=False, attached_key_count=0),
}


def policies(workspace: Workspace) -> QuerySet[Policy]:
    """The workspace's policies, each with ``rule_count`` and ``attached_key_count``."""
    rules = workspace.rules.filter(policy=OuterRef("pk")).order_by().values("policy").annotate(count=Count("*")).values("count")
    return workspace.policies.select_related("updated_by").annotate(
        # A subquery: joined with the keys, rules would be counted once for each of them.
        rule_count=Coalesce(Subquery(rules, output_field=IntegerField()), 0),
        attached_key_count=Count("api_keys", distinct=True),
    )


def find_policies(workspace: Workspace, *, q: str = "", state: str = "") -> QuerySet[Policy]:
    """Those whose name has ``q`` in it, of one of ``STATES``. Raises ``ValidationFailed``."""
    if state and state not in STATES:
        raise ValidationFailed(f"One of {', '.join(STATES)}.", param="state")
    return policies(workspace).filter(STATES.get(state, Q()), name__icontains=q)


def settings_of(workspace: Workspace) -> Settings:
    """The workspace's firewall settings; the defaults, not yet saved, where none were made."""
    return Settings.objects.filter(workspace=workspace).first() or Settings(workspace=workspace)


def strictest_cap(policy: Policy) -> Rule | None:
    """The rule of a policy that lets a run cost the least; None where none caps runs."""
    caps = policy.rules.filter(enabled=True, verdict=RuleVerdict.CAP_COST, cap_cost_cents__isnull=False)
    return caps.order_by("cap_cost_cents", "priority", "pk").first()


def compiled(policy: Policy, rules: Iterable[Rule]) -> engine.Policy:
    """The policy as the engine judges by it."""
    return engine.Policy(
        id=policy.pk,
        name=policy.name,
        version=policy.version,
        default_verdict=engine.Verdict(policy.default_verdict),
        shadow_mode=policy.shadow_mode,
        enabled=policy.enabled,
        block_notice=policy.block_notice,
        refuse_unknown_fields=policy.refuse_unknown_fields,
        max_runs_per_key_per_hour=policy.max_runs_per_key_per_hour,
        rules=tuple(rule_json.rule(rule.pk, {name: getattr(rule, name) for name in _JUDGED_FIELDS}) for rule in rules),
    )


# --- What policies were -----------------------------------------------------------------------------------------------
def versions(workspace: Workspace, policy_id: int) -> QuerySet[PolicyVersion]:
    """All versions of a policy, newest first; of one that was deleted too. Raises ``NotFound`` where there is none."""
    found = workspace.policy_versions.filter(policy_id=policy_id)
    if not found.exists():
        raise NotFound("Not found.")
    return found


def version_of(policy: Policy, version: int, *, param: str = "version_to_restore") -> PolicyVersion:
    """Raises ``NotFound`` for a version that the policy never had."""
    found = policy.workspace.policy_versions.filter(policy_id=policy.pk, version=version).first()
    if found is None:
        raise NotFound(f"This policy has no version {version}.", param=param)
    return found


def compared(versions: QuerySet[PolicyVersion], *, before: int | None, after: int | None) -> tuple[PolicyVersion, PolicyVersion]:
    """Two versions of one policy. Left out, ``after`` is the newest and ``before`` the one that came before ``after``.

    Raises ``NotFound``, naming ``from`` or ``to``. The first version has none before it: it is compared with itself.
    """
    newer = (versions if after is None else versions.filter(version=after)).first()
    if newer is None:
        raise NotFound(f"This policy has no version {after}.", param="to")
    older = versions.filter(version__lt=newer.version).first() or newer if before is None else versions.filter(version=before).first()
    if older is None:
        raise NotFound(f"This policy has no version {before}.", param="from")
    return older, newer


# --- What policies did ----------------------------------------------------------------------------------------------
DAYS_SHOWN = 14
#: Counting stops there: a page says "more than".
MOST_COUNTED = 10_000
#: Newest events that are looked through for tool names.
TOOLS_FROM = 2_000
#: Newest events whose arguments are looked into, and paths that are suggested.
CALLS_FROM = 500
#: As many tools at most are looked up each by its name.
FEW_TOOLS = 10
PATHS_SHOWN = 30
EXAMPLE_CHARS = 60


def denied_per_day(workspace: Workspace, policies: Collection[int], *, at: datetime) -> dict[int, list[int]]:
    """Denials of each of these policies on each of the last 14 days (UTC), today last. Policies that denied nothing are not in it."""
    first = _first_day(DAYS_SHOWN, at)
    denied = workspace.events.filter(verdict="deny", pk__gte=lowest_at(first), policy_id__in=policies)
    found: dict[int, list[int]] = {}
    for policy_id, day, count in denied.values_list("policy_id", TruncDay("occurred_at", tzinfo=UTC)).order_by().annotate(count=Count("*")):
        place = min(max((day - first).days, 0), DAYS_SHOWN - 1)
        found.setdefault(policy_id, [0] * DAYS_SHOWN)[place] += count
    return found


def _first_day(days: int, at: datetime) -> datetime:
    """When the first of the last ``days`` began (UTC), today among them."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)


_BLOCKED = """
    SELECT policy, (
        SELECT count(*) FROM (
            SELECT FROM firewall_event WHERE workspace_id = %s AND policy_id = policy AND id >= %s AND shadow AND verdict = 'audit' LIMIT %s
        ) AS met
    ) FROM unnest(%s::bigint[]) AS policy
"""


def would_have_blocked(workspace: Workspace, policies: Collection[int], *, days: int, at: datetime) -> dict[int, int]:
    """Calls of the last ``days`` (UTC, as the shadow report has them) that only shadow mode let go on, by policy; each counted up to ``MOST_COUNTED``."""
    with connection.cursor() as cursor:
        cursor.execute(_BLOCKED, [workspace.pk, lowest_at(_first_day(days, at)), MOST_COUNTED, list(policies)])
        return dict(cursor.fetchall())


def tools_seen(workspace: Workspace) -> list[str]:
    """Names of tools in the sums of all days kept, and in the newest events, which may not be summed yet; by name."""
    summed = workspace.tool_days.order_by().values_list("tool_name", flat=True).distinct()[:TOOLS_FROM]
    newest = workspace.events.order_by("-pk").values_list("tool_name", "tools")[:TOOLS_FROM]
    return sorted({*summed, *(name for tool, group in newest for name in ([tool] if tool else group))})


def paths_seen(workspace: Workspace, tools: Collection[str]) -> list[tuple[str, str]]:
    """Paths of arguments in the newest calls of these tools, the most frequent first; each with its newest value, cut short."""
    events = workspace.events.order_by("-pk").values_list("tool_name", "args_summary")
    newest = events[:CALLS_FROM]
    if 0 < len(tools) <= FEW_TOOLS:
        # Each by the index of its name: between a tool's calls there may be any number of others.
        first, *others = (events.filter(tool_name=tool)[: CALLS_FROM // FEW_TOOLS] for tool in tools)
        newest = first.union(*others, all=True) if others else first
    counted: Counter[str] = Counter()
    example: dict[str, str] = {}
    for tool, summary in newest:
        if tool in tools and summary:
            # A summary that was cut is no JSON any more.
            found = dict(paths_in(decoded(summary)))
            counted.update(found.keys())
            example = {path: str(value)[:EXAMPLE_CHARS] for path, value in found.items()} | example
    return [(path, example[path]) for path in sorted(counted, key=lambda path: (-counted[path], path))[:PATHS_SHOWN]]
