"""What a backtest reads: recorded events of whole runs in their order, and the ledger of what the runs had spent."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
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
_OF_RUN = f"SELECT agent_run_id AS run, key_id, 1 AS events, occurred_at FROM firewall_event WHERE {_IN_WINDOW} AND agent_run_id IS NOT NULL"  # noqa: S608
#: Runs that called no tool leave nothing else. A request is recorded when it ends.
_ASKED = """
    SELECT agent_run_id, key_id, 0, occurred_at FROM keys_usage
     WHERE workspace_id = %(workspace)s AND id >= %(low)s AND id < %(later)s AND occurred_at >= %(start)s AND occurred_at < %(end)s
       AND (%(only)s::bigint[] IS NULL OR key_id = ANY (%(only)s)) AND NOT coalesce(key_id = ANY (%(but)s), false) AND agent_run_id IS NOT NULL
"""
#: Runs in the order of the index, cut into stretches of about as many events, and requests where these are judged for themselves.
_STRETCHES = """
    SELECT min(run), max(run), sum(events)::bigint FROM (
        SELECT run, events, (sum(size) OVER (ORDER BY run) - 1) / %(size)s AS stretch FROM (
            SELECT run, sum(events) AS events, count(*) AS size FROM ({runs}) AS of_run GROUP BY run
        ) AS counted
    ) AS placed GROUP BY stretch::bigint ORDER BY stretch::bigint
"""
_WITHOUT_RUN = f"SELECT count(*) FROM firewall_event WHERE {_IN_WINDOW} AND agent_run_id IS NULL"  # noqa: S608
_BEGINNINGS = """
    SELECT key_id, run, min(occurred_at) AS began FROM ({runs}) AS of_run WHERE key_id IS NOT NULL GROUP BY key_id, run ORDER BY began
"""


def backtests(workspace: Workspace) -> QuerySet[Backtest]:
    """Newest first, each with ``replayed``: how many of its events are judged."""
    return workspace.backtests.select_related("created_by").annotate(replayed=Coalesce(Sum("parts__replayed"), 0))


def policy_of(backtest: Backtest) -> engine.Policy:
    """The policy that a backtest judges by."""
    fields = dict(backtest.snapshot)
    rules = [Rule(**{"pk": rule["id"], **{name: value for name, value in rule.items() if name != "id"}}) for rule in fields.pop("rules")]
    return compiled(Policy(pk=backtest.policy_id or 0, version=backtest.policy_version or 0, **fields), rules)


def governed(workspace: Workspace, saved: Policy | None) -> tuple[list[int] | None, list[int]]:
    """The keys that a policy governs now (None: all), and those that it does not."""
    if saved is None or not saved.enabled:
        return [], []
    if saved.is_default:
        others = workspace.policies.filter(enabled=True, api_keys__isnull=False).exclude(pk=saved.pk)
        return None, sorted(others.values_list("api_keys__id", flat=True))
    return sorted(saved.api_keys.values_list("id", flat=True)), []


# --- The events -----------------------------------------------------------------------------------------------------
def stretches(backtest: Backtest, *, judges_requests: bool) -> list[tuple[str | None, str | None, int]]:
    """First run, last run and number of events of each part; (None, None, n) for the events that belong to no run.

    ``judges_requests``: with the runs that left no event.
    """
    with connection.cursor() as cursor:
        runs = f"{_OF_RUN} UNION ALL {_ASKED}" if judges_requests else _OF_RUN
        cursor.execute(_STRETCHES.format(runs=runs), _window(backtest) | {"size": settings.BACKTEST_PART_EVENTS})
        found = cursor.fetchall()
        cursor.execute(_WITHOUT_RUN, _window(backtest))
        without = cursor.fetchone()[0]
    return found + ([(None, None, without)] if without else [])


def beginnings(backtest: Backtest) -> list[tuple[int, str, datetime]]:
    """When each run began, oldest first, from an hour before the window: key, run, time."""
    start = backtest.start - timedelta(hours=1)
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNINGS.format(runs=f"{_OF_RUN} UNION ALL {_ASKED}"), _window(backtest) | {"low": lowest_at(start), "start": start})
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
    return Event._make((event_id, _ms_of(event_id), *rest, orjson.loads(kept) if isinstance(kept, str) else kept))


def _ms_of(row_id: str) -> int:
    return int(row_id[:8] + row_id[9:13], 16)


def newest_events(
    workspace: Workspace, *, start: datetime, end: datetime, key_ids: list[int] | None = None, but_key_ids: list[int], at_most: int
) -> tuple[list[Event], bool]:
    """The newest events of a window, by run and then in their order; and whether there are more. ``key_ids`` None: of all keys."""
    window: dict[str, Any] = {
        "workspace": workspace.pk,
        "low": lowest_at(start),
        "high": lowest_at(end),
        "only": key_ids,
        "but": but_key_ids,
        "limit": at_most + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(f"{_SELECT} ORDER BY id DESC LIMIT %(limit)s", window)
        found = [event_of(row) for row in cursor.fetchall()]
    return sorted(found[:at_most], key=lambda event: (event.run_id or "", event.id)), len(found) > at_most


def _window(backtest: Backtest) -> dict[str, Any]:
    low, high, later = (lowest_at(at) for at in (backtest.start, backtest.end, backtest.end + LEDGER_REACH))
    of_keys = {"only": backtest.key_ids, "but": backtest.but_key_ids}
    return {"workspace": backtest.workspace_id, "low": low, "high": high, "later": later, "start": backtest.start, "end": backtest.end} | of_keys


# --- The ledger -----------------------------------------------------------------------------------------------------
#: ``runs`` says which.
_REQUESTS = """
    SELECT key_id, agent_run_id, token_name, request_id, (extract(epoch FROM occurred_at) * 1000)::bigint, id::text,
           CASE WHEN cost_micro_usd IS NULL AND usage_source = 'none' THEN 0 ELSE cost_micro_usd END,
           outcome = 'blocked', occurred_at >= %(start)s AND occurred_at < %(end)s
      FROM keys_usage
     WHERE workspace_id = %(workspace)s AND id >= %(low)s AND id < %(later)s AND {runs}
       AND (%(only)s::bigint[] IS NULL OR key_id = ANY (%(only)s)) AND NOT coalesce(key_id = ANY (%(but)s), false)
     ORDER BY occurred_at, id
"""


def ledgers_of(backtest: Backtest, part: BacktestPart, in_force: Callable[[int], tuple[int, int]]) -> dict[RunName, Ledger]:
    """What the part's runs had asked for and spent. ``in_force(key_id)`` is when the judged policy governed a key, see ``Ledger``."""
    requests: defaultdict[RunName, list[Request]] = defaultdict(list)
    names: dict[RunName, str] = {}
    if part.first_run is not None:
        arguments = _window(backtest) | {"low": lowest_at(backtest.start - LEDGER_REACH), "first": part.first_run, "last": part.last_run}
        for name, token_name, request in _requests("agent_run_id >= %(first)s AND agent_run_id <= %(last)s", arguments):
            requests[name].append(request)
            names[name] = token_name
    begun = {(key_id, run_id): number for key_id, run_id, number in backtest.over_limit}
    # A run over the limit may have left events only.
    return {run: Ledger(requests.get(run, ()), begun.get(run, 0), names.get(run), in_force(run[0])) for run in (*requests, *(begun.keys() - requests.keys()))}


def ledgers_of_runs(workspace: Workspace, runs: Collection[str], *, start: datetime, end: datetime) -> dict[RunName, Ledger]:
    """What a few runs had asked for and spent in a window, and in the day before it."""
    requests: defaultdict[RunName, list[Request]] = defaultdict(list)
    arguments: dict[str, Any] = {"workspace": workspace.pk, "low": lowest_at(start - LEDGER_REACH), "later": lowest_at(end), "start": start, "end": end}
    for name, _, request in _requests("agent_run_id = ANY (%(runs)s)", arguments | {"only": None, "but": [], "runs": list(runs)}):
        requests[name].append(request)
    return {name: Ledger(found) for name, found in requests.items()}


def _requests(runs: str, arguments: dict[str, Any]) -> Iterator[tuple[RunName, str, Request]]:
    with connection.cursor() as cursor:
        cursor.execute(_REQUESTS.format(runs=runs), arguments)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for key_id, run_id, token_name, request_id, started_ms, row_id, cost, is_blocked, is_within in rows:
                yield (key_id, run_id), token_name, Request(request_id, started_ms, _ms_of(row_id), cost, is_blocked, is_within)


def in_force(backtest: Backtest, governed: tuple[list[int] | None, list[int]]) -> Callable[[int], tuple[int, int]]:
    """When the version that is judged governed a key, in ms from and until, (0, 0) never: taking who is ``governed`` now for who was then."""
    only, but = governed
    if backtest.is_draft or backtest.policy_id is None or backtest.policy_version is None:
        return lambda _: (0, 0)
    versions = backtest.workspace.policy_versions.filter(policy_id=backtest.policy_id, version__gte=backtest.policy_version)
    saved = list(versions.order_by("version").values_list("version", "saved_at")[:2])
    if not saved or saved[0][0] != backtest.policy_version:
        return lambda _: (0, 0)
    since, until = (int(at.timestamp() * 1000) for at in (*(saved_at for _, saved_at in saved), backtest.end)[:2])
    span = since, until
    return lambda key_id: span if (only is None or key_id in only) and key_id not in but else (0, 0)
