"""Every tool that the workspace has seen, and whether a rule speaks of it now."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from django.db import connection
from django.db.models import Q

from firewall.engine import types as engine
from firewall.engine.decide import resolve
from firewall.engine.glob import Form
from firewall.engine.types import ReasonCode, Surface, Verdict
from firewall.models import AFTER_A_HOLD, ToolTally
from firewall.selectors.policies import compiled
from workspaces.errors import ValidationFailed
from workspaces.ids import lowest_at
from workspaces.models import Workspace
from workspaces.paging import Page, read_cursor, write_cursor

#: A tool that nobody met for this long is left out.
WINDOW = timedelta(days=30)
STATUSES = ("covered", "gap")
#: Lines of the sums that are read, the last seen first: a tool has one for each key and surface.
MOST_LINES = 20_000
#: Events that are not in the sums yet: a minute of them, or all since the worker stopped.
MOST_UNSUMMED = 20_000
#: A rule is looked for where the call would do something, and where it is only offered if it was met nowhere else.
_ACTING = (Surface.RESPONSE, Surface.MCP, Surface.EGRESS)

#: What became of a held call is no call: it was counted when it was held, and again when it went on.
IS_CALL = f"coalesce(reason_code, '') NOT IN {tuple(map(str, AFTER_A_HOLD))}"
#: Of a tool that is; of a rule, a sequence found afterwards counts too. The call that completed it has an event of its own.
IS_CALL_OF_TOOL = f"{IS_CALL} AND NOT (verdict = '{Verdict.AUDIT}' AND coalesce(reason_code, '') = '{ReasonCode.SEQUENCE}' AND NOT shadow)"

_SEEN = f"""
    WITH unsummed AS (
        SELECT tool_name, tools, surface, key_id, occurred_at FROM firewall_event
         WHERE workspace_id = %(workspace)s AND id >= %(through)s AND {IS_CALL_OF_TOOL} ORDER BY id DESC LIMIT %(unsummed)s
    ), lines AS (
        SELECT tool_name, surface, key_id, calls, first_seen_at, last_seen_at, day >= %(since)s::date AS is_recent
          FROM firewall_toolday WHERE workspace_id = %(workspace)s
        UNION ALL
        SELECT tool, surface, coalesce(key_id, 0), 1, occurred_at, occurred_at, true
          FROM unsummed CROSS JOIN LATERAL unnest(CASE WHEN tool_name IS NULL THEN tools ELSE ARRAY[tool_name] END) AS tool
         WHERE length(tool) BETWEEN 1 AND 128
    )
    SELECT tool_name, surface, key_id, (sum(calls) FILTER (WHERE is_recent))::bigint, min(first_seen_at), max(last_seen_at)
      FROM lines GROUP BY tool_name, surface, key_id HAVING bool_or(is_recent) ORDER BY max(last_seen_at) DESC LIMIT %(lines)s
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class ToolKey:
    """A key that met the tool, and the policy and rule that speak for it. ``key_id`` None: events without a key; ``name`` None: the key is gone."""

    key_id: int | None
    name: str | None
    policy_id: int | None
    rule_id: int | None


@dataclass(frozen=True, slots=True)
class DiscoveredTool:
    """A tool of the last 30 days. ``gap``: for one of its keys, on one surface at least where it was called, no rule speaks of it: the default
    decides, or nothing.

    ``policy_id`` and ``rule_id`` are those of the first key of ``keys``, which has the gap if there is one. ``calls`` are those that were
    judged where they act, ``offers`` those in which a request only offered the tool.
    """

    tool_name: str
    status: str
    rule_id: int | None
    policy_id: int | None
    surfaces: tuple[str, ...]
    calls: int
    offers: int
    first_seen_at: datetime
    last_seen_at: datetime
    keys: tuple[ToolKey, ...]


def held_tally(workspace: Workspace, *, default: UUID) -> ToolTally:
    """How far events are summed, locked so that none is summed twice; from ``default`` on where none ever was."""
    ToolTally.objects.get_or_create(workspace=workspace, defaults={"through": default})
    return ToolTally.objects.select_for_update().get(workspace=workspace)


def discovered_tools(workspace: Workspace, *, at: datetime) -> list[DiscoveredTool]:
    """Every tool met in the last 30 days, by name."""
    since = at - WINDOW
    through = ToolTally.objects.filter(workspace=workspace).values_list("through", flat=True).first()
    arguments: dict[str, Any] = {"workspace": workspace.pk, "since": since, "through": max(through or lowest_at(since), lowest_at(since))}
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, arguments | {"unsummed": MOST_UNSUMMED, "lines": MOST_LINES})
        rows = cursor.fetchall()
    seen: defaultdict[str, list[tuple]] = defaultdict(list)
    for name, *rest in rows:
        seen[name].append(tuple(rest))
    coverage = _Coverage(workspace)
    return [_tool(name, seen[name], coverage) for name in sorted(seen)]


def wanted_tools(tools: Sequence[DiscoveredTool], params: Mapping[str, str]) -> list[DiscoveredTool]:
    """Those of a ``status``, met on a ``surface``, with ``q`` in their name; a parameter that is empty says nothing. Raises ``ValidationFailed``."""
    for name, known in (("status", STATUSES), ("surface", tuple(Surface))):
        if params.get(name) and params[name] not in known:
            raise ValidationFailed(f"One of {', '.join(known)}.", param=name)
    status, surface, q = params.get("status"), params.get("surface"), params.get("q", "").strip().casefold()
    found = (tool for tool in tools if (not status or tool.status == status) and (not surface or surface in tool.surfaces))
    return [tool for tool in found if q in tool.tool_name.casefold()]


def page_of_tools(tools: Sequence[DiscoveredTool], cursor: str | None, *, size: int) -> Page:
    """The page of ``tools``, which are by name, that a cursor names. Raises ``ValidationFailed`` for a foreign cursor."""
    names = [tool.tool_name for tool in tools]
    place, backwards = read_cursor(cursor, partial(unquote, errors="strict"))
    start, end = 0, len(tools)
    if place is not None and backwards:
        end = bisect_left(names, place)
        start = max(end - size, 0)
    elif place is not None:
        start = bisect_right(names, place)
    end = min(start + size, end)
    return Page(
        list(tools[start:end]),
        newer=write_cursor(quote(names[start]), backwards=True) if 0 < start < len(names) else "",
        older=write_cursor(quote(names[end - 1])) if 0 < end < len(names) else "",
    )


class _Coverage:
    """Which rule of which policy speaks of a tool, for each key."""

    def __init__(self, workspace: Workspace) -> None:
        keys = list(workspace.api_keys.values_list("pk", "name", "firewall_policy_id"))
        in_use = workspace.policies.filter(Q(pk__in={own for *_, own in keys if own}) | Q(is_default=True)).prefetch_related("rules")
        policies, default = {}, None
        for each in in_use:
            policies[each.pk] = made = compiled(each, each.rules.all())
            default = made if each.is_default else default
        self._default = resolve(default, None)
        self._names: dict[int, str] = {}
        self._in_force: dict[int, engine.Policy | None] = {}
        for pk, name, own in keys:
            self._names[pk] = name
            self._in_force[pk] = resolve(policies.get(own), default)

    def of(self, tool: str, key_id: int, surfaces: set[str]) -> ToolKey:
        policy = self._in_force.get(key_id, self._default)
        met = [surface for surface in _ACTING if surface in surfaces] or [Surface.INBOUND]
        # What decides about any call of the tool, before what decides about some.
        found = [min(_speaking(policy, tool, surface), key=_is_conditional, default=None) for surface in met] if policy else []
        speaking = [rule for rule in found if rule]
        rule = min(speaking, key=_is_conditional) if len(speaking) == len(met) else None
        return ToolKey(key_id or None, self._names.get(key_id), policy.id if policy else None, rule.id if rule else None)


def _speaking(policy: engine.Policy, tool: str, surface: Surface) -> Iterator[engine.Rule]:
    """Rules that decide about calls of this name.

    A cap decides about money only, a sequence about a run, and what is said of all tools under a condition is about arguments, places or skills.
    """
    for line in policy.rules_for(tool, surface):
        is_about_all = _is_conditional(line.rule) and line.glob.form is Form.EVERY
        if line.rule.verdict is not Verdict.CAP_COST and line.rule.sequence is None and not is_about_all:
            yield line.rule


def _is_conditional(rule: engine.Rule) -> bool:
    return bool(rule.args_match or rule.egress or rule.skill_name_glob)


def _tool(name: str, lines: list[tuple], coverage: _Coverage) -> DiscoveredTool:
    surfaces: defaultdict[int, set[str]] = defaultdict(set)
    calls: defaultdict[int, int] = defaultdict(int)
    for surface, key_id, count, _, _ in lines:
        surfaces[key_id].add(surface)
        calls[key_id] += count
    keys = [coverage.of(name, key_id, surfaces[key_id]) for key_id in sorted(surfaces, key=lambda key_id: (-calls[key_id], key_id))]
    keys.sort(key=lambda key: key.rule_id is not None)
    met = {surface for surface, *_ in lines}
    return DiscoveredTool(
        tool_name=name,
        status="gap" if keys[0].rule_id is None else "covered",
        rule_id=keys[0].rule_id,
        policy_id=keys[0].policy_id,
        surfaces=tuple(surface for surface in Surface if surface in met),
        calls=sum(count for surface, _, count, _, _ in lines if surface != Surface.INBOUND),
        offers=sum(count for surface, _, count, _, _ in lines if surface == Surface.INBOUND),
        first_seen_at=min(first for *_, first, _ in lines),
        last_seen_at=max(last for *_, last in lines),
        keys=tuple(keys),
    )
