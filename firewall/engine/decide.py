"""Judge one tool call. Source: spec/firewall.md 1.3, 1.5, 1.6, 2.9 and 3, spec/decisions.md 6.2, 6.3 and 6.8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from firewall.engine.compile import HIT, Hit, Line, Seen
from firewall.engine.glob import TOOL_NAME
from firewall.engine.types import Cap, Decision, Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict

RULE_VERDICTS = (Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY, Verdict.SANITIZE, Verdict.PENDING_APPROVAL, Verdict.CAP_COST)
"""What a rule may say."""

DEFAULT_VERDICTS = (Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY)
"""What a policy may say where no rule has an opinion."""

RISK = {
    (Verdict.ALLOW, True): 0,  # somebody wrote a rule for it
    (Verdict.ALLOW, False): 10,  # nobody thought of it
    (Verdict.AUDIT, True): 20,
    (Verdict.AUDIT, False): 30,
    (Verdict.OBSERVE, False): 40,  # no policy at all
    (Verdict.SANITIZE, True): 50,  # it goes on, without what should not be in it
    (Verdict.DENY, False): 60,  # not on the list
    (Verdict.PENDING_APPROVAL, True): 70,  # somebody wants to look at it
    (Verdict.DENY, True): 80,  # somebody ruled it out
}
"""Risk score by verdict and whether a rule gave it. Shadow mode leaves the score of what would have happened."""

RISK_UNREADABLE = 90
"""Of what cannot be read with certainty: names, arguments, destinations."""

MAX_OPINIONS = 4096

_UNGOVERNED = Decision(Verdict.ALLOW, "no policy applies", risk_score=RISK[Verdict.ALLOW, False])
_GAP = Decision(Verdict.OBSERVE, "no policy applies", factors=("no policy",), risk_score=RISK[Verdict.OBSERVE, False], gap=True)
_STOPPED = Decision(Verdict.DENY, "the run was stopped", ReasonCode.RUN_STOPPED, factors=("run stopped",), risk_score=RISK[Verdict.DENY, True])


class _HasEnabled(Protocol):
    @property
    def enabled(self) -> bool: ...


_P = TypeVar("_P", bound=_HasEnabled)


class Ruling(NamedTuple):
    """What the walk found: ``by`` is the line that decided, the code of a denial before or beside all rules, or None for the default."""

    by: Line | ReasonCode | None
    hit: Hit | None = None
    caps: tuple[Line, ...] = ()


def resolve(attached: _P | None, default: _P | None) -> _P | None:
    """The policy in force for a key: its own if enabled, else the workspace's default if enabled, else none.

    A disabled attached policy is no off switch: the default takes over.
    """
    for policy in (attached, default):
        if policy is not None and policy.enabled:
            return policy
    return None


def decide(policy: Policy | None, call: ToolCall, run: RunState, *, observe_mode: bool = False) -> Decision:
    """Judge one tool call. Same arguments, same decision: no clock, no I/O.

    ``policy.rules`` are in priority order and the first that matches wins; with
    none, ``policy.default_verdict``. A cap under which the run still fits is no
    opinion: the walk goes on, and the decision lists it. A name that no tool may
    have is denied before any rule, as is a call to nowhere on ``egress``. In
    shadow mode a blocking verdict becomes ``audit`` and the reason says what
    would have happened. ``policy`` None is no enforcement: ``observe`` and a gap
    in ``observe_mode``, else an ``allow`` that is not recorded. A stopped run is
    denied whatever applies.
    """
    if run.is_stopped:
        return _STOPPED
    if policy is None:
        return _GAP if observe_mode else _UNGOVERNED
    seen = Seen(call, run)
    return ruled(policy, walk(policy, seen), seen)


def decide_request(policy: Policy | None, run: RunState) -> Decision | None:
    """Judge the request itself, once, before its tools: by what is not about a tool. None where nothing is to say or to record.

    It meets the caps whose globs name every tool, so that a request without tools cannot outspend them; its decision lists them.
    """
    if run.is_stopped:
        return _STOPPED
    if policy is None:
        return None
    caps = policy.request_caps
    if is_over_limit(policy, run):
        ruling = Ruling(ReasonCode.RUN_LIMIT)
    elif not caps:
        return None
    elif is_within_caps(policy, run):
        ruling = Ruling(None, None, caps)
        if (known := policy.opinions.get(_key(ruling, of_request=True))) is not None:
            return known
    else:
        ruling = _caps_met(caps, run)
    return ruled(policy, ruling, Seen(ToolCall(Surface.INBOUND, ""), run), of_request=True)


def walk(policy: Policy, seen: Seen) -> Ruling:
    """Which rule decides, and under which caps the call passed on the way."""
    call = seen.call
    if code := _before_rules(policy, seen):
        return Ruling(code)
    caps: tuple[Line, ...] = ()
    for line in policy.rules_for(call.name, call.surface):
        if line.is_constant:
            return Ruling(line, HIT, caps)
        hit = line.meets(seen)
        if isinstance(hit, str):
            continue
        if line.rule.verdict is not Verdict.CAP_COST:
            return Ruling(line, hit, caps)
        if code := over(line.rule, seen.run):
            return Ruling(line, Hit(code))
        caps = (*caps, line)
    return Ruling(None, None, caps)


def rulings(policy: Policy, seen: Seen, unsure: Callable[[Line], bool]) -> Iterator[Ruling]:
    """All that the walk may come to where it cannot be told whether the lines that ``unsure`` names match: a call of which not all is known."""
    if code := _before_rules(policy, seen):
        yield Ruling(code)
        return
    caps: tuple[Line, ...] = ()
    maybe: tuple[Line, ...] = ()
    for line in policy.rules_for(seen.call.name, seen.call.surface):
        is_unsure = unsure(line)
        hit = Hit() if is_unsure else line.meets(seen)
        if isinstance(hit, str):
            continue
        is_cap = line.rule.verdict is Verdict.CAP_COST
        if code := over(line.rule, seen.run) if is_cap else None:
            hit = Hit(code)
        if not is_cap or code:
            yield Ruling(line, hit, caps)
            if is_unsure:
                continue
            return
        maybe = (*maybe, line)
        caps = caps if is_unsure else (*caps, line)
    yield Ruling(None, None, caps)
    if len(maybe) > len(caps):
        yield Ruling(None, None, maybe)


def _before_rules(policy: Policy, seen: Seen) -> ReasonCode | None:
    """Why the call is denied before any rule is asked; None if it is not."""
    call = seen.call
    # First of all: the rules' memo must not keep what callers can make arbitrarily long.
    if TOOL_NAME.fullmatch(call.name) is None:
        return ReasonCode.BAD_TOOL_NAME
    if call.surface is Surface.EGRESS and not any((to.is_usable or to.host in policy.allowed_names) and not to.is_mention for to in seen.destinations):
        return ReasonCode.EGRESS_NO_DESTINATION
    # On the relay a run begins with a request, see ``decide_request``; elsewhere with a call.
    if call.surface is not Surface.INBOUND and is_over_limit(policy, seen.run):
        return ReasonCode.RUN_LIMIT
    return None


def over(rule: Rule, run: RunState) -> ReasonCode | None:
    """Why the run may not go on under the rule's cap; None if it may."""
    if rule.cap_micro_usd is None:
        return ReasonCode.COST_CAP
    if run.estimate_micro_usd is None:
        return ReasonCode.PRICE_UNKNOWN
    return ReasonCode.COST_CAP if run.spent_micro_usd + run.reserved_micro_usd + run.estimate_micro_usd > rule.cap_micro_usd else None


def is_within_caps(policy: Policy, run: RunState) -> bool:
    """Whether the run may go on under every cap of the policy, whatever rule that is of."""
    least = policy.least_cap_micro_usd
    if least is None:
        return True
    estimate = run.estimate_micro_usd
    return estimate is not None and run.spent_micro_usd + run.reserved_micro_usd + estimate <= least


def _caps_met(lines, run: RunState) -> Ruling:
    caps: tuple[Line, ...] = ()
    for line in lines:
        if code := over(line.rule, run):
            return Ruling(line, Hit(code))
        caps = (*caps, line)
    return Ruling(None, None, caps)


def is_over_limit(policy: Policy, run: RunState) -> bool:
    """Whether the run would be one too many that its key begins in the hour; those that go on were counted when they began."""
    limit = policy.max_runs_per_key_per_hour
    return limit is not None and not run.calls and run.runs_this_hour > limit


# --- Saying it ------------------------------------------------------------------------------------------------------
def ruled(policy: Policy, ruling: Ruling, seen: Seen, *, of_request: bool = False) -> Decision:
    """What a ruling says under this policy. Where that depends on the name alone it is made once."""
    by, hit, caps = ruling
    is_constant = hit is None or (isinstance(by, Line) and by.is_constant)
    key = _key(ruling, of_request=of_request)
    if is_constant and (known := policy.opinions.get(key)) is not None:
        return known
    if isinstance(by, Line) and hit is not None:
        made = _of_rule(policy, by, hit, seen)
    elif caps and (of_request or policy.default_verdict in (Verdict.ALLOW, Verdict.AUDIT)):
        made = _under_cap(policy, caps[0].rule)
    else:
        made = _of_policy(policy, by if isinstance(by, ReasonCode) else None)
    if caps and made.verdict is not Verdict.DENY:
        made = replace(made, caps=tuple(Cap(line.rule.id, line.rule.cap_micro_usd or 0) for line in caps))
    if policy.shadow_mode:
        made = made.shadowed()
    if is_constant and len(policy.opinions) < MAX_OPINIONS:
        policy.opinions[key] = made
    return made


def _key(ruling: Ruling, *, of_request: bool) -> object:
    """What a decision is kept under in a policy's ``opinions``, where it depends on no more."""
    return (ruling.by, ruling.caps, of_request) if ruling.caps or of_request else ruling.by


def _of_rule(policy: Policy, line: Line, hit: Hit, seen: Seen) -> Decision:
    rule = line.rule
    verdict, code, said = _effect(line, hit, seen)
    because = f", and {hit.because}" if hit.because else ""
    reason = f"matched {rule.tool_name_glob or '*'} ({_named(rule)}){because}{said}"
    decision = Decision(
        verdict=verdict,
        reason=reason,
        reason_code=code if verdict is Verdict.DENY else None,
        rule_id=rule.id,
        rule_label=rule.label,
        policy_id=policy.id,
        policy_name=policy.name,
        policy_version=policy.version,
        factors=(f"rule {rule.id}: {rule.tool_name_glob or '*'} {rule.verdict}", *((hit.because,) if hit.because else ())),
        risk_score=RISK_UNREADABLE if code in (ReasonCode.BAD_ARGUMENTS, ReasonCode.EGRESS_NO_DESTINATION) else RISK[verdict, True],
    )
    return _cleaned(decision, line, seen) if verdict is Verdict.SANITIZE else decision


def _effect(line: Line, hit: Hit, seen: Seen) -> tuple[Verdict, ReasonCode, str]:
    """The verdict that a matched rule comes to on this surface, the code if that is a denial, and what to add to the reason."""
    rule, surface = line.rule, seen.call.surface
    match rule.verdict:
        case Verdict.CAP_COST:
            return Verdict.DENY, hit.code, f": {_money(rule, seen.run, hit.code)}"
        case Verdict.SANITIZE if surface is Surface.INBOUND:
            return Verdict.DENY, ReasonCode.SANITIZE_INBOUND, ", and an offered tool has no arguments to clean"
        case Verdict.SANITIZE if line.sanitizer and (seen.call.arguments is None or not seen.arguments.are_bad):
            return Verdict.SANITIZE, hit.code, ""
        case Verdict.SANITIZE:
            said = "" if hit.because else ", and its arguments cannot be cleaned: they are not one JSON object with unique names and finite numbers"
            return Verdict.DENY, ReasonCode.BAD_ARGUMENTS, said
        case Verdict.PENDING_APPROVAL if surface is Surface.EGRESS:
            return Verdict.DENY, ReasonCode.HOLD_UNAVAILABLE, ", and a destination cannot be held for approval"
        case Verdict.PENDING_APPROVAL if surface is Surface.INBOUND and rule.stage is None:
            return Verdict.AUDIT, hit.code, ": a call of it is held for approval"
        case Verdict.ALLOW | Verdict.AUDIT | Verdict.DENY | Verdict.PENDING_APPROVAL:
            return rule.verdict, hit.code, ""
    # A row written by a newer release, while this process still runs: fail closed.
    return Verdict.DENY, ReasonCode.RULE_DENY, f", and its verdict {rule.verdict} is not available in this version"


def _cleaned(decision: Decision, line: Line, seen: Seen) -> Decision:
    text = seen.call.arguments
    redacted = line.sanitizer.arguments(text) if line.sanitizer and text is not None else None
    if redacted is None:
        return decision
    found = tuple(f"{name}: {count}" for name, count in redacted.counts)
    return replace(decision, arguments=redacted.text, redactions=redacted.counts, factors=(*decision.factors, *found))


def _under_cap(policy: Policy, rule: Rule) -> Decision:
    return Decision(
        verdict=Verdict.ALLOW,
        reason=f"the run is within its cap of {_usd(rule.cap_micro_usd or 0)} ({_named(rule)})",
        rule_id=rule.id,
        rule_label=rule.label,
        policy_id=policy.id,
        policy_name=policy.name,
        policy_version=policy.version,
        factors=(f"rule {rule.id}: {rule.tool_name_glob or '*'} {rule.verdict}",),
        risk_score=RISK[Verdict.ALLOW, True],
    )


def _of_policy(policy: Policy, code: ReasonCode | None) -> Decision:
    verdict = policy.default_verdict if policy.default_verdict in DEFAULT_VERDICTS else Verdict.DENY
    reason, factor, risk = f"no rule matched and the default is {verdict}", f"default {verdict}", RISK[verdict, False]
    match code:
        case ReasonCode.BAD_TOOL_NAME:
            reason = "a tool name is 1 to 128 letters, digits and _ . : / - and this one is not"
            factor, risk = "bad tool name", RISK_UNREADABLE
        case ReasonCode.EGRESS_NO_DESTINATION:
            reason, factor, risk = "it cannot be told where the call goes", "no destination", RISK_UNREADABLE
        case ReasonCode.RUN_LIMIT:
            reason = f"the key has begun more than {policy.max_runs_per_key_per_hour} runs this hour, and this would be another"
            factor, risk = "run limit", RISK[Verdict.DENY, True]
    if code is not None:
        verdict = Verdict.DENY
    elif verdict is Verdict.DENY:
        code = ReasonCode.DEFAULT_DENY
    return Decision(
        verdict=verdict,
        reason=reason,
        reason_code=code,
        policy_id=policy.id,
        policy_name=policy.name,
        policy_version=policy.version,
        factors=(factor,),
        risk_score=risk,
    )


def _named(rule: Rule) -> str:
    return f'rule "{rule.label}"' if rule.label else f"rule {rule.id}"


def _money(rule: Rule, run: RunState, code: ReasonCode) -> str:
    if rule.cap_micro_usd is None:
        return "it names no cap"
    cap = _usd(rule.cap_micro_usd)
    if code is ReasonCode.PRICE_UNKNOWN or run.estimate_micro_usd is None:
        return f"the model has no price, so the run's cap of {cap} cannot be kept"
    reserved = f" and {_usd(run.reserved_micro_usd)} reserved" if run.reserved_micro_usd else ""
    return f"the run has spent {_usd(run.spent_micro_usd)}{reserved}; with up to {_usd(run.estimate_micro_usd)} for this call it would exceed its cap of {cap}"


def _usd(micro_usd: int) -> str:
    """``$1.50``, ``$0.000042``: at least cents, and no digit less than there is."""
    whole, rest = divmod(micro_usd, 1_000_000)
    digits = f"{rest:06d}".rstrip("0")
    return f"${whole}.{digits:0<2}"
