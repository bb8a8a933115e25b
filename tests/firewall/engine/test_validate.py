"""What may be saved: a refusal and its success side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.validate import policy_problems, problems

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["deny", "egress", "sanitize"])
FIELDS = st.sampled_from(["verdict", "stage", "tool_name_glob", "notes", "priority", "enabled", "args_match", "name", "other"])
RULES = st.dictionaries(FIELDS, SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(FIELDS, SCALARS, max_size=2), max_size=5)


def rule(**fields: object) -> dict[str, object]:
    return {"verdict": "deny", **fields}


@pytest.mark.parametrize(
    "fields",
    [
        rule(),
        rule(stage="", tool_name_glob="", label="", notes="", priority=0, enabled=False),
        rule(stage=None),
        *(rule(stage=stage, verdict=verdict) for stage in ("inbound", "response", "mcp") for verdict in ("allow", "audit", "deny")),
        rule(tool_name_glob="x" * 128, label="y" * 120, notes="why\n\tand how" * 100, priority=1_000_000),
        rule(tool_name_glob="foo*"),  # a hint, not a refusal
        # All fields sent, those of other verdicts and matchers empty.
        rule(
            skill_name_glob="", args_match=None, args_match_json="{}", egress=None, sanitize={"presets": [], "custom": []}, sequence_json="", cap_cost_cents=0
        ),
        rule(egress_json="null", sequence=None, sanitize_json="{}"),
        rule(args_match={"clauses": []}),
    ],
)
def test_a_rule_that_can_be_saved(fields):
    assert problems(fields) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "verdict"),
        *(({"verdict": verdict}, "verdict") for verdict in ("", "block", "observe", None, 1, ["deny"])),
        (rule(stage="Inbound"), "stage"),
        (rule(stage=["mcp"]), "stage"),
        (rule(tool_name_glob="x" * 129), "tool_name_glob"),
        (rule(tool_name_glob="a\x00"), "tool_name_glob"),
        (rule(label="safe \u202eteled"), "label"),
        (rule(tool_name_glob=None), "tool_name_glob"),
        (rule(label="y" * 121), "label"),
        (rule(label="two\nlines"), "label"),
        (rule(notes="z" * 2001), "notes"),
        (rule(notes="\ud800"), "notes"),
        *((rule(priority=priority), "priority") for priority in (-1, 1_000_001, True, 1.0, "10", None)),
        (rule(enabled="false"), "enabled"),
        (rule(tool_glob="shell.*"), "tool_glob"),  # a misspelt matcher would make the rule match everything
        (rule(skill_name_glob="x" * 129), "skill_name_glob"),
        (rule(args_match={"clauses": [{"path": "$.a", "op": "regex", "value": "("}]}), "args_match.clauses[0].value"),
        (rule(args_match_json='{"clauses": 5}'), "args_match_json.clauses"),
        (rule(args_match_json="[1]"), "args_match_json"),
        (rule(args_match={"clauses": [{"path": "$", "op": "eq", "value": 1}]}, args_match_json='{"clauses": [1]}'), "args_match_json"),
        (rule(cap_cost_cents=-1), "cap_cost_cents"),
        (rule(cap_cost_cents=1.5), "cap_cost_cents"),
        (rule(cap_cost_cents=""), "cap_cost_cents"),
        (rule(cap_cost_cents=[]), "cap_cost_cents"),
        (rule(cap_cost_cents=False), "cap_cost_cents"),
    ],
)
def test_a_rule_that_cannot_be_saved_names_the_field(fields, param):
    assert [problem.param for problem in problems(fields)] == [param]


#: A use of each part of the language, and what is wrong with another.
PARTS = {
    "sanitize": (rule(verdict="sanitize", sanitize={"presets": ["email"]}), rule(verdict="sanitize"), "sanitize"),
    "cap_cost": (rule(verdict="cap_cost", cap_cost_cents=0), rule(verdict="cap_cost"), "cap_cost_cents"),
    "pending_approval": (rule(verdict="pending_approval", stage="response"), rule(verdict="pending_approval", stage="egress"), "stage"),
    "egress": (rule(egress={"deny": ["10.0.0.0/8"]}), rule(egress={"allow": ["x.org"]}), "egress"),
    "sequence": (rule(sequence={"steps": [{"match": "a"}]}), rule(verdict="allow", sequence={"steps": [{"match": "a"}]}), "verdict"),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_language_can_be_saved(part):
    right, wrong, param = PARTS[part]
    assert problems(right) == []
    assert [problem.param for problem in problems(wrong)] == [param]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (rule(egress={"deny": ["*.x.org"]}), "egress.deny[0]"),
        (rule(egress_json='{"deny": ["10.0.0.0/99"]}'), "egress_json.deny[0]"),
        (rule(egress={"deny": ["10.0.0.0/8"]}, stage="inbound"), "egress"),
        (rule(verdict="sanitize", sanitize={"presets": ["phone"]}), "sanitize.presets[0]"),
        (rule(sequence={"window_seconds": 5, "steps": []}), "sequence.steps"),
        # Left out as if they were not there, they would make the rule one about every call.
        *((rule(verdict=verdict, egress=empty), "egress") for verdict in ("allow", "deny") for empty in ({}, [], {"allow": []}, {"allow": [], "deny": None})),
        *((rule(egress_json=empty), "egress_json") for empty in ("{}", "[]", '{"deny": []}')),
        *((rule(sequence=empty), param) for empty, param in (({}, "sequence.steps"), ([], "sequence"), ({"steps": []}, "sequence.steps"))),
        *((rule(sequence_json=empty), param) for empty, param in (("{}", "sequence_json.steps"), ("[]", "sequence_json"))),
        (rule(sequence={"steps": [{"match": "a", "min_count": 0}]}), "sequence.steps[0].min_count"),
        (rule(sequence={"window_seconds": -1, "steps": [{"match": "a"}]}), "sequence.window_seconds"),
        (rule(sequence={"steps": [{"match": "a"}], "enforce": "later"}), "sequence.enforce"),
    ],
)
def test_what_is_wrong_inside_a_part_is_named_by_its_path(fields, param):
    assert [problem.param for problem in problems(fields)] == [param]


def test_all_problems_are_told_at_once_with_their_places():
    found = policy_problems({"name": " ", "default_verdict": "sanitize", "rules": [rule(), rule(stage="everywhere", priority=-1), "deny"]})
    assert [(problem.param, problem.rule) for problem in found] == [
        ("name", None),
        ("default_verdict", None),
        ("rules[1].stage", 1),
        ("rules[1].priority", 1),
        ("rules[2]", 2),
    ]


@pytest.mark.parametrize(("name", "holds"), [("\u200b\u00a0", False), ("\u2066p\u2069", False), ("\u200bp", True), ("🐋", True), ("ü" * 64, True)])
def test_a_name_is_one_that_can_be_seen(name, holds):
    assert (policy_problems({"name": name}) == []) is holds


def test_a_policy_has_at_most_500_rules():
    assert policy_problems({"name": "p", "rules": [rule()] * 500}) == []
    assert [problem.param for problem in policy_problems({"name": "p", "rules": [rule()] * 501})] == ["rules"]


@pytest.mark.parametrize("default", ["allow", "audit", "deny"])
def test_a_policy_that_can_be_saved(default):
    assert policy_problems({"name": "agents", "default_verdict": default, "enabled": True, "is_default": False, "shadow_mode": True}) == []


@given(RULES, RULES, SCALARS | st.lists(RULES | SCALARS, max_size=3))
def test_any_json_has_an_answer(rule_fields, policy_fields, rules):
    assert all(problem.message for problem in problems(rule_fields) + policy_problems({**policy_fields, "rules": rules}))
