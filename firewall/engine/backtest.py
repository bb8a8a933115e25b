"""A policy over recorded runs: event by event in order, with what each run had done, and what of its verdicts would be others.

Before the first changed verdict a run is what it was, and is judged with what was recorded of it. What comes after a change is
counterfactual: the agent would have been told something else, so later calls are those it made, not those it would have made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from firewall.engine.decide import decide_request
from firewall.engine.recorded import knows_sequences, run_of
from firewall.engine.replay import WHATEVER_THE_POLICY, Event, Judge, Offer
from firewall.engine.sequence import Progress
from firewall.engine.tally import RunName, Tally
from firewall.engine.types import Decision, ReasonCode, RunState, Verdict

#: Events that tell of a call rather than being one.
NOT_CALLS = frozenset(("approval_approved", "approval_rejected", "approval_expired", "approval_consumed", "lost_record"))
_MADE = (Verdict.ALLOW, Verdict.AUDIT, Verdict.OBSERVE, Verdict.SANITIZE)


class Request(NamedTuple):
    """One request of a run, from the ledger. ``cost_micro_usd`` None: its price is unknown. ``is_within``: it came in within the window."""

    request_id: str
    started_at_ms: int
    settled_at_ms: int
    cost_micro_usd: int | None
    is_blocked: bool
    is_within: bool = True


@dataclass(slots=True)
class Ledger:
    """What a run's requests cost, by when that was known. ``begun``: the run's number among those its key began in that hour, 0 unknown.

    ``in_force``: from when until when (ms) the run's key was governed by the very policy that is judged, as far as no event says.
    """

    requests: Sequence[Request] = ()
    begun: int = 0
    token_name: str | None = None
    in_force: tuple[int, int] = (0, 0)
    _by_id: Mapping[str, Request] | None = None
    _settled: Sequence[int] = ()
    _spent: Sequence[int] = ()

    def __post_init__(self) -> None:
        self._by_id = {request.request_id: request for request in self.requests}
        settled = sorted((request.settled_at_ms, request.cost_micro_usd or 0) for request in self.requests)
        self._settled = [at_ms for at_ms, _ in settled]
        spent, total = [0], 0
        for _, cost in settled:
            total += cost
            spent.append(total)
        self._spent = spent

    def request(self, request_id: str) -> Request | None:
        """The request as its usage row has it; None where none was kept."""
        return self._by_id.get(request_id) if self._by_id else None

    def spent_before(self, at_ms: int) -> int:
        """Micro-USD that the run's requests had settled by then."""
        return self._spent[bisect_right(self._settled, at_ms)]


class HeardOfRun(Protocol):
    """Who is told what is said of a run's calls, as ``tally.RunTally`` is."""

    def count(self, name: str | None, verdict: str, is_counterfactual: bool) -> None: ...
    def unknown(self, name: str, why: str, is_counterfactual: bool) -> None: ...
    def judged(self, event: Event, place: int, name: str | None, after: str, decision: Decision | None, is_counterfactual: bool) -> None: ...
    def offered(self, event: Event, offer: Offer, is_counterfactual: bool) -> None: ...
    def refused(self, request_id: str, at_ms: int, decision: Decision, is_counterfactual: bool) -> None: ...
    def end(self) -> None: ...


class Heard(Protocol):
    """Who is told of all runs, as ``tally.Tally`` is."""

    estimated: int

    def of_run(self, run: RunName, token_name: str | None) -> HeardOfRun: ...


class Replay:
    """One run. Feed its events in order, then ``close``."""

    def __init__(self, judge: Judge, tally: Heard, run: RunName, ledger: Ledger | None = None, token_name: str | None = None) -> None:
        self._judge, self._tally, self._counted = judge, tally, tally.of_run(run, token_name)
        self._ledger = ledger or Ledger()
        policy = judge.policy
        self._has_sequences = bool(policy and policy.sequences)
        self._counts_requests = policy is not None and (policy.has_caps or policy.max_runs_per_key_per_hour is not None)
        self._ahead = 0
        self._seen_requests = 0
        self._request_id = ""
        self._moment: tuple[str, str] = ("", "")
        self._has_changed = self._is_counterfactual = False
        self._chains: Mapping[str, Progress] = {}
        self._is_blurred = False
        self._in_force: tuple[int | None, int | None] | None = None

    def feed(self, event: Event) -> None:
        """Judge the run's next event again and count what comes of it; events that are no calls are passed over."""
        if is_no_call(event):
            return
        if self._counts_requests:
            self._requests_until(event.at_ms, event)
        if event.request_id != self._request_id:
            self._request_id = event.request_id
            self._seen_requests += 1
        names = event.names
        if not names:
            self._judge_request(event)
            return
        self._enter((event.request_id, event.surface))
        run, is_exact = self._state(event)
        offer = self._judge.offer(event, run)
        if offer is not None:
            self._count_offer(event, offer, is_exact)
            return
        for place, name in enumerate(names):
            self._judge_call(event, place, name, run, is_exact)
            if run.chains is not self._chains and self._has_sequences and place + 1 < len(names):
                run = replace(run, chains=self._chains)

    def close(self) -> None:
        """Judge what the run asked for after its last event, and end its count."""
        if self._counts_requests:
            self._requests_until(None, None)
        self._counted.end()

    # --- One call -----------------------------------------------------------------------------------------------------
    def _judge_call(self, event: Event, place: int, name: str, run: RunState, is_exact: bool) -> None:
        counted, before = self._counted, event.verdict
        if event.reason_code in WHATEVER_THE_POLICY and before == Verdict.DENY:
            counted.count(name, before, self._is_counterfactual)
            return
        judged = self._judge.judge(event, name, run, is_blurred=self._is_blurred)
        decision = judged.decision
        if decision is not None and not is_exact and (decision.caps or decision.reason_code in (ReasonCode.COST_CAP, ReasonCode.PRICE_UNKNOWN)):
            self._tally.estimated += 1
        after = before if decision is None else self._effect(event, decision, run)
        if after in _MADE:
            if judged.chains is not None:
                self._chains = judged.chains
            self._is_blurred = self._is_blurred or judged.blurs
        if decision is None:
            counted.unknown(name, judged.why, self._is_counterfactual)
            return
        self._has_changed = self._has_changed or after != before
        counted.judged(event, place, name, after, decision, self._is_counterfactual)

    def _count_offer(self, event: Event, offer: Offer, is_exact: bool) -> None:
        self._counted.offered(event, offer, self._is_counterfactual)
        self._has_changed = self._has_changed or bool(offer.changed)
        if not is_exact:
            self._tally.estimated += offer.capped

    def _effect(self, event: Event, decision: Decision, run: RunState) -> str:
        """The verdict that would stand, with what happened around the judgement."""
        verdict = decision.verdict
        if verdict is Verdict.PENDING_APPROVAL:
            if event.approval_id and event.verdict in _MADE:
                return event.verdict  # it was approved
            if event.reason_code == ReasonCode.HOLD_UNAVAILABLE and event.verdict == Verdict.DENY:
                return event.verdict  # nobody could be asked
        if event.reason_code == ReasonCode.COST_STORE_DOWN and self._is_refused_blind(run, meets_caps=bool(decision.caps)):
            return Verdict.DENY
        return verdict

    def _is_refused_blind(self, run: RunState, *, meets_caps: bool) -> bool:
        """Whether the policy refuses what cannot be told: what the run had spent, or how many there were."""
        policy = self._judge.policy
        if policy is None or policy.shadow_mode:
            return False
        return meets_caps or (policy.max_runs_per_key_per_hour is not None and not run.calls)

    # --- The run ------------------------------------------------------------------------------------------------------
    def _enter(self, moment: tuple[str, str]) -> None:
        """What is decided at one moment is decided by the same run: a change makes what comes later counterfactual."""
        if moment != self._moment:
            self._moment = moment
            self._is_counterfactual = self._has_changed

    def _state(self, event: Event) -> tuple[RunState, bool]:
        """The run before the event, and whether it is as it was recorded."""
        if not (self._has_sequences or self._counts_requests):
            return _NEW, True
        recorded = run_of(event.judged_on) if event.judged_on else None
        if recorded is not None:
            if self._has_sequences and not self._has_changed and knows_sequences(event.judged_on):
                # What this very policy saw is all that it saw.
                self._chains = recorded.chains if self._is_of_ours(event) else {**self._chains, **recorded.chains}
                self._is_blurred = False
            return recorded if recorded.chains is self._chains else replace(recorded, chains=self._chains), True
        # On the relay the request was judged for beginning a run, its calls are not again.
        begins = event.source != "relay" or not event.names
        return self._told_by_ledger(event.request_id, event.at_ms, begins=begins), False

    def _is_of_ours(self, event: Event) -> bool:
        policy = self._judge.policy
        return policy is not None and (event.policy_id, event.policy_version) == (policy.id, policy.version)

    def _told_by_ledger(self, request_id: str, at_ms: int, *, begins: bool) -> RunState:
        if not self._counts_requests:
            return RunState(at_ms=at_ms, chains=self._chains)
        ledger = self._ledger
        request = ledger.request(request_id)
        return RunState(
            calls=self._seen_requests - 1,
            spent_micro_usd=ledger.spent_before(request.started_at_ms if request else at_ms),
            estimate_micro_usd=request.cost_micro_usd if request else 0,
            runs_this_hour=ledger.begun if begins else 0,
            at_ms=at_ms,
            chains=self._chains,
        )

    # --- Requests for themselves --------------------------------------------------------------------------------------
    def _requests_until(self, at_ms: int | None, event: Event | None) -> None:
        """Judge the requests that came in by then, and that of an event itself: they meet caps and limits, tools or none."""
        if event is not None:
            self._in_force = (event.policy_id, event.policy_version)
        requests = self._ledger.requests
        while self._ahead < len(requests) and (at_ms is None or requests[self._ahead].started_at_ms <= at_ms):
            request = requests[self._ahead]
            self._ahead += 1
            # One that was refused for itself has an event, one that was refused for a tool was let in.
            if not request.is_blocked:
                self._let_in(request)
        if event is not None and event.source == "relay" and event.names and event.request_id != self._request_id:
            blocked = self._ledger.request(event.request_id)
            if blocked is not None and blocked.is_blocked:
                self._let_in(blocked)

    def _was_ours(self, at_ms: int) -> bool:
        """Whether it was this very policy that let the run's requests in: it knew better than the ledger what they might cost."""
        policy = self._judge.policy
        if self._in_force is None:
            since_ms, until_ms = self._ledger.in_force
            return since_ms <= at_ms < until_ms
        return policy is not None and self._in_force == (policy.id, policy.version)

    def _let_in(self, request: Request) -> None:
        self._seen_requests += request.request_id != self._request_id
        self._request_id = request.request_id
        if not request.is_within or self._was_ours(request.started_at_ms):
            return
        self._enter((request.request_id, ""))
        decision = decide_request(self._judge.policy, self._told_by_ledger(request.request_id, request.started_at_ms, begins=True))
        if decision is not None and (decision.caps or decision.blocks):
            self._tally.estimated += 1
        if decision is not None and decision.blocks:
            self._has_changed = True
            self._counted.refused(request.request_id, request.started_at_ms, decision, self._is_counterfactual)

    def _judge_request(self, event: Event) -> None:
        """A request that was refused for itself, or would have been but for shadow mode."""
        policy, counted = self._judge.policy, self._counted
        self._enter((event.request_id, ""))
        if event.reason_code in WHATEVER_THE_POLICY:
            counted.count(None, event.verdict, self._is_counterfactual)
            return
        run, is_exact = self._state(event)
        decision = decide_request(policy, run)
        self._tally.estimated += decision is not None and not is_exact
        after = decision.verdict if decision is not None and (decision.blocks or decision.shadow) else Verdict.ALLOW
        if event.reason_code == ReasonCode.COST_STORE_DOWN and self._is_refused_blind(run, meets_caps=policy is not None and policy.has_caps):
            after = Verdict.DENY
        self._has_changed = self._has_changed or after != event.verdict
        counted.judged(event, 0, None, after, decision, self._is_counterfactual)


_NEW = RunState()


def is_no_call(event: Event) -> bool:
    """It tells of a call rather than being one."""
    code = event.reason_code
    # A sequence that was completed is told of beside the call that completed it.
    return code is not None and (code in NOT_CALLS or (code == ReasonCode.SEQUENCE and event.verdict == Verdict.AUDIT and not event.shadow))


def replay(judge: Judge, tally: Tally, events: Iterable[Event], ledgers: dict[RunName, Ledger] | None = None) -> None:
    """Judge events of whole runs, in the order of their run ids and then of their own; and the runs that left a ledger and no event.

    ``ledgers`` is used up.
    """
    ledgers = {} if ledgers is None else ledgers
    runs: dict[RunName, Replay] = {}
    of = None
    for event in events:
        run_id = event.run_id or f"\0{event.request_id}"
        if run_id != of:
            # The same id under another key is another run.
            _close(runs)
            of = run_id
        name = (event.key_id, event.run_id)
        run = runs.get(name)
        if run is None:
            run = runs[name] = Replay(judge, tally, name, ledgers.pop(name, None), event.token_name)
        run.feed(event)
    _close(runs)
    if judge.policy is None or not judge.policy.judges_requests:
        return
    for name, ledger in ledgers.items():
        if any(request.is_within for request in ledger.requests):
            Replay(judge, tally, name, ledger, ledger.token_name).close()


def _close(runs: dict[RunName, Replay]) -> None:
    for run in runs.values():
        run.close()
    runs.clear()
