"""Backtests: asked for, cut into parts by run, worked off by the workers, added up. What is judged is in ``engine/backtest.py``.

A message says no more than that there may be work. A part is claimed by a conditional update and written once; what a killed worker
held is given to another after ``LEASE``, and a lost message is sent again by the sweep.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import kombu
import redis
from celery import current_app
from django.conf import settings
from django.db import transaction

from firewall import sandbox, services
from firewall.engine import backtest as engine
from firewall.engine import tally
from firewall.engine.replay import Event, Judge
from firewall.engine.tally import Tally
from firewall.models import Backtest, BacktestPart, Policy
from firewall.selectors import backtests as selectors
from firewall.selectors import version_of
from workspaces import tenancy
from workspaces.errors import Conflict, NotFound, ValidationFailed
from workspaces.models import User, Workspace

WINDOW = timedelta(days=7)
#: Workers that work at one backtest at a time.
WORKERS = 2
#: A worker that was not heard of for so long is gone.
LEASE = timedelta(seconds=20)
MAX_ATTEMPTS = 3
#: More in one window is refused: it would keep the workers for many minutes.
MAX_EVENTS = 10_000_000
#: Of one workspace: at work, and kept.
MAX_OPEN, MAX_KEPT = 3, 100
GOVERNED, ALL = "governed", "all"
TASK = "firewall.tasks.work_at_backtest"


# --- Asking ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def start_backtest(
    workspace: Workspace,
    *,
    policy_id: int | None = None,
    version: int | None = None,
    draft: Mapping[str, object] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    keys: str | None = None,
    enforce: bool = False,
    actor: User,
    at: datetime,
) -> Backtest:
    """Ask what a policy would have said of the recorded runs of a window, the last seven days unless told otherwise.

    The policy is a saved one, an earlier ``version`` of it, or a ``draft``, of the saved one if both are given. ``keys`` are those that
    the saved policy governs now (``governed``), or ``all``; unless told, the first if there are any. ``enforce``: as if it were not in shadow.
    """
    saved = _saved(workspace, policy_id)
    if draft is None and saved is None:
        raise ValidationFailed("Name a policy (policy_id), or send one (policy).", param="policy_id")
    if version is not None and (saved is None or draft is not None):
        raise ValidationFailed("A version is one of a saved policy.", param="version")
    start, end = _window(start, end, at)
    if workspace.backtests.filter(state__in=(Backtest.State.QUEUED, Backtest.State.RUNNING)).count() >= MAX_OPEN:
        raise Conflict(f"{MAX_OPEN} backtests are at work. Wait for one, or cancel it.")
    snapshot = _snapshot(saved, version, draft)
    if enforce:
        snapshot["shadow_mode"] = False
    only, but = _keys(workspace, saved, keys)
    judged_version = (version or saved.version) if saved and draft is None else None
    made = workspace.backtests.create(
        policy_id=saved.pk if saved else None, policy_version=judged_version, is_draft=draft is not None, snapshot=snapshot, start=start, end=end,
        key_ids=only, but_key_ids=but, created_at=at, created_by=actor,
    )  # fmt: skip
    for old in workspace.backtests.exclude(state__in=(Backtest.State.QUEUED, Backtest.State.RUNNING)).order_by("-pk")[MAX_KEPT:]:
        old.delete()
    _hint(made, 1)
    return made


def _saved(workspace: Workspace, policy_id: int | None) -> Policy | None:
    if policy_id is None:
        return None
    found = workspace.policies.filter(pk=policy_id).first()
    if found is None:
        raise NotFound("There is no such policy.", param="policy_id")
    return found


def _snapshot(saved: Policy | None, version: int | None, draft: Mapping[str, object] | None) -> dict:
    if draft is not None:
        return sandbox.draft_snapshot(draft)
    assert saved is not None
    return services.snapshot(saved) if version in (None, saved.version) else version_of(saved, version or 0, param="version").snapshot


def _window(start: datetime | None, end: datetime | None, at: datetime) -> tuple[datetime, datetime]:
    end = at if end is None else min(end, at)
    start = end - WINDOW if start is None else start
    if start >= end:
        raise ValidationFailed("The window ends before it begins.", param="from")
    if end - start > timedelta(days=settings.EVENT_RETENTION_DAYS + 1):
        raise ValidationFailed(f"Events are kept {settings.EVENT_RETENTION_DAYS} days: no longer window than that.", param="from")
    return start, end


def _keys(workspace: Workspace, saved: Policy | None, keys: str | None) -> tuple[list[int] | None, list[int]]:
    """The keys whose runs are judged (None: all), and those that are left out."""
    if keys not in (None, GOVERNED, ALL):
        raise ValidationFailed(f"{GOVERNED} or {ALL}.", param="keys")
    if keys == GOVERNED and saved is None:
        raise ValidationFailed("A draft of no saved policy governs no key.", param="keys")
    only, but = (None, []) if keys == ALL else selectors.governed(workspace, saved)
    return (None, []) if only == [] and keys is None else (only, but)


@transaction.atomic
def cancel_backtest(backtest: Backtest, *, at: datetime) -> None:
    """Stop a backtest; what was judged so far is dropped. Raises ``Conflict`` when it is over."""
    open_ones = backtest.workspace.backtests.filter(pk=backtest.pk, state__in=(Backtest.State.QUEUED, Backtest.State.RUNNING))
    if not open_ones.update(state=Backtest.State.CANCELLED, finished_at=at):
        raise Conflict("This backtest is over already.")
    # Whoever works at a part finds it gone at the next page.
    backtest.parts.all().delete()
    backtest.refresh_from_db()


# --- Working --------------------------------------------------------------------------------------------------------
class _Abandoned(Exception):
    """The part is somebody else's by now, or nobody's. Never leaves this file."""


#: The policy of the backtest that this process worked at last, with what it remembers of calls.
_judges: dict[int, Judge] = {}


def work(workspace: Workspace, backtest_id: int, *, clock: Callable[[], datetime]) -> None:
    """Do one piece of a backtest's work, if there is one, and see to it that the next is done. Calls of this may be lost or repeated."""
    with tenancy.scope(workspace.pk):
        backtest = workspace.backtests.filter(pk=backtest_id).first()
        if backtest is None or backtest.is_over or _plan(backtest, at=clock()):
            return
        part = _claim(backtest, at=clock())
    if part is None:
        return
    try:
        counted = _replay(backtest, part, clock)
    except _Abandoned:
        return
    with tenancy.scope(workspace.pk):
        # The whole before its part, as a cancel locks them.
        held = workspace.backtests.select_for_update().filter(pk=backtest_id, state=Backtest.State.RUNNING).first()
        done = {"state": BacktestPart.State.DONE, "result": counted.as_json(), "replayed": part.events, "claim": None}
        if held is not None and held.parts.filter(pk=part.pk, claim=part.claim).update(**done) and not _finish(held, at=clock()):
            _hint(held, 1)


def _replay(backtest: Backtest, part: BacktestPart, clock: Callable[[], datetime]) -> Tally:
    judge = _judges.get(backtest.pk)
    if judge is None:
        _judges.clear()
        judge = _judges[backtest.pk] = Judge(selectors.policy_of(backtest))
    policy = judge.policy
    assert policy is not None
    ledgers = None
    if policy.has_caps or policy.max_runs_per_key_per_hour is not None:
        with tenancy.scope(backtest.workspace_id):
            saved = backtest.workspace.policies.filter(pk=backtest.policy_id or 0).first()
            ledgers = selectors.ledgers_of(backtest, part, selectors.in_force(backtest, selectors.governed(backtest.workspace, saved)))
    counted = Tally()
    engine.replay(judge, counted, _events(backtest, part, clock), ledgers)
    return counted


def _events(backtest: Backtest, part: BacktestPart, clock: Callable[[], datetime]) -> Iterator[Event]:
    replayed = 0
    for count, page in selectors.events_of(backtest, part):
        yield from page
        replayed += count
        with tenancy.scope(backtest.workspace_id):
            if not backtest.parts.filter(pk=part.pk, claim=part.claim).update(replayed=replayed, touched_at=clock()):
                raise _Abandoned


def _plan(backtest: Backtest, *, at: datetime) -> bool:
    """Cut a queued backtest into parts; whether that was to be done."""
    held = backtest.workspace.backtests.select_for_update().filter(pk=backtest.pk, state=Backtest.State.QUEUED).first()
    if held is None:
        backtest.refresh_from_db()
        return False
    policy = selectors.policy_of(held)
    found = selectors.stretches(held, judges_requests=policy.judges_requests)
    held.state, held.started_at, held.events = Backtest.State.RUNNING, at, sum(events for _, _, events in found)
    if held.events > MAX_EVENTS:
        _fail(held, f"There are {held.events:,} events in this window, more than {MAX_EVENTS:,}. Choose a shorter one.", at=at)
        return True
    limit = policy.max_runs_per_key_per_hour
    held.over_limit = _over_limit(selectors.beginnings(held), limit) if limit is not None else []
    held.parts.bulk_create(
        BacktestPart(workspace=held.workspace, backtest=held, first_run=first, last_run=last, events=events) for first, last, events in found
    )
    held.save(update_fields=["state", "started_at", "events", "over_limit"])
    if not _finish(held, at=at):
        _hint(held, WORKERS)
    return True


def _over_limit(beginnings: Sequence[tuple[int, str, datetime]], limit: int) -> list[tuple[int, str, int]]:
    """Runs that would not have begun: those that are one too many among the runs which their key began in the hour before."""
    begun: defaultdict[int, deque[datetime]] = defaultdict(deque)
    found = []
    for key_id, run_id, at in beginnings:
        recent = begun[key_id]
        while recent and recent[0] <= at - timedelta(hours=1):
            recent.popleft()
        if len(recent) < limit:
            recent.append(at)
        else:
            found.append((key_id, run_id, len(recent) + 1))
    return found


def _claim(backtest: Backtest, *, at: datetime) -> BacktestPart | None:
    """The next part, for us alone; None where none is left or enough are at work."""
    if backtest.parts.filter(state=BacktestPart.State.RUNNING, touched_at__gte=at - LEASE).count() >= WORKERS:
        return None
    part = backtest.parts.select_for_update(skip_locked=True).filter(state=BacktestPart.State.PENDING).order_by("pk").first()
    if part is None:
        return None
    part.state, part.claim, part.touched_at, part.replayed = BacktestPart.State.RUNNING, uuid4(), at, 0
    part.attempts += 1
    part.save(update_fields=["state", "claim", "touched_at", "replayed", "attempts"])
    return part


def _finish(held: Backtest, *, at: datetime) -> bool:
    """Add the parts up once all are done; whether that was so. ``held`` is locked: one of the workers is the last."""
    if held.parts.exclude(state=BacktestPart.State.DONE).exists():
        return False
    held.result = tally.result(part.result or {} for part in held.parts.only("result").iterator())
    held.state, held.finished_at = Backtest.State.DONE, at
    held.save(update_fields=["result", "state", "finished_at"])
    held.parts.all().delete()
    return True


def _fail(held: Backtest, error: str, *, at: datetime) -> None:
    held.state, held.error, held.finished_at = Backtest.State.FAILED, error, at
    held.save(update_fields=["state", "error", "events", "started_at", "finished_at"])
    held.parts.all().delete()


def sweep(workspace: Workspace, *, at: datetime) -> None:
    """Take back what killed workers held, and send again what lost messages left undone."""
    with tenancy.scope(workspace.pk):
        for held in workspace.backtests.select_for_update(skip_locked=True).filter(state__in=(Backtest.State.QUEUED, Backtest.State.RUNNING)):
            lapsed = held.parts.filter(state=BacktestPart.State.RUNNING, touched_at__lt=at - LEASE)
            if lapsed.filter(attempts__gte=MAX_ATTEMPTS).exists():
                _fail(held, f"A part of it could not be finished in {MAX_ATTEMPTS} attempts.", at=at)
                continue
            lapsed.update(state=BacktestPart.State.PENDING, claim=None)
            at_work = held.parts.filter(state=BacktestPart.State.RUNNING).count()
            if held.state == Backtest.State.QUEUED or held.parts.filter(state=BacktestPart.State.PENDING).exists():
                _hint(held, WORKERS - at_work)


def _hint(backtest: Backtest, times: int) -> None:
    """Wake workers once this transaction is committed. Lost or refused, the sweep sends again."""
    for _ in range(times):
        transaction.on_commit(partial(_wake, backtest.workspace_id, backtest.pk), robust=True)


def _wake(workspace_id: int, backtest_id: int) -> None:
    try:
        current_app.send_task(TASK, kwargs={"workspace_id": workspace_id, "backtest_id": backtest_id}, ignore_result=True, retry=False)
    except (kombu.exceptions.OperationalError, redis.RedisError):
        return
