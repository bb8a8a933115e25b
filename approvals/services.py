"""Changes of approvals: hold, resolve, redeem, expire. Each is one transaction with its event, its audit entry and what is to be told of it.

All of them take the workspace's lock first, so that limits are exact and no two changes wait in a circle; what wins a race is
a conditional update all the same. The database's clock alone says what is over.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from approvals import outbox, selectors
from approvals.engine.binding import Bound, Refused, State, refusal_of_state
from approvals.models import Approval, new_id
from approvals.outbox import HoldEvent
from firewall.engine.types import ReasonCode, Verdict
from workspaces import audit, errors, vault
from workspaces.ids import uuid7
from workspaces.models import User, Workspace
from workspaces.selectors import hold
from workspaces.times import rfc3339

#: Pending holds at most.
PER_RUN, PER_KEY, PER_WORKSPACE = 20, 100, 1_000
#: Approvals that one transaction of the sweep ends: calls of the workspace wait for it meanwhile.
EXPIRED_AT_ONCE = 500
MAX_REASON = 2_000

#: What an approval copies from the event of its call.
_OF_EVENT = (
    *("source", "surface", "tool_name", "skill_name", "key_id", "token_name", "environment", "model_name", "request_id", "client_request_id"),
    *("conversation_id", "agent_run_id", "run_source", "step_id", "parent_step_id"),
    *("policy_id", "policy_name", "policy_version", "rule_id", "rule_label", "factors", "risk_score"),
)
#: The verdict under which each change stands in the feed.
_SHOWN_AS = {
    State.APPROVED: (Verdict.AUDIT, ReasonCode.APPROVAL_APPROVED, "approve"),
    State.REJECTED: (Verdict.DENY, ReasonCode.APPROVAL_REJECTED, "reject"),
    State.EXPIRED: (Verdict.DENY, ReasonCode.APPROVAL_EXPIRED, "expire"),
    State.CONSUMED: (Verdict.ALLOW, ReasonCode.APPROVAL_CONSUMED, "consume"),
}
#: What the workspace's webhook is told of.
_TOLD_AS = {State.APPROVED: HoldEvent.APPROVED, State.REJECTED: HoldEvent.REJECTED, State.EXPIRED: HoldEvent.EXPIRED}


# --- Hold -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class HeldCall:
    """A call that a rule holds. ``rule`` as ``args_hash.as_json`` writes it; ``event`` is the row of its event.

    ``arguments`` are the whole of them without secrets, None for an offered tool.
    """

    bound: Bound
    rule: Mapping[str, Any]
    arguments: str | None
    event: Mapping[str, Any]


@transaction.atomic
def hold_calls(
    workspace: Workspace, *, calls: Sequence[HeldCall], keep: Callable[[Sequence[bool]], str | None] | None = None, all_or_none: bool = False
) -> list[Approval | None]:
    """The hold of each call; None where there is no room for another (``hold_unavailable``).

    A call that is held already keeps that hold, and equal calls share one. ``keep`` is told for each call whether it is held and gives the
    answer that waits with them. ``all_or_none``: with one that finds no room nothing is held. All calls are of one run.
    """
    hold(workspace.pk)
    digests = [call.bound.digest for call in calls]
    _expire(workspace, workspace.approvals.filter(binding__in=digests))
    known = {approval.binding: approval for approval in workspace.approvals.filter(state=State.PENDING, binding__in=digests)}
    new = {digest: call for digest, call in zip(digests, calls, strict=True) if digest not in known}
    room = _room(workspace, calls[0]) if new else 0
    if all_or_none and len(new) > room:
        return [None] * len(calls)
    for digest, call in list(new.items())[: max(room, 0)]:
        known[digest] = _hold(workspace, call, digest)
    found = [known.get(digest) for digest in digests]
    if keep is not None and any(found):
        _keep_answer(workspace, calls[0], [approval.pk for approval in found if approval], keep([approval is not None for approval in found]))
    return found


def _room(workspace: Workspace, call: HeldCall) -> int:
    pending = workspace.approvals.filter(state=State.PENDING)
    of_key = pending.filter(key_id=call.bound.key_id)
    of_run = of_key.filter(agent_run_id=call.event["agent_run_id"])
    return min(PER_RUN - of_run.count(), PER_KEY - of_key.count(), PER_WORKSPACE - pending.count())


def _hold(workspace: Workspace, call: HeldCall, digest: str) -> Approval:
    approval = Approval(
        id=new_id(),
        workspace=workspace,
        binding=digest,
        rule=call.rule,
        held_because=call.event["reason"],
        created_at=Now(),
        expires_at=Now() + timedelta(seconds=selectors.settings_of(workspace).approval_ttl_seconds),
        **{name: call.event.get(name) for name in _OF_EVENT} | {"rule_label": call.event.get("rule_label") or ""},
        **{name: value for name, value in asdict(call.bound).items() if name not in _OF_EVENT},
    )
    if call.arguments is not None:
        approval.arguments_sealed = vault.seal(call.arguments, workspace_id=workspace.pk, purpose=selectors.arguments_seal(approval.pk))
    approval.save(force_insert=True)
    approval.refresh_from_db()
    _record([{**call.event, "approval_id": approval.pk}])
    approval.event_id = call.event["id"]
    _audit([approval], "create", None)
    outbox.enqueue([approval], event=HoldEvent.PENDING, at=approval.created_at)
    return approval


def _keep_answer(workspace: Workspace, call: HeldCall, approval_ids: Collection[str], answer: str | None) -> None:
    ids = list(dict.fromkeys(approval_ids))
    if answer is None or workspace.kept_answers.filter(approval_ids=ids).exists():
        # The first answer stays: what a reviewer may have looked at is what is given out.
        return
    request_id = call.event["request_id"]
    sealed = vault.seal(answer, workspace_id=workspace.pk, purpose=selectors.answer_seal(request_id))
    workspace.kept_answers.create(key_id=call.bound.key_id, approval_ids=ids, sealed=sealed, request_id=request_id, created_at=Now())


# --- Resolve --------------------------------------------------------------------------------------------------------
@transaction.atomic
def resolve(approval: Approval, *, decision: State, by: User | None, label: str = "", reason: str = "", seen_rule_hash: str | None = None) -> Approval:
    """Approve or reject a hold; with a quorum, say one's word on it. The first final word wins.

    ``by`` None is the signed callback, which ``label`` names. ``seen_rule_hash`` is the rule that the reviewer was shown, if the
    page can tell. The decision that stands already changes nothing. Raises ``ApprovalResolved``, ``PermissionRefused``, ``Conflict``.
    """
    workspace = hold(approval.workspace_id)
    approval = workspace.approvals.get(pk=approval.pk)
    if _stands(approval, decision):
        return approval
    if approval.state != State.PENDING or selectors.is_past(approval):
        raise already_resolved(approval)
    if by is not None and (objection := selectors.objection(approval, by)):
        raise errors.PermissionRefused(objection)
    rule_hash = selectors.rule_hash_now(approval) or approval.rule_hash
    if seen_rule_hash is not None and seen_rule_hash != rule_hash:
        raise errors.Conflict("The rule was changed while you were looking. See what it says now, and decide again.", param="rule_hash")
    label = (by.email if by else label or "signed callback")[:254]
    reason = reason.strip()[:MAX_REASON]
    _vote(approval, decision, by, label, reason, rule_hash)
    needed = selectors.review_plan_of(workspace, approval.policy_id).quorum if decision is State.APPROVED else 1
    if decision is State.APPROVED and (approvals := selectors.approving(approval, rule_hash)) < needed:
        _audit([approval], _SHOWN_AS[decision][2], by, needed=needed, approvals=approvals, reason=reason)
        return approval
    changes: dict[str, Any] = {"state": decision, "resolved_at": Now(), "resolved_by": by, "resolved_by_label": label, "reason": reason}
    if decision is State.APPROVED:
        life = timedelta(seconds=selectors.settings_of(workspace).approval_use_ttl_seconds)
        changes |= {"bound_rule_hash": rule_hash, "expires_at": Now() + life}
    if not workspace.approvals.filter(pk=approval.pk, state=State.PENDING, expires_at__gt=Now()).update(**changes):
        raise already_resolved(approval)
    approval.refresh_from_db()
    said = f": {reason}" if reason else ""
    _changed([approval], f"{decision} by {label}{said}", by)
    return approval


def _stands(approval: Approval, decision: State) -> bool:
    """Whether this is what was decided already, whatever has become of it since."""
    return approval.resolved_at is not None and (approval.state == State.REJECTED) == (decision is State.REJECTED) and approval.state != State.EXPIRED


def already_resolved(approval: Approval) -> errors.ApprovalResolved:
    """What the slower reviewer is told."""
    state = State.EXPIRED if selectors.is_past(approval) else approval.state
    who = f" by {approval.resolved_by_label}" if approval.resolved_by_label and state != State.EXPIRED else ""
    at = rfc3339(approval.resolved_at) if approval.resolved_at else None
    return errors.ApprovalResolved(
        f"This hold is {selectors.STATE_WORDS[State(state)]}{who} already.", state=state, resolved_by=approval.resolved_by_label or None, resolved_at=at
    )


def _vote(approval: Approval, decision: State, by: User | None, label: str, reason: str, rule_hash: str) -> None:
    said = {"approves": decision is State.APPROVED, "label": label, "reason": reason, "rule_hash": rule_hash, "at": Now()}
    approval.votes.update_or_create(user=by, defaults=said, create_defaults=said | {"workspace_id": approval.workspace_id})


# --- Redeem ---------------------------------------------------------------------------------------------------------
def redeem(workspace: Workspace, *, calls: Mapping[str, Bound], request_id: str, events: Mapping[str, Mapping[str, Any]] = {}) -> list[Approval]:
    """Spend these approvals, by id, on the calls that they are presented for: all of them or none.

    Each is bound to its call to the byte; ``rule_hash`` is that of the rule which holds the call now. ``events`` are the rows of the calls
    that go on, where those are known: else each approval leaves one of its own. Raises ``ApprovalInvalid``.
    """
    with transaction.atomic():
        hold(workspace.pk)
        fits = Q(pk__in=[])
        for approval_id, bound in calls.items():
            fits |= Q(pk=approval_id, bound_rule_hash=bound.rule_hash, **{name: value for name, value in asdict(bound).items() if name != "rule_hash"})
        mine = workspace.approvals.filter(fits, state=State.APPROVED, expires_at__gt=Now())
        if mine.update(state=State.CONSUMED, consumed_at=Now(), consumed_request_id=request_id) == len(calls):
            spent = list(workspace.approvals.filter(pk__in=calls))
            _changed(spent, "the approved call goes on, once", None, request_id=request_id, events=events)
            return spent
        # One of several does not fit: the others stay unspent.
        transaction.set_rollback(True)
    found = {approval.pk: approval for approval in workspace.approvals.filter(pk__in=calls)}
    refused = (refusal(found.get(approval_id), bound) for approval_id, bound in calls.items())
    raise next(filter(None, refused), invalid(next(iter(calls)), Refused.EXPIRED))


def refusal(approval: Approval | None, bound: Bound | None) -> errors.ApprovalInvalid | None:
    """Why an approval may not be spent on a call (None: whatever call it may be)."""
    if approval is None:
        return invalid("", Refused.UNKNOWN)
    reason = refusal_of_state(approval.state, is_past=selectors.is_past(approval))
    if reason is not None:
        return invalid(approval.pk, reason)
    if bound is None:
        return None
    if field := selectors.bound_of(approval).mismatch(bound):
        return invalid(approval.pk, Refused.MISMATCH, field)
    return invalid(approval.pk, Refused.RULE_CHANGED) if approval.bound_rule_hash != bound.rule_hash else None


_WORDS = {
    Refused.UNKNOWN: "There is no such approval for this key.",
    Refused.PENDING: "Nobody has decided about this call yet.",
    Refused.REJECTED: "A reviewer rejected this call.",
    Refused.EXPIRED: "The hold or its approval has expired.",
    Refused.USED: "This approval was used already.",
    Refused.MISMATCH: "Another call was approved than this one.",
    Refused.RULE_CHANGED: "The rule was changed after the approval.",
    Refused.INCOMPLETE: "Another held call of the same answer is not resolved, or is not named here.",
}


def invalid(approval_id: str, reason: Refused, field: str | None = None) -> errors.ApprovalInvalid:
    more = ({"field": field} if field else {}) | ({"approval_id": approval_id} if approval_id else {})
    return errors.ApprovalInvalid(_WORDS[reason], param="X-OrcaRouter-Firewall-Approval", reason=reason, **more)


# --- Expire ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def expire(workspace: Workspace) -> int:
    """End the holds and approvals of a workspace whose time is over, a number at a time; how many that were."""
    hold(workspace.pk)
    return _expire(workspace, workspace.approvals.all())


def _expire(workspace: Workspace, among: QuerySet[Approval]) -> int:
    due = among.filter(state__in=[State.PENDING, State.APPROVED], expires_at__lte=Now()).order_by("expires_at")
    ids = list(due.values_list("pk", flat=True)[:EXPIRED_AT_ONCE])
    if not ids:
        return 0
    workspace.approvals.filter(pk__in=ids, state__in=[State.PENDING, State.APPROVED], expires_at__lte=Now()).update(state=State.EXPIRED)
    # What was asked for may be long, and nothing that is left behind tells of it.
    _changed(list(workspace.approvals.filter(pk__in=ids, state=State.EXPIRED).defer("arguments_sealed", "rule")), "", None)
    return len(ids)


# --- What every change leaves behind --------------------------------------------------------------------------------
def _changed(
    approvals: Sequence[Approval], reason: str, actor: User | None, *, request_id: str | None = None, events: Mapping[str, Mapping[str, Any]] = {}
) -> None:
    """The events, audit entries and messages of approvals that have just entered the state they are in, the same for all."""
    state = State(approvals[0].state)
    _record([events.get(approval.pk) or _event(approval, reason or _expired_because(approval), request_id) for approval in approvals])
    _audit(approvals, _SHOWN_AS[state][2], actor)
    if event := _TOLD_AS.get(state):
        outbox.enqueue(approvals, event=event, at=selectors.database_now())
    _forget_answers(approvals)


def _expired_because(approval: Approval) -> str:
    return "the approval was not used in time" if approval.resolved_at else "nobody decided in time"


def _event(approval: Approval, reason: str, request_id: str | None) -> dict:
    verdict, code, _ = _SHOWN_AS[State(approval.state)]
    kept = {name: getattr(approval, name) for name in _OF_EVENT}
    return kept | {
        "id": uuid7(),
        "workspace_id": approval.workspace_id,
        "verdict": verdict,
        "reason": reason[:500],
        "reason_code": code,
        "request_id": request_id or approval.request_id,
        "args_hash": approval.args_hash,
        "approval_id": approval.pk,
    }


def _record(events: Sequence[Mapping[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        at = cursor.fetchone()[0]
        rows = orjson.dumps([{"occurred_at": at, **event} for event in events]).decode()
        cursor.execute("SELECT orca_record_approval_events(%s::json)", [rows])


def _audit(approvals: Sequence[Approval], verb: str, actor: User | None, /, **noted: object) -> None:
    more = {name: value for name, value in noted.items() if value != ""}
    changes = [audit.Change(f"firewall_approval_{verb}", each, _noted(each, verb, actor) | more, each.tool_name) for each in approvals]
    audit.record_all(workspace=approvals[0].workspace, actor=actor, at=selectors.database_now(), changes=changes)


def _noted(approval: Approval, verb: str, actor: User | None) -> dict[str, object]:
    decided_by = approval.resolved_by_label if actor is None and verb in ("approve", "reject") else ""
    told = {name: getattr(approval, name) for name in ("surface", "args_hash", "policy_id", "rule_id", "key_id", "request_id", "state")}
    return told | {name: text for name, text in (("reason", approval.reason), ("decided_by", decided_by)) if text}


def _forget_answers(approvals: Sequence[Approval]) -> None:
    """Drop the kept answers that can no longer be given out: a call of theirs was spent or came too late, or all are ended."""
    workspace = approvals[0].workspace
    over = [approval.pk for approval in approvals if approval.state in (State.CONSUMED, State.EXPIRED)]
    workspace.kept_answers.filter(approval_ids__overlap=over).delete()
    rejected = [approval.pk for approval in approvals if approval.state == State.REJECTED]
    for kept in workspace.kept_answers.filter(approval_ids__overlap=rejected).only("approval_ids") if rejected else ():
        if not workspace.approvals.filter(pk__in=kept.approval_ids, state__in=[State.PENDING, State.APPROVED]).exists():
            kept.delete()
