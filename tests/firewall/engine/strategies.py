"""Policies and calls drawn so that rules and names often meet."""

from hypothesis import strategies as st

from firewall.engine.types import Policy, Rule, Surface, ToolCall, Verdict

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
