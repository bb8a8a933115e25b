"""What a policy that is being edited would have said of the newest calls, before anything is saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import thread_time

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from firewall.engine.backtest import Ledger
from firewall.engine.preview import Preview, preview
from firewall.engine.recorded import run_of
from firewall.engine.replay import Event
from firewall.engine.tally import RunName
from firewall.engine.types import Policy as EnginePolicy
from firewall.models import Policy, Rule
from firewall.selectors.backtests import governed, ledgers_of_runs, newest_events
from firewall.selectors.policies import compiled

DAYS = 7
#: Newest events that are judged, each twice; and how long (seconds of CPU) that may take: someone waits at a keyboard, and others beside them.
MOST_EVENTS = 2_000
MOST_SECONDS = 0.06


@dataclass(frozen=True, slots=True)
class Previewed:
    """``since`` is when the oldest of the events was recorded; None: nothing was. ``is_partial``: the seven days have more.

    ``is_cut``: of these, too, not all were judged, or not even read, for want of time.
    """

    counts: Preview
    since: datetime | None
    is_partial: bool
    is_cut: bool
    #: Of the keys that the policy governs, or of the whole workspace where it governs none.
    is_own_keys: bool


def previewed(
    policy: Policy,
    edited: Policy,
    rules: Sequence[Rule],
    *,
    saved_rules: Sequence[Rule],
    rule_id: int | None,
    at: datetime,
    most_events: int = MOST_EVENTS,
    most_seconds: float = MOST_SECONDS,
) -> Previewed:
    """``policy`` with its ``saved_rules`` beside ``edited`` with ``rules``, as if neither were in shadow. ``rule_id`` is the one that is watched."""
    workspace = policy.workspace
    only, but = governed(workspace, policy)
    is_own_keys = only != []
    start, of_keys = at - timedelta(days=DAYS), (only, but) if is_own_keys else (None, [])
    with _in_time(settings.PREVIEW_READ_SECONDS) as read:
        read.events, is_partial = newest_events(workspace, start=start, end=at, key_ids=of_keys[0], but_key_ids=of_keys[1], at_most=most_events)
    events = read.events
    if not events:
        return Previewed(Preview(), None, False, read.is_late, is_own_keys)
    before = replace(compiled(policy, saved_rules), shadow_mode=False)
    # No version that was ever in force: nothing that was recorded is this policy's.
    after = replace(compiled(edited, rules), shadow_mode=False, version=0)
    oldest = datetime.fromtimestamp(min(event.at_ms for event in events) / 1000, UTC)
    ledgers = _ledgers(policy, (before, after), events, start=oldest, end=at)
    until = thread_time() + most_seconds
    judged = 0

    def may_go_on() -> bool:
        nonlocal judged
        is_time = thread_time() < until
        judged += is_time
        return is_time

    counts = preview(after, before, events, rule_id=rule_id, ledgers=ledgers, may_go_on=may_go_on)
    return Previewed(counts, oldest, is_partial, judged < len(events), is_own_keys)


@dataclass(slots=True)
class _Read:
    events: list[Event] = field(default_factory=list)
    is_late: bool = False


@contextmanager
def _in_time(seconds: float) -> Iterator[_Read]:
    """What is asked of the database inside has so long; then it is given up, and the transaction goes on without it."""
    read = _Read()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            usual = cursor.fetchone()[0]
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(round(seconds * 1000))])
            yield read
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [usual])
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        read.is_late = True


def _ledgers(policy: Policy, policies: Sequence[EnginePolicy], events: Sequence[Event], *, start: datetime, end: datetime) -> dict[RunName, Ledger] | None:
    """What runs had spent, where a policy asks for it and the events do not say."""
    if not any(each.has_caps or each.max_runs_per_key_per_hour is not None for each in policies):
        return None
    runs = {event.run_id for event in events if event.run_id is not None and run_of(event.judged_on) is None}
    return ledgers_of_runs(policy.workspace, runs, start=start, end=end) if runs else None
