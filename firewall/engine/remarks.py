"""What the author of a policy should know about it: rules that are saved but cannot do what they seem to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from firewall.engine.compile import Line
from firewall.engine.glob import Form, Glob, hints, likely_meant, parse
from firewall.engine.types import Policy, Rule, Surface, Verdict

#: What a warning may be about; the last four are those of ``glob.hints``.
CODES = (
    *("never_reached", "cap_shadowed", "never_matches", "cap_inert"),
    *("literal_looks_like_glob", "invalid_characters", "loose_suffix", "loose_infix"),
)


#: Codes of a glob in an allow rule that lets through more than it seems to.
LOOSE = ("loose_suffix", "loose_infix")


@dataclass(frozen=True, slots=True)
class Fix:
    """A change after which the warning is gone; it is proposed, and never made unasked.

    ``name`` is the field that becomes ``value`` (as JSON has it), or ``above``: the rule goes before the one with the id ``value``, or ``remove``.
    ``shown`` is what of the new value a person looks for.
    """

    name: str
    value: object = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Warning:
    """``code`` is one of ``CODES``, for machines."""

    rule_id: int
    code: str
    text: str
    fixes: tuple[Fix, ...] = ()


def warnings(policy: Policy) -> list[Warning]:
    """Remarks on the enabled rules, in their order. Names are taken as spelt: what ``__`` may stand for is left aside."""
    found: list[Warning] = []
    earlier = _Earlier()
    for line in policy.lines:
        if not line.rule.enabled:
            continue
        found += _own(line)
        found += _behind(line, earlier)
        if line.rule.verdict is not Verdict.CAP_COST and not _is_afterwards(line.rule):
            earlier.add(line)
    return found


class _Earlier:
    """The rules before one. Among 500 those that may cover it are found by their glob and one of their clauses, not by looking at each."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._clauses: list[frozenset[str]] = []
        self._by_clause: dict[str | None, dict[tuple[Form, str], list[int]]] = {}

    def add(self, line: Line) -> None:
        clauses = _clauses(line.rule)
        of_clause = self._by_clause.setdefault(min(clauses, default=None), {})
        glob = line.glob
        # An infix may lie anywhere in what it covers.
        key = (glob.form, "" if glob.form is Form.INFIX else glob.literal)
        of_clause.setdefault(key, []).append(len(self.lines))
        self.lines.append(line)
        self._clauses.append(clauses)

    def covering(self, line: Line) -> Iterator[Line]:
        """Those whose glob covers the rule's, and whose clauses all are the rule's too; in their order."""
        keys, clauses = _keys_that_cover(line.glob), _clauses(line.rule)
        places: set[int] = set()
        for clause in (None, *clauses):
            of_clause = self._by_clause.get(clause)
            if of_clause:
                places.update(place for key in keys for place in of_clause.get(key, ()))
        return (self.lines[place] for place in sorted(places) if self._clauses[place] <= clauses and covers(self.lines[place].glob, line.glob))


@lru_cache(maxsize=2_000)
def _keys_that_cover(glob: Glob) -> tuple[tuple[Form, str], ...]:
    """Form and literal of each glob that may cover this one; of infixes the form alone."""
    literal, keys = glob.literal, [(Form.EVERY, ""), (Form.INFIX, "")]
    if glob.form is Form.EXACT:
        # A suffix covers its bare name.
        keys += [(Form.EXACT, literal), (Form.SUFFIX, f".{literal}")]
    if glob.form in (Form.EXACT, Form.PREFIX):
        keys += [(Form.PREFIX, literal[:end]) for end in range(1, len(literal) + 1)]
    if glob.form in (Form.EXACT, Form.SUFFIX):
        keys += [(Form.SUFFIX, literal[start:]) for start in range(len(literal))]
    return tuple(keys)


def _clauses(rule: Rule) -> frozenset[str]:
    """By what they say: as values of Python, true and 1 are the same."""
    return frozenset(map(repr, rule.args_match))


def _own(line: Line) -> list[Warning]:
    """What the rule's own words make of it."""
    rule = line.rule
    glob = rule.tool_name_glob
    found = [Warning(rule.id, hint.code, hint.text, _meant("tool_name_glob", glob)) for hint in hints(glob, rule.verdict) if hint.level == "warning"]
    others = [("skill", rule.skill_name_glob, _meant("skill_name_glob", rule.skill_name_glob))]
    others += [("step", step.match, _meant_step(rule, place)) for place, step in enumerate(rule.sequence.steps if rule.sequence else ())]
    for what, glob, fixes in others:
        found += [
            Warning(rule.id, hint.code, f"Its {what}: {hint.text}", fixes) for hint in hints(glob, Verdict.DENY) if hint.code == "literal_looks_like_glob"
        ]
    if rule.stage is Surface.INBOUND and rule.args_match:
        text = "An offered tool has no arguments yet: on inbound this rule matches nothing."
        found.append(Warning(rule.id, "never_matches", text, (Fix("stage", Surface.RESPONSE.value, "response"), Fix("stage", "", "every surface"))))
    if rule.verdict is Verdict.CAP_COST and rule.stage in (Surface.RESPONSE, Surface.EGRESS):
        text = f"A cap does nothing on {rule.stage}: the call is paid for already."
        found.append(Warning(rule.id, "cap_inert", text, (Fix("stage", "", "every surface"),)))
    return found


def _meant(field: str, glob: str) -> tuple[Fix, ...]:
    """The glob that was likely meant by one that is none, in its place."""
    meant = likely_meant(glob) if "*" in glob and parse(glob).form is Form.EXACT else None
    return (Fix(field, meant, meant),) if meant else ()


def _meant_step(rule: Rule, place: int) -> tuple[Fix, ...]:
    chain = rule.sequence
    fixes = _meant("match", chain.steps[place].match) if chain else ()
    if not chain or not fixes:
        return ()
    steps = (*chain.steps[:place], replace(chain.steps[place], match=fixes[0].shown), *chain.steps[place + 1 :])
    return (Fix("sequence", replace(chain, steps=steps).as_json(), fixes[0].shown),)


def narrowed(warning: Warning, tool_name_glob: str, seen: Iterable[str]) -> Warning:
    """A warning of a loose glob with the one tool ``seen`` that it lets through in its place; of several, which are meant is not known."""
    if warning.code not in LOOSE:
        return warning
    glob = parse(tool_name_glob)
    known = [name for name in seen if glob.matches(name, wide=False)]
    return replace(warning, fixes=(Fix("tool_name_glob", known[0], known[0]),)) if len(known) == 1 else warning


def _behind(line: Line, earlier: _Earlier) -> list[Warning]:
    """What the rules before this one leave of it."""
    rule = line.rule
    if _is_afterwards(rule):
        return []
    is_cap = rule.verdict is Verdict.CAP_COST
    for before in earlier.covering(line):
        covered = before.rule.stage in (None, rule.stage) and _holds_whenever(before.rule, rule)
        # A cap on every call is met by the request itself, about which other rules say nothing.
        if covered and not (is_cap and (line.is_of_every_request or before.rule.verdict.permits)):
            text = f"Never reached: {_told(before)} decides before it for every call that it matches."
            return [Warning(rule.id, "never_reached", text, (Fix("above", before.rule.id, _name(before.rule)), Fix("remove")))]
    return _passed_by(line, earlier) if is_cap else []


def _passed_by(line: Line, earlier: _Earlier) -> list[Warning]:
    """What an allow before a cap keeps from it."""
    rule = line.rule
    for before in earlier.lines:
        where = before.rule.stage
        meets = where in (None, rule.stage) or (rule.stage is None and where in (Surface.INBOUND, Surface.MCP))
        if line.is_of_every_request:
            meets = rule.stage is None and where in (None, Surface.MCP)
        if before.is_last and meets and before.rule.verdict.permits and overlap(before.glob, line.glob):
            whose = "Calls that a gateway asks about and" if line.is_of_every_request else "Calls that"
            text = f"{whose} {_told(before)} lets through never meet this cap. A cap comes first: under it the walk goes on."
            return [Warning(rule.id, "cap_shadowed", text, (Fix("above", earlier.lines[0].rule.id, "first"),))]
    return []


def _holds_whenever(before: Rule, rule: Rule) -> bool:
    """Whether the conditions of ``before``, whose clauses are those of ``rule`` or fewer, hold for every call for which those of ``rule`` do."""
    if before.args_match and before.verdict.permits and not rule.verdict.permits:
        # Arguments that cannot be read are met by the rule that stops alone.
        return False
    same_lists = before.egress is None or (before.egress == rule.egress and before.verdict.permits is rule.verdict.permits)
    same_rest = before.skill_name_glob in ("", "*", rule.skill_name_glob) and before.sequence in (None, rule.sequence)
    return same_lists and same_rest


def _is_afterwards(rule: Rule) -> bool:
    """A sequence that is matched afterwards takes no part in the walk."""
    return rule.sequence is not None and not rule.sequence.is_inline


def _told(line: Line) -> str:
    return f"{_name(line.rule)} (priority {line.rule.priority})"


def _name(rule: Rule) -> str:
    return f"“{rule.label}”" if rule.label else f"the rule for {rule.tool_name_glob or 'every tool'}"


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
