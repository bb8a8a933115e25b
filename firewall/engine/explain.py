"""Every rule of a policy, and what it had to say about one call: the same walk as ``decide``, told."""

from __future__ import annotations

from dataclasses import dataclass

from firewall.engine.compile import Hit, Line, Seen
from firewall.engine.decide import over, walk
from firewall.engine.types import Policy, ReasonCode, RunState, ToolCall, Verdict

_BEFORE = {
    ReasonCode.BAD_TOOL_NAME: "the name is denied before any rule",
    ReasonCode.EGRESS_NO_DESTINATION: "a call to nowhere is denied before any rule",
    ReasonCode.RUN_LIMIT: "the key's limit of runs denies the call before any rule",
}
_AT_CAP = {
    None: "the run is within its cap: the walk goes on",
    ReasonCode.COST_CAP: "the run is over its cap",
    ReasonCode.PRICE_UNKNOWN: "its cap cannot be kept, as the model has no price",
}


@dataclass(frozen=True, slots=True)
class Step:
    """``matched``: the rule decided, or is a cap that the call passed under. ``why`` is why it matched or why not."""

    rule_id: int
    label: str
    matched: bool
    why: str


def explain(policy: Policy, call: ToolCall, run: RunState) -> list[Step]:
    """All rules in the order they are tried, disabled ones too."""
    if run.is_stopped:
        return [Step(line.rule.id, line.rule.label, False, "the run was stopped") for line in policy.lines]
    seen = Seen(call, run)
    ruling = walk(policy, seen)
    if isinstance(ruling.by, ReasonCode):
        return [Step(line.rule.id, line.rule.label, False, _BEFORE[ruling.by]) for line in policy.lines]
    steps: list[Step] = []
    decided: Line | None = None
    for line in policy.lines:
        matched, why = _told(line, seen, decided)
        steps.append(Step(line.rule.id, line.rule.label, matched, why))
        if matched and (line.rule.verdict is not Verdict.CAP_COST or over(line.rule, run)):
            decided = line
    return steps


def _told(line: Line, seen: Seen, decided: Line | None) -> tuple[bool, str]:
    if (silent := line.why_silent(seen.call.name, seen.call.surface)) is not None:
        return False, silent
    hit = line.meets(seen)
    if isinstance(hit, str):
        return False, hit
    if decided is not None:
        return False, f"it would match, but rule {decided.rule.id} decided before it"
    return True, _matched(line, hit, seen)


def _matched(line: Line, hit: Hit, seen: Seen) -> str:
    by = f"it matches: {hit.because}" if hit.because else "it matches"
    if line.rule.verdict is not Verdict.CAP_COST:
        return by
    return f"{by}, and {_AT_CAP[over(line.rule, seen.run)]}"
