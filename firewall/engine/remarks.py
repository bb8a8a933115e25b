"""What the author of a policy should know about it: rules that are saved but cannot do what they seem to."""

from __future__ import annotations

from dataclasses import dataclass

from firewall.engine.compile import Line
from firewall.engine.glob import Form, Glob, hints
from firewall.engine.types import Policy, Surface, Verdict


@dataclass(frozen=True, slots=True)
class Warning:
    """``code`` is for machines: ``never_reached cap_shadowed never_matches cap_inert`` and those of ``glob.hints``."""

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
        found += [Warning(line.rule.id, hint.code, hint.text) for hint in hints(line.rule.tool_name_glob, line.rule.verdict) if hint.level == "warning"]
        found += _own(line)
        found += _behind(line, earlier)
        if line.is_last:
            earlier.append(line)
    return found


def _own(line: Line) -> list[Warning]:
    rule = line.rule
    if rule.stage is Surface.INBOUND and rule.args_match:
        return [Warning(rule.id, "never_matches", "An offered tool has no arguments yet: on inbound this rule matches nothing.")]
    if rule.verdict is Verdict.CAP_COST and rule.stage in (Surface.RESPONSE, Surface.EGRESS):
        return [Warning(rule.id, "cap_inert", f"A cap does nothing on {rule.stage}: the call is paid for already.")]
    return []


def _behind(line: Line, earlier: list[Line]) -> list[Warning]:
    """What the rules before this one leave of it."""
    rule = line.rule
    if rule.sequence and not rule.sequence.is_inline:
        return []
    for before in earlier:
        if before.rule.stage in (None, rule.stage) and covers(before.glob, line.glob):
            return [Warning(rule.id, "never_reached", f"Never reached: {_told(before)} decides before it for every tool that it names.")]
    if rule.verdict is not Verdict.CAP_COST:
        return []
    for before in earlier:
        where = before.rule.stage
        meets = where in (None, rule.stage) or (rule.stage is None and where in (Surface.INBOUND, Surface.MCP))
        if meets and before.rule.verdict.permits and overlap(before.glob, line.glob):
            text = f"Calls that {_told(before)} lets through never meet this cap. A cap comes first: under it the walk goes on."
            return [Warning(rule.id, "cap_shadowed", text)]
    return []


def _told(line: Line) -> str:
    rule = line.rule
    return f"rule {rule.id} ({f'“{rule.label}”' if rule.label else rule.tool_name_glob or 'every tool'}, priority {rule.priority})"


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
