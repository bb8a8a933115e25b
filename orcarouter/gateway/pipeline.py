"""A call's way, in the order in which things happen. Source: DESIGN 2; spec/platform.md 1.5; spec/decisions.md 6.

Nothing is sent to the provider before the inbound decisions stand; nothing that was decided is answered before it is recorded.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

import orjson
from django.conf import settings

from firewall.engine import advertised, afterwards
from firewall.engine.afterwards import Judged
from firewall.engine.decide import decide, decide_request
from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Surface, ToolCall, Verdict
from keys.engine.grant import Grant
from keys.models import UsageSource
from orcarouter.gateway import attempts, claims, correlate, holds, record, runs
from orcarouter.gateway.accounts import Settlement
from orcarouter.gateway.callers import authenticate, require, scope_refusal
from orcarouter.gateway.engine import answer, gate, openai, pricing
from orcarouter.gateway.engine.calls import AS_IT_CAME, EmittedCall, Ruling, Usage
from orcarouter.gateway.engine.clear import is_clear
from orcarouter.gateway.engine.exchange import Exchange, Refusal, fingerprint, message_digests
from orcarouter.gateway.money import Claim
from orcarouter.gateway.recorder import Recording
from orcarouter.gateway.refusals import BUDGET_UNKNOWN, KEY_FROZEN, blind_refusal, run_state, said_of, unaffordable
from orcarouter.gateway.relay_holds import RelayHolds, ruling_of, waits
from orcarouter.gateway.request import Request
from orcarouter.gateway.rows import Row, Rows
from orcarouter.gateway.state import State
from orcarouter.gateway.upstream import ProviderAnswer, Upstream, message_of, taken
from workspaces import errors
from workspaces.ids import moment_of

logger = logging.getLogger(__name__)

_PEPPER = settings.KEY_PEPPER.encode()
#: A body of this size is parsed beside the event loop: the worst of 20 MiB takes a second.
LARGE_BODY_BYTES = 256 * 1024
_PARSERS = ThreadPoolExecutor(2, thread_name_prefix="orca-parse")
TOO_LARGE = Decision(Verdict.DENY, "the tool call is larger than the gateway will hold", ReasonCode.RESPONSE_TOO_LARGE, risk_score=80)


# --- 2: what is asked ---------------------------------------------------------------------------------------------------
def _parse(body: bytes) -> Exchange:
    parsed = openai.parse(body)
    if isinstance(parsed, Refusal):
        raise errors.BadRequestBody(parsed.message, param=parsed.param)
    return parsed


# --- The whole way ----------------------------------------------------------------------------------------------------
async def chat_completions(state: State, upstream: Upstream, request: Request) -> None:
    """Serve one ``POST /v1/chat/completions``. Raises ``OrcaError`` while nothing has been answered yet."""
    # The moment that its id says: in the day and month of that, whatever the clock says later, the call counts.
    started_at, started = moment_of(request.uuid), time.monotonic()
    token_hash, grant = await authenticate(state, request)
    correlation = correlate.read(request.headers)
    body = await request.read_body()
    exchange = _parse(body) if len(body) < LARGE_BODY_BYTES else await asyncio.get_running_loop().run_in_executor(_PARSERS, _parse, body)
    lineage = _lineage(request, grant, exchange, correlation, started_at)
    presented = await holds.presented(state, request, grant.workspace_id, grant.key_id, body) if holds.HEADER in request.headers else None
    # A kept answer is paid for.
    claim_of = holds.no_claim if presented and presented.is_replay else partial(_claim, state, request, exchange, started_at)
    try:
        current, admission = await state.admit(token_hash, grant, lineage, claim_of)
        require(request, current, exchange.model)
        assert current is not None
        if exchange.model not in current.models:
            raise errors.ModelNotFound(f"The model {exchange.model!r} does not exist or no provider offers it.", param="model")
    except BaseException:
        # Refused, or the client is gone: what it may have held, whether or not Valkey's answer was heard, is given back.
        state.accounts.settle(Settlement(grant.workspace_id, request.id, 0, ()))
        raise
    source = "key" if current.one_run_an_hour and correlation.agent_run_id is None else lineage.source
    call = record.Call(
        request.uuid,
        request.id,
        started_at,
        started,
        correlation,
        current,
        exchange,
        admission.run_id,
        source,
        lineage.digests[0],
        lineage.fingerprint,
        claim=admission.claim,
        process_id=state.lease.process_id,
    )
    await Relay(state, upstream, request, call, admission, presented).run()


def _claim(state: State, request: Request, exchange: Exchange, at: datetime, grant: Grant) -> Claim | None:
    """What the call is to hold. None where it will be refused anyway."""
    if grant.scope.is_frozen or exchange.model not in grant.models or scope_refusal(request, grant, exchange.model) is not None:
        return None
    return claims.of_relay(grant, exchange, request_id=request.id, process_id=str(state.lease.process_id), at=at)


def _lineage(request: Request, grant: Grant, exchange: Exchange, correlation: correlate.Correlation, at: datetime) -> runs.Lineage:
    digests = tuple([digest.hex() for digest in message_digests(exchange, secret=_PEPPER)[-runs.MAX_PREFIXES :][::-1]])
    run_id = correlation.agent_run_id
    if run_id is None and grant.one_run_an_hour:
        run_id = f"key-{grant.key_id}-{at:%Y%m%d%H}"
    # A run that begins with this call has the call's own id.
    candidate = f"run_{request.id.removeprefix('req_')}"
    return runs.Lineage(run_id, candidate, fingerprint(grant.key_id, exchange, secret=_PEPPER).hex(), digests)


class Relay:
    """An admitted call: judged, sent, judged again on its way back, recorded at each step."""

    def __init__(
        self, state: State, upstream: Upstream, request: Request, call: record.Call, admission: runs.Admission, presented: holds.Presented | None
    ) -> None:
        self.state, self.upstream, self.request, self.call = state, upstream, request, call
        self.holds = RelayHolds(self, presented)
        self.run_state = run_state(call.grant.stopped_runs, admission, call.started_at)
        self.refused_by, self.is_held = admission.held.refused_by, admission.held.is_held
        self.is_blind, self.chains = admission.is_blind, admission.chains
        self.policy: Policy | None = call.grant.policy
        self.observes = call.grant.observe_mode
        self.judges = self.policy is not None or self.observes
        self.notices = self.policy.block_notice if self.policy else True
        self.recording: Recording | None = None
        self.blocked = 0
        self.is_settled = False
        self.noted: Usage | None = None

    async def run(self) -> None:
        try:
            await self._run()
        except asyncio.CancelledError:
            await asyncio.shield(self._hung_up())
            raise
        except errors.OrcaError as error:
            if not self.is_settled:
                # The record is away; it may be back before its rows are given up.
                self._submit_rest("failed", error.status, error.code)
            raise
        except Exception:
            if not self.is_settled:
                await self.state.stands(self._submit_rest("failed", errors.InternalError.status, errors.InternalError.code))
            raise

    async def _run(self) -> None:
        await self._refuse_unaffordable()
        try:
            await self.holds.prepare()
            events = await self._judge_request()
            if self.holds.is_replay:
                await self.holds.replay(events)
                return
            events = await self.holds.redeem(events)
        except errors.ApprovalInvalid as error:
            await self.block(error)
        # --- 5: the record and the provider, at the same time. The first byte of a stream waits for this record, a whole answer for its usage too.
        self.recording = self.state.submit(self.call.grant, events, [], [record.reserve(self.call)], lingers=not self.call.exchange.is_stream)
        provided: ProviderAnswer | None = None
        try:
            provided = await self.upstream.ask(self.call.grant.models[self.call.exchange.model], self._outbound, partial(attempts.again, self))
            self.call.route, self.call.first_byte_ms = provided.route, provided.first_byte_ms
            await (self._stream(provided) if provided.is_stream else self._answer(provided))
        except errors.OrcaError as error:
            await self._inbound_stands()
            await self._fail(error)
        finally:
            if provided is not None:
                provided.close()

    async def _inbound_stands(self) -> None:
        if self.recording is not None:
            await self.state.stands(self.recording)

    # --- 4: the ceilings of the key ---------------------------------------------------------------------------------------
    async def _refuse_unaffordable(self) -> None:
        """Raise, recorded, if the call does not fit under a ceiling of its key, or nobody can tell whether it does."""
        claim = self.call.claim
        if claim is None or not claim.ceilings:
            return
        if self.is_blind:
            await self.refuse(BUDGET_UNKNOWN, record.request(self.call, BUDGET_UNKNOWN, self.run_state, datetime.now(UTC)))
        if error := unaffordable(claim, self.refused_by, self.call.exchange.model):
            await self.block(error)

    # --- 3, 4: inbound --------------------------------------------------------------------------------------------------
    async def _judge_request(self) -> list[Row]:
        """The events of the advertised tools. Raises ``FirewallBlocked`` or ``UnknownField``, recorded, if one may not be."""
        exchange, policy = self.call.exchange, self.policy
        whole = self._judge_whole()
        events = record.request(self.call, whole, self.run_state, datetime.now(UTC)) if whole and (whole.blocks or whole.shadow) else []
        if whole and whole.blocks:
            if not self.run_state.calls and whole.reason_code in (ReasonCode.RUN_LIMIT, ReasonCode.COST_STORE_DOWN):
                self.call.leave_run()
            await self.refuse(whole, events)
        if self.run_state.runs_this_hour:
            # From here on the run has begun: its calls are not judged for that again.
            self.run_state = replace(self.run_state, runs_this_hour=0)
        if policy and self._refuses_unknown_fields(policy) and (unknown := openai.unknown_fields(exchange)):
            await self.block(errors.UnknownField(f"The policy {policy.name!r} lets no unknown field through: {unknown[0]}", param=unknown[0]))
        offered = advertised.decide_advertised(policy, exchange.tools, self.run_state, observe_mode=self.observes)
        past = advertised.decide_past(policy, exchange.past_tools, self.run_state, observe_mode=self.observes)
        if policy and policy.has_holds:
            past = self.holds.past(past)
            offered = await self.holds.offered(offered, past)
        events += record.advertised(self.call, (*offered.rows, *past.rows), self.run_state, datetime.now(UTC))
        refused = advertised.named_refusal(policy, offered, past)
        if refused is None:
            return events
        name, decision = refused
        where = f", {advertised.PAST}," if name in exchange.past_tools else ""
        await self.refuse(decision, events, f'tool "{advertised.escaped(name)}"{where}')

    def _judge_whole(self) -> Decision | None:
        """The decision about the request itself, whatever its tools; None where there is nothing to say."""
        policy = self.policy
        if self.call.grant.scope.is_frozen:
            return KEY_FROZEN
        if self.is_blind and (unknown := blind_refusal(policy, self.run_state, meets_caps=policy is not None and policy.has_caps)):
            return unknown
        return decide_request(policy, self.run_state)

    async def refuse(self, decision: Decision, events: Rows, what: str = "request") -> NoReturn:
        message = f"{what} blocked by firewall: {decision.reason}"
        kind = errors.ModelPriceError if decision.reason_code is ReasonCode.PRICE_UNKNOWN else errors.FirewallBlocked
        await self.block(kind(message, **said_of(decision)), events)

    @staticmethod
    def _refuses_unknown_fields(policy: Policy) -> bool:
        return policy.refuse_unknown_fields and policy.default_verdict is Verdict.DENY and not policy.shadow_mode

    async def block(self, error: errors.OrcaError, events: Rows = ()) -> NoReturn:
        await self.settle("blocked", error.status, record.NOTHING, UsageSource.NONE, error_code=error.code, events=events)
        raise error

    def _outbound(self, route) -> bytes:
        self.call.route = route
        return openai.outbound(self.call.exchange, route.upstream_model)

    # --- 6, 7: the way back -----------------------------------------------------------------------------------------------
    @property
    def own_run(self) -> runs.Owned:
        return runs.Owned(self.call.grant.workspace_id, self.call.grant.key_id, self.call.run_id)

    async def judge(self, calls: Sequence[EmittedCall], *, again: bool = False) -> list[Judged]:
        """The judgement of calls that a model emitted, in order; ``again``: of those that a kept answer has."""
        if not calls:
            return []
        made = [ToolCall(Surface.RESPONSE, called.name, called.arguments) for called in calls]
        faults = {place: TOO_LARGE for place, called in enumerate(calls) if called.fault is not None}

        is_large = sum(len(called.arguments) for called in calls) >= LARGE_BODY_BYTES

        async def judge(run: RunState) -> tuple[list[Judged], RunState]:
            judged = partial(afterwards.in_order, self.policy, made, run, self._decide, faults, again=again)
            # A megabyte to search in takes up to a second.
            return await asyncio.to_thread(judged) if is_large else judged()

        if self.policy is not None and afterwards.concerns(self.policy, made):
            return await self.state.sequences.judge(self.call.grant, self.policy, self.own_run, self.chains, self.run_state, judge)
        return (await judge(self.run_state))[0]

    def _ruled(self, calls: Sequence[EmittedCall], judged: Sequence[Judged]) -> tuple[list[Row], list[Ruling]]:
        """The events of judged calls, and for each what becomes of it."""
        rulings = [ruling_of(each.decision) for each in judged]
        self.blocked += sum(not ruling.leaves for ruling in rulings)
        return record.emitted(self.call, calls, judged, datetime.now(UTC)), rulings

    def _decide(self, call: ToolCall, run: RunState) -> Decision:
        return self.holds.ruled(call, decide(self.policy, call, run, observe_mode=self.observes))

    async def _answer(self, provided: ProviderAnswer) -> None:
        body = await provided.body()
        read = answer.read(body)
        if read is None:
            raise taken(errors.UpstreamError("The provider's answer is not a chat completion."))
        if self.judges and not is_clear(body):
            raise taken(errors.UpstreamError("The provider's answer could be read as different tool calls."))
        if read.is_error:
            raise errors.UpstreamError(f"The provider answered 200 with an error: {message_of(body, provided.route.secret)}", upstream_status=200)
        events: list[Row] = []
        rulings = [AS_IT_CAME] * len(read.calls)
        if self.judges:
            judged = await self.judge(read.calls)
            events, rulings = self._ruled(read.calls, await self.holds.held(read, judged) if waits(judged) else judged)
        body = record.told(self.call, self.request.headers, answer.release(read, rulings, notices=self.notices), read.usage)
        used, source = self.used(read.usage, read.text_bytes)
        # The usage joins the inbound events in one group commit if they have not left yet; both stand before the answer.
        await self.settle("completed", 200, used, source, events=events)
        await self._inbound_stands()
        await self.request.answer(200, body, self.headers())

    async def _stream(self, provided: ProviderAnswer) -> None:
        """Relay a stream through the gate. Once bytes are out, a failure is an event of the stream."""
        if not self.call.exchange.is_stream:
            raise errors.UpstreamError("The provider answered with a stream that nobody asked for.")
        holds_calls = self.policy is not None and self.policy.has_holds
        relayed = gate.Gate(judges=self.judges, withholds_usage=not self.call.exchange.wants_usage, notices=self.notices, waits=holds_calls)
        self.gate, relayed.cost_of = relayed, record.teller(self.call, self.request.headers)
        self.state.lease.watch(self.call.request_id, self._note)
        try:
            pass_to = partial(self.holds.pass_to, provided) if holds_calls else provided.pass_to
            while await pass_to(self._flows):
                await self._pass_on(relayed, self.step)
                if relayed.is_over:
                    provided.is_over = True
                    break
            else:
                await self._pass_on(relayed, relayed.close())
            if not self.is_settled:
                await self._settle_stream(relayed, "completed")
        except errors.OrcaError as error:
            if not self.request.is_answering:
                raise
            if not self.is_settled and isinstance(error, errors.StoreUnavailable):
                self._submit_rest("failed", 200, error.code)
            elif not self.is_settled:
                await self._settle_stream(relayed, "failed", error.code)
            await self.request.write(gate.error_event(orjson.dumps(error.body())) + gate.DONE)
        await self.request.end()

    def _flows(self, chunk: bytes) -> bool:
        """Send on what comes of a stream as it comes. False where ``step``, what it came to, has to be waited for."""
        self.step = step = self.gate.feed(chunk)
        return not (step.calls or self.gate.is_over) and self.request.write_now(step.send)

    async def _pass_on(self, relayed: gate.Gate, step: gate.Step) -> None:
        while step.calls:
            await self._send(step.send)
            judged = await self.judge(step.calls)
            if waits(judged):
                judged = await self.holds.held_stream(step.calls, judged)
            events, rulings = self._ruled(step.calls, judged)
            if events:
                await self.state.record(self.call.grant, events, [])
            self.holds.note(step.calls, judged)
            step = relayed.resume(rulings)
        if step.error is not None or step.fault is not None:
            await self._send(step.send)
            raise errors.UpstreamError("The provider's stream failed." if step.error is not None else "An event of the provider's stream is too large.")
        if relayed.is_done and not self.is_settled:
            # What ends the answer leaves after its usage stands: an answered call is a recorded call.
            await self._settle_stream(relayed, "completed")
        await self._send(step.send)

    async def _send(self, piece: bytes) -> None:
        if not piece:
            return
        if not self.request.is_answering:
            # Here and not before the first byte is read: of a stream that breaks off meanwhile, what came is not lost.
            await self._inbound_stands()
            await self.request.start_stream(self.headers())
        await self.request.write(piece)

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-orca-firewall", b"blocked=%d" % self.blocked)] if self.blocked else []

    # --- 8: what it used ---------------------------------------------------------------------------------------------------
    def used(self, reported: Usage | None, text_bytes: int) -> tuple[Usage, UsageSource]:
        if reported is not None:
            return reported, UsageSource.PROVIDER
        return pricing.usage_of_text(self.call.exchange, text_bytes), UsageSource.COUNTED

    async def _settle_stream(self, relayed: gate.Gate, outcome: str, error_code: str | None = None) -> None:
        await self.settle(outcome, 200, *self.used(relayed.usage, relayed.text_bytes), error_code=error_code)

    async def settle(self, outcome: str, status: int, used: Usage, source: UsageSource, *, error_code: str | None = None, events: Rows = ()) -> None:
        await self.state.stands(self._submit(outcome, status, used, source, error_code=error_code, events=events))

    def _submit(self, outcome: str, status: int, used: Usage, source: UsageSource, *, error_code: str | None = None, events: Rows = ()) -> Recording:
        self.is_settled = True
        latency_ms = round((time.monotonic() - self.call.started) * 1000)
        cost = record.cost_of(self.call, used)
        row = record.usage(
            self.call, outcome=outcome, status=status, used=used, source=source, cost_micro_usd=cost, latency_ms=latency_ms, error_code=error_code
        )
        # What never reached the ledger as held does not leave it as given back.
        ledger = [] if self.recording is None else [record.settle(self.call, cause=outcome, cost_micro_usd=cost or 0)]
        self.state.lease.forget(self.call.request_id)
        return self.state.submit(self.call.grant, list(events), [row], ledger, self.settlement(cost or 0))

    def settlement(self, cost_micro_usd: int) -> Settlement | None:
        """What to tell Valkey: nothing of a call that it refused to hold anything for."""
        if not self.is_held and not self.is_blind:
            return None
        # Without an answer of Valkey's, only it knows whether something is held.
        accounts = self.call.accounts if self.is_held else ()
        return Settlement(self.call.grant.workspace_id, self.call.claim_id, cost_micro_usd, accounts)

    def _note(self) -> Row | None:
        """What the stream has cost so far, for whoever settles it should this process die; None where that is known."""
        used, _ = self.used(self.gate.usage, self.gate.text_bytes)
        if used == self.noted:
            return None
        self.noted = used
        return record.streamed(self.call, used)

    def _submit_rest(self, outcome: str, status: int, error_code: str | None = None) -> Recording:
        """Begin to record a call that ended before its time, with what it used as far as that is known."""
        used, source = self._used_so_far()
        return self._submit(outcome, status, used, source, error_code=error_code)

    def _used_so_far(self) -> tuple[Usage, UsageSource]:
        relayed: gate.Gate | None = getattr(self, "gate", None)
        return self.used(relayed.usage if relayed else None, relayed.text_bytes if relayed else 0)

    async def _fail(self, error: errors.OrcaError) -> None:
        """Record a call that ends with an error, and raise it. What cannot be recorded says so instead."""
        if not self.is_settled:
            vain = self.holds.spent_in_vain(error)
            used, source = self._used_so_far() if getattr(error, "may_have_cost", False) else (record.NOTHING, UsageSource.NONE)
            await self.settle("failed", error.status, used, source, error_code=error.code, events=vain)
        raise error

    async def _hung_up(self) -> None:
        """The client is gone: the provider's call ends with it, and what was used is recorded."""
        try:
            await self._inbound_stands()
            if not self.is_settled:
                await self.state.stands(self._submit_rest("hung_up", 499))
        except errors.OrcaError as error:
            logger.error("hung_up_call_not_recorded", extra={"request_id": self.request.id, "code": error.code})
