"""Policies and calls drawn so that rules and names often meet."""

import json

from hypothesis import strategies as st

from firewall.engine.conditions import Clause, Operator
from firewall.engine.egress import EgressLists
from firewall.engine.sanitize import Sanitizers
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from tests.firewall.engine import reference

LONGEST = 16
"""The naive interpreter is exponential in underscores: names it is asked about stay this short, or have no more of them."""

words = st.text("ab_.", max_size=7) | st.sampled_from(["shell", "kb", "exec", "a", "web.search", "a_", "_a"])
names = st.lists(words, min_size=1, max_size=3).flatmap(lambda parts: st.sampled_from([".", "__", "_", ""]).map(lambda joint: joint.join(parts)[:LONGEST]))
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


rules = st.builds(
    Rule,
    id=st.integers(1, 99),
    priority=st.integers(0, 3),
    label=st.sampled_from(["", "No shell"]),
    stage=st.none() | surfaces,
    tool_name_glob=globs,
    verdict=verdicts,
    enabled=st.sampled_from([True, True, True, False]),
)
rule_lists = st.lists(rules, max_size=6, unique_by=lambda rule: rule.id)


policies = st.builds(
    Policy,
    id=st.just(1),
    name=st.just("agents"),
    version=st.just(3),
    default_verdict=verdicts,
    shadow_mode=st.booleans(),
    rules=rule_lists.map(tuple),
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


# --- The whole language ---------------------------------------------------------------------------------------------
arg_names = st.sampled_from(["a", "b", "url", "host"])
texts = st.sampled_from(["", "rm -rf /", *reference.HOSTS, "not a host", "user@@x"])
numbers = st.sampled_from([0, 1, 1.0, -1, 2.5, 2**53, 2**53 + 1, float(2**53)])
leaves = texts | numbers | st.booleans() | st.none()
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "c"]), inner, max_size=2), max_leaves=3)
objects = st.dictionaries(arg_names, values, max_size=3)
bad_arguments = st.sampled_from(["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": {"c": 1, "c": 1}}', '"x"', "{} x"])
arguments = st.none() | objects.map(json.dumps) | bad_arguments
paths = st.sampled_from(["$", "$.a", "$.b", "$.url", "$.a.c", "$.a[0]", "$.b[1].a"])
scalars = texts | numbers | st.booleans()
clauses = st.one_of(
    st.builds(Clause, paths, st.just(Operator.EQ), scalars),
    st.builds(Clause, paths, st.just(Operator.IN), st.lists(scalars, min_size=1, max_size=3).map(tuple)),
    st.builds(Clause, paths, st.just(Operator.CONTAINS), st.sampled_from(["", "r", "rm", "X"])),
    st.builds(Clause, paths, st.just(Operator.REGEX), st.sampled_from(["rm -rf|ls", "^a.b$", "(x|a)+", "example"])),
    st.builds(Clause, paths, st.sampled_from([Operator.GT, Operator.LT]), numbers),
)
entries = st.lists(st.sampled_from(["a.example", "b.example", "10.0.0.0/8", "8.8.8.8/32", "0.0.0.0/0"]), max_size=2).map(tuple)
step_globs = st.sampled_from(["*", "kb", "shell.*", "*.exec", "a"])
chains = st.builds(
    Chain,
    window_seconds=st.sampled_from([0, 1, 10]),
    steps=st.lists(st.builds(Step, step_globs, st.integers(1, 2), st.booleans()), min_size=1, max_size=3).map(tuple),
    is_inline=st.booleans(),
)
whole_rules = st.builds(
    Rule,
    id=st.integers(1, 99),
    priority=st.integers(0, 3),
    label=st.just(""),
    stage=st.sampled_from([None, None, *Surface]),
    tool_name_glob=st.sampled_from(["", "*", "kb", "shell.*", "*.exec", "a"]),
    verdict=st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.OBSERVE]),
    enabled=st.sampled_from([True, True, True, False]),
    skill_name_glob=st.sampled_from(["", "", "", "*", "mail.*"]),
    args_match=st.lists(clauses, max_size=2).map(tuple),
    egress=st.none() | st.builds(EgressLists, entries, entries),
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
    rules=st.lists(whole_rules, max_size=6, unique_by=lambda rule: rule.id).map(tuple),
)
whole_calls = st.builds(
    ToolCall,
    surface=surfaces,
    name=st.sampled_from(["kb", "shell.rm", "shell__rm", "db.exec", "exec", "a", "bad name"]),
    arguments=arguments,
    skill=st.sampled_from([None, "mail.send", "other"]),
)
money = st.builds(RunState, spent_micro_usd=st.integers(0, 2), reserved_micro_usd=st.integers(0, 1), estimate_micro_usd=st.sampled_from([None, 0, 1]))
