"""Policies and calls drawn so that rules and names often meet."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from firewall.engine.conditions import Clause, Operator
from firewall.engine.destinations import destination
from firewall.engine.egress import EgressLists
from firewall.engine.sanitize import PRESETS, Sanitizers
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from tests.firewall.engine import reference

T = TypeVar("T")

LONGEST = 16
"""The naive interpreter is exponential in underscores: names it is asked about stay this short, or have no more of them."""

_words = ("a", "b", "ab", "_", "__", "a_", "_a", "a.", ".b", "a__b", "a.b", "shell", "kb", "exec", "web.search")
#: Drawn from a list and not put together by draws of their parts: most of a property's time goes into drawing.
_joined = sorted({joint.join(parts)[:LONGEST] for count in (1, 2, 3) for parts in product(_words, repeat=count) for joint in (".", "__", "_", "")})
names = st.sampled_from(_joined) | st.text("ab_.", max_size=LONGEST)
any_text = st.text(st.characters(exclude_categories=()), max_size=140)
globs = st.one_of(
    names,
    names.map("{}.*".format),
    names.map("*.{}".format),
    names.map("*.{}.*".format),
    st.text("ab._*", max_size=6),
    st.sampled_from(["", "*", "**", "*.*", ".*", "*.", "*..*", "foo*", "foo.*.bar"]),
)


def seeded(make: Callable[[Random], T]) -> st.SearchStrategy[T]:
    """What ``make`` puts together from one seed: many times faster than drawing each part, which is nearly all that a property costs.

    What fails is shown as it is and not made smaller; it is small to begin with.
    """
    return st.binary(min_size=8, max_size=8).map(lambda seed: make(Random(seed)))


_VERDICTS = [Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY]
_SURFACES = list(Surface)
_ENABLED = [True, True, True, False]
verdicts = st.sampled_from(_VERDICTS)
surfaces = st.sampled_from(_SURFACES)


def _name(chance: Random) -> str:
    return chance.choice(_joined) if chance.random() < 0.5 else "".join(chance.choices("ab_.", k=chance.randrange(LONGEST + 1)))


def _any_name(chance: Random) -> str:
    """Of a tool, or of none: any characters there are, but few underscores."""
    if chance.random() < 0.8:
        return _name(chance)
    ceiling = chance.choice([0x80, 0x80, 0x3000, 0x110000])
    return "".join(chr(chance.randrange(ceiling)) for _ in range(chance.choice([1, 3, 20, 128, 129]))).replace("_", "-")


def _glob(chance: Random, names: list[str]) -> str:
    form = chance.choice(["{}", "{}.*", "*.{}", "*.{}.*", "{}.*", "*.{}", "letters", "odd"])
    if form == "letters":
        return "".join(chance.choices("ab._*", k=chance.randrange(7)))
    return chance.choice(["", "*", "**", "*.*", ".*", "*.", "*..*", "foo*", "foo.*.bar"]) if form == "odd" else form.format(chance.choice(names))


def _rules(chance: Random) -> tuple[Rule, ...]:
    names = [_name(chance), _name(chance)]
    return tuple(
        Rule(
            id=place + 1,
            priority=chance.randrange(4),
            label=chance.choice(["", "No shell"]),
            stage=chance.choice([None] * len(_SURFACES) + _SURFACES),
            tool_name_glob=_glob(chance, names),
            verdict=chance.choice(_VERDICTS),
            enabled=chance.choice(_ENABLED),
        )
        for place in range(chance.choice([0, 1, 2, 4, 6, 9]))
    )


def _policy(chance: Random, rules: Callable[[Random], tuple[Rule, ...]] = _rules) -> Policy:
    return Policy(1, "agents", 3, chance.choice(_VERDICTS), shadow_mode=chance.random() < 0.5, rules=rules(chance))


def _policy_and_call(chance: Random) -> tuple[Policy, ToolCall]:
    """Often the call's name is made from one of the policy's own globs."""
    policy, surface = _policy(chance), chance.choice(_SURFACES)
    goal = chance.choice([None, '{"url": "http://a.example/x"}'])
    if not policy.rules or chance.random() < 0.2:
        return policy, ToolCall(surface, _any_name(chance), goal)
    rule = chance.choice(policy.rules)
    name = rule.tool_name_glob.replace("*", chance.choice(["", "a", "_", "a.b", "b__a"]))
    sent = chance.choice([name, name.replace(".", "__"), name.replace(".", "__", 1)])
    return policy, ToolCall(rule.stage or surface, sent[:LONGEST], goal)


rule_lists = seeded(_rules)
policies = seeded(_policy)
calls = seeded(lambda chance: ToolCall(chance.choice(_SURFACES), _any_name(chance)))
policies_and_calls = seeded(_policy_and_call)


# --- The whole language: each part from a list of all there are -----------------------------------------------------
_texts = ["", "rm -rf /", *reference.HOSTS, "not a host", "user@@x"]
_numbers = [0, 1, 1.0, -1, 2.5, 2**53, 2**53 + 1, float(2**53), 0x0A000001]
_scalars = [*_texts, *_numbers, True, False]
_leaves = [*_scalars, None]
_words_of_a_command = [["rm", "-rf", "/"], ["rm -rf", "/"], ["rm", 1]]
_wrapped = [
    *_words_of_a_command,
    {"c": ["rm", "-rf", "/"]},
    *(value for leaf in _leaves for value in ([leaf], [1, {"a": leaf}], {"a": leaf}, {"c": leaf}, {"a": [leaf]}, {"c": {"a": leaf}})),
]
_paths = [*["$.a"] * 4, "$", "$.b", "$.url", "$.a.c", "$.a[0]", "$.b[1].a"]
_values_of = {
    Operator.EQ: _scalars,
    Operator.IN: [*((one,) for one in _scalars), *product(_texts[:3], _numbers[:3]), *product(_numbers[4:6], _texts[4:6], [False])],
    Operator.CONTAINS: ["", "r", "rm", "X"],
    Operator.REGEX: ["rm -rf|ls", "^a.b$", "(x|a)+", "example"],
    Operator.GT: _numbers,
    Operator.LT: _numbers,
    Operator.CIDR_MATCH: ["10.0.0.0/8", "8.8.8.8", "0.0.0.0/0", "::/0"],
    Operator.SHELL_DESTRUCTIVE: [True, False],
}
_steps = [Step(*parts) for parts in product(["*", "kb", "shell.*", "*.exec", "a"], [1, 2], [False, True])]
_clauses = [[Clause(path, operator, value) for path in _paths for value in values] for operator, values in _values_of.items()]
_entries = [(), *(entry for count in (1, 2) for entry in permutations(["a.example", "b.example", "10.0.0.0/8", "8.8.8.8/32", "0.0.0.0/0"], count))]

_places = [*reference.HOSTS, "not a host", "user@@x"]
_bad_arguments = ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": {"c": 1, "c": 1}}', '"x"', "{} x"]
_globs_of_many = ["", "*", "kb", "shell.*", "*.exec", "a"]
_sanitizers = [Sanitizers(("email",)), Sanitizers(tuple(PRESETS)), Sanitizers(("ssn_us",), ("rm.*", "[0-9]+"))]
_runs = [
    RunState(calls, spent, held, told, runs_this_hour=begun)
    for spent, held, told, (calls, begun) in product([0, 1, 2], [0, 1], [None, 0, 1], [(0, 0), (0, 2), (1, 3)])
]
_destinations = [destination(host) for host in ("a.example", "10.0.0.1", "metadata", "user@@x", "8.8.8.8")]
_ASKED_ON = [surface for surface in Surface if surface is not Surface.INBOUND]
_CARRIED_OUT = [verdict for verdict in Verdict if verdict is not Verdict.OBSERVE]


def _value(chance: Random) -> object:
    return chance.choice(chance.choice([_texts, _numbers, [True, False, None, [], {}, *_wrapped]]))


def _arguments(chance: Random) -> str | None:
    if chance.random() < 0.25:
        return chance.choice([None, *_bad_arguments])
    drawn = {"a": _value(chance)}
    if chance.random() < 0.5:
        drawn["b"] = _value(chance)
    for name in ("url", "host"):
        if chance.random() < 0.5:
            drawn[name] = chance.choice(_places) if chance.random() < 0.5 else _value(chance)
    return json.dumps(drawn)


def _chain(chance: Random) -> Chain:
    return Chain(chance.choice([0, 1, 10]), tuple(chance.choices(_steps, k=chance.randint(1, 3))), is_inline=chance.random() < 0.5)


def _whole_rule(chance: Random, place: int = 0) -> Rule:
    return Rule(
        id=place + 1,
        priority=chance.randrange(4),
        label="",
        stage=chance.choice([None] * len(_SURFACES) + _SURFACES),
        tool_name_glob=chance.choice(_globs_of_many),
        verdict=chance.choice(_CARRIED_OUT),
        enabled=chance.choice(_ENABLED),
        skill_name_glob=chance.choice(["", "", "", "*", "mail.*"]),
        args_match=tuple(chance.choice(chance.choice(_clauses)) for _ in range(chance.choice([0, 0, 1, 2]))),
        egress=EgressLists(chance.choice(_entries), chance.choice(_entries)) if chance.random() < 0.3 else None,
        sanitize=chance.choice(_sanitizers),
        sequence=_chain(chance) if chance.random() < 0.2 else None,
        cap_micro_usd=chance.randrange(4),
    )


def _whole_rules(chance: Random) -> tuple[Rule, ...]:
    return tuple(_whole_rule(chance, place) for place in range(chance.randrange(7)))


def _one_rule(chance: Random) -> tuple[Rule, ...]:
    """About every tool, so that its conditions decide."""
    return (replace(_whole_rule(chance), stage=None, tool_name_glob="", skill_name_glob="", enabled=True),)


def _one_rule_policy(chance: Random) -> Policy:
    return replace(_policy(chance, _one_rule), shadow_mode=False)


def _whole_call(chance: Random) -> ToolCall:
    name = chance.choice(["kb", "shell.rm", "shell__rm", "db.exec", "exec", "a", "bad name"])
    return ToolCall(chance.choice(_SURFACES), name, _arguments(chance), skill=chance.choice([None, "mail.send", "mail__send", "other"]))


#: Tools that a request offers, or a call and the money of its run.
Moment = list[str] | tuple[ToolCall, RunState]


def _asked(chance: Random) -> ToolCall:
    """A call that its maker asks about."""
    return replace(_whole_call(chance), surface=chance.choice(_ASKED_ON))


def _moment(chance: Random) -> Moment:
    if chance.random() < 0.5:
        return [_name(chance) for _ in range(chance.randint(1, 4))]
    to = tuple(chance.choices(_destinations, k=chance.randrange(3))) if chance.random() < 0.5 else None
    return replace(_asked(chance), destinations=to), chance.choice(_runs)


whole_rules = seeded(_whole_rule)
whole_policies = seeded(lambda chance: replace(_policy(chance, _whole_rules), max_runs_per_key_per_hour=chance.choice([None, None, 1, 2])))
one_rule_policies = seeded(_one_rule_policy)
whole_calls = seeded(_whole_call)
asked = seeded(_asked)
asked_in_turn = seeded(lambda chance: [(_asked(chance), chance.randint(0, 5_000)) for _ in range(chance.randrange(7))])
moments = seeded(lambda chance: [_moment(chance) for _ in range(chance.randint(1, 6))])
histories = seeded(lambda chance: [(_whole_call(chance), chance.randint(0, 6_000)) for _ in range(chance.randrange(6))])
money = st.sampled_from(_runs)
