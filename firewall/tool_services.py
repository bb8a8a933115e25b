"""The sums behind the discovered tools and the counts of rules."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from django.db import connection

from firewall.selectors.tools import IS_CALL, IS_CALL_OF_TOOL, held_tally
from workspaces import tenancy
from workspaces.ids import lowest_at, moment_of
from workspaces.models import Workspace

#: Events of this long ago are all visible: ids are made when a call is judged, its row appears with its batch.
SETTLED_AFTER = timedelta(seconds=60)
#: Summed in one transaction.
STRETCH = timedelta(hours=6)
#: Longer names are no tool's: the sums are bounded, the events have them.
MAX_NAME_CHARS = 128

_SUM = f"""
    INSERT INTO firewall_toolday AS known (workspace_id, day, tool_name, surface, key_id, calls, first_seen_at, last_seen_at)
    SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, tool, surface, coalesce(key_id, 0) AS of_key,
           count(*), min(occurred_at), max(occurred_at)
      FROM firewall_event CROSS JOIN LATERAL unnest(CASE WHEN tool_name IS NULL THEN tools ELSE ARRAY[tool_name] END) AS tool
     WHERE workspace_id = %s AND id >= %s AND id < %s AND {IS_CALL_OF_TOOL} AND length(tool) BETWEEN 1 AND {MAX_NAME_CHARS}
     GROUP BY workspace_id, day, tool, surface, of_key
        ON CONFLICT (workspace_id, day, tool_name, surface, key_id) DO UPDATE
       SET calls = known.calls + excluded.calls,
           first_seen_at = least(known.first_seen_at, excluded.first_seen_at),
           last_seen_at = greatest(known.last_seen_at, excluded.last_seen_at)
"""  # noqa: S608 - our own number
#: An event of several offered tools is a call of each.
_SUM_RULES = f"""
    INSERT INTO firewall_ruleday AS known (workspace_id, day, policy_id, rule_id, calls, last_at)
    SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, policy_id, coalesce(rule_id, 0) AS of_rule,
           sum(CASE WHEN tool_name IS NULL THEN greatest(cardinality(tools), 1) ELSE 1 END), max(occurred_at)
      FROM firewall_event
     WHERE workspace_id = %s AND id >= %s AND id < %s AND {IS_CALL} AND policy_id IS NOT NULL
     GROUP BY workspace_id, day, policy_id, of_rule
        ON CONFLICT (workspace_id, policy_id, rule_id, day) DO UPDATE
       SET calls = known.calls + excluded.calls, last_at = greatest(known.last_at, excluded.last_at)
"""  # noqa: S608 - our own words


def sum_tools(workspace: Workspace, *, at: datetime) -> None:
    """Add the events since the last time to the sums. Each stretch is a transaction of its own: a long arrear is worked off bit by bit."""
    while _sum_stretch(workspace, at - SETTLED_AFTER):
        pass


def _sum_stretch(workspace: Workspace, settled_at: datetime) -> bool:
    """Sum one stretch; whether another is left."""
    with tenancy.scope(workspace.pk):
        settled = lowest_at(settled_at)
        oldest = workspace.events.order_by("pk").values_list("pk", flat=True).first()
        tally = held_tally(workspace, default=min(oldest or settled, settled))
        end = min(settled, lowest_at(moment_of(tally.through) + STRETCH))
        if end <= tally.through:
            return False
        _add_events(workspace, tally.through, end)
        tally.through = end
        tally.save(update_fields=["through"])
        return end < settled


def sum_again(workspace: Workspace, *, day: date) -> None:
    """Sum a whole day (UTC) anew, with events that were written long after they were decided. A day that is not summed yet is left alone."""
    start = datetime.combine(day, time(), UTC)
    low, high = lowest_at(start), lowest_at(start + timedelta(days=1))
    with tenancy.scope(workspace.pk):
        if held_tally(workspace, default=low).through >= high:
            workspace.tool_days.filter(day=day).delete()
            workspace.rule_days.filter(day=day).delete()
            _add_events(workspace, low, high)


def forget_tools(workspace: Workspace, *, before: date) -> None:
    """Let go of sums whose events are past retention."""
    with tenancy.scope(workspace.pk):
        workspace.tool_days.filter(day__lt=before).delete()
        workspace.rule_days.filter(day__lt=before).delete()


def _add_events(workspace: Workspace, low: UUID, high: UUID) -> None:
    with connection.cursor() as cursor:
        for statement in (_SUM, _SUM_RULES):
            cursor.execute(statement, [workspace.pk, low, high])
