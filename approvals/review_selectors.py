"""What whoever decides about a hold is shown: the queue, the call beside the calls before it, its rule then and now, its run."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Length, Now

from approvals import selectors
from approvals.engine.args_hash import as_json, rule_hash
from approvals.engine.binding import State
from approvals.engine.diff import MAX_FIELDS, Line, compared, fields_of
from approvals.engine.shown import is_cut
from approvals.models import Approval
from firewall.engine.arguments import decoded
from firewall.engine.words import Surface
from firewall.models import Event
from keys.models import UsageSource
from workspaces import vault
from workspaces.models import User, Workspace
from workspaces.paging import Page, page_around, read_cursor

#: Earlier approved calls that say what is usual.
USUAL_FROM = 20
#: Events of a run that are shown.
MOST_OF_RUN = 12
GRANTED_DAYS = 30
#: Longer arguments are not opened for a line of the queue.
MAX_TOLD_BYTES = 16 * 1024
_ID = re.compile(r"[0-9a-f]{24}")


def queue(workspace: Workspace, state: str = State.PENDING) -> QuerySet[Approval]:
    """Holds in a state as it is now, the oldest first; what is over and not swept yet counts as expired. Empty: all of them."""
    over = Q(state__in=[State.PENDING, State.APPROVED], expires_at__lte=Now())
    found = workspace.approvals.annotate(is_over=Q(expires_at__lte=Now()))
    if state == State.EXPIRED:
        found = found.filter(Q(state=State.EXPIRED) | over)
    elif state in (State.PENDING, State.APPROVED):
        found = found.filter(state=state, expires_at__gt=Now())
    elif state:
        found = found.filter(state=state)
    return found.order_by("created_at", "pk")


def page_of_queue(found: QuerySet[Approval], cursor: str | None, *, size: int, newest_first: bool = False) -> Page:
    """One page of holds in the order of the queue, or the newest first. ``newer`` is the page before, ``older`` the one after it.

    Raises ``ValidationFailed`` for a foreign cursor.
    """
    position, backwards = read_cursor(cursor, _read_place)
    descends = newest_first != backwards
    if position is not None:
        found = found.filter(_beyond(*position, descends=descends))
    rows = list(found.order_by(*(("-created_at", "-pk") if descends else ("created_at", "pk")))[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows.reverse()
    return page_around(rows, is_first=position is None, backwards=backwards, more=more, place=_place)


def _place(approval: Approval) -> str:
    return f"{approval.created_at.isoformat()}/{approval.pk}"


def _read_place(text: str) -> tuple[datetime, str]:
    at, _, pk = text.partition("/")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or not _ID.fullmatch(pk):
        raise ValueError(text)
    return moment, pk


def _beyond(moment: datetime, pk: str, *, descends: bool) -> Q:
    """What comes after a place."""
    way = "lt" if descends else "gt"
    return Q(**{f"created_at__{way}": moment}) | Q(created_at=moment, **{f"pk__{way}": pk})


def open_count(workspace: Workspace) -> int:
    """Holds that wait for a decision: at most ``services.PER_WORKSPACE``."""
    return queue(workspace, State.PENDING).count()


def runs_that_wait(workspace: Workspace, run_ids: Collection[str]) -> set[tuple[int, str]]:
    """Which of these runs wait for a decision, as ``(key id, run id)``."""
    waiting = queue(workspace).filter(agent_run_id__in=run_ids).order_by().values_list("key_id", "agent_run_id").distinct()
    return {(key_id, run_id) for key_id, run_id in waiting if run_id is not None}


def in_lines(found: QuerySet[Approval]) -> QuerySet[Approval]:
    """Holds for a list that tells of each in a line: without what is long. ``size`` is that of the sealed arguments."""
    size = Length("arguments_sealed")
    short = Case(When(size__lte=MAX_TOLD_BYTES, then=F("arguments_sealed")), default=None)
    return found.annotate(size=size, short_sealed=short).defer("arguments_sealed", "rule")


def arguments_of(approval: Approval) -> str | None:
    """The arguments without secrets; None for an offered tool, which has none."""
    return _opened(approval, approval.arguments_sealed)


def short_arguments_of(approval: Approval) -> str | None:
    """Those of a hold of ``in_lines``; None where they are too long for it as well."""
    return _opened(approval, approval.short_sealed)  # type: ignore[attr-defined]  # annotated


def _opened(approval: Approval, sealed: bytes | memoryview | None) -> str | None:
    return None if sealed is None else vault.unseal(bytes(sealed), workspace_id=approval.workspace_id, purpose=selectors.arguments_seal(approval.pk))


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One hold as its reviewer sees it. ``rule_now`` None: the rule is gone. ``objection``: why this person may not decide.

    ``more_lines`` are fields that are not among ``lines``; ``is_cut`` and ``is_bad``: arguments not shown to their end, and such as are
    no object with unique names. ``run_unpriced`` are model calls whose cost is unknown, and not in the run's.
    """

    approval: Approval
    state: State
    arguments: str | None
    lines: list[Line]
    more_lines: int
    is_cut: bool
    is_bad: bool
    last: Approval | None
    granted: int
    rejected: int
    rule_now: Mapping[str, Any] | None
    rule_hash_now: str
    run: list[Event]
    run_calls: int
    run_cost_micro_usd: int | None
    run_unpriced: int
    #: Other holds of the same answer that nobody has decided about.
    waits_with: int
    quorum: int
    approvals: int
    objection: str | None

    @property
    def rule_changed(self) -> bool:
        return self.rule_hash_now != self.approval.rule_hash


def reviewed(approval: Approval, person: User) -> Reviewed:
    workspace = approval.workspace
    like = workspace.approvals.filter(key_id=approval.key_id, tool_name=approval.tool_name).exclude(pk=approval.pk)
    granted = list(like.filter(state__in=[State.APPROVED, State.CONSUMED]).order_by("-resolved_at")[:USUAL_FROM])
    known = [fields_of(arguments_of(each)) for each in granted]
    arguments = arguments_of(approval)
    lines = compared(fields_of(arguments), known)
    cut = arguments is not None and is_cut(arguments)
    since = like.filter(resolved_at__gt=Now() - timedelta(days=GRANTED_DAYS))
    rule = selectors.rule_now(approval)
    used = _used(approval)
    return Reviewed(
        approval=approval,
        state=selectors.state_now(approval),
        arguments=arguments,
        lines=lines[:MAX_FIELDS],
        more_lines=max(len(lines) - MAX_FIELDS, 0),
        is_cut=cut,
        is_bad=arguments is not None and not cut and decoded(arguments) is None,
        last=granted[0] if granted else None,
        granted=since.filter(state__in=[State.APPROVED, State.CONSUMED]).count(),
        rejected=since.filter(state=State.REJECTED).count(),
        rule_now=as_json(rule) if rule else None,
        rule_hash_now=rule_hash(rule) if rule else approval.rule_hash,
        run=list(_run(approval).order_by("-pk")[:MOST_OF_RUN])[::-1],
        run_calls=used["calls"],
        run_cost_micro_usd=used["cost"] if used["cost"] is not None or used["unpriced"] else 0,
        run_unpriced=used["unpriced"],
        waits_with=_waits_with(approval),
        quorum=selectors.review_plan_of(workspace, approval.policy_id).quorum,
        approvals=selectors.approving(approval, rule_hash(rule) if rule else approval.rule_hash),
        objection=selectors.objection(approval, person) if approval.state == State.PENDING else None,
    )


def _run(approval: Approval) -> QuerySet[Event]:
    """What the run's agent called, or was refused to offer. What it merely offered says nothing of what it did."""
    if not approval.agent_run_id:
        return approval.workspace.events.none()
    events = approval.workspace.events.filter(key_id=approval.key_id, agent_run_id=approval.agent_run_id, tool_name__isnull=False)
    return events.exclude(surface=Surface.INBOUND, verdict__in=["allow", "audit", "observe"], approval_id=None)


def _used(approval: Approval) -> dict[str, Any]:
    """``calls`` to a model, their ``cost`` (None: no price is known), and how many are ``unpriced``."""
    mine = approval.workspace.usage.filter(key_id=approval.key_id, agent_run_id=approval.agent_run_id)
    if not approval.agent_run_id:
        mine = approval.workspace.usage.none()
    # A request that was held or refused before it went out asked no model.
    asked = mine.exclude(usage_source=UsageSource.NONE)
    return asked.aggregate(calls=Count("pk"), cost=Sum("cost_micro_usd"), unpriced=Count("pk", filter=Q(cost_micro_usd=None)))


def _waits_with(approval: Approval) -> int:
    kept = approval.workspace.kept_answers.filter(approval_ids__contains=[approval.pk]).values_list("approval_ids", flat=True).first() or []
    return queue(approval.workspace, State.PENDING).filter(pk__in=kept).exclude(pk=approval.pk).count()
