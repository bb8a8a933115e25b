"""The test sandbox: the gateway's verdict on a call, by a saved policy or a draft, and nothing kept."""

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from firewall import sandbox
from firewall.engine.decide import decide
from firewall.engine.types import RunState
from firewall.models import Event, Policy, Rule
from firewall.selectors import compiled
from tests.factories.firewall import make_policy
from tests.firewall.engine.strategies import policies_and_calls
from workspaces import tenancy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/test"
NO_SHELL = {"priority": 10, "tool_name_glob": "shell.*", "verdict": "deny", "label": "No shell"}
SEARCH = {"priority": 20, "tool_name_glob": "web.search", "verdict": "allow"}
BIG = {"priority": 5, "tool_name_glob": "pay.*", "verdict": "deny", "args_match": {"clauses": [{"path": "$.amount", "op": "gt", "value": 500}]}}


def send(tenant, body, role=Role.DEVELOPER) -> tuple[int, dict]:
    answer = tenant.client(role).post(PATH, body, content_type="application/json")
    return answer.status_code, answer.json()


def trial(tenant, **fields) -> dict:
    status, body = send(tenant, {"surface": "response", "tool_name": "shell.exec"} | fields)
    assert status == 200, body
    return body


def test_a_call_is_judged_by_the_workspace_default_and_nothing_is_kept(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), NO_SHELL, SEARCH, is_default=True)
    with tenancy.scope(acme.workspace.pk):
        deny, allow = policy.rules.all()
        audited = acme.workspace.audit_entries.count()

    body = trial(acme, arguments={"command": "ls"})

    assert (body["verdict"], body["policy_name"], body["rule_id"], body["rule_label"]) == ("deny", "agents", deny.pk, "No shell")
    assert body["reason"] == 'matched shell.* (rule "No shell")'
    assert (body["metadata"]["reason_code"], body["metadata"]["risk_score"]) == ("rule_deny", 80)
    assert [(step["rule_id"], step["matched"]) for step in body["walk"]] == [(deny.pk, True), (allow.pk, False)]
    assert body["walk"][1]["why"] == "the name does not match web.search"
    with tenancy.scope(acme.workspace.pk):
        assert not Event.objects.exists()
        assert acme.workspace.audit_entries.count() == audited


def test_without_a_policy_in_force_nothing_is_walked(acme):
    make_policy(acme.workspace, acme.person(Role.OWNER), NO_SHELL, is_default=True, enabled=False)
    body = trial(acme)
    assert (body["verdict"], body["policy_name"], body["rule_id"], body["walk"]) == ("observe", None, None, [])


def test_a_named_policy_is_tried_though_it_is_disabled(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), NO_SHELL, enabled=False)
    assert trial(acme, policy_id=policy.pk)["verdict"] == "deny"


def test_a_draft_is_tried_unsaved(acme):
    draft = {"default_verdict": "deny", "rules": [SEARCH, BIG]}

    assert trial(acme, tool_name="web.search", policy=draft)["verdict"] == "allow"
    paid = trial(acme, tool_name="pay.transfer", policy=draft, arguments='{"amount": 501}')
    small = trial(acme, tool_name="pay.transfer", policy=draft, arguments={"amount": 1})

    assert (paid["policy_name"], paid["rule_id"], paid["metadata"]["reason_code"]) == ("draft", 2, "rule_deny")
    assert (small["verdict"], small["rule_id"], small["metadata"]["reason_code"]) == ("deny", None, "default_deny")
    assert [step["rule_id"] for step in paid["walk"]] == [2, 1], "as they are judged"
    with tenancy.scope(acme.workspace.pk):
        assert not acme.workspace.policies.exists()


def test_arguments_that_nobody_can_read_match_what_denies(acme):
    body = trial(acme, tool_name="pay.transfer", policy={"rules": [BIG]}, arguments='{"amount": 1, "amount": 2}')
    assert (body["verdict"], body["metadata"]["reason_code"]) == ("deny", "bad_arguments")
    offered = trial(acme, surface="inbound", tool_name="pay.transfer", policy={"rules": [BIG]}, arguments={"amount": 900})
    assert offered["walk"][0]["why"] == "there are no arguments to see"


def test_shadow_mode_is_told(acme):
    body = trial(acme, policy={"shadow_mode": True, "rules": [NO_SHELL]})
    assert body["verdict"] == "audit"
    assert body["reason"].startswith("[shadow] would deny — ")


LEAK = {"verdict": "deny", "sequence": {"window_seconds": 60, "enforce": "inline", "steps": [{"match": "vault.*"}, {"match": "*", "egress": True}]}}


def test_a_call_is_tried_after_the_run_that_is_described(acme):
    cap = {"verdict": "cap_cost", "cap_cost_cents": 100}

    def why(run: dict, *rules: dict, **policy) -> str | None:
        asked = {"surface": "mcp", "tool_name": "http.get", "arguments": {"url": "https://8.8.8.8/"}, "run": run}
        return trial(acme, **asked, policy={"rules": list(rules)} | policy)["metadata"]["reason_code"]

    assert why({"spent_micro_usd": 1_000_000}, cap) is None
    assert why({"spent_micro_usd": 1_000_001}, cap) == "cost_cap"
    assert why({"spent_micro_usd": 900_000, "reserved_micro_usd": 50_000, "estimate_micro_usd": 50_001}, cap) == "cost_cap"
    assert why({"estimate_micro_usd": None}, cap) == "price_unknown"
    assert why({"is_stopped": True}) == "run_stopped"
    assert why({"runs_this_hour": 61}, max_runs_per_key_per_hour=60) == "run_limit"
    assert why({"runs_this_hour": 61, "calls": 1}, max_runs_per_key_per_hour=60) is None
    told = trial(acme, surface="mcp", tool_name="http.get", run={"estimate_micro_usd": None}, policy={"rules": [cap]})["walk"]
    assert told[0]["why"] == "it matches, and its cap cannot be kept, as the model has no price"
    read = {"tool_name": "vault.read", "arguments": {"id": 1}}
    assert why({}, LEAK) is None
    assert why({"before": [read | {"seconds_ago": 30}]}, LEAK) == "sequence"
    assert why({"before": [read | {"seconds_ago": 90}]}, LEAK) is None


def test_a_sequence_that_is_only_watched_is_told_beside_the_verdict(acme):
    watched = LEAK | {"sequence": {name: value for name, value in LEAK["sequence"].items() if name != "enforce"}}
    asked = {"tool_name": "http.get", "arguments": {"url": "https://8.8.8.8/"}, "run": {"before": [{"tool_name": "vault.read"}]}}
    body = trial(acme, **asked, policy={"default_verdict": "allow", "rules": [watched]})
    assert body["verdict"] == "allow"
    assert any("completed the sequence" in factor for factor in body["metadata"]["factors"])


def test_where_a_call_goes_is_found_out_as_by_whoever_asks_before_it(acme):
    to_itself = {"verdict": "deny", "egress": {"deny": ["127.0.0.0/8", "::1/128"], "allow": []}}

    def why(surface: str, **call) -> str | None:
        return trial(acme, surface=surface, tool_name="http.get", policy={"default_verdict": "allow", "rules": [to_itself]}, **call)["metadata"]["reason_code"]

    assert why("egress", destination="http://2130706433/") == "egress_denied"
    assert why("mcp", destination="https://8.8.8.8/", arguments={"url": "http://127.1/"}) == "egress_denied"
    assert why("egress", arguments={"url": "https://8.8.8.8/"}) is None
    assert why("egress") == "egress_no_destination"
    # The name leads nowhere: only whoever looks it up can tell.
    assert why("mcp", destination="nowhere.invalid") == "egress_no_destination"
    assert why("response", arguments={"url": "https://nowhere.invalid/"}) is None


def test_a_skill_is_tried(acme):
    draft = {"default_verdict": "allow", "rules": [{"verdict": "deny", "skill_name_glob": "community.*"}]}
    assert trial(acme, policy=draft, skill="community.mail")["verdict"] == "deny"
    assert trial(acme, policy=draft, skill="builtin.mail")["verdict"] == "allow"


WRONG_RUNS = [
    ([], "run"),
    ({"cost": 1}, "run.cost"),
    ({"calls": -1}, "run.calls"),
    ({"calls": None}, "run.calls"),
    ({"spent_micro_usd": "1"}, "run.spent_micro_usd"),
    ({"spent_micro_usd": 2**60}, "run.spent_micro_usd"),
    ({"is_stopped": 1}, "run.is_stopped"),
    ({"before": {}}, "run.before"),
    ({"before": [{}] * 101}, "run.before"),
    ({"before": [5]}, "run.before.0"),
    ({"before": [{"tool_name": "a"}, {}]}, "run.before.1.tool_name"),
    ({"before": [{"tool_name": "a", "verdict": "deny"}]}, "run.before.0.verdict"),
    ({"before": [{"tool_name": "a", "seconds_ago": -1}]}, "run.before.0.seconds_ago"),
]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "surface"),
        ({"surface": "outbound", "tool_name": "a"}, "surface"),
        ({"surface": ["mcp"], "tool_name": "a"}, "surface"),
        ({"surface": "mcp"}, "tool_name"),
        ({"surface": "mcp", "tool_name": "a", "arguments": [1]}, "arguments"),
        ({"surface": "mcp", "tool_name": "a", "destination": 1}, "destination"),
        ({"surface": "mcp", "tool_name": "a", "policy_id": "x"}, "policy_id"),
        ({"surface": "mcp", "tool_name": "a", "policy": []}, "policy"),
        ({"surface": "mcp", "tool_name": "a", "policy_id": 1, "policy": {}}, "policy"),
        ({"surface": "mcp", "tool_name": "a", "policy": {"mood": 1}}, "policy.mood"),
        ({"surface": "mcp", "tool_name": "a", "policy": {"rules": [{"verdict": "maybe"}]}}, "policy.rules.0.verdict"),
        ({"surface": "mcp", "tool_name": "a", "policy": {"rules": [{"verdict": "deny", "id": "x"}], "default_verdict": "no"}}, "policy.default_verdict"),
        ({"surface": "mcp", "tool_name": "a", "skill": 1}, "skill"),
        ({"surface": "mcp", "tool_name": "a", "mood": "x"}, "mood"),
        *(({"surface": "mcp", "tool_name": "a", "run": run}, param) for run, param in WRONG_RUNS),
    ],
)
def test_what_is_no_call_is_refused_by_name(acme, body, param):
    status, answer = send(acme, body)
    assert (status, answer["error"]["param"]) == (400, param)


def test_another_workspaces_policy_is_missing(acme, rival):
    policy = make_policy(rival.workspace, rival.person(Role.OWNER), NO_SHELL)
    status, answer = send(acme, {"surface": "mcp", "tool_name": "a", "policy_id": policy.pk})
    assert (status, answer["error"]["code"]) == (404, "not_found")


def test_it_is_for_developers(acme):
    assert send(acme, {"surface": "mcp", "tool_name": "a"}, Role.MEMBER)[0] == 403
    assert Client().post(PATH, {}, content_type="application/json").status_code == 401


@given(drawn=policies_and_calls, as_object=st.booleans())
def test_the_sandbox_says_what_the_gateway_says(drawn, as_object):
    policy, call = drawn
    described = sandbox.tool_call(call.surface.value, call.name, {} if as_object else "{}")
    rules = [
        {
            **{"id": rule.id, "priority": rule.priority, "label": rule.label, "stage": rule.stage or ""},
            **{"tool_name_glob": rule.tool_name_glob, "verdict": rule.verdict.value, "enabled": rule.enabled},
        }
        for rule in policy.rules
    ]
    rows = [Rule(pk=fields["id"], **{name: value for name, value in fields.items() if name != "id"}) for fields in rules]
    own = {"name": policy.name, "default_verdict": policy.default_verdict.value, "shadow_mode": policy.shadow_mode}
    live = decide(compiled(Policy(pk=policy.id, version=3, **own), rows), described, RunState())

    trial = sandbox.try_call(sandbox.draft_policy(own | {"rules": rules}), described)

    assert (trial.decision.verdict, trial.decision.rule_id, trial.decision.reason, trial.decision.reason_code) == (
        *(live.verdict, live.rule_id, live.reason, live.reason_code),
    )
    decided = [step.rule_id for step in trial.walk if step.matched]
    assert decided == ([live.rule_id] if live.rule_id is not None else [])
