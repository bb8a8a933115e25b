"""Policies and calls drawn so that rules and names often meet."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

from hypothesis import settings
from hypothesis import strategies as st

from firewall.engine.conditions import Clause, Operator
from firewall.engine.egress import EgressLists
from firewall.engine.sanitize import Sanitizers
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from tests.firewall.engine import reference

LONGEST = 16
"""The naive interpreter is exponential in underscores: names it is asked about stay this short, or have no more of them."""

EXAMPLES = settings.default.max_examples
#: For laws about whole policies and runs, of which an example takes milliseconds; the long profile tries as many as of any other.
dear = settings(max_examples=EXAMPLES if EXAMPLES > 2_000 else max(50, EXAMPLES // 5))

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
verdicts = st.sampled_from([Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY])
surfaces = st.sampled_from(Surface)
calls = st.builds(ToolCall, surface=surfaces, name=names | any_text.filter(lambda name: name.count("_") < LONGEST))


def numbered(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """With ids of their own, in the order drawn."""
    return tuple(replace(rule, id=place + 1) for place, rule in enumerate(rules))


rules = st.builds(
    Rule,
    id=st.just(1),
    priority=st.integers(0, 3),
    label=st.sampled_from(["", "No shell"]),
    stage=st.none() | surfaces,
    tool_name_glob=globs,
    verdict=verdicts,
    enabled=st.sampled_from([True, True, True, False]),
)
rule_lists = st.lists(rules, max_size=6).map(numbered)


policies = st.builds(
    Policy,
    id=st.just(1),
    name=st.just("agents"),
    version=st.just(3),
    default_verdict=verdicts,
    shadow_mode=st.booleans(),
    rules=rule_lists,
)


@st.composite
def policies_and_calls(draw: st.DrawFn) -> tuple[Policy, ToolCall]:
    """Often the call's name is made from one of the policy's own globs."""
    policy = draw(policies)
    if not policy.rules or draw(st.booleans()):
        return policy, draw(calls)
    glob = draw(st.sampled_from(policy.rules)).tool_name_glob
    name = glob.replace("*", draw(st.sampled_from(["", "a", "_", "a.b", "b__a"])))
    sent = draw(st.sampled_from([name, name.replace(".", "__"), name.replace(".", "__", 1)]))
    return policy, ToolCall(draw(surfaces), sent[:LONGEST])


# --- The whole language: each part from a list of all there are -----------------------------------------------------
_texts = ["", "rm -rf /", *reference.HOSTS, "not a host", "user@@x"]
_numbers = [0, 1, 1.0, -1, 2.5, 2**53, 2**53 + 1, float(2**53)]
_scalars = [*_texts, *_numbers, True, False]
_leaves = [*_scalars, None]
_wrapped = [value for leaf in _leaves for value in ([leaf], [1, {"a": leaf}], {"a": leaf}, {"c": leaf}, {"a": [leaf]}, {"c": {"a": leaf}})]
_paths = [*["$.a"] * 4, "$", "$.b", "$.url", "$.a.c", "$.a[0]", "$.b[1].a"]
_values_of = {
    Operator.EQ: _scalars,
    Operator.IN: [*((one,) for one in _scalars), *product(_texts[:3], _numbers[:3]), *product(_numbers[4:6], _texts[4:6], [False])],
    Operator.CONTAINS: ["", "r", "rm", "X"],
    Operator.REGEX: ["rm -rf|ls", "^a.b$", "(x|a)+", "example"],
    Operator.GT: _numbers,
    Operator.LT: _numbers,
}
_steps = [Step(*parts) for parts in product(["*", "kb", "shell.*", "*.exec", "a"], [1, 2], [False, True])]
_entries = [(), *(entry for count in (1, 2) for entry in permutations(["a.example", "b.example", "10.0.0.0/8", "8.8.8.8/32", "0.0.0.0/0"], count))]

arg_names = st.sampled_from(["a", "b", "url", "host"])
numbers = st.sampled_from(_numbers)
_value = st.sampled_from(_texts) | numbers | st.sampled_from([True, False, None, [], {}, *_wrapped])
_place = st.sampled_from([*reference.HOSTS, "not a host", "user@@x"]) | _value
objects = st.fixed_dictionaries({"a": _value}, optional={"b": _value, "url": _place, "host": _place})
bad_arguments = st.sampled_from(["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": {"c": 1, "c": 1}}', '"x"', "{} x"])
arguments = objects.map(json.dumps) | (st.none() | bad_arguments)
clauses = st.one_of(st.sampled_from([Clause(path, operator, value) for path in _paths for value in values]) for operator, values in _values_of.items())
egress_lists = st.sampled_from([EgressLists(*lists) for lists in product(_entries, repeat=2)])
chains = st.builds(
    Chain,
    window_seconds=st.sampled_from([0, 1, 10]),
    steps=st.lists(st.sampled_from(_steps), min_size=1, max_size=3).map(tuple),
    is_inline=st.booleans(),
)
whole_rules = st.builds(
    Rule,
    id=st.just(1),
    priority=st.integers(0, 3),
    label=st.just(""),
    stage=st.sampled_from([None, None, *Surface]),
    tool_name_glob=st.sampled_from(["", "*", "kb", "shell.*", "*.exec", "a"]),
    verdict=st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.OBSERVE]),
    enabled=st.sampled_from([True, True, True, False]),
    skill_name_glob=st.sampled_from(["", "", "", "*", "mail.*"]),
    args_match=st.lists(clauses, max_size=2).map(tuple),
    egress=st.none() | egress_lists,
    sanitize=st.just(Sanitizers(("email",))),
    sequence=st.none() | st.none() | chains,
    cap_micro_usd=st.integers(0, 3),
)
whole_policies = st.builds(
    Policy,
    id=st.just(1),
    name=st.just("agents"),
    version=st.just(3),
    default_verdict=verdicts,
    shadow_mode=st.booleans(),
    rules=st.lists(whole_rules, max_size=6).map(numbered),
)


def only(rule: Rule, default_verdict: Verdict) -> Policy:
    """A policy of one rule about every tool, so that its conditions decide."""
    every = replace(rule, stage=None, tool_name_glob="", skill_name_glob="", enabled=True)
    return Policy(1, "agents", 3, default_verdict, shadow_mode=False, rules=(every,))


one_rule_policies = st.builds(only, whole_rules, verdicts)
whole_calls = st.builds(
    ToolCall,
    surface=surfaces,
    name=st.sampled_from(["kb", "shell.rm", "shell__rm", "db.exec", "exec", "a", "bad name"]),
    arguments=arguments,
    skill=st.sampled_from([None, "mail.send", "other"]),
)
money = st.builds(RunState, spent_micro_usd=st.integers(0, 2), reserved_micro_usd=st.integers(0, 1), estimate_micro_usd=st.sampled_from([None, 0, 1]))
