"""What a backtest reads: recorded events of whole runs in their order, and the ledger of what the runs had spent."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from firewall.engine import types as engine
from firewall.engine.backtest import Ledger, Request
from firewall.engine.replay import Event
from firewall.engine.tally import RunName
from firewall.models import AFTER_A_HOLD, Backtest, BacktestPart, Policy, Rule
from firewall.selectors.policies import compiled
from workspaces import tenancy
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: What a run spent before the window counts as well, as long as it is not older than that.
LEDGER_REACH = timedelta(days=1)
ROWS_AT_ONCE = 100

_COLUMNS = (
    *("id", "source", "surface", "verdict", "tool_name", "tools", "skill_name", "reason_code", "request_id", "agent_run_id", "key_id"),
    *("token_name", "args_summary", "args_hash", "approval_id", "shadow", "policy_id", "policy_version", "judged_on"),
)
_IN_WINDOW = f"""
    workspace_id = %(workspace)s AND id >= %(low)s AND id < %(high)s
    AND (%(only)s::bigint[] IS NULL OR key_id = ANY (%(only)s)) AND NOT coalesce(key_id = ANY (%(but)s), false)
    AND coalesce(reason_code, '') NOT IN {tuple(map(str, AFTER_A_HOLD))}
"""
#: Under another name than the column's, by which rows are put in order: as text it would not be the index's order.
_SELECT = f"SELECT id::text AS said, {', '.join(_COLUMNS[1:])} FROM firewall_event WHERE {_IN_WINDOW}"  # noqa: S608 - our own names
#: Runs in the order of the index, cut into stretches of about as many events.
_STRETCHES = f"""
    SELECT min(run), max(run), sum(events)::bigint FROM (
        SELECT run, events, (sum(events) OVER (ORDER BY run) - 1) / %(size)s AS stretch FROM (
            SELECT agent_run_id AS run, count(*) AS events FROM firewall_event WHERE {_IN_WINDOW} AND agent_run_id IS NOT NULL GROUP BY agent_run_id
        ) AS counted
    ) AS placed GROUP BY stretch::bigint ORDER BY stretch::bigint
"""  # noqa: S608
_WITHOUT_RUN = f"SELECT count(*) FROM firewall_event WHERE {_IN_WINDOW} AND agent_run_id IS NULL"  # noqa: S608
_BEGINNINGS = f"""
    SELECT key_id, agent_run_id, min(occurred_at) AS began FROM firewall_event
     WHERE {_IN_WINDOW} AND agent_run_id IS NOT NULL AND key_id IS NOT NULL GROUP BY key_id, agent_run_id ORDER BY began
"""  # noqa: S608


def backtests(workspace: Workspace) -> QuerySet[Backtest]:
    """Newest first, each with ``replayed``: how many of its events are judged."""
    return workspace.backtests.select_related("created_by").annotate(replayed=Coalesce(Sum("parts__replayed"), 0))


def policy_of(backtest: Backtest) -> engine.Policy:
    """The policy that a backtest judges by."""
    fields = dict(backtest.snapshot)
    rules = [Rule(**{"pk": rule["id"], **{name: value for name, value in rule.items() if name != "id"}}) for rule in fields.pop("rules")]
    return compiled(Policy(pk=backtest.policy_id or 0, version=backtest.policy_version or 0, **fields), rules)


# --- The events -----------------------------------------------------------------------------------------------------
def stretches(backtest: Backtest) -> list[tuple[str | None, str | None, int]]:
    """First run, last run and number of events of each part; (None, None, n) for the events that belong to no run."""
    with connection.cursor() as cursor:
        cursor.execute(_STRETCHES, _window(backtest) | {"size": settings.BACKTEST_PART_EVENTS})
        found = cursor.fetchall()
        cursor.execute(_WITHOUT_RUN, _window(backtest))
        without = cursor.fetchone()[0]
    return found + ([(None, None, without)] if without else [])


def beginnings(backtest: Backtest) -> list[tuple[int, str, datetime]]:
    """When each run began, oldest first, from an hour before the window: key, run, time."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNINGS, _window(backtest) | {"low": lowest_at(backtest.start - timedelta(hours=1))})
        return cursor.fetchall()


def events_of(backtest: Backtest, part: BacktestPart) -> Iterator[tuple[int, Iterator[Event]]]:
    """A part's events by run and then by id, a page at a time: how many, and one after the other.

    Each page is read in a transaction of its own: what is recorded does not change.
    """
    order = ["id"] if part.first_run is None else ["agent_run_id", "id"]
    among = "agent_run_id IS NULL" if part.first_run is None else "agent_run_id >= %(first)s AND agent_run_id <= %(last)s"
    arguments = _window(backtest) | {"first": part.first_run, "last": part.last_run, "limit": settings.BACKTEST_PAGE_EVENTS}
    beyond = ""
    while True:
        with tenancy.scope(backtest.workspace_id):
            cursor = connection.cursor()
            cursor.execute(f"{_SELECT} AND {among} {beyond} ORDER BY {', '.join(order)} LIMIT %(limit)s", arguments)
        with cursor:
            count = cursor.rowcount
            last: list = []

            def page(cursor: CursorWrapper = cursor, last: list = last) -> Iterator[Event]:
                # The driver holds the page; as rows of ours they are few at a time, so that the garbage collector never sees them.
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    last[:] = rows[-1]
                    yield from map(event_of, rows)

            if count:
                yield count, page()
        if count < settings.BACKTEST_PAGE_EVENTS:
            return
        arguments |= {"at_id": last[0], "at_run": last[9]}
        beyond = f"AND ({', '.join(order)}) > ({'%(at_run)s, ' if len(order) > 1 else ''}%(at_id)s)"


def event_of(row: tuple) -> Event:
    """A row of ``_COLUMNS`` as the engine takes it."""
    event_id, *rest, kept = row
    return Event._make((event_id, int(event_id[:8] + event_id[9:13], 16), *rest, orjson.loads(kept) if isinstance(kept, str) else kept))


def newest_events(workspace: Workspace, *, start: datetime, end: datetime, but_key_ids: list[int], at_most: int) -> tuple[list[Event], bool]:
    """The newest events of a window, by run and then in their order; and whether there are more."""
    window: dict[str, Any] = {
        "workspace": workspace.pk,
        "low": lowest_at(start),
        "high": lowest_at(end),
        "only": None,
        "but": but_key_ids,
        "limit": at_most + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(f"{_SELECT} ORDER BY id DESC LIMIT %(limit)s", window)
        found = [event_of(row) for row in cursor.fetchall()]
    return sorted(found[:at_most], key=lambda event: (event.run_id or "", event.id)), len(found) > at_most


def _window(backtest: Backtest) -> dict[str, Any]:
    low, high = lowest_at(backtest.start), lowest_at(backtest.end)
    return {"workspace": backtest.workspace_id, "low": low, "high": high, "only": backtest.key_ids, "but": backtest.but_key_ids}


# --- The ledger -----------------------------------------------------------------------------------------------------
def ledger_of(backtest: Backtest, part: BacktestPart) -> Callable[[RunName], Ledger]:
    """What the part's runs had asked for and spent; of a run without usage nothing."""
    requests: defaultdict[RunName, list[Request]] = defaultdict(list)
    low, high = lowest_at(backtest.start - LEDGER_REACH), lowest_at(backtest.end + LEDGER_REACH)
    if part.first_run is not None:
        rows = backtest.workspace.usage.filter(pk__gte=low, pk__lt=high, agent_run_id__gte=part.first_run, agent_run_id__lte=part.last_run)
        columns = ("key_id", "agent_run_id", "request_id", "occurred_at", "pk", "cost_micro_usd", "usage_source", "outcome")
        for key_id, run_id, request_id, started_at, pk, cost, source, outcome in rows.order_by("occurred_at").values_list(*columns):
            known = 0 if cost is None and source == "none" else cost
            requests[key_id, run_id].append(Request(request_id, int(started_at.timestamp() * 1000), pk.int >> 80, known, outcome == "blocked"))
    begun = {(key_id, run_id): number for key_id, run_id, number in backtest.over_limit}
    return lambda name: Ledger(requests.get(name, ()), begun.get(name, 0))
