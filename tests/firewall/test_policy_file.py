"""Laws of policy files and of histories: what is written is read back, and what did not change is not told."""

import random
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import policy_file
from firewall.engine.history import changes, in_words, paired
from firewall.engine.validate import policy_problems
from firewall.services import BLANK_RULE, POLICY_FIELDS, RULE_FIELDS
from tests.figures import dear
from workspaces.errors import BadRequestBody, PayloadTooLarge, ValidationFailed

# What a reader of YAML could take for something else, beside every text that may be saved.
TRAPS = [
    "no",
    "on",
    "~",
    "null",
    "1e3",
    "1_000",
    "0x1f",
    "1:30",
    "2026-01-31",
    "=",
    "<<",
    "- a",
    "a: b",
    "# a",
    "*a",
    "&a",
    "!a",
    "'",
    '"',
    " a ",
    "\u2028",
    "\ufeff",
    "é",
    "🐋",
]
CHARS = st.characters(exclude_categories=["Cc", "Cs"])
LINE = st.sampled_from(TRAPS) | st.text(CHARS, max_size=30)
NOTES = LINE | st.text(CHARS | st.sampled_from("\n\r\t"), max_size=60)
VALUE = LINE | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
CLAUSE = st.fixed_dictionaries({"path": LINE, "op": LINE, "value": VALUE | st.lists(VALUE, max_size=3)})
RULE = st.fixed_dictionaries(
    {"verdict": st.sampled_from(["allow", "audit", "deny"]), "priority": st.integers(0, 50), "tool_name_glob": LINE},
    optional={
        "label": LINE,
        "notes": NOTES,
        "skill_name_glob": LINE,
        "stage": st.sampled_from(["", "inbound", "response"]),
        "enabled": st.booleans(),
        "args_match": st.fixed_dictionaries({"clauses": st.lists(CLAUSE, max_size=3)}),
        "egress": st.fixed_dictionaries({"allow": st.lists(LINE, max_size=3)}),
        "cap_cost_cents": st.integers(0, 10**6),
    },
)
FIELDS = st.fixed_dictionaries({
    "name": LINE.filter(str.strip),
    "default_verdict": st.sampled_from(["allow", "audit", "deny"]),
    **{name: st.booleans() for name in ("enabled", "is_default", "shadow_mode", "block_notice", "refuse_unknown_fields")},
    "max_runs_per_key_per_hour": st.none() | st.integers(1, 1000),
})  # fmt: skip


@st.composite
def versions(draw):
    rules = sorted((BLANK_RULE | rule for rule in draw(st.lists(RULE, max_size=6))), key=lambda rule: rule["priority"])
    return draw(FIELDS) | {"rules": [{"id": number} | rule for number, rule in enumerate(rules, start=1)]}


@dear
@given(versions())
def test_a_file_says_all_of_a_policy_but_its_place(version):
    fields, rules = policy_file.read(policy_file.write(version).encode())

    assert set(version) == {*POLICY_FIELDS, "rules"}
    assert fields | {"is_default": version["is_default"]} == {name: version[name] for name in POLICY_FIELDS}
    assert [BLANK_RULE | rule for rule in rules] == [{name: rule[name] for name in RULE_FIELDS} for rule in version["rules"]]


@dear
@given(versions(), versions(), st.randoms())
def test_what_differs_is_told_and_what_does_not_is_not(one, other, chance):
    assert changes(one, deepcopy(one)) == []
    assert bool(changes(one, other)) is (one != other)
    shuffled = one | {"rules": chance.sample(one["rules"], len(one["rules"]))}
    told = changes(one, shuffled)
    assert {change.kind for change in told} <= {"moved"}
    assert bool(told) is ([rule["id"] for rule in one["rules"]] != [rule["id"] for rule in shuffled["rules"]])
    assert 0 < len(in_words(changes(one, other))) <= 1000


def test_long_values_are_told_from_where_they_differ():
    rule = BLANK_RULE | {"id": 1, "label": "Shells", "notes": "Why it stands here. " * 30}

    (told,) = changes({"rules": [rule]}, {"rules": [rule | {"notes": rule["notes"] + "And since May for zsh too."}]})
    (shorter,) = changes({"rules": [rule]}, {"rules": [rule | {"notes": "Short."}]})

    assert told.text.endswith("now …Why it stands here. Why it stands here. And since May for zsh too."), told.text
    assert shorter.text.startswith("“Shells”: notes Why it stands here. Why"), shorter.text
    assert shorter.text.endswith("…, now Short."), shorter.text


@dear
@given(versions(), versions())
def test_rules_that_are_paired_stay_in_their_order(present, wanted):
    ids = paired(present["rules"], [{name: rule[name] for name in RULE_FIELDS} for rule in wanted["rules"]])

    kept = [rule_id for rule_id in ids if rule_id is not None]
    assert len(set(kept)) == len(kept)
    # New rules get ids above all that are there, in the order of the list.
    rules = [(rule["priority"], rule_id or 1000 + place) for place, (rule_id, rule) in enumerate(zip(ids, wanted["rules"], strict=True))]
    assert rules == sorted(rules)


@dear
@given(versions())
def test_a_policy_replaced_by_its_own_file_keeps_every_rule(version):
    rules = [{name: rule[name] for name in RULE_FIELDS} for rule in version["rules"]]
    found = paired(version["rules"], rules)

    assert [version["rules"][rule_id - 1] | {"id": 0} for rule_id in found if rule_id] == [rule | {"id": 0} for rule in version["rules"]]


def test_a_policy_of_500_explained_rules_fits_into_a_file():
    chance = random.Random(1)
    clauses = [{"path": f"$.field{number}", "op": "regex", "value": "(?i)" + "x" * 60} for number in range(5)]
    rules = [
        BLANK_RULE
        | {"verdict": "deny", "tool_name_glob": f"tool{chance.random()}.*", "label": f"rule {number}", "priority": 10 * number}
        | {"notes": "Why it stands here.\n" * 30, "args_match": {"clauses": clauses}}
        for number in range(500)
    ]
    version = {"name": "large", "default_verdict": "deny", "rules": rules}

    fields, read = policy_file.read(policy_file.write(version).encode())

    assert policy_problems(fields | {"rules": read}) == []
    assert [BLANK_RULE | rule for rule in read] == rules


def largest() -> dict:
    """A policy that has as much of everything as it may, each text as long as it may be."""
    clauses = [{"path": "$." + "p" * 250, "op": "regex", "value": "v" * 512}] * 20
    texts = {"label": "l" * 120, "notes": "n" * 2000, "tool_name_glob": "g" * 128, "skill_name_glob": "s" * 128}
    rule = texts | {"verdict": "sanitize", "args_match": {"clauses": clauses}, "sanitize": {"presets": [], "custom": ["c" * 512] * 20}}
    return {"name": "largest", "rules": [BLANK_RULE | rule | {"priority": number} for number in range(500)]}


def test_the_largest_policy_that_can_be_saved_is_read_back():
    version = largest()
    text = policy_file.write(version)
    assert 14_000_000 < len(text) < policy_file.MAX_BYTES
    assert [BLANK_RULE | rule for rule in policy_file.read(text.encode())[1]] == version["rules"]


@pytest.mark.parametrize("values", [["🐋" * 2048] * 100, [1] * 24_000])
def test_what_would_not_be_read_back_is_not_saved_unless_it_shrinks(values):
    rule = BLANK_RULE | {"verdict": "deny", "args_match": {"clauses": [{"path": "$.a", "op": "in", "value": values}]}}
    version = {"name": "p", "rules": [rule] * 9}
    with pytest.raises(ValidationFailed, match="at most 16 MB as a file, and 200,000 values"):
        policy_file.refuse_unreadable(version, before={"name": "p", "rules": [rule] * 8})
    policy_file.refuse_unreadable(version, before={"name": "p", "rules": [rule] * 10})
    with pytest.raises((BadRequestBody, PayloadTooLarge)):
        policy_file.read(policy_file.write(version).encode())


def test_aliases_are_refused_however_large_a_file_may_be():
    bomb = "name: x\nrules:\n- &a {verdict: deny}\n" + "- *a\n" * 400_000
    with pytest.raises(BadRequestBody, match="an alias, an anchor or a tag in line 3"):
        policy_file.read(bomb.encode())
    with pytest.raises(PayloadTooLarge, match="at most 16 MB"):
        policy_file.read(b" " * (policy_file.MAX_BYTES + 1))


def test_what_are_lines_to_some_readers_only_is_spelt_out():
    text = policy_file.write({"name": "p", "rules": [BLANK_RULE | {"verdict": "deny", "notes": "one\u2028two\nthree"}]})

    assert "\u2028" not in text
    assert policy_file.read(text.encode())[1][0]["notes"] == "one\u2028two\nthree"


def test_the_names_in_a_file_stand_in_the_order_in_which_they_are_said():
    clause, step = {"op": "eq", "path": "$.a", "value": 1}, {"match": "db.*", "egress": True, "min_count": 2}
    rule = {"verdict": "deny", "args_match": {"clauses": [clause]}, "sequence": {"steps": [step], "enforce": "inline", "window_seconds": 5}}
    text = policy_file.write({"name": "p", "rules": [BLANK_RULE | rule]})

    (read,) = policy_file.read(text.encode())[1]
    assert list(read["args_match"]["clauses"][0]) == ["path", "op", "value"]
    assert list(read["sequence"]) == ["window_seconds", "steps", "enforce"]
    assert list(read["sequence"]["steps"][0]) == ["match", "min_count", "egress"]
