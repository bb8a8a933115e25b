"""How often each rule of a policy decided."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from firewall.models import Policy, ToolTally
from firewall.selectors.tools import IS_CALL, MOST_UNSUMMED, WINDOW
from workspaces.ids import lowest_at

DAYS = 7
#: Under this id stands what no rule decided.
DEFAULT = 0

_MATCHES = f"""
    WITH unsummed AS (
        SELECT policy_id, coalesce(rule_id, 0) AS rule_id, tool_name, tools, occurred_at FROM firewall_event
         WHERE workspace_id = %(workspace)s AND id >= %(through)s AND {IS_CALL} ORDER BY id DESC LIMIT %(unsummed)s
    ), lines AS (
        SELECT rule_id, calls, last_at, day >= %(since)s::date AS is_recent
          FROM firewall_ruleday WHERE workspace_id = %(workspace)s AND policy_id = %(policy)s
        UNION ALL
        SELECT rule_id, CASE WHEN tool_name IS NULL THEN greatest(cardinality(tools), 1) ELSE 1 END, occurred_at,
               (occurred_at AT TIME ZONE 'UTC')::date >= %(since)s::date
          FROM unsummed WHERE policy_id = %(policy)s
    )
    SELECT rule_id, coalesce(sum(calls) FILTER (WHERE is_recent), 0)::bigint, max(last_at) FROM lines GROUP BY rule_id
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Matches:
    """Calls that were decided in the last seven days (UTC, today one of them), and when the last ever was, as far as events are kept."""

    calls: int
    last_at: datetime


def matches(policy: Policy, *, at: datetime) -> dict[int, Matches]:
    """By rule. One that is not in it never decided a call."""
    since = at.astimezone(UTC).date() - timedelta(days=DAYS - 1)
    through = ToolTally.objects.filter(workspace=policy.workspace_id).values_list("through", flat=True).first()
    arguments: dict[str, Any] = {
        "workspace": policy.workspace_id,
        "policy": policy.pk,
        "since": since,
        "through": through or lowest_at(at - WINDOW),
        "unsummed": MOST_UNSUMMED,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MATCHES, arguments)
        return {rule_id: Matches(calls, last_at) for rule_id, calls, last_at in cursor.fetchall()}
