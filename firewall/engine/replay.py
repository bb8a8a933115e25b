"""Judge a recorded call again, by any policy. What a rule would have to know and the record does not keep makes it unknown, never a guess.

An event keeps a short text of a call's arguments, without secrets. It is all of them where it has their hash; else any rule that
looks at arguments may match or not, and the verdict is known only where it is the same either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from firewall.engine.arguments import decoded
from firewall.engine.compile import Line, Seen
from firewall.engine.decide import decide, ruled, rulings
from firewall.engine.destinations import Destination, destination
from firewall.engine.recorded import destinations_of
from firewall.engine.summary import is_whole
from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Surface, ToolCall, Verdict

#: Judgements that are remembered; agents repeat themselves.
MAX_MEMO = 50_000

#: Denials that no policy gave, and none would have kept from being given.
WHATEVER_THE_POLICY = frozenset(
    (
        *(ReasonCode.RUN_STOPPED, ReasonCode.RESPONSE_TOO_LARGE, ReasonCode.POLICY_UNAVAILABLE),
        *("key_frozen", "skill_block", "skill_quarantine", "approval_store_down"),
    )
)
_GOOD, _BAD = "{}", ""


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
    """``decision`` None: it cannot be told, ``why`` says for want of what. ``call`` is the call as far as it is known."""

    decision: Decision | None
    call: ToolCall
    why: str = ""
    #: Whether the call goes somewhere cannot be told.
    is_vague: bool = False


class _Known(NamedTuple):
    """A call's arguments. ``text`` stands in for them where ``is_all`` is false; ``is_bad`` None: it cannot be told."""

    text: str | None
    is_all: bool = True
    is_bad: bool | None = False


class Judge:
    """One policy, or none in ``observe_mode``, over many recorded calls."""

    def __init__(self, policy: Policy | None, *, observe_mode: bool = False) -> None:
        self.policy, self._observes = policy, observe_mode
        lines = [line for line in policy.lines if line.rule.enabled] if policy else []
        self._resolves = any(line.reads_addresses for line in lines)
        self._by_name: dict[tuple[str, str], tuple[Decision | None, bool]] = {}
        self._by_call: dict[tuple, Judged] = {}

    def judge(self, event: Event, name: str, run: RunState, *, is_blurred: bool = False) -> Judged:
        """Judge one of an event's tools. ``is_blurred``: how far the run's sequences have come cannot be told."""
        surface = Surface(event.surface)
        if event.reason_code == ReasonCode.BAD_TOOL_NAME:
            # Kept as it is shown, which may be a good name.
            name = " "
        known = self._by_name.get((name, surface)) or self._of_name(name, surface)
        decision, is_stateful = known
        if decision is not None:
            return Judged(decision, ToolCall(surface, name))
        if is_stateful:
            return self._fresh(event, name, surface, run, is_blurred)
        told = None if event.judged_on is None else str(event.judged_on.get("to"))
        is_bad = event.reason_code == ReasonCode.BAD_ARGUMENTS
        key = (name, surface, event.source, event.skill_name, event.args_hash, event.args_summary, event.verdict == Verdict.SANITIZE, is_bad, told)
        found = self._by_call.get(key)
        if found is None:
            if len(self._by_call) >= MAX_MEMO:
                self._by_call.clear()
            found = self._by_call[key] = self._fresh(event, name, surface, run, is_blurred)
        return found

    def _of_name(self, name: str, surface: Surface) -> tuple[Decision | None, bool]:
        """The decision where the name and the surface settle it, and whether it depends on the run."""
        policy = self.policy
        lines = policy.rules_for(name[:129], surface) if policy else ()
        is_call = surface is not Surface.INBOUND
        is_stateful = policy is not None and (
            any(line.rule.verdict is Verdict.CAP_COST for line in lines) or (is_call and bool(policy.sequences or policy.max_runs_per_key_per_hour is not None))
        )
        decision = None
        is_settled = all(line.is_last and line.rule.verdict is not Verdict.SANITIZE for line in lines)
        if policy is None or (is_settled and not is_stateful and surface is not Surface.EGRESS):
            decision = decide(policy, ToolCall(surface, name), RunState(), observe_mode=self._observes)
        if len(self._by_name) < MAX_MEMO:
            self._by_name[name, surface] = decision, is_stateful
        return decision, is_stateful

    # --- What is known ------------------------------------------------------------------------------------------------
    def _fresh(self, event: Event, name: str, surface: Surface, run: RunState, is_blurred: bool) -> Judged:
        policy = self.policy
        assert policy is not None
        known = _arguments(event)
        told = self._told(event)
        call = ToolCall(surface, name, known.text, event.skill_name, told)
        seen = Seen(call, run)
        unread = not known.is_all
        unnamed = unread and told is None
        unresolved = self._resolves and event.source == "evaluate" and not unnamed and any(to.needs_resolving for to in seen.destinations)
        is_vague = unnamed and surface is not Surface.EGRESS
        if not (unread or unresolved or is_blurred):
            return Judged(decide(policy, call, run), call)

        def unsure(line: Line) -> bool:
            chain = line.rule.sequence
            if (unread and line.reads_arguments) or ((unnamed or unresolved) and line.reads_destinations):
                return True
            return chain is not None and (is_blurred or (unnamed and any(step.egress for step in chain.steps)))

        if unnamed and surface is Surface.EGRESS:
            return Judged(None, call, "destinations", is_vague)
        found = [ruled(policy, ruling, seen) for ruling in rulings(policy, seen, unsure)]
        if unread and known.is_bad is None:
            found.append(decide(policy, replace(call, arguments=_BAD), run))
        if unresolved:
            # A name that leads nowhere is no destination, whatever the rules say.
            nowhere = tuple(replace(to, addresses=()) if to.needs_resolving else to for to in seen.destinations)
            found.append(decide(policy, replace(call, destinations=nowhere), run))
        if len({decision.verdict for decision in found}) == 1:
            return Judged(found[0], call, is_vague=is_vague)
        return Judged(None, call, "arguments" if unread else "destinations" if unresolved else "sequence", is_vague)

    def _told(self, event: Event) -> tuple[Destination, ...] | None:
        """Where the call was told to go. A policy without addresses judges names as they are spelt: nobody looks them up for it."""
        told = destinations_of(event.judged_on)
        if told is None or self._resolves:
            return told
        return tuple(replace(to, addresses=None) if to.addresses is not None and destination(to.host).needs_resolving else to for to in told)


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
