"""Find the rules that can match a name without trying them all, and make their conditions ready to be judged.

Exact names, prefixes and suffixes are looked up by their text, infixes are
searched for in order; so a policy's cost grows with the rules that match, not
with those that cannot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from firewall.engine.arguments import Arguments
from firewall.engine.conditions import Check, compile_clauses
from firewall.engine.destinations import Destination, destinations
from firewall.engine.egress import Scope
from firewall.engine.glob import TOOL_NAME, Form, parse, underscored
from firewall.engine.sanitize import Sanitizer
from firewall.engine.words import ReasonCode, Surface, Verdict

if TYPE_CHECKING:
    from firewall.engine.types import Rule, RunState, ToolCall

MEMO_NAMES = 2048
"""Names remembered per policy. They come from callers, so there must be a bound."""

_CALLS_OF_MODELS = (Surface.RESPONSE, Surface.EGRESS)


class Hit(NamedTuple):
    """That a rule matches: the code of a denial for it, and what beside the name it matched by."""

    code: ReasonCode = ReasonCode.RULE_DENY
    because: str = ""


HIT = Hit()
"""By its name alone."""


class Seen:
    """One call as the rules look at it: what costs something to find out is found out once, if a rule asks."""

    __slots__ = ("_arguments", "_destinations", "call", "run")

    def __init__(self, call: ToolCall, run: RunState) -> None:
        self.call, self.run = call, run
        self._arguments: Arguments | None = None
        self._destinations = call.destinations

    @property
    def arguments(self) -> Arguments:
        """Decoded when they are first asked for."""
        if self._arguments is None:
            self._arguments = Arguments(self.call.arguments)
        return self._arguments

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """As whoever asked has resolved them, else as the arguments spell them."""
        if self._destinations is None:
            self._destinations = destinations(self.arguments.root) if self.arguments.are_seen else ()
        return self._destinations

    @property
    def is_egress(self) -> bool:
        """Whether the call goes somewhere, as a step of a sequence may want."""
        return self.call.surface is Surface.EGRESS or bool(self.destinations)


class Line:
    """A rule, compiled."""

    def __init__(self, rule: Rule) -> None:
        restrains = not rule.verdict.permits
        self.rule = rule
        self.glob, self._skill = parse(rule.tool_name_glob), parse(rule.skill_name_glob)
        self._checks: tuple[Check, ...] = compile_clauses(rule.args_match, wide=restrains)
        self._scope = Scope(rule.egress, permits=rule.verdict.permits) if rule.egress else None
        self.sanitizer = Sanitizer(rule.sanitize) if rule.sanitize else None
        #: What else than a call's name and surface the rule asks for.
        self.reads_arguments, self.reads_destinations = bool(self._checks), self._scope is not None
        #: Its lists name addresses: then it matters what a destination's name resolves to.
        self.reads_addresses = self._scope is not None and self._scope.has_addresses
        self.allowed_names = self._scope.allowed_names if self._scope else frozenset[str]()
        #: What the rule says rests on more of a call than its name, its surface and what its run had done.
        self.reads_call = self.reads_arguments or self.reads_destinations or self._skill.form is not Form.EVERY or rule.verdict is Verdict.SANITIZE
        #: Nothing but a call's name and surface says whether the rule matches.
        self.is_plain = not (self._checks or self._scope or rule.sequence) and self._skill.form is Form.EVERY
        #: The walk ends where such a rule is met.
        self.is_last = self.is_plain and rule.verdict is not Verdict.CAP_COST
        #: And what it says is the same for all calls that it ends the walk of.
        self.is_constant = self.is_last and rule.verdict not in (Verdict.SANITIZE, Verdict.PENDING_APPROVAL)

    @property
    def is_of_every_request(self) -> bool:
        """It is about a request whatever tools that offers, even none."""
        return self.rule.stage in (None, Surface.INBOUND) and self.is_plain and self.glob.form is Form.EVERY

    def why_silent(self, name: str, surface: Surface) -> str | None:
        """Why the rule has nothing to say about any call of this name on this surface; None if it may have."""
        rule = self.rule
        if not rule.enabled:
            return "the rule is disabled"
        if rule.stage not in (None, surface):
            return f"the rule is for {rule.stage}, this call is on {surface}"
        if rule.verdict is Verdict.CAP_COST and surface in _CALLS_OF_MODELS:
            return f"cap_cost does nothing on {surface}"
        if rule.sequence and not rule.sequence.is_inline:
            return "its sequence is matched afterwards"
        if rule.sequence and surface is Surface.INBOUND:
            return "an offered tool is no call of a sequence"
        if rule.sequence and not rule.sequence.ends_with(name):
            return "the name is not the last step of its sequence"
        return None if self.glob.matches(name, wide=not rule.verdict.permits) else f"the name does not match {rule.tool_name_glob}"

    def meets(self, seen: Seen) -> Hit | str:
        """That the rule matches a call about which it is not silent, or why it does not."""
        if self.is_plain:
            return HIT
        if self._skill.form is not Form.EVERY and not (seen.call.skill is not None and self._skill.matches_spelling(seen.call.skill)):
            return f"the tool is not of a skill {self.rule.skill_name_glob}"
        hit = self._meets_arguments(seen) if self._checks else HIT
        if isinstance(hit, Hit) and self._scope:
            hit = self._meets_destination(seen, self._scope, hit)
        if isinstance(hit, Hit) and self.rule.sequence:
            hit = self._meets_sequence(seen, hit)
        return hit

    def _meets_arguments(self, seen: Seen) -> Hit | str:
        if not seen.arguments.are_seen:
            return "there are no arguments to see"
        root = seen.arguments.root
        if root is None:
            what = "the arguments are not one JSON object with unique names and finite numbers"
            return what if self.rule.verdict.permits else Hit(ReasonCode.BAD_ARGUMENTS, what)
        for check in self._checks:
            if (miss := check.miss(root)) is not None:
                return miss
        return Hit(because=f"its {len(self._checks)} argument clauses hold" if len(self._checks) > 1 else self._checks[0].told(root))

    def _meets_destination(self, seen: Seen, scope: Scope, hit: Hit) -> Hit | str:
        if not seen.destinations:
            return "there is no destination to see"
        found = scope.hit(seen.destinations)
        if found is None:
            return "no destination is in its scope" if not self.rule.verdict.permits else "not every destination is in its scope"
        if hit.code is ReasonCode.BAD_ARGUMENTS:
            return hit
        if not found.is_usable and not self.rule.verdict.permits:
            return Hit(ReasonCode.EGRESS_NO_DESTINATION, "it cannot be told where the call goes")
        return Hit(ReasonCode.EGRESS_DENIED, f"the call goes to {found.shown}")

    def _meets_sequence(self, seen: Seen, hit: Hit) -> Hit | str:
        chain = self.rule.sequence
        assert chain is not None
        _, completes = chain.advance(seen.run.chains.get(chain.key, ()), seen.call.name, is_egress=lambda: seen.is_egress, at_ms=seen.run.at_ms)
        if not completes:
            return "the call does not complete its sequence"
        return Hit(ReasonCode.SEQUENCE, f"it completes {chain.shown}") if hit.code is ReasonCode.RULE_DENY else hit


def compile_rules(lines: Iterable[Line]) -> Callable[[str, Surface], tuple[Line, ...]]:
    """A memoised function from (tool name as sent, surface) to the lines that are not silent, in the order given, up to the first that surely matches.

    It keeps the names it is asked for, so ask only for names of bounded length.
    """
    ordered = tuple(lines)
    every: list[int] = []
    infixes: list[tuple[str, int]] = []
    exact: defaultdict[str, list[int]] = defaultdict(list)
    prefixes: defaultdict[str, list[int]] = defaultdict(list)
    suffixes: defaultdict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(ordered):
        # Keys are underscored, as are the names looked up: a key that fits is necessary, ``Line.why_silent`` has the last word.
        key = underscored(line.glob.literal)
        match line.glob.form:
            case Form.EVERY:
                every.append(place)
            case Form.EXACT:
                exact[key].append(place)
            case Form.PREFIX:
                prefixes[key].append(place)
            case Form.SUFFIX:
                suffixes[key].append(place)
                exact[underscored(line.glob.literal[1:])].append(place)
            case Form.INFIX:
                infixes.append((key, place))
    prefix_lengths = sorted({len(key) for key in prefixes})
    suffix_lengths = sorted({len(key) for key in suffixes})

    @lru_cache(maxsize=MEMO_NAMES)
    def rules_for(name: str, surface: Surface) -> tuple[Line, ...]:
        spelled = underscored(name)
        possible = [*every, *exact.get(spelled, ())]
        for length in prefix_lengths:
            if length < len(spelled):
                possible += prefixes.get(spelled[:length], ())
        for length in suffix_lengths:
            if length <= len(spelled):
                possible += suffixes.get(spelled[-length:], ())
        possible += [place for key, place in infixes if key in spelled]
        found = []
        # A suffix rule may be found by two keys.
        for place in sorted(set(possible)):
            if ordered[place].why_silent(name, surface) is None:
                found.append(ordered[place])
                if ordered[place].is_last:
                    break
        return tuple(found)

    return rules_for


def sequences_by_name(rules: tuple[Rule, ...]) -> Callable[[str], tuple[Rule, ...]]:
    """A function from a tool's name as sent to the rules whose sequences have a step for it, in the order given."""

    @lru_cache(maxsize=MEMO_NAMES)
    def known(name: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in rules if rule.sequence and rule.sequence.has_step(name))

    def found(name: str) -> tuple[Rule, ...]:
        # In shadow a call goes on whatever its name: the memo keeps none that no tool may have.
        return () if not rules else known(name) if TOOL_NAME.fullmatch(name) else known.__wrapped__(name)

    return found
