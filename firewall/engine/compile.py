"""Find the rules that can match a name without trying them all.

Exact names, prefixes and suffixes are looked up by their text, infixes are
searched for in order; so a policy's cost grows with the rules that match, not
with those that cannot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from firewall.engine.glob import Form, Glob, parse, underscored

if TYPE_CHECKING:
    from firewall.engine.types import Rule, Surface

MEMO_NAMES = 2048
"""Names remembered per policy. They come from callers, so there must be a bound."""


class _Entry(NamedTuple):
    order: int  # unique, so sorting never compares what follows
    rule: Rule
    glob: Glob


def compile_rules(rules: Iterable[Rule]) -> Callable[[str, Surface], tuple[Rule, ...]]:
    """A memoised function from (tool name as sent, surface) to the rules that match, in the order given.

    It keeps the names it is asked for, so ask only for names of bounded length.
    """
    every: list[_Entry] = []
    infixes: list[tuple[str, _Entry]] = []
    exact: defaultdict[str, list[_Entry]] = defaultdict(list)
    prefixes: defaultdict[str, list[_Entry]] = defaultdict(list)
    suffixes: defaultdict[str, list[_Entry]] = defaultdict(list)
    for order, rule in enumerate(rules):
        entry = _Entry(order, rule, parse(rule.tool_name_glob))
        # Keys are underscored, as are the names looked up: a key that fits is necessary, ``Glob.matches`` has the last word.
        key = underscored(entry.glob.literal)
        match entry.glob.form:
            case Form.EVERY:
                every.append(entry)
            case Form.EXACT:
                exact[key].append(entry)
            case Form.PREFIX:
                prefixes[key].append(entry)
            case Form.SUFFIX:
                suffixes[key].append(entry)
                exact[underscored(entry.glob.literal[1:])].append(entry)
            case Form.INFIX:
                infixes.append((key, entry))
    prefix_lengths = sorted({len(key) for key in prefixes})
    suffix_lengths = sorted({len(key) for key in suffixes})

    @lru_cache(maxsize=MEMO_NAMES)
    def rules_for(name: str, surface: Surface) -> tuple[Rule, ...]:
        spelled = underscored(name)
        possible = [*every, *exact.get(spelled, ())]
        for length in prefix_lengths:
            if length < len(spelled):
                possible += prefixes.get(spelled[:length], ())
        for length in suffix_lengths:
            if length <= len(spelled):
                possible += suffixes.get(spelled[-length:], ())
        possible += [entry for key, entry in infixes if key in spelled]
        return tuple(rule for _, rule, glob in sorted(possible) if rule.stage in (None, surface) and glob.matches(name, wide=not rule.verdict.permits))

    return rules_for
