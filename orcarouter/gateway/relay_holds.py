"""What a relay call has to do with approvals: offered tools and whole answers that are held, and kept answers that are given out."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from approvals import services
from approvals.engine.binding import Refused
from firewall.engine.advertised import Offered
from firewall.engine.advertised import Row as Said
from firewall.engine.afterwards import Judged
from firewall.engine.types import Decision, ReasonCode, Surface, ToolCall, Verdict
from keys.models import UsageSource
from orcarouter.gateway import holds, record
from orcarouter.gateway.engine import answer, whole
from orcarouter.gateway.engine.answer import Answer
from orcarouter.gateway.engine.calls import AS_IT_CAME, EmittedCall, Ruling
from orcarouter.gateway.engine.exchange import shown
from orcarouter.gateway.rows import Row, Rows
from workspaces import errors

if TYPE_CHECKING:
    from orcarouter.gateway.pipeline import Relay
    from orcarouter.gateway.upstream import ProviderAnswer


def waits(judged: Sequence[Judged]) -> bool:
    """Whether a rule holds one of these calls."""
    return any(each.decision.verdict is Verdict.PENDING_APPROVAL for each in judged)


def ruling_of(decision: Decision) -> Ruling:
    """What becomes of an emitted call."""
    if decision.verdict is Verdict.SANITIZE:
        return Ruling(arguments=decision.arguments)
    return Ruling(refusal=decision.reason) if decision.blocks else AS_IT_CAME


class RelayHolds:
    """One instance a call. ``presented`` are the approvals that its request names."""

    def __init__(self, relay: Relay, presented: holds.Presented | None) -> None:
        # What the call keeps would otherwise be freed by the collector alone, in pauses that other calls wait for.
        self.relay: Relay = weakref.proxy(relay)
        self.presented = presented
        self._place: holds.Place | None = None
        #: The provider's stream as far as it was read; None where it is too long to be kept, or nothing of it need be.
        self._read: list[bytes] | None = None
        self._read_bytes = 0
        self._source: ProviderAnswer | None = None
        #: What was read ahead for a hold that could not be made.
        self._ahead: deque[bytes] = deque()
        self._judged: list[tuple[EmittedCall, Judged]] = []
        #: Why no further call of this answer can be held.
        self._unable: ReasonCode | None = None

    @property
    def is_replay(self) -> bool:
        return self.presented is not None and self.presented.is_replay

    async def prepare(self) -> None:
        """Before anything is judged: see whether what is presented may be spent under the policy in force. Raises ``ApprovalInvalid``."""
        if self.presented is None:
            return
        policy = self.relay.policy
        first = next(iter(self.presented.approvals.values()))
        if policy is None or any(each.bound.policy_id != policy.id for each in self.presented.approvals.values()):
            if policy is not None or self.is_replay:
                raise services.invalid(first.id, Refused.MISMATCH, "policy_id")
            return
        await self.place()

    async def place(self) -> holds.Place:
        call, policy = self.relay.call, self.relay.policy
        assert policy is not None
        if self._place is None:
            self._place = await holds.place_of(call.grant.workspace_id, call.grant.key_id, policy, call.exchange.body, call.exchange.tools)
        return self._place

    def ruled(self, call: ToolCall, decision: Decision) -> Decision:
        """What a hold comes to, with what is presented."""
        if decision.verdict is not Verdict.PENDING_APPROVAL or self.presented is None or self._place is None:
            return decision
        return self.presented.ruled(self._place, call, decision)

    # --- Offered tools ---
    async def offered(self, offered: Offered, past: Offered) -> Offered:
        """Decisions on the request's tools once those that a rule holds are held. Raises ``ApprovalPending``, recorded.

        ``past`` are those on the tools of its history: a request that is refused for one of them is not held.
        """
        if not _any_waits(offered.decisions):
            return offered
        decisions = await self._held_or_noted(offered, past)
        return Offered(offered.names, tuple(decisions))

    async def _held_or_noted(self, offered: Offered, past: Offered) -> list[Decision]:
        relay = self.relay
        if self.is_replay:
            return [_noted(each, "the request spends an approval") for each in offered.decisions]
        calls = [ToolCall(Surface.INBOUND, name) for name in offered.names]
        ruled = [self.ruled(call, each) for call, each in zip(calls, offered.decisions, strict=True)]
        if any(each.blocks and each.verdict is not Verdict.PENDING_APPROVAL for each in (*ruled, *past.decisions)):
            return [_noted(each, "not held, as the request is refused for another tool") for each in ruled]
        if not _any_waits(ruled):
            return ruled
        at, place = datetime.now(UTC), await self.place()
        candidates = {
            number: holds.Candidate(call, each, record.advertised(relay.call, [Said(each, (call.name,))], relay.run_state, at)[0])
            for number, (call, each) in enumerate(zip(calls, ruled, strict=True))
            if each.verdict is Verdict.PENDING_APPROVAL
        }
        found, code = await holds.hold(relay.state, place, list(candidates.values()), all_or_none=True)
        held = [(candidate, each) for candidate, each in zip(candidates.values(), found, strict=True) if each is not None]
        if not held:
            return [holds.unheld(each, code) if number in candidates else each for number, each in enumerate(ruled)]
        await relay.block(holds.pending(relay.request, held), holds.unrecorded(candidate.event for candidate in candidates.values()))

    @staticmethod
    def past(past: Offered) -> Offered:
        """Decisions on calls that the request's history tells of: nobody can be asked about what has been done."""
        return Offered(past.names, tuple(_noted(each, "the call was made before this request") for each in past.decisions))

    async def redeem(self, events: list[Row]) -> list[Row]:
        """Spend the approvals that let offered tools go on, before anything is sent; the events still to record. Raises ``ApprovalInvalid``."""
        if self.presented is None or not self.presented.used:
            return events
        await holds.redeem(self.relay.state, await self.place(), self.presented.used, events, self.relay.request.id)
        return holds.unrecorded(events)

    def spent_in_vain(self, error: errors.OrcaError) -> list[Row]:
        """The events that say of spent approvals that what followed failed: they stay spent."""
        used = self.presented.used if self.presented is not None else {}
        reason = f"the approval was spent, and the call then failed: {error.code}"
        said = [Decision(Verdict.AUDIT, reason, ReasonCode.APPROVAL_CONSUMED, approval_id=each) for each in used]
        return [row for each in said for row in record.request(self.relay.call, each, self.relay.run_state, datetime.now(UTC))]

    # --- A whole answer ---
    async def held(self, read: Answer, judged: Sequence[Judged]) -> list[Judged]:
        """Hold the calls of an answer that a rule holds, and keep it. Raises ``ApprovalPending``, recorded and paid for.

        Comes back with denials where nothing could be held.
        """
        relay, at = self.relay, datetime.now(UTC)
        if self._unable is None and len(read.body) > holds.MAX_KEPT_BYTES:
            self._unable = ReasonCode.RESPONSE_TOO_LARGE
        if self._unable is not None:
            return [_denied(each, self._unable) for each in judged]
        rows = [record.emitted(relay.call, [called], [each], at) for called, each in zip(read.calls, judged, strict=True)]
        places = [number for number, each in enumerate(judged) if each.decision.verdict is Verdict.PENDING_APPROVAL]
        candidates = [holds.Candidate(_made(read.calls[number]), judged[number].decision, rows[number][0]) for number in places]

        def keep(is_held: Sequence[bool]) -> str:
            stays = {number for number, each in zip(places, is_held, strict=True) if each}
            rulings = [AS_IT_CAME if number in stays else ruling_of(each.decision) for number, each in enumerate(judged)]
            return answer.release(read, rulings, notices=relay.notices).decode()

        found, code = await holds.hold(relay.state, await self.place(), candidates, keep=keep)
        settled = list(judged)
        for number, each in zip(places, found, strict=True):
            if each is None:
                settled[number] = _denied(judged[number], code)
                rows[number] = record.emitted(relay.call, [read.calls[number]], [settled[number]], at)
        held = [(candidate, each) for candidate, each in zip(candidates, found, strict=True) if each is not None]
        if not held:
            self._unable = code
            return settled
        error = holds.pending(relay.request, held)
        used, source = relay.used(read.usage, read.text_bytes)
        new = [row for called, of_call in zip(read.calls, rows, strict=True) for row in of_call if not self._is_recorded(called)]
        await relay.settle("held", error.status, used, source, error_code=error.code, events=holds.unrecorded(new))
        raise error

    # --- A stream ---
    async def pass_to(self, provided: ProviderAnswer, take: Callable[[bytes], bool]) -> bool:
        """What ``provided.pass_to`` does, the stream being kept as far as a hold would need it."""
        if self._source is None:
            self._source, self._read = provided, []

        def kept(piece: bytes) -> bool:
            self._keep(piece)
            return take(piece)

        if await provided.pass_to(kept):
            return True
        while self._ahead:
            if not take(self._ahead.popleft()):
                return True
        return False

    def _keep(self, piece: bytes) -> None:
        if self._read is None:
            return
        self._read.append(piece)
        self._read_bytes += len(piece)
        if self._read_bytes > 4 * holds.MAX_KEPT_BYTES:
            # Each frame repeats its envelope: a stream is many times as long as what it says.
            self._read, self._unable = None, ReasonCode.RESPONSE_TOO_LARGE

    def note(self, calls: Sequence[EmittedCall], judged: Sequence[Judged]) -> None:
        """These calls of the stream are judged, and recorded."""
        if self._read is not None:
            self._judged += zip(calls, judged, strict=True)

    async def held_stream(self, calls: Sequence[EmittedCall], judged: Sequence[Judged]) -> list[Judged]:
        """Hold an answer in the middle of its stream: the rest is read, and nothing of it leaves. See ``held``."""
        if self._unable is not None or self._read is None or self._source is None:
            return [_denied(each, self._unable or ReasonCode.HOLD_UNAVAILABLE) for each in judged]
        await self._source.pass_to(self._read_ahead)
        body = whole.of_stream(b"".join([*self._read, *self._ahead]))
        read = body and answer.read(body)
        if not read:
            raise errors.UpstreamError("The provider's answer is not a chat completion.")
        known = [*self._judged, *zip(calls, judged, strict=True)]
        whole_judged = await self._judge_rest(read, known)
        settled = await self.held(read, whole_judged)
        denied = {_spelled(called): each for called, each in zip(read.calls, settled, strict=True)}
        return [denied.get(_spelled(called), each) for called, each in zip(calls, judged, strict=True)]

    def _read_ahead(self, piece: bytes) -> bool:
        self._ahead.append(piece)
        return True

    async def _judge_rest(self, read: Answer, known: Sequence[tuple[EmittedCall, Judged]]) -> list[Judged]:
        """The judgement of every call of the answer: those that are known stand, the rest is judged after them."""
        stands: dict[tuple, list[Judged]] = {}
        for called, each in known:
            stands.setdefault(_spelled(called), []).append(each)
        found = {number: stands[_spelled(called)].pop(0) for number, called in enumerate(read.calls) if stands.get(_spelled(called))}
        rest = [number for number in range(len(read.calls)) if number not in found]
        found |= dict(zip(rest, await self.relay.judge([read.calls[number] for number in rest]), strict=True))
        return [found[number] for number in range(len(read.calls))]

    def _is_recorded(self, called: EmittedCall) -> bool:
        return _spelled(called) in Counter(_spelled(known) for known, _ in self._judged)

    # --- A kept answer ---
    async def replay(self, events: Rows) -> None:
        """Give out the answer that was kept, in the shape asked for, and spend its approvals. Raises ``ApprovalInvalid``, ``FirewallBlocked``."""
        relay, presented = self.relay, self.presented
        assert presented is not None
        assert presented.answer is not None
        read = answer.read(presented.answer.encode())
        assert read is not None
        try:
            body = await self._spend(read, events)
        except errors.OrcaError:
            # Judged as going on, its calls were counted as steps of the run.
            relay.state.sequences.distrust(relay.own_run)
            raise
        if not relay.call.exchange.is_stream:
            await relay.request.answer(200, body, relay.headers())
            return
        await relay.request.start_stream(relay.headers())
        await relay.request.write(whole.as_stream(body, with_usage=relay.call.exchange.wants_usage))
        await relay.request.end()

    async def _spend(self, read: Answer, events: Rows) -> bytes:
        """The kept answer as it may leave, its approvals spent and all of it recorded."""
        relay, presented = self.relay, self.presented
        assert presented is not None
        judged = await relay.judge(read.calls, again=True)
        for called, each in zip(read.calls, judged, strict=True):
            decision = each.decision
            if decision.verdict is Verdict.DENY and decision.reason_code is not ReasonCode.APPROVAL_REJECTED:
                refused = record.emitted(relay.call, [called], [each], datetime.now(UTC))
                await relay.refuse(decision, [*events, *refused], f'tool "{shown(called.name)}"')
            if decision.verdict is Verdict.PENDING_APPROVAL:
                raise services.invalid(next(iter(presented.approvals)), Refused.INCOMPLETE)
        place = await self.place()
        rows = [row for row in record.emitted(relay.call, read.calls, judged, datetime.now(UTC)) if row["approval_id"] and row["verdict"] == Verdict.ALLOW]
        await holds.redeem(relay.state, place, presented.all_used(place), rows, relay.request.id)
        rulings = [ruling_of(each.decision) for each in judged]
        relay.blocked = sum(not ruling.leaves for ruling in rulings)
        body = answer.release(read, rulings, notices=relay.notices)
        await relay.settle("completed", 200, record.NOTHING, UsageSource.NONE, events=[*events, *holds.unrecorded(rows)])
        return body


def _any_waits(decisions: Sequence[Decision]) -> bool:
    return any(each.verdict is Verdict.PENDING_APPROVAL for each in decisions)


def _made(called: EmittedCall) -> ToolCall:
    return ToolCall(Surface.RESPONSE, called.name, called.arguments)


def _spelled(called: EmittedCall) -> tuple[int, str, str]:
    return called.choice, called.name, called.arguments


def _denied(judged: Judged, code: ReasonCode) -> Judged:
    if judged.decision.verdict is not Verdict.PENDING_APPROVAL:
        return judged
    return replace(judged, decision=holds.unheld(judged.decision, code))


def _noted(decision: Decision, why: str) -> Decision:
    """A hold that is not made, of a tool that is not called by it."""
    if decision.verdict is not Verdict.PENDING_APPROVAL:
        return decision
    return replace(decision, verdict=Verdict.AUDIT, reason=f"{decision.reason}: {why}")
