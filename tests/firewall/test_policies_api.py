"""Policies, rules and settings over HTTP."""

import json
import threading
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from firewall import services
from firewall.models import Policy
from tests.factories.firewall import make_policy
from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.errors import OrcaError
from workspaces.permissions import Role

POLICIES, RULES = "/api/workspace/firewall/policies", "/api/workspace/firewall/rules"
RESEARCH = {
    "name": "research",
    "default_verdict": "deny",
    "rules": [{"priority": 10, "tool_name_glob": "web.search", "verdict": "allow"}, {"priority": 20, "tool_name_glob": "kb.*", "verdict": "allow"}],
}


@pytest.fixture
def api(acme):
    return acme.client(Role.DEVELOPER)


def send(client, method, path, body=None, **headers):
    return getattr(client, method)(path, body, content_type="application/json", headers=headers)


def make(api, **fields):
    answer = send(api, "post", POLICIES, RESEARCH | fields)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def audit_of(acme):
    with tenancy.scope(acme.workspace.pk):
        return list(acme.workspace.audit_entries.order_by("sequence").values_list("action", "payload"))


def test_a_policy_is_made_with_its_rules_in_one_step(acme, api):
    policy = make(api)

    assert (policy["version"], policy["rule_count"], policy["attached_key_count"]) == (1, 2, 0)
    assert [rule["tool_name_glob"] for rule in policy["rules"]] == ["web.search", "kb.*"]
    assert send(api, "get", f"{POLICIES}/{policy['id']}").json() == policy
    assert audit_of(acme)[-1] == (
        "firewall_policy_create",
        {"id": policy["id"], "name": "research", "is_default": False, "default_verdict": "deny", "enabled": True},
    )


def test_warnings_come_with_a_policy_and_with_a_rule(api):
    policy = make(api, rules=[{"verdict": "allow", "priority": 1}, {"verdict": "cap_cost", "cap_cost_cents": 5, "priority": 2}])
    rule = send(api, "post", RULES, {"policy_id": policy["id"], "verdict": "allow", "tool_name_glob": "*.exec", "priority": 0}).json()

    told = send(api, "get", f"{POLICIES}/{policy['id']}").json()["warnings"]

    assert [(each["rule_id"], each["code"]) for each in told] == [(rule["id"], "loose_suffix"), (policy["rules"][1]["id"], "cap_shadowed")]
    assert rule["warnings"] == told[:1]
    assert "Lets through" in told[0]["text"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"default_verdict": "sanitize"}, "default_verdict"),
        ({"enabled": "yes"}, "enabled"),
        ({"block_notice": 1}, "block_notice"),
        ({"colour": "red"}, "colour"),
        ({"version_of": 1}, "version_of"),
        ({"rules": "all"}, "rules"),
        ({"rules": 5}, "rules"),
        ({"rules": [{"verdict": "allow"}, {"verdict": "maybe"}]}, "rules.1.verdict"),
        ({"rules": [{"verdict": "sanitize"}]}, "rules.0.sanitize"),
        (
            {"rules": [{"verdict": "deny", "args_match_json": '{"clauses":[{"path":"$.a","op":"regex","value":"("}]}'}]},
            "rules.0.args_match_json.clauses.0.value",
        ),
        ({"rules": [{"verdict": "deny", "args_match_json": "{"}]}, "rules.0.args_match_json"),
        ({"rules": [{"verdict": "deny", "args_match": {"clauses": [{"path": "$.a", "op": "like", "value": 1}]}}]}, "rules.0.args_match.clauses.0.op"),
        ({"rules": [{"verdict": "deny", "stage": "everywhere"}]}, "rules.0.stage"),
        ({"rules": [{"verdict": "deny", "priority": "1"}]}, "rules.0.priority"),
        ({"rules": [{"verdict": "allow"}] * 501}, "rules"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(api, change, param):
    answer = send(api, "post", POLICIES, RESEARCH | change)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "validation_error"
    assert answer.json()["error"]["param"] == param


def test_all_problems_are_told_at_once(api):
    answer = send(api, "post", POLICIES, {"name": "", "rules": [{"verdict": "maybe"}, {"verdict": "allow", "priority": -1}]})

    assert [problem["param"] for problem in answer.json()["error"]["metadata"]["errors"]] == ["name", "rules.0.verdict", "rules.1.priority"]


def test_all_unknown_names_are_told_at_once(api):
    for method, path, body in (
        ("post", POLICIES, RESEARCH),
        ("post", "/api/workspace/firewall/test", {}),
        ("post", "/api/workspace/access-tokens", {"name": "x"}),
    ):
        answer = send(api, method, path, body | {"colour": 1, "shape": 2})
        assert [each["param"] for each in answer.json()["error"]["metadata"]["errors"]] == ["colour", "shape"]
    answer = send(api, "post", POLICIES, {f"x{number:03}": 1 for number in range(200)})
    assert answer.json()["error"]["param"] == "x000"
    assert len(answer.json()["error"]["metadata"]["errors"]) == 50


def test_what_is_wrong_names_rule_clause_and_reason(api):
    right, wrong = {"path": "$.a", "op": "eq", "value": 1}, {"path": "$.b", "op": "in", "value": "x"}
    bad = {"verdict": "deny", "args_match": {"clauses": [right, right, wrong]}}
    param = "args_match.clauses.2.value"

    def refused(path, body):
        answer = send(api, "post", path, body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        return error["message"], error["param"], error["metadata"]["errors"]

    listed = {"param": f"rules.1.{param}", "message": "in takes a list of values.", "rule": 1, "clause": 2}
    assert refused(POLICIES, {"name": "p", "rules": [{"verdict": "allow"}, bad]}) == (
        "Rule 2, clause 3: in takes a list of values.",
        f"rules.1.{param}",
        [listed],
    )
    made = make(api)
    alone = {"param": param, "message": "in takes a list of values.", "clause": 2}
    assert refused(RULES, bad | {"policy_id": made["id"]}) == ("Clause 3: in takes a list of values.", param, [alone])
    tried = {"surface": "mcp", "tool_name": "a", "policy": {"rules": [bad]}}
    drafted = {"param": f"policy.rules.0.{param}", "message": "in takes a list of values.", "rule": 0, "clause": 2}
    assert refused("/api/workspace/firewall/test", tried) == ("Rule 1, clause 3: in takes a list of values.", f"policy.rules.0.{param}", [drafted])


def test_matchers_that_are_not_available_may_be_sent_empty(api):
    policy = make(api, rules=[])

    answer = send(api, "post", RULES, {"policy_id": policy["id"], "verdict": "deny", "args_match_json": "{}", "egress_json": "", "cap_cost_cents": 0})

    assert answer.status_code == 201


@pytest.mark.parametrize(("spec", "empty", "at"), [("egress", {"allow": [], "deny": []}, ""), ("egress", {}, ""), ("sequence", {"steps": []}, ".steps")])
def test_a_condition_that_is_there_and_empty_is_refused_on_every_way_in(api, spec, empty, at):
    own = make(api, rules=[{"verdict": "allow", "tool_name_glob": "kb.*"}])
    emptied = {"verdict": "audit", "tool_name_glob": "kb.*", spec: empty}
    listed = {"name": "emptied", "rules": [{"verdict": "deny"}, emptied]}
    encoded = {name: value for name, value in emptied.items() if name != spec} | {f"{spec}_json": json.dumps(empty)}

    def refused(method, path, body):
        error = send(api, method, path, body)
        assert error.status_code == 400, (method, path)
        return error.json()["error"]["param"], error.json()["error"]["metadata"]["errors"][0].get("rule")

    assert refused("post", POLICIES, listed) == (f"rules.1.{spec}{at}", 1)
    assert refused("post", f"{POLICIES}/import", listed) == (f"rules.1.{spec}{at}", 1)
    assert refused("post", "/api/workspace/firewall/test", {"surface": "mcp", "tool_name": "a", "policy": listed}) == (f"policy.rules.1.{spec}{at}", 1)
    assert refused("post", RULES, emptied | {"policy_id": own["id"]}) == (f"{spec}{at}", None)
    assert refused("post", RULES, encoded | {"policy_id": own["id"]}) == (f"{spec}_json{at}", None)
    assert refused("patch", f"{RULES}/{own['rules'][0]['id']}", {spec: empty}) == (f"{spec}{at}", None)
    assert refused("put", RULES, {"id": own["rules"][0]["id"], f"{spec}_json": json.dumps(empty)}) == (f"{spec}_json{at}", None)


def test_every_edit_moves_the_version_and_leaves_an_entry(acme, api):
    policy = make(api, rules=[])
    item = f"{POLICIES}/{policy['id']}"

    rule = send(api, "post", RULES, {"policy_id": policy["id"], "verdict": "deny", "tool_name_glob": "shell.*", "label": "No shell"}).json()
    send(api, "put", RULES, {"id": rule["id"], "priority": 5})
    send(api, "patch", item, {"shadow_mode": True})
    send(api, "put", POLICIES, {"id": policy["id"], "enabled": False})
    send(api, "delete", f"{RULES}/{rule['id']}")

    assert send(api, "get", item).json()["version"] == 6
    assert [action for action, _ in audit_of(acme)][-6:] == [
        "firewall_policy_create",
        "firewall_rule_create",
        "firewall_rule_update",
        "firewall_policy_update",
        "firewall_policy_update",
        "firewall_rule_delete",
    ]
    assert audit_of(acme)[-4][1] == {"id": rule["id"], "policy_id": policy["id"], "verdict": "deny", "stage": "", "tool_name_glob": "shell.*", "priority": 5}


def test_each_change_is_one_the_gateway_must_see(acme, api):
    def version():
        with tenancy.scope(acme.workspace.pk):
            acme.workspace.refresh_from_db()
            return acme.workspace.config_version

    seen = [version()]
    policy = make(api, rules=[{"verdict": "deny"}])
    for method, path, body in [
        ("patch", f"{POLICIES}/{policy['id']}", {"default_verdict": "allow"}),
        ("put", f"{POLICIES}/{policy['id']}/rules/order", {"rule_ids": [policy["rules"][0]["id"]]}),
        ("patch", f"{RULES}/{policy['rules'][0]['id']}", {"verdict": "audit"}),
        ("put", "/api/workspace/firewall/settings", {"observe_mode": False}),
        ("delete", f"{POLICIES}/{policy['id']}", None),
    ]:
        seen.append(version())
        assert send(api, method, path, body).status_code in (200, 204)
    assert [*seen, version()] == sorted({*seen, version()})


@pytest.mark.parametrize("as_header", [True, False])
def test_a_change_of_what_somebody_else_changed_is_refused_with_both_versions(acme, api, as_header):
    policy = make(api)
    item = f"{POLICIES}/{policy['id']}"
    send(api, "patch", item, {"shadow_mode": True})

    stale = send(api, "patch", item, {"name": "mine"}, **{"If-Match": '"1"'}) if as_header else send(api, "patch", item, {"name": "mine", "version": 1})
    fresh = send(api, "patch", item, {"name": "mine"}, **{"If-Match": '"2"'}) if as_header else send(api, "patch", item, {"name": "mine", "version": 2})

    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "version_conflict")
    told = stale.json()["error"]["metadata"]
    assert (told["expected_version"], told["current_version"]) == (1, 2)
    assert [(change["kind"], change["field"]) for change in told["changes"]] == [("policy", "shadow_mode")]
    assert told["saved_by"] == acme.person(Role.DEVELOPER).email
    assert (fresh.status_code, fresh.json()["version"], fresh.headers["ETag"]) == (200, 3, '"3"')


def test_what_somebody_else_changed_is_not_deleted_unseen(api):
    policy = make(api)
    paths = f"{RULES}/{policy['rules'][0]['id']}", f"{POLICIES}/{policy['id']}"

    for path in paths:
        assert [send(api, "delete", path, {"version": 9}).status_code, send(api, "delete", path, "", **{"If-Match": '"9"'}).status_code] == [409, 409]
    assert [send(api, "delete", path, {"version": version}).status_code for version, path in enumerate(paths, start=1)] == [204, 204]


def test_a_name_is_taken_once_a_workspace(api, rival):
    make(api)

    again = send(api, "post", POLICIES, RESEARCH)
    elsewhere = send(rival.client(Role.DEVELOPER), "post", POLICIES, RESEARCH)

    assert (again.status_code, again.json()["error"]["code"], again.json()["error"]["param"]) == (409, "conflict", "name")
    assert elsewhere.status_code == 201


def test_a_new_default_takes_the_place_of_the_old_one(acme, api):
    first = make(api, name="first", is_default=True)
    second = make(api, name="second")

    send(api, "patch", f"{POLICIES}/{second['id']}", {"is_default": True})

    found = {policy["name"]: policy for policy in send(api, "get", POLICIES).json()["results"]}
    assert (found["first"]["is_default"], found["second"]["is_default"]) == (False, True)
    assert found["first"]["version"] == first["version"] + 1
    assert [payload["name"] for action, payload in audit_of(acme)[-2:]] == ["first", "second"]


def test_rules_are_put_in_order_by_one_change(api):
    policy = make(api)
    first, second = (rule["id"] for rule in policy["rules"])
    path = f"{POLICIES}/{policy['id']}/rules/order"

    ordered = send(api, "put", path, {"rule_ids": [second, first]}).json()
    missing = send(api, "put", path, {"rule_ids": [second]})
    twice = send(api, "put", path, {"rule_ids": [second, second]})

    assert [(rule["id"], rule["priority"]) for rule in ordered["rules"]] == [(second, 10), (first, 20)]
    assert ordered["version"] == 2
    assert (missing.status_code, twice.status_code, missing.json()["error"]["param"]) == (400, 400, "rule_ids")


def test_a_rule_stays_in_its_policy(api):
    one, two = make(api), make(api, name="two")

    answer = send(api, "patch", f"{RULES}/{one['rules'][0]['id']}", {"policy_id": two["id"]})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "policy_id")


def test_a_policy_has_at_most_500_rules(acme, api):
    policy = make(api, rules=[{"verdict": "audit"}] * 500)

    answer = send(api, "post", RULES, {"policy_id": policy["id"], "verdict": "deny"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "policy_id")


def test_settings_of_parts_that_do_not_exist_are_refused_by_name(acme):
    api, path = acme.client(Role.ADMIN), "/api/workspace/firewall/settings"

    assert {"observe_mode": True, "run_gap_seconds": 1800}.items() <= send(api, "get", path).json().items()
    assert {"observe_mode": True, "run_gap_seconds": 600}.items() <= send(api, "put", path, {"run_gap_seconds": 600}).json().items()
    fixed = {"record_mode": "strict", "policy_fail_open": False}
    assert fixed.items() <= send(api, "put", path, fixed).json().items()
    assert {send(acme.client(Role.DEVELOPER), "put", path, {name: value}).status_code for name, value in fixed.items()} == {403}
    for name, value in [
        *(("mcp_schema_posture", True), ("record_mode", "spool"), ("policy_fail_open", True), ("policy_fail_open", 0)),
        *(("colour", 1), ("run_gap_seconds", 5), ("observe_mode", "on")),
    ]:
        answer = send(api, "put", path, {name: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_lists_take_no_unknown_parameter(api):
    assert send(api, "get", POLICIES + "?colour=red").json()["error"]["param"] == "colour"


def test_policies_are_listed_page_by_page(api):
    for number in range(5):
        make(api, name=f"p{number}", rules=[])

    first = send(api, "get", POLICIES + "?limit=2").json()
    second = send(api, "get", first["next"]).json()
    back = send(api, "get", second["previous"]).json()

    assert [policy["name"] for page in (first, second) for policy in page["results"]] == ["p4", "p3", "p2", "p1"]
    assert back["results"] == first["results"]


# --- Who may ----------------------------------------------------------------------------------------------------------
def test_a_member_reads_and_changes_nothing(acme, api):
    policy = make(api)
    member = acme.client(Role.MEMBER)
    item, rule = f"{POLICIES}/{policy['id']}", f"{RULES}/{policy['rules'][0]['id']}"

    assert all(send(member, "get", path).status_code == 200 for path in (POLICIES, item, RULES, rule, "/api/workspace/firewall/settings"))
    refused = [
        send(member, "post", POLICIES, {"name": "x"}),
        send(member, "patch", item, {"enabled": False}),
        send(member, "delete", item),
        send(member, "put", item + "/rules/order", {"rule_ids": []}),
        send(member, "patch", rule, {"verdict": "deny"}),
        send(member, "delete", rule),
        send(member, "put", "/api/workspace/firewall/settings", {"observe_mode": False}),
    ]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {(403, "permission_denied")}


def test_another_workspaces_rows_are_missing_rows(api, rival):
    theirs = make(rival.client(Role.OWNER))
    item, rule = f"{POLICIES}/{theirs['id']}", f"{RULES}/{theirs['rules'][0]['id']}"
    missing = send(api, "get", f"{POLICIES}/999999999")

    answers = [
        send(api, "get", item),
        send(api, "patch", item, {"enabled": False}),
        send(api, "put", POLICIES, {"id": theirs["id"], "enabled": False}),
        send(api, "delete", item),
        send(api, "put", item + "/rules/order", {"rule_ids": []}),
        send(api, "get", rule),
        send(api, "patch", rule, {"verdict": "deny"}),
        send(api, "delete", rule),
    ]

    assert missing.status_code == 404
    assert {answer.content for answer in answers} == {missing.content}
    assert send(api, "post", RULES, {"policy_id": theirs["id"], "verdict": "deny"}).status_code == 404
    assert send(api, "get", f"{RULES}?policy_id={theirs['id']}").status_code == 404
    assert send(api, "get", f"{POLICIES}/seven").status_code == 400


# --- At once ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def tenant(committed):
    return make_tenant(f"atonce-{uuid4().hex[:8]}")


def together(*deeds):
    """Run each in a thread of its own, from one start; what they returned or raised."""
    start, found = threading.Barrier(len(deeds)), [None] * len(deeds)

    def run(place, deed):
        start.wait(timeout=60)
        try:
            found[place] = deed()
        except OrcaError as error:
            found[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place, deed)) for place, deed in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return found


def test_no_edit_at_the_same_time_is_lost(tenant):
    developer = tenant.person(Role.DEVELOPER)
    policy = make_policy(tenant.workspace, developer)

    def add(number):
        with tenancy.scope(tenant.workspace.pk):
            own = tenant.workspace.policies.get(pk=policy.pk)
            services.add_rule(own, fields={"verdict": "deny", "label": f"rule {number}"}, actor=developer, at=timezone.now())

    assert together(*(lambda number=number: add(number) for number in range(6))) == [None] * 6
    with tenancy.scope(tenant.workspace.pk):
        policy.refresh_from_db()
        assert (policy.version, policy.rules.count()) == (7, 6)


def test_of_two_edits_based_on_one_version_one_wins(tenant):
    developer = tenant.person(Role.DEVELOPER)
    policy = make_policy(tenant.workspace, developer)

    def rename(name):
        with tenancy.scope(tenant.workspace.pk):
            own = tenant.workspace.policies.get(pk=policy.pk)
            services.change_policy(own, changes={"name": name}, expected_version=1, actor=developer, at=timezone.now())

    found = together(lambda: rename("a"), lambda: rename("b"), lambda: rename("c"))

    assert sorted(str(getattr(result, "code", "done")) for result in found) == ["done", "version_conflict", "version_conflict"]


def test_promotions_at_the_same_time_leave_one_default(tenant):
    developer = tenant.person(Role.DEVELOPER)
    made = [make_policy(tenant.workspace, developer, name=f"p{number}", is_default=number == 0) for number in range(4)]

    def promote(policy: Policy):
        with tenancy.scope(tenant.workspace.pk):
            own = tenant.workspace.policies.get(pk=policy.pk)
            services.change_policy(own, changes={"is_default": True}, actor=developer, at=timezone.now())

    assert together(*(lambda policy=policy: promote(policy) for policy in made[1:])) == [None] * 3
    with tenancy.scope(tenant.workspace.pk):
        assert tenant.workspace.policies.filter(is_default=True).count() == 1


CLAUSES = {"clauses": [{"path": "$.command", "op": "regex", "value": "rm -rf"}, {"path": "$.n", "op": "in", "value": [1, 2.5, True, "x"]}]}


def test_argument_clauses_come_as_objects_or_as_text_and_go_out_as_objects(api):
    policy = make(
        api, rules=[{"verdict": "deny", "args_match": CLAUSES, "skill_name_glob": "community.*"}, {"verdict": "deny", "args_match_json": json.dumps(CLAUSES)}]
    )

    assert [rule["args_match"] for rule in policy["rules"]] == [CLAUSES, CLAUSES]
    assert [rule["skill_name_glob"] for rule in policy["rules"]] == ["community.*", ""]
    assert [rule["egress"] for rule in policy["rules"]] == [None, None]
    first = f"{RULES}/{policy['rules'][0]['id']}"
    assert send(api, "patch", first, {"args_match_json": '{"clauses": [{"path": "$.a", "op": "eq", "value": 1}]}'}).json()["args_match"] == {
        "clauses": [{"path": "$.a", "op": "eq", "value": 1}]
    }
    assert send(api, "patch", first, {"label": "kept"}).json()["args_match"]["clauses"]
    assert send(api, "patch", first, {"args_match": None}).json()["args_match"] is None


def test_a_wrong_clause_is_told_by_rule_and_clause(api):
    wrong = {"clauses": [CLAUSES["clauses"][0], {"path": "$..a", "op": "eq", "value": 1}]}
    error = send(api, "post", POLICIES, RESEARCH | {"rules": [{"verdict": "deny"}, {"verdict": "deny", "args_match": wrong}]}).json()["error"]
    assert [(each["param"], each["rule"], each["clause"]) for each in error["metadata"]["errors"]] == [("rules.1.args_match.clauses.1.path", 1, 1)]
