"""What an approval is bound to: a hash moves with every change that means something, and with no other."""

import json
import string
from decimal import InvalidOperation

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from approvals.engine.args_hash import args_hash, request_hashes, rule_hash
from firewall.engine import rule_json
from tests.figures import dear
from tests.workspaces.engine.test_canonical import NAMES, VALUES, exactly, shuffled

ARGUMENTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)
BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "pay"}],
    "tools": [{"type": "function", "function": {"name": "payments.transfer", "parameters": {"type": "object", "properties": {"amount": {"type": "number"}}}}}],
    "temperature": 0.1,
}


@dear
@given(ARGUMENTS, st.randoms())
def test_arguments_in_another_spelling_are_the_same(arguments, chance):
    assert args_hash(shuffled(arguments, chance)) == args_hash(json.dumps(arguments))


@dear
@given(ARGUMENTS, st.integers(0, 10_000), st.sampled_from(string.printable))
def test_one_byte_of_arguments_changes_the_hash_unless_it_changes_nothing(arguments, place, instead):
    text = json.dumps(arguments)
    place %= len(text)
    changed = text[:place] + instead + text[place + 1 :]
    assume(changed != text)
    try:
        is_same = exactly(changed) == exactly(text)
    except (ValueError, InvalidOperation):
        # No JSON, or an exponent that no reader of ours takes.
        is_same = False
    assert (args_hash(changed) == args_hash(text)) <= is_same


def test_what_is_no_object_is_bound_as_it_was_written():
    assert args_hash("not JSON") != args_hash("not  JSON")
    assert args_hash('{"a":1,"a":1}') != args_hash('{"a": 1,"a":1}')
    assert len({args_hash(None), args_hash("{}"), args_hash("null"), args_hash("[]")}) == 4


@pytest.mark.parametrize("change", [{"stream": True}, {"stream_options": {"include_usage": True}}, {"stream": False, "stream_options": None}])
def test_how_the_answer_is_sent_is_not_bound(change):
    assert request_hashes(json.dumps(BODY | change).encode()) == request_hashes(json.dumps(BODY, indent=1, sort_keys=True).encode())


@dear
@given(st.randoms())
def test_a_changed_definition_changes_its_tools_hash_and_the_requests(chance):
    before, tools = request_hashes(json.dumps(BODY).encode(), ("payments.transfer", "other"))
    changed = json.loads(json.dumps(BODY))
    function = changed["tools"][0]["function"]
    chance.choice([lambda: function.update(description="x"), lambda: function["parameters"].update(type="string")])()
    after, changed_tools = request_hashes(shuffled(changed, chance).encode(), ("payments.transfer", "other"))
    assert before != after
    assert tools["payments.transfer"] != changed_tools["payments.transfer"]
    assert tools["other"] == changed_tools["other"]


RULE = {"verdict": "pending_approval", "tool_name_glob": "payments.*", "args_match": {"clauses": [{"path": "$.amount", "op": "gt", "value": 100.5}]}}


@pytest.mark.parametrize(
    "change",
    [
        {"label": "x"}, {"priority": 7}, {"tool_name_glob": "payments.transfer"}, {"stage": "response"}, {"enabled": False}, {"skill_name_glob": "pay"},
        {"verdict": "deny"}, {"args_match": {"clauses": [{"path": "$.amount", "op": "gt", "value": 100.6}]}}, {"args_match": None},
        {"egress": {"allow": ["a.example"], "deny": []}},
    ],
)  # fmt: skip
def test_every_change_of_a_rule_shows(change):
    assert rule_hash(rule_json.rule(1, RULE)) == rule_hash(rule_json.rule(1, dict(reversed(RULE.items()))))
    assert rule_hash(rule_json.rule(1, RULE | change)) != rule_hash(rule_json.rule(1, RULE))
