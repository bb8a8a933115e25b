"""What the author of a policy should know about it: rules that are saved but cannot do what they seem to."""

from __future__ import annotations

from dataclasses import dataclass

from firewall.engine.compile import Line
from firewall.engine.glob import Form, Glob, hints
from firewall.engine.types import Policy, Rule, Surface, Verdict

#: What a warning may be about; the last four are those of ``glob.hints``.
CODES = (
    *("never_reached", "cap_shadowed", "never_matches", "cap_inert"),
    *("literal_looks_like_glob", "invalid_characters", "loose_suffix", "loose_infix"),
)


@dataclass(frozen=True, slots=True)
class Warning:
    """``code`` is one of ``CODES``, for machines."""

    rule_id: int
    code: str
    text: str


def warnings(policy: Policy) -> list[Warning]:
    """Remarks on the enabled rules, in their order. Names are taken as spelt: what ``__`` may stand for is left aside."""
    found: list[Warning] = []
    earlier: list[Line] = []
    for line in policy.lines:
        if not line.rule.enabled:
            continue
        found += _own(line)
        found += _behind(line, earlier)
        if line.rule.verdict is not Verdict.CAP_COST and not _is_afterwards(line.rule):
            earlier.append(line)
    return found


def _own(line: Line) -> list[Warning]:
    """What the rule's own words make of it."""
    rule = line.rule
    found = [Warning(rule.id, hint.code, hint.text) for hint in hints(rule.tool_name_glob, rule.verdict) if hint.level == "warning"]
    others = [("skill", rule.skill_name_glob), *(("step", step.match) for step in (rule.sequence.steps if rule.sequence else ()))]
    for what, glob in others:
        found += [Warning(rule.id, hint.code, f"Its {what}: {hint.text}") for hint in hints(glob, Verdict.DENY) if hint.code == "literal_looks_like_glob"]
    if rule.stage is Surface.INBOUND and rule.args_match:
        found.append(Warning(rule.id, "never_matches", "An offered tool has no arguments yet: on inbound this rule matches nothing."))
    if rule.verdict is Verdict.CAP_COST and rule.stage in (Surface.RESPONSE, Surface.EGRESS):
        found.append(Warning(rule.id, "cap_inert", f"A cap does nothing on {rule.stage}: the call is paid for already."))
    return found


def _behind(line: Line, earlier: list[Line]) -> list[Warning]:
    """What the rules before this one leave of it."""
    rule = line.rule
    if _is_afterwards(rule):
        return []
    for before in earlier:
        if before.rule.stage in (None, rule.stage) and covers(before.glob, line.glob) and _holds_whenever(before.rule, rule):
            return [Warning(rule.id, "never_reached", f"Never reached: {_told(before)} decides before it for every call that it matches.")]
    if rule.verdict is not Verdict.CAP_COST:
        return []
    for before in earlier:
        where = before.rule.stage
        meets = where in (None, rule.stage) or (rule.stage is None and where in (Surface.INBOUND, Surface.MCP))
        if before.is_last and meets and before.rule.verdict.permits and overlap(before.glob, line.glob):
            text = f"Calls that {_told(before)} lets through never meet this cap. A cap comes first: under it the walk goes on."
            return [Warning(rule.id, "cap_shadowed", text)]
    return []


def _holds_whenever(before: Rule, rule: Rule) -> bool:
    """Whether the conditions of ``before``, beside its name and surface, hold for every call for which those of ``rule`` do."""
    if before.args_match and before.verdict.permits and not rule.verdict.permits:
        # Arguments that cannot be read are met by the rule that stops alone.
        return False
    same_lists = before.egress is None or (before.egress == rule.egress and before.verdict.permits is rule.verdict.permits)
    same_rest = before.skill_name_glob in ("", "*", rule.skill_name_glob) and before.sequence in (None, rule.sequence)
    # By what they say: as values of Python, true and 1 are the same.
    return same_lists and same_rest and set(map(repr, before.args_match)) <= set(map(repr, rule.args_match))


def _is_afterwards(rule: Rule) -> bool:
    """A sequence that is matched afterwards takes no part in the walk."""
    return rule.sequence is not None and not rule.sequence.is_inline


def _told(line: Line) -> str:
    rule = line.rule
    name = f"“{rule.label}”" if rule.label else f"the rule for {rule.tool_name_glob or 'every tool'}"
    return f"{name} (priority {rule.priority})"


def covers(wide: Glob, narrow: Glob) -> bool:
    """Whether every name, as spelt, that ``narrow`` matches is matched by ``wide``."""
    if Form.EVERY in (wide.form, narrow.form):
        return wide.form is Form.EVERY
    if narrow.form is Form.EXACT:
        return wide.matches_spelling(narrow.literal)
    match wide.form, narrow.form:
        case (Form.PREFIX, Form.PREFIX):
            return narrow.literal.startswith(wide.literal)
        case (Form.SUFFIX, Form.SUFFIX):
            return narrow.literal.endswith(wide.literal)
        case (Form.INFIX, Form.PREFIX):
            return narrow.literal.find(wide.literal, 1) > 0
        case (Form.INFIX, Form.SUFFIX):
            # The bare name as well.
            return wide.matches_spelling(narrow.literal[1:])
        case (Form.INFIX, Form.INFIX):
            return wide.literal in narrow.literal
    return False


def overlap(one: Glob, other: Glob) -> bool:
    """Whether some name, as spelt, may be matched by both."""
    if Form.EVERY in (one.form, other.form):
        return True
    if one.form is Form.EXACT:
        return other.matches_spelling(one.literal)
    if other.form is Form.EXACT:
        return one.matches_spelling(other.literal)
    if one.form is other.form is Form.PREFIX:
        return one.literal.startswith(other.literal) or other.literal.startswith(one.literal)
    if one.form is other.form is Form.SUFFIX:
        return one.literal.endswith(other.literal) or other.literal.endswith(one.literal)
    return True
