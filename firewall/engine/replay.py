"""Judge a recorded call again, by any policy. What a rule would have to know and the record does not keep makes it unknown, never a guess.

An event keeps a short text of a call's arguments, without secrets. It is all of them where it has their hash; else any rule that
looks at arguments may match or not, and the verdict is known only where it is the same either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from firewall.engine.advertised import decide_advertised
from firewall.engine.arguments import decoded
from firewall.engine.compile import Line, Seen
from firewall.engine.decide import decide, is_over_limit, over, ruled, rulings
from firewall.engine.destinations import Destination, destination
from firewall.engine.recorded import destinations_of
from firewall.engine.sequence import Chain, Progress
from firewall.engine.summary import is_whole
from firewall.engine.types import Decision, Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict

#: Calls that are remembered, as agents repeat themselves; and how long the arguments of such a call are at most.
MAX_MEMO, MAX_MEMO_CHARS = 20_000, 1_000
#: Calls that are known to have been made once.
MAX_ONCE = 200_000
#: Lists of tools that were offered, and are remembered.
MAX_OFFERS = 1_000

#: Denials that no policy gave, and none would have kept from being given.
WHATEVER_THE_POLICY = frozenset(
    (
        *(ReasonCode.RUN_STOPPED, ReasonCode.RESPONSE_TOO_LARGE, ReasonCode.POLICY_UNAVAILABLE),
        *("key_frozen", "skill_block", "skill_quarantine", "approval_store_down"),
    )
)
_GOOD, _BAD = "{}", ""
_NEW = RunState()
_M = TypeVar("_M", dict, set)


class Event(NamedTuple):
    """One recorded event, as the columns of its row; ``at_ms`` is when it was written. ``tools`` is for several names, ``tool_name`` for one."""

    id: str
    at_ms: int
    source: str
    surface: str
    verdict: str
    tool_name: str | None
    tools: list[str]
    skill_name: str | None
    reason_code: str | None
    request_id: str
    run_id: str | None
    key_id: int | None
    token_name: str | None
    args_summary: str | None
    args_hash: str | None
    approval_id: str | None
    shadow: bool
    policy_id: int | None
    policy_version: int | None
    judged_on: Mapping | None

    @property
    def names(self) -> list[str]:
        """The tools that it speaks of; none where it is about the request itself."""
        return self.tools if self.tool_name is None else [self.tool_name]


class Judged(NamedTuple):
    """``decision`` None: it cannot be told, ``why`` says for want of what."""

    decision: Decision | None
    why: str = ""
    #: How far the run's sequences have come after the call, should it go on; None: no further than before.
    chains: Mapping[str, Progress] | None = None
    #: That cannot be told, as nobody knows whether the call goes somewhere.
    blurs: bool = False


class Offer(NamedTuple):
    """What one request offered: the tools whose verdict stays, and (place, name, decision) of each other. ``capped``: how many passed under a cap.

    ``decisions`` are those of all its tools, in their order.
    """

    same: tuple[str, ...]
    changed: tuple[tuple[int, str, Decision], ...]
    capped: int
    decisions: tuple[Decision, ...]


class _Known(NamedTuple):
    """A call's arguments. ``text`` stands in for them where ``is_all`` is false; ``is_bad`` None: it cannot be told."""

    text: str | None
    is_all: bool = True
    is_bad: bool | None = False


class _Call:
    """A recorded call as far as it is known. ``said`` is what was said of it, see ``Judge._said``."""

    __slots__ = ("_is_egress", "call", "is_asked", "known", "said")

    def __init__(self, call: ToolCall, known: _Known, *, is_asked: bool = False) -> None:
        self.call, self.known = call, known
        #: Somebody asked about it, and waited until its names were looked up.
        self.is_asked = is_asked
        self.said: dict[tuple[tuple[str, ...], bool], Judged] = {}
        self._is_egress: bool | None = None

    @property
    def is_unnamed(self) -> bool:
        """Nobody said where it goes, and not all of its arguments are known."""
        return not self.known.is_all and self.call.destinations is None

    @property
    def is_vague(self) -> bool:
        """Whether it goes somewhere cannot be told."""
        return self.is_unnamed and self.call.surface is not Surface.EGRESS

    def is_egress(self) -> bool:
        if self._is_egress is None:
            self._is_egress = Seen(self.call, _NEW).is_egress
        return self._is_egress


class _Named(NamedTuple):
    """What holds for all calls of a name on a surface."""

    #: Nothing but the name matters, and this is what is said.
    judged: Judged | None
    #: Stands for any call of the name; None: some rule looks at more than the name.
    call: _Call | None
    #: The rules that ask what the run has spent.
    caps: tuple[Rule, ...]
    #: The sequences that a call may be a step of, by key.
    chains: tuple[tuple[str, Chain], ...]


class Judge:
    """One policy, or none in ``observe_mode``, over many recorded calls."""

    def __init__(self, policy: Policy | None, *, observe_mode: bool = False) -> None:
        self.policy, self._observes = policy, observe_mode
        self._resolves = policy is not None and policy.looks_at_addresses
        self._caps = tuple(line.rule for line in policy.caps) if policy else ()
        self._by_name: dict[tuple[str, str], _Named] = {}
        self._by_call: dict[tuple, _Call] = {}
        self._once: set[int] = set()
        self._offers: dict[tuple[tuple[str, ...], str], Offer] = {}

    def judge(self, event: Event, name: str, run: RunState, *, is_blurred: bool = False) -> Judged:
        """Judge one of an event's tools. ``is_blurred``: how far the run's sequences have come cannot be told."""
        if event.reason_code == ReasonCode.BAD_TOOL_NAME:
            # Kept as it is shown, which may be a good name.
            name = " "
        named = self._by_name.get((name, event.surface)) or self._of_name(name, Surface(event.surface))
        if named.judged is not None:
            return named.judged
        if not named.chains:
            return self._said(named, named.call or self._call(event, name), run, (), False)
        asked: list[_Call] = []

        def is_egress() -> bool:
            # Only here does it matter what the call was called with.
            asked[:] = asked or [self._call(event, name)]
            return asked[0].is_egress()

        after, completed = _advanced(named.chains, run.chains, name, is_egress, run.at_ms)
        call = asked[0] if asked else named.call or self._call(event, name)
        if asked and call.is_vague:
            return self._fresh(call, run, is_blurred)._replace(chains=after, blurs=True)
        said = self._said(named, call, run, completed, is_blurred)
        return said if after is None else Judged(said.decision, said.why, after)

    def offer(self, event: Event, run: RunState) -> Offer | None:
        """Judge what one request offered at once; None: judge its tools one by one, as what is said of them is not about their names alone."""
        is_plain = event.tool_name is None and event.surface == Surface.INBOUND and not (event.reason_code or event.skill_name or event.approval_id)
        if not is_plain or any(over(cap, run) for cap in self._caps):
            return None
        key = tuple(event.tools), event.verdict
        found = self._offers.get(key)
        if found is None:
            found = _offer(event, decide_advertised(self.policy, tuple(event.tools), run, observe_mode=self._observes).decisions)
            if len(self._offers) < MAX_OFFERS:
                self._offers[key] = found
        return found

    def _of_name(self, name: str, surface: Surface) -> _Named:
        policy = self.policy
        lines = policy.rules_for(name[:129], surface) if policy else ()
        sequences = policy.sequences_for(name) if policy and surface is not Surface.INBOUND else ()
        chains = {rule.sequence.key: rule.sequence for rule in sequences if rule.sequence}
        caps = tuple(line.rule for line in lines if line.rule.verdict is Verdict.CAP_COST)
        reads_call = policy is not None and (surface is Surface.EGRESS or any(line.reads_call for line in lines))
        # On the relay a run begins with a request, elsewhere a call may be refused for beginning one.
        may_begin = policy is not None and policy.max_runs_per_key_per_hour is not None and surface is not Surface.INBOUND
        call, judged = ToolCall(surface, name), None
        if not (reads_call or chains or caps or may_begin):
            judged = Judged(decide(policy, call, _NEW, observe_mode=self._observes))
        named = _Named(judged, None if reads_call else _Call(call, _Known(None)), caps, tuple(chains.items()))
        if len(self._by_name) < MAX_MEMO:
            self._by_name[name, surface] = named
        return named

    def _said(self, named: _Named, call: _Call, run: RunState, completed: tuple[str, ...], is_blurred: bool) -> Judged:
        """What is said of a call while its run may go on: it rests on the call itself, and on the sequences that it completes."""
        policy = self.policy
        assert policy is not None
        if any(over(cap, run) for cap in named.caps) or is_over_limit(policy, run):
            return self._fresh(call, run, is_blurred)
        found = call.said.get((completed, is_blurred))
        if found is None:
            found = call.said[completed, is_blurred] = self._fresh(call, run, is_blurred)
        return found

    # --- What is known ------------------------------------------------------------------------------------------------
    def _call(self, event: Event, name: str) -> _Call:
        """The call that was recorded, found by all that it is known by."""
        summary = event.args_summary
        if summary is not None and len(summary) > MAX_MEMO_CHARS:
            return self._read(event, name)
        is_clean, is_bad = event.verdict == Verdict.SANITIZE, event.reason_code == ReasonCode.BAD_ARGUMENTS
        told = None if event.judged_on is None else str(event.judged_on.get("to"))
        key = (name, event.surface, event.source, event.skill_name, event.args_hash, summary, is_clean, is_bad, told)
        found = self._by_call.get(key)
        if found is None:
            found = self._read(event, name)
            # Most calls are made once. What is kept of those is a number: neither much, nor anything for the garbage collector to look through.
            if (number := hash(key)) in self._once:
                _bound(self._by_call, MAX_MEMO)[key] = found
            else:
                _bound(self._once, MAX_ONCE).add(number)
        return found

    def _read(self, event: Event, name: str) -> _Call:
        known = _arguments(event)
        return _Call(ToolCall(Surface(event.surface), name, known.text, event.skill_name, self._told(event)), known, is_asked=event.source == "evaluate")

    def _fresh(self, read: _Call, run: RunState, is_blurred: bool) -> Judged:
        policy, call, known = self.policy, read.call, read.known
        assert policy is not None
        unread, may_resolve = not known.is_all, self._resolves and read.is_asked
        if not (unread or may_resolve or is_blurred):
            return Judged(decide(policy, call, run))
        seen, unnamed = Seen(call, run), read.is_unnamed
        unresolved = may_resolve and not unnamed and any(to.needs_resolving for to in seen.destinations)
        if not (unread or unresolved or is_blurred):
            return Judged(decide(policy, call, run))

        def unsure(line: Line) -> bool:
            chain = line.rule.sequence
            if (unread and line.reads_arguments) or ((unnamed or unresolved) and line.reads_destinations):
                return True
            return chain is not None and (is_blurred or (read.is_vague and _matters(chain, call.name, run)))

        if unnamed and call.surface is Surface.EGRESS:
            return Judged(None, "destinations")
        found = [ruled(policy, ruling, seen) for ruling in rulings(policy, seen, unsure)]
        if unread and known.is_bad is None:
            found.append(decide(policy, replace(call, arguments=_BAD), run))
        if unresolved:
            # A name that leads nowhere is no destination, whatever the rules say.
            nowhere = tuple(replace(to, addresses=()) if to.needs_resolving else to for to in seen.destinations)
            found.append(decide(policy, replace(call, destinations=nowhere), run))
        if len({decision.verdict for decision in found}) == 1:
            return Judged(found[0])
        return Judged(None, "arguments" if unread else "destinations" if unresolved else "sequence")

    def _told(self, event: Event) -> tuple[Destination, ...] | None:
        """Where the call was told to go. A policy without addresses judges names as they are spelt: nobody looks them up for it."""
        told = destinations_of(event.judged_on)
        if told is None or self._resolves:
            return told
        return tuple(replace(to, addresses=None) if to.addresses is not None and destination(to.host).needs_resolving else to for to in told)


def _bound(memo: _M, size: int) -> _M:
    """The memo, begun anew if it is full."""
    if len(memo) >= size:
        memo.clear()
    return memo


def _offer(event: Event, decisions: tuple[Decision, ...]) -> Offer:
    told = list(zip(range(len(decisions)), event.tools, decisions, strict=True))
    same = tuple(name for _, name, decision in told if decision.verdict == event.verdict)
    changed = tuple(each for each in told if each[2].verdict != event.verdict)
    return Offer(same, changed, sum(bool(decision.caps) for decision in decisions), decisions)


def _advanced(
    chains: tuple[tuple[str, Chain], ...], before: Mapping[str, Progress], name: str, is_egress: Callable[[], bool], at_ms: int
) -> tuple[Mapping[str, Progress] | None, tuple[str, ...]]:
    """How far the sequences have come after a call (None: no further), and which of them it completes."""
    after: dict[str, Progress] | None = None
    completed: tuple[str, ...] = ()
    for key, chain in chains:
        progress = before.get(key, ())
        now, completes = chain.advance(progress, name, is_egress=is_egress, at_ms=at_ms)
        if completes:
            completed = (*completed, key)
        if now is not progress:
            after = after or {**before}
            after[key] = now
    return after, completed


def _matters(chain: Chain, name: str, run: RunState) -> bool:
    """Whether a call completes the sequence just if it goes somewhere."""
    progress = run.chains.get(chain.key, ())
    return len({chain.advance(progress, name, is_egress=partial(bool, goes), at_ms=run.at_ms)[1] for goes in (False, True)}) > 1


def _arguments(event: Event) -> _Known:
    if event.surface == Surface.INBOUND:
        return _Known(None)
    if event.args_summary is None or event.args_hash is None:
        # Of a call that was asked about without arguments nothing is kept: it is called with none.
        return _Known(_GOOD) if event.source == "evaluate" else _Known(_GOOD, is_all=False, is_bad=None)
    if event.verdict == Verdict.SANITIZE:
        # The clean ones are kept, not those that were judged.
        return _Known(_GOOD, is_all=False)
    if is_whole(event.args_summary, event.args_hash):
        return _Known(event.args_summary)
    if event.reason_code == ReasonCode.BAD_ARGUMENTS:
        return _Known(_BAD)
    # What still reads as one JSON object after secrets were taken out was one.
    return _Known(_GOOD, is_all=False, is_bad=None if decoded(event.args_summary) is None else False)
