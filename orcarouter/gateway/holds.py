"""Calls that wait for a person: held before the answer leaves, spent once when their approval comes. Source: spec/decisions.md 7.

A hold is committed before anybody is told of it, and an approval is spent before its call goes on. PostgreSQL away, nothing is held and
nothing goes on (``approval_store_down``).
"""

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError

from approvals import selectors, services
from approvals.engine.args_hash import NO_DEFINITION, args_hash, as_json, request_hashes, rule_hash
from approvals.engine.binding import Bound, Refused, State, refusal_of_state
from approvals.engine.shown import redacted
from approvals.selectors import Presentable
from approvals.services import HeldCall
from firewall.engine.types import Decision, Policy, ReasonCode, Surface, ToolCall, Verdict
from keys.engine.grant import Grant
from orcarouter.gateway.engine.exchange import shown
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State as Store
from workspaces import errors, tenancy
from workspaces.selectors import workspace
from workspaces.times import rfc3339

HEADER = b"x-orcarouter-firewall-approval"
TITLE = "X-OrcaRouter-Firewall-Approval"
MAX_NAMED = 20
#: What is kept of an answer at most; the calls of a longer one are denied.
MAX_KEPT_BYTES = 8 * 1024 * 1024
_ID = re.compile(r"[0-9a-f]{24}")
#: In the row of an event, beside its columns.
STANDS = "stands"
R = TypeVar("R", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Whose calls these are: a key under a policy, and the request they come with. ``request_hash`` is empty where there is none."""

    workspace_id: int
    key_id: int
    policy: Policy
    request_hash: str = ""
    tool_hashes: Mapping[str, str] = field(default_factory=dict)

    def bound(self, call: ToolCall, rule_id: int) -> Bound:
        """What an approval of this call under this rule is bound to. A rule that the policy does not have has no hash."""
        rule = next((rule for rule in self.policy.rules if rule.id == rule_id), None)
        return Bound(
            key_id=self.key_id,
            surface=call.surface,
            tool_name=call.name,
            args_hash=args_hash(call.arguments),
            request_hash=self.request_hash,
            tool_hash=self.tool_hashes.get(call.name, NO_DEFINITION) if self.request_hash else "",
            policy_id=self.policy.id,
            rule_hash=rule_hash(rule) if rule else "",
        )


async def place_of(workspace_id: int, key_id: int, policy: Policy, body: bytes, tools: Collection[str]) -> Place:
    """The place of a relay request's calls."""
    whole, definitions = await asyncio.to_thread(request_hashes, body, tuple(tools))
    return Place(workspace_id, key_id, policy, whole, definitions)


# --- Hold -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Candidate:
    """A call that a rule wants held, and the row of its event."""

    call: ToolCall
    decision: Decision
    event: MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hold:
    id: str
    expires_at: datetime
    #: Of the event that was written with it; None where the call was held before.
    event_id: UUID | None


async def hold(
    store: Store, place: Place, candidates: Sequence[Candidate], *, keep: Callable[[Sequence[bool]], str | None] | None = None, all_or_none: bool = False
) -> tuple[list[Hold | None], ReasonCode]:
    """The hold of each call, None where it cannot be held, and the code for those. The rows of the held get their id. See ``unrecorded``."""
    try:
        found = await store.change(_hold, place, candidates, keep, all_or_none)
    except (DatabaseError, TimeoutError):
        return [None] * len(candidates), ReasonCode.APPROVAL_STORE_DOWN
    for candidate, held in zip(candidates, found, strict=True):
        if held is not None:
            candidate.event["approval_id"] = held.id
            if candidate.event["id"] == held.event_id:
                candidate.event[STANDS] = True
    store.tell_feed(place.workspace_id)
    return found, ReasonCode.HOLD_UNAVAILABLE


def _hold(place: Place, candidates: Sequence[Candidate], keep: Callable[[Sequence[bool]], str | None] | None, all_or_none: bool) -> list[Hold | None]:
    calls = [_held_call(place, candidate) for candidate in candidates]
    with tenancy.scope(place.workspace_id):
        within = workspace(place.workspace_id)
        if within is None:
            return [None] * len(calls)
        found = services.hold_calls(within, calls=calls, keep=keep, all_or_none=all_or_none)
        return [Hold(each.pk, each.expires_at, each.event_id) if each else None for each in found]


def _held_call(place: Place, candidate: Candidate) -> HeldCall:
    rule_id = candidate.decision.rule_id or 0
    rule = next((rule for rule in place.policy.rules if rule.id == rule_id), None)
    arguments = candidate.call.arguments
    return HeldCall(
        bound=place.bound(candidate.call, rule_id),
        rule=as_json(rule) if rule else {},
        arguments=None if arguments is None else redacted(arguments),
        event=candidate.event,
    )


def unheld(decision: Decision, code: ReasonCode) -> Decision:
    """A hold that could not be made."""
    why = "nobody can be asked just now" if code is ReasonCode.APPROVAL_STORE_DOWN else "too many calls wait for approval already"
    return replace(decision, verdict=Verdict.DENY, reason=f"{decision.reason}: it would be held for approval, and {why}", reason_code=code, caps=())


def pending(request: Request, held: Sequence[tuple[Candidate, Hold]]) -> errors.ApprovalPending:
    """What the agent is told of its held calls."""
    candidate, first = held[0]
    ids = list(dict.fromkeys(each.id for _, each in held))
    decision = candidate.decision
    return errors.ApprovalPending(
        f'tool "{shown(candidate.call.name)}" held for approval ({decision.reason}) — resolve approval {first.id} and retry with header {TITLE}',
        approval_id=first.id,
        approvals=ids,
        **where_to_wait(request, [each for _, each in held]),
        reason_code=decision.reason_code,
        factors=list(decision.factors),
        risk_score=decision.risk_score,
    )


def where_to_wait(request: Request, held: Sequence[Hold]) -> dict[str, Any]:
    """Until when, and where, whoever was held may ask."""
    until = min(each.expires_at for each in held)
    return {"expires_at": rfc3339(until), "poll_url": f"{request.base_url}/api/v1/firewall/approvals/{held[0].id}"}


def no_claim(_: Grant) -> None:
    """What a call that makes none of its own holds of anybody's money."""


# --- Redeem ---------------------------------------------------------------------------------------------------------
@dataclass
class Presented:
    """Approvals that a request names, as they stood before it was judged. ``answer``: the kept answer that is to be given out."""

    approvals: Mapping[str, Presentable]
    answer: str | None = None
    #: Those that the judgement let calls go by.
    used: dict[str, Bound] = field(default_factory=dict)

    @property
    def is_replay(self) -> bool:
        """Whether a kept answer is given out, and no provider is called."""
        return self.answer is not None

    def ruled(self, place: Place, call: ToolCall, decision: Decision) -> Decision:
        """What a hold comes to: a call whose approval is here goes on, a rejected one does not; another stays held.

        Raises ``ApprovalInvalid`` for a call that was approved under another rule than the one which holds it now.
        """
        if decision.verdict is not Verdict.PENDING_APPROVAL:
            return decision
        bound = place.bound(call, decision.rule_id or 0)
        mine = [each for each in self.approvals.values() if (each.bound.surface, each.bound.tool_name, each.bound.args_hash) == _told(bound)]
        if not mine:
            return decision
        approval = mine[0]
        if approval.state == State.REJECTED:
            said = f": {approval.reason}" if approval.reason else ""
            return replace(
                decision, verdict=Verdict.DENY, reason=f"a reviewer rejected it{said}", reason_code=ReasonCode.APPROVAL_REJECTED, approval_id=approval.id
            )
        if field_name := approval.bound.mismatch(bound):
            raise services.invalid(approval.id, Refused.MISMATCH, field_name)
        if approval.bound.rule_hash != bound.rule_hash:
            raise services.invalid(approval.id, Refused.RULE_CHANGED)
        self.used[approval.id] = bound
        return replace(
            decision,
            verdict=Verdict.ALLOW,
            reason=f"approved by {approval.resolved_by}, once",
            reason_code=ReasonCode.APPROVAL_CONSUMED,
            approval_id=approval.id,
        )

    def mismatching(self, place: Place, call: ToolCall, decision: Decision) -> errors.ApprovalInvalid:
        """What whoever brings approvals of other calls is told."""
        approval = next(iter(self.approvals.values()))
        return services.invalid(approval.id, Refused.MISMATCH, approval.bound.mismatch(place.bound(call, decision.rule_id or 0)))

    def all_used(self, place: Place) -> Mapping[str, Bound]:
        """What a replay spends: every approval that is here, whether or not its call would be held again.

        The rule that held it must be there as the reviewer saw it: ``ApprovalInvalid`` otherwise.
        """
        for approval in self.approvals.values():
            if approval.state == State.APPROVED and approval.id not in self.used:
                bound = replace(approval.bound, policy_id=place.policy.id, rule_hash=place.bound(ToolCall(Surface.RESPONSE, ""), approval.rule_id).rule_hash)
                self.used[approval.id] = bound
        return self.used


def _told(bound: Bound) -> tuple[str, str, str]:
    return bound.surface, bound.tool_name, bound.args_hash


async def presented(store: Store, request: Request, workspace_id: int, key_id: int, body: bytes | None = None) -> Presented | None:
    """The approvals that a request's header names; None where it names none. Each may be spent by this key, if on this request.

    ``body`` is a relay request's; None for a call that comes alone. Raises ``ApprovalInvalid``, ``StoreUnavailable``.
    """
    ids = named(request.headers)
    if not ids:
        return None
    found, answers = await store.read(_look_up, workspace_id, key_id, ids)
    rows = {each.id: each for each in found}
    kept_for = next((answer for answer in answers if set(ids) <= set(answer.approvals)), None)
    if kept_for is not None:
        rows |= {each.id: each for each in kept_for.approvals.values() if each.id in ids or each.state == State.REJECTED}
    has_approved = any(each.state == State.APPROVED and not each.is_past for each in found)
    for approval_id in ids:
        _refuse_by_state(rows.get(approval_id), approval_id, in_answer=kept_for is not None and has_approved)
    await _refuse_other_request(rows.values(), body)
    if any(each.has_answer for each in found):
        return Presented(rows, _whole_answer(kept_for, ids))
    return Presented(rows)


def named(headers: Mapping[bytes, bytes]) -> list[str]:
    """The ids of the header, each once. Raises ``ApprovalInvalid`` for what is no id, ``ValidationFailed`` for too many."""
    value = headers.get(HEADER)
    if value is None:
        return []
    ids = list(dict.fromkeys(each.strip() for each in value.decode("latin-1").split(",")))
    if len(ids) > MAX_NAMED:
        raise errors.ValidationFailed(f"{TITLE} takes at most {MAX_NAMED} ids.", param=TITLE)
    if wrong := [each for each in ids if not _ID.fullmatch(each)]:
        raise services.invalid(shown(wrong[0], 24), Refused.UNKNOWN)
    return ids


def _look_up(workspace_id: int, key_id: int, ids: Sequence[str]) -> tuple[list[Presentable], list[selectors.Kept]]:
    with tenancy.scope(workspace_id):
        return selectors.presentable(workspace_id, key_id, ids), selectors.kept_answers(workspace_id, key_id, ids)


def _refuse_by_state(approval: Presentable | None, approval_id: str, *, in_answer: bool) -> None:
    if approval is None:
        raise services.invalid(approval_id, Refused.UNKNOWN)
    reason = refusal_of_state(approval.state, is_past=approval.is_past)
    # Beside one that was approved, a rejected call of the same answer is taken out of it.
    if reason is not None and not (reason is Refused.REJECTED and in_answer):
        raise services.invalid(approval_id, reason)


async def _refuse_other_request(approvals: Collection[Presentable], body: bytes | None) -> None:
    """Raise ``ApprovalInvalid`` if one of them was given for another request."""
    whole, definitions = "", dict[str, str]()
    if body is not None:
        whole, definitions = await asyncio.to_thread(request_hashes, body, tuple({each.bound.tool_name for each in approvals}))
    for each in approvals:
        if body is not None and each.bound.request_hash and each.bound.tool_hash != definitions[each.bound.tool_name]:
            raise services.invalid(each.id, Refused.MISMATCH, "tool_hash")
        if each.bound.request_hash != whole:
            raise services.invalid(each.id, Refused.MISMATCH, "request_hash")


def _whole_answer(kept: selectors.Kept | None, ids: Sequence[str]) -> str:
    """The answer to give out, once all its holds are resolved. Raises ``ApprovalInvalid``."""
    if kept is None:
        raise services.invalid(ids[0], Refused.INCOMPLETE)
    for each in kept.approvals.values():
        if each.state != State.REJECTED and each.id not in ids:
            raise services.invalid(each.id, Refused.INCOMPLETE)
    return selectors.opened_answer(kept)


async def redeem(store: Store, place: Place, used: Mapping[str, Bound], events: Collection[MutableMapping[str, Any]], request_id: str) -> None:
    """Spend approvals, all or none, with the rows of the calls that they let go. See ``unrecorded``. Raises ``ApprovalInvalid``, ``StoreUnavailable``."""
    rows = {event["approval_id"]: event for event in events if event.get("approval_id") in used}
    try:
        await store.change(_redeem, place.workspace_id, used, rows, request_id)
    except (DatabaseError, TimeoutError) as error:
        raise errors.StoreUnavailable("The approval cannot be spent just now.") from error
    for event in rows.values():
        event[STANDS] = True
    store.tell_feed(place.workspace_id)


def unrecorded(events: Iterable[R]) -> list[R]:
    """Without those that stand already, as they were written in one transaction with what became of their approval."""
    return [event for event in events if STANDS not in event]


def _redeem(workspace_id: int, used: Mapping[str, Bound], rows: Mapping[str, Mapping[str, Any]], request_id: str) -> None:
    with tenancy.scope(workspace_id):
        within = workspace(workspace_id)
        if within is None:
            raise errors.NotFound("No such workspace.")
        services.redeem(within, calls=used, events=rows, request_id=request_id)
