"""The evaluate hook: whoever dispatches tool calls asks before each one, or before a whole plan. Source: spec/firewall.md 9.3, spec/decisions.md 11.

One engine, one record, one run state with the relay. A denied call is an answer like any other: the caller acts on it. A plan is
a question: nothing is recorded, counted, held or spent by it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from django.conf import settings

from firewall.engine import afterwards
from firewall.engine.afterwards import Judged
from firewall.engine.decide import decide
from firewall.engine.destinations import Destination, of_call
from firewall.engine.types import Decision, Policy, RunState, ToolCall, Verdict
from keys.engine.grant import Grant
from orcarouter.gateway import correlate, holds, record, runs
from orcarouter.gateway.callers import authenticate, require
from orcarouter.gateway.engine import evaluation
from orcarouter.gateway.engine.evaluation import Asked, Evaluation
from orcarouter.gateway.engine.exchange import Refusal, shown
from orcarouter.gateway.money import Claim
from orcarouter.gateway.pipeline import LARGE_BODY_BYTES
from orcarouter.gateway.refusals import blind_refusal, refuse_frozen, run_state
from orcarouter.gateway.request import Request
from orcarouter.gateway.resolver import Resolver
from orcarouter.gateway.state import State
from orcarouter.gateway.tool_money import Charge, goes_on
from workspaces import errors

_PEPPER = settings.KEY_PEPPER.encode()
#: Arguments over 1 MiB are refused by the engine whatever they say, so more than a little above it is no use.
MAX_BODY_BYTES = 2 * 1024 * 1024
#: What a plan comes to: the first of these that one of its steps has.
WORST_FIRST = (Verdict.DENY, Verdict.PENDING_APPROVAL, Verdict.SANITIZE, Verdict.AUDIT, Verdict.OBSERVE, Verdict.ALLOW)


# --- The two routes ---------------------------------------------------------------------------------------------------
async def evaluate(state: State, resolver: Resolver, request: Request) -> None:
    """Judge one call that is about to be made, and answer once the decision stands. Raises ``OrcaError``."""
    hook = await _Hook.open(state, request, evaluation.parse)
    hook.presented = await holds.presented(state, request, hook.grant.workspace_id, hook.key[0]) if holds.HEADER in request.headers else None
    step = hook.asked.steps[0]
    charge = Charge(state, request, step.tool_name, hook.key[0], hook.limits, hook.grant.workspace_id)
    try:
        admission = await hook.admit(charge)
        await charge.admitted(admission, hook.shared(step, None))
        call = await _call(step, hook.grant.policy, resolver)
        [judged] = await hook.judge([call], admission, charge)
        decision, events, more = await hook.settled(step, call, judged)
        await charge.book(hook.grant, decision, events, hook.shared(step, call))
    except BaseException as error:
        charge.release()
        if isinstance(error, errors.OrcaError):
            # Of a caller that is gone what was decided may yet come to stand.
            hook.forget_steps()
        raise
    await request.answer(200, orjson.dumps({"request_id": request.id, **_said(step, decision, more=more)}))


async def evaluate_plan(state: State, resolver: Resolver, request: Request) -> None:
    """Judge the steps of a plan as if each were made after the one before, unless that one is denied. Raises ``OrcaError``."""
    hook = await _Hook.open(state, request, evaluation.parse_plan)
    admission = await hook.look()
    steps = hook.asked.steps
    calls = await asyncio.gather(*(_call(step, hook.grant.policy, resolver) for step in steps))
    judged = await hook.foresee(calls, admission)
    told = [{"tool_name": step.tool_name, **_said(step, each.decision, each.findings)} for step, each in zip(steps, judged, strict=True)]
    verdicts = {each.decision.verdict for each in judged}
    worst = next(verdict for verdict in WORST_FIRST if verdict in verdicts)
    await request.answer(200, orjson.dumps({"request_id": request.id, "verdict": worst, "steps": told}))


class _Hook:
    """One request to the hook: whose it is, what it asks, and the run that it belongs to."""

    def __init__(self, state: State, request: Request, token_hash: str, grant: Grant, asked: Evaluation, is_large: bool) -> None:
        self.state, self.request, self.token_hash, self.grant, self.asked = state, request, token_hash, grant, asked
        self.is_large = is_large
        self.at = datetime.now(UTC)
        self.correlation = correlate.read(request.headers)
        self.key: tuple[int, str, str] = (grant.key_id, grant.key_name, grant.environment)
        #: Of the key whose run it is.
        self.stopped_runs, self.is_frozen, self.limits = grant.stopped_runs, grant.scope.is_frozen, grant.limits
        self.lineage: runs.Lineage
        self.run_id = ""
        #: Approvals that the call brings.
        self.presented: holds.Presented | None = None
        #: What its calls were judged with.

    @classmethod
    async def open(cls, state: State, request: Request, parse: Callable[[bytes], Evaluation | Refusal]) -> "_Hook":
        token_hash, grant = await authenticate(state, request)
        if not grant.is_firewall_gateway:
            # Refused by what may be an old copy: a key that was just made a gateway's must work.
            fresh = await state.fresh(token_hash, grant)
            require(request, fresh, None)
            assert fresh is not None
            grant = _gateways(fresh)
        body = await request.read_body()
        if len(body) > MAX_BODY_BYTES:
            raise errors.PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
        is_large = len(body) >= LARGE_BODY_BYTES
        asked = await asyncio.to_thread(parse, body) if is_large else parse(body)
        if isinstance(asked, Refusal):
            if asked.code == errors.BadRequestBody.code:
                raise errors.BadRequestBody(asked.message, param=asked.param)
            raise errors.ValidationFailed.of([{"param": asked.param, "message": asked.message}])
        if grant.tool_prices.prices and asked.key_id not in (None, grant.key_id):
            # What the other key may spend is not Valkey's to compare.
            fresh = await state.fresh(token_hash, grant)
            require(request, fresh, None)
            assert fresh is not None
            grant = _gateways(fresh)
        hook = cls(state, request, token_hash, grant, asked, is_large)
        await hook._find_key()
        hook.lineage = hook._lineage()
        return hook

    async def _find_key(self) -> None:
        """The key that the run belongs to. Raises ``NotFound``."""
        wanted, grant = self.asked.key_id, self.grant
        if wanted is None or wanted == grant.key_id:
            self.key = (grant.key_id, grant.key_name, grant.environment)
            self.stopped_runs, self.is_frozen, self.limits = grant.stopped_runs, grant.scope.is_frozen, grant.limits
            return
        found = await self.state.named_key(grant, wanted)
        if found is None:
            raise errors.NotFound("There is no such key in this workspace.", param="key_id")
        self.key = (wanted, found.name, found.environment)
        self.stopped_runs, self.is_frozen, self.limits = found.stopped_runs, found.is_frozen, found.limits

    def _lineage(self) -> runs.Lineage:
        key_id, run_id = self.key[0], self.asked.agent_run_id or self.correlation.agent_run_id
        if run_id is None and self.grant.one_run_an_hour:
            run_id = f"key-{key_id}-{self.at:%Y%m%d%H}"
        # Without messages to go by, the calls of one conversation (or of none) that come within the gap are one run.
        fingerprint = runs.hook_fingerprint(key_id, self.conversation_id, secret=_PEPPER)
        candidate = f"run_{self.request.id.removeprefix('req_')}"
        return runs.Lineage(run_id, candidate, fingerprint, (fingerprint,), key_id, conversation=(self.conversation_id,))

    @property
    def conversation_id(self) -> str | None:
        return self.asked.conversation_id or self.correlation.conversation_id

    # --- The run ---
    async def admit(self, charge: Charge) -> runs.Admission:
        """Enter the run: it counts one call more, and holds what that costs."""
        return await self._enter(self.lineage, charge.claimed)

    async def look(self) -> runs.Admission:
        """See the run as it stands: nothing changes."""
        return await self._enter(replace(self.lineage, digests=()), _looking)

    async def _enter(self, lineage: runs.Lineage, claim_of: Callable[[Grant], Claim | None]) -> runs.Admission:
        current, admission = await self.state.admit(self.token_hash, self.grant, lineage, claim_of)
        require(self.request, current, None)
        assert current is not None
        is_newer, self.grant = current is not self.grant, _gateways(current)
        if is_newer:
            await self._find_key()
        refuse_frozen(current, is_frozen=self.is_frozen)
        self.run_id = admission.run_id
        return admission

    async def judge(self, calls: Sequence[ToolCall], admission: runs.Admission, charge: Charge) -> list[Judged]:
        """What becomes of each call, in order; the run has made those that go on."""
        policy, run = self.grant.policy, run_state(self.stopped_runs, admission, datetime.now(UTC))
        judge = partial(self._in_order, calls, self._judge(admission, charge.blind_refusal()))
        if policy is not None and afterwards.concerns(policy, calls):
            return await self.state.sequences.judge(self.grant, policy, self._run, admission.chains, run, judge)
        if self.key[0] != self.grant.key_id:
            # Nothing to this policy, but perhaps a step to that key's own.
            self.state.sequences.distrust(self._run)
        return (await judge(run))[0]

    async def foresee(self, calls: Sequence[ToolCall], admission: runs.Admission) -> list[Judged]:
        """The same of calls that are not made."""
        policy, run = self.grant.policy, run_state(self.stopped_runs, admission, datetime.now(UTC))
        if policy is not None and afterwards.concerns(policy, calls):
            run = replace(run, chains=await self.state.sequences.progress(self.grant, policy, self._run, admission.chains, run))
        judge, prices, ahead = self._judge(admission), self.grant.tool_prices, 0

        def with_prices(call: ToolCall, run: RunState) -> Decision:
            nonlocal ahead
            price = prices.price(call.name)
            decision = judge(call, replace(run, spent_micro_usd=run.spent_micro_usd + ahead, estimate_micro_usd=price))
            ahead += price if goes_on(decision) else 0
            return decision

        return (await self._in_order(calls, with_prices, run))[0]

    def forget_steps(self) -> None:
        """What was judged as going on, and counted as a step of its run, does not: another spent its approval, or it is not recorded."""
        if self.run_id:
            self.state.sequences.distrust(self._run)

    @property
    def _run(self) -> runs.Owned:
        return runs.Owned(self.grant.workspace_id, self.key[0], self.run_id)

    def _judge(self, admission: runs.Admission, blind_refusal: Decision | None = None) -> "_Judge":
        return _Judge(self.grant.policy, self.grant.observe_mode, admission.is_blind, self._place, self.presented, blind_refusal)

    async def _in_order(self, calls: Sequence[ToolCall], judge: Callable[[ToolCall, RunState], Decision], run: RunState) -> tuple[list[Judged], RunState]:
        judged = partial(afterwards.in_order, self.grant.policy, calls, run, judge)
        return await asyncio.to_thread(judged) if self.is_large else judged()

    async def settled(self, step: Asked, call: ToolCall, judged: Judged) -> tuple[Decision, list[dict], dict[str, Any]]:
        """The decision once a call that is to be held is held, or its approval is spent; its events, and what its caller is told beside it."""
        decision, events, more = judged.decision, self.events(step, call, judged, datetime.now(UTC)), dict[str, Any]()
        place = self._place
        if place is not None and self.presented is not None and self.presented.used:
            await holds.redeem(self.state, place, self.presented.used, events, self.request.id)
        elif place is not None and decision.verdict is Verdict.PENDING_APPROVAL:
            if self.presented is not None:
                raise self.presented.mismatching(place, call, decision)
            candidate = holds.Candidate(call, decision, events[0])
            [held], code = await holds.hold(self.state, place, [candidate])
            if held is None:
                decision = holds.unheld(decision, code)
                events = self.events(step, call, replace(judged, decision=decision), datetime.now(UTC))
            else:
                decision = replace(decision, approval_id=held.id)
                more = holds.where_to_wait(self.request, [held])
        return decision, events, more

    @property
    def _place(self) -> holds.Place | None:
        return holds.Place(self.grant.workspace_id, self.key[0], self.grant.policy) if self.grant.policy else None

    # --- The record ---
    def shared(self, step: Asked, call: ToolCall | None) -> dict[str, Any]:
        """What all rows of the call have in common."""
        given = self.asked.agent_run_id or self.correlation.agent_run_id
        key_id, name, environment = self.key
        return {
            "workspace_id": self.grant.workspace_id,
            "request_id": self.request.id,
            "client_request_id": self.asked.client_request_id and shown(self.asked.client_request_id),
            "key_id": key_id,
            "token_name": name,
            "environment": environment,
            "model_name": self.asked.model and shown(self.asked.model),
            "conversation_id": self.conversation_id,
            "agent_run_id": self.run_id,
            "run_source": "key" if self.grant.one_run_an_hour and given is None else self.lineage.source,
            "step_id": step.step_id or self.correlation.step_id,
            "parent_step_id": step.parent_step_id or self.correlation.parent_step_id,
            "skill_name": call and call.skill and shown(call.skill),
        }

    def events(self, step: Asked, call: ToolCall, judged: Judged, at: datetime) -> list[dict]:
        shared, key_id = self.shared(step, call), self.key[0]
        decisions = [judged.decision, *judged.findings]
        if key_id != self.grant.key_id:
            # The event is of the run's key; that another one asked must show.
            decisions = [replace(each, factors=(*each.factors, f"asked by key {self.grant.key_id}")) for each in decisions]
        return [record.evaluated(shared, call, step.arguments, each, policy=self.grant.policy, run=judged.run, at=at) for each in decisions if each.is_recorded]


def _gateways(grant: Grant) -> Grant:
    if not grant.is_firewall_gateway:
        raise errors.PermissionRefused("This route is for keys with is_firewall_gateway.")
    return grant


# --- The call ---------------------------------------------------------------------------------------------------------
async def _call(asked: Asked, policy: Policy | None, resolver: Resolver) -> ToolCall:
    """The call as the engine judges it, with its names resolved where a rule looks at addresses."""
    # A call without arguments is called with none, which is not the same as a call whose arguments nobody can see.
    arguments = "{}" if asked.arguments is None else asked.arguments
    resolves = policy is not None and policy.resolves_on(asked.surface)
    destinations = None
    if asked.destination is not None or resolves:
        is_large = len(arguments) >= LARGE_BODY_BYTES
        destinations = await asyncio.to_thread(of_call, asked.destination, arguments) if is_large else of_call(asked.destination, arguments)
    if destinations and resolves:
        destinations = tuple(await asyncio.gather(*(_resolved(each, resolver) for each in destinations)))
    return ToolCall(asked.surface, asked.tool_name, arguments, asked.skill, destinations)


async def _resolved(to: Destination, resolver: Resolver) -> Destination:
    return replace(to, addresses=await resolver.addresses(to.host)) if to.needs_resolving else to


# --- The judgement ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Judge:
    """By what a call is judged. ``is_blind``: what the run has spent cannot be told; ``presented`` are the approvals it brings."""

    policy: Policy | None
    observes: bool
    is_blind: bool
    place: holds.Place | None
    presented: holds.Presented | None
    #: Instead of any decision, where money cannot be told and the call costs some.
    blind_refusal: Decision | None = None

    def __call__(self, call: ToolCall, run: RunState) -> Decision:
        decision = decide(self.policy, call, run, observe_mode=self.observes)
        if self.is_blind and self.blind_refusal:
            return self.blind_refusal
        if self.is_blind and (refusal := blind_refusal(self.policy, run, meets_caps=bool(decision.caps))):
            return refusal
        return self.presented.ruled(self.place, call, decision) if self.presented and self.place else decision


def _looking(grant: Grant) -> Claim | None:
    # A plan holds nothing, but what the run's calls cost counts against its caps.
    return Claim("", 0, tracks_run=True, looks_only=True) if grant.policy is not None and grant.policy.has_caps else None


def _said(asked: Asked, decision: Decision, findings: Sequence[Decision] = (), more: Mapping[str, Any] = {}) -> dict[str, Any]:
    """What the caller is told of a decision."""
    cleaned = decision.arguments if decision.verdict is Verdict.SANITIZE and asked.arguments is not None else None
    return {
        "verdict": decision.verdict,
        "reason": decision.reason,
        "policy_id": decision.policy_id,
        "policy_name": decision.policy_name or None,
        "rule_id": decision.rule_id,
        "rule_label": decision.rule_label or None,
        **({} if cleaned is None else {"arguments": orjson.Fragment(cleaned) if asked.as_object else cleaned}),
        **({} if decision.approval_id is None else {"approval_id": decision.approval_id}),
        "metadata": {
            "reason_code": decision.reason_code,
            "factors": [*decision.factors, *(finding.reason for finding in findings)],
            "risk_score": decision.risk_score,
            **more,
        },
    }
