"""Versions of a policy, copies of it, and policies as files, over HTTP."""

import json

import pytest
import yaml

from tests.factories.firewall import make_policy
from tests.firewall.test_policies_api import POLICIES, RESEARCH, RULES, audit_of, make, send
from workspaces import tenancy
from workspaces.permissions import Role

CLAUSES = {"clauses": [{"path": "$.command", "op": "regex", "value": "rm -rf"}]}


@pytest.fixture
def api(acme):
    return acme.client(Role.DEVELOPER)


def versions(api, policy):
    return send(api, "get", f"{POLICIES}/{policy['id']}/versions").json()["results"]


def then(api, policy, number):
    return send(api, "get", f"{POLICIES}/{policy['id']}/versions/{number}").json()["policy"]


def diff(api, policy, query=""):
    return send(api, "get", f"{POLICIES}/{policy['id']}/versions/diff{query}").json()


@pytest.mark.parametrize(
    ("op", "old", "new", "told"),
    [
        ("eq", 1, "1", '1, now $.a eq "1"'),
        ("eq", "true", True, '"true", now $.a eq true'),
        ("in", ["a, b", 7], ["a", "b", "7"], '"a, b", 7, now $.a in a, b, "7"'),
        ("contains", " ", "  ", '" ", now $.a contains "  "'),
        ("regex", "[0-9]", "7", "[0-9], now $.a regex 7"),
    ],
)
def test_two_values_are_never_told_in_the_same_words(api, op, old, new, told):
    def clause(value):
        return {"clauses": [{"path": "$.a", "op": op, "value": value}]}

    policy = make(api, rules=[{"verdict": "deny", "args_match": clause(old)}])
    send(api, "patch", f"{RULES}/{policy['rules'][0]['id']}", {"args_match": clause(new)})

    (change,) = diff(api, policy, "?from=1&to=2")["changes"]
    assert change["text"] == f"The rule for every tool: arguments $.a {op} {told}."


def export(api, policy):
    answer = send(api, "get", f"{POLICIES}/{policy['id']}/export")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/yaml")
    return answer.content.decode()


def load(api, text, query=""):
    return api.post(f"{POLICIES}/import{query}", text, content_type="application/yaml")


def edited(api):
    """A policy at version 6, each version by a write of another kind."""
    policy = make(api)
    first, second = (rule["id"] for rule in policy["rules"])
    item = f"{POLICIES}/{policy['id']}"
    send(api, "post", RULES, {"policy_id": policy["id"], "verdict": "deny", "tool_name_glob": "shell.*", "label": "No shell", "args_match": CLAUSES})
    send(api, "patch", f"{RULES}/{first}", {"verdict": "audit", "notes": "look"})
    send(api, "patch", item, {"shadow_mode": True, "name": "renamed"})
    third = send(api, "get", item).json()["rules"][2]["id"]
    send(api, "put", item + "/rules/order", {"rule_ids": [third, first, second]})
    assert send(api, "delete", f"{RULES}/{second}").status_code == 204
    return send(api, "get", item).json()


# --- Versions -----------------------------------------------------------------------------------------------------------
def test_each_save_is_kept_with_its_author_and_what_changed(acme, api):
    policy = edited(api)

    found = versions(api, policy)

    assert [each["version"] for each in found] == [6, 5, 4, 3, 2, 1]
    assert {each["saved_by"] for each in found} == {acme.person(Role.DEVELOPER).email}
    assert [each["summary"] for each in reversed(found)] == [
        "Made.",
        "Added “No shell”: deny shell.*, arguments $.command regex rm -rf, priority 100.",
        "The rule for web.search: notes nothing, now look. The rule for web.search: verdict allow, now audit.",
        "Name: research, now renamed. Shadow mode: off, now on.",
        "Moved “No shell” from place 3 to 1, priority 10. The rule for web.search: priority 10, now 20. The rule for kb.*: priority 20, now 30.",
        "Removed the rule for kb.*: allow kb.*, priority 30.",
    ]
    assert then(api, policy, 6)["rules"] == [{name: value for name, value in rule.items() if name != "policy_id"} for rule in policy["rules"]]
    assert then(api, policy, 1)["name"] == "research"


def test_versions_come_page_by_page(api):
    policy = edited(api)

    first = send(api, "get", f"{POLICIES}/{policy['id']}/versions?limit=4").json()
    second = send(api, "get", first["next"]).json()

    assert [each["version"] for each in first["results"] + second["results"]] == [6, 5, 4, 3, 2, 1]
    assert second["next"] is None


def test_any_two_versions_are_compared(api):
    policy = edited(api)

    newest, far, none = diff(api, policy), diff(api, policy, "?from=1&to=6"), diff(api, policy, "?from=4&to=4")
    back = diff(api, policy, "?from=6&to=1")

    assert (newest["from_version"], newest["to_version"]) == (5, 6)
    assert [change["kind"] for change in newest["changes"]] == ["removed"]
    assert {(change["kind"], change["field"]) for change in far["changes"]} == {
        *(("policy", "name"), ("policy", "shadow_mode"), ("removed", None), ("added", None)),
        *(("changed", "notes"), ("changed", "verdict"), ("changed", "priority")),
    }
    assert none["changes"] == []
    assert [change["before"] for change in back["changes"] if change["kind"] == "policy"] == ["renamed", True]
    assert send(api, "get", f"{POLICIES}/{policy['id']}/versions/diff?from=9").json()["error"]["param"] == "from"
    assert send(api, "get", f"{POLICIES}/{policy['id']}/versions/9").status_code == 404
    assert send(api, "get", f"{POLICIES}/{policy['id']}/versions/0").json()["error"]["param"] == "version"


def test_a_refused_change_leaves_no_version(api):
    policy = make(api)

    send(api, "patch", f"{POLICIES}/{policy['id']}", {"name": ""})
    send(api, "patch", f"{POLICIES}/{policy['id']}", {"shadow_mode": True, "version": 7})

    assert [each["version"] for each in versions(api, policy)] == [1]


def test_versions_outlive_their_policy_and_change_for_nobody(acme, api):
    policy = edited(api)
    send(api, "delete", f"{POLICIES}/{policy['id']}")

    assert versions(api, policy)[0]["summary"] == "Deleted."
    again = load(api, export(api, policy)).json()
    assert (again["name"], again["version"], len(again["rules"])) == ("renamed", 1, 2)
    assert send(api, "post", f"{POLICIES}/{policy['id']}/restore", {"version_to_restore": 1}).status_code == 404
    with tenancy.scope(acme.workspace.pk), pytest.raises(Exception, match=r"permission denied|append-only"):
        acme.workspace.policy_versions.update(summary="Nothing happened.")


# --- Restore ------------------------------------------------------------------------------------------------------------
def test_a_restored_policy_is_what_it_was_ids_and_all(acme, api):
    policy = edited(api)

    answer = send(api, "post", f"{POLICIES}/{policy['id']}/restore", {"version_to_restore": 2, "version": 6})

    assert (answer.status_code, answer.json()["version"], answer.headers["ETag"]) == (200, 7, '"7"')
    assert then(api, policy, 7) == then(api, policy, 2)
    assert versions(api, policy)[0]["summary"].startswith("Restored version 2. Name: renamed, now research.")
    action, payload = audit_of(acme)[-1]
    assert (action, payload["name"], payload["restored_version"]) == ("firewall_policy_update", "research", 2)


def test_every_version_can_be_gone_back_to(api):
    policy = edited(api)

    for number in (1, 5, 3, 6, 2, 4):
        made = send(api, "post", f"{POLICIES}/{policy['id']}/restore", {"version_to_restore": number}).json()["version"]
        assert then(api, policy, made) == then(api, policy, number)


def test_a_restore_is_judged_like_any_write(api):
    policy = edited(api)
    restore = f"{POLICIES}/{policy['id']}/restore"
    make(api, name="research")

    taken = send(api, "post", restore, {"version_to_restore": 1})
    stale = send(api, "post", restore, {"version_to_restore": 5, "version": 4})
    missing = send(api, "post", restore, {"version_to_restore": 99})

    assert (taken.status_code, taken.json()["error"]["param"]) == (409, "name")
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "version_conflict")
    told = stale.json()["error"]["metadata"]
    assert (told["expected_version"], told["current_version"]) == (4, 6)
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "version_to_restore")
    assert [send(api, "post", restore, {"version_to_restore": bad}).json()["error"]["param"] for bad in (None, "x", 0, True)] == ["version_to_restore"] * 4


def test_a_default_that_is_restored_takes_its_place_back(api):
    first = make(api, name="first", is_default=True)
    second = make(api, name="second", is_default=True)

    restored = send(api, "post", f"{POLICIES}/{first['id']}/restore", {"version_to_restore": 1}).json()

    assert restored["is_default"]
    assert not send(api, "get", f"{POLICIES}/{second['id']}").json()["is_default"]


# --- Fork ---------------------------------------------------------------------------------------------------------------
def test_a_fork_has_all_but_the_name_the_keys_and_the_place(api):
    policy = make(api, is_default=True, shadow_mode=True)

    answer = send(api, "post", f"{POLICIES}/{policy['id']}/fork", {"name": "mine"})
    fork = answer.json()

    assert (answer.status_code, fork["version"], fork["is_default"], fork["attached_key_count"]) == (201, 1, False, 0)
    unlike = {"id", "name", "is_default", "rules", "created_at", "updated_at"}
    assert {name: value for name, value in fork.items() if name not in unlike} == {name: value for name, value in policy.items() if name not in unlike}
    assert _rules(fork) == _rules(policy)
    assert versions(api, fork)[0]["summary"] == "Copied from research, version 1."
    for body, param in [({"name": "research"}, "name"), ({}, "name"), ({"name": ""}, "name"), ({"name": "x", "rules": []}, "rules")]:
        refused = send(api, "post", f"{POLICIES}/{policy['id']}/fork", body)
        assert (refused.status_code in (400, 409), refused.json()["error"]["param"]) == (True, param)


def _rules(policy):
    return [{name: value for name, value in rule.items() if name not in ("id", "policy_id")} for rule in policy["rules"]]


# --- Files --------------------------------------------------------------------------------------------------------------
def test_a_policy_travels_as_a_file(api, rival):
    policy = edited(api)
    text = export(api, policy)

    there = load(rival.client(Role.DEVELOPER), text)

    assert there.status_code == 201
    assert _rules(there.json()) == _rules(policy)
    assert export(rival.client(Role.DEVELOPER), there.json()) == text
    assert text.startswith("format: orcarouter.policy/1\nname: renamed\n")
    assert "- priority: 10\n  label: No shell\n  tool_name_glob: shell.*\n  verdict: deny\n  args_match:\n" in text


def test_json_is_a_file_too(api):
    body = {"name": "plain", "default_verdict": "deny", "rules": [{"verdict": "allow", "tool_name_glob": "kb.*", "label": "no"}]}

    as_yaml, as_json = load(api, json.dumps(body, indent="\t")), send(api, "post", f"{POLICIES}/import", body | {"name": "json"})

    assert [answer.status_code for answer in (as_yaml, as_json)] == [201, 201]
    assert _rules(as_yaml.json()) == _rules(as_json.json())


def test_a_file_replaces_a_policy_as_its_next_version(api):
    policy = edited(api)
    text = export(api, policy).replace("verdict: deny", "verdict: audit").replace("name: renamed", "name: filed")
    text += "- {verdict: deny, tool_name_glob: email.*, priority: 5}\n"

    stale = load(api, text, f"?policy_id={policy['id']}&version=5")
    answer = load(api, text, f"?policy_id={policy['id']}&version=6")

    told = stale.json()["error"]["metadata"]
    assert (stale.status_code, told["expected_version"], told["current_version"]) == (409, 5, 6)
    replaced = answer.json()
    assert (answer.status_code, replaced["id"], replaced["version"], replaced["name"]) == (200, policy["id"], 7, "filed")
    assert [rule["tool_name_glob"] for rule in replaced["rules"]] == ["email.*", "shell.*", "web.search"]
    assert [rule["id"] for rule in replaced["rules"][1:]] == [rule["id"] for rule in policy["rules"]], "a rule that is still there is the same rule"
    assert versions(api, policy)[0]["summary"].startswith("Replaced by a file. Name: renamed, now filed.")
    assert load(api, text, "?policy_id=999999999").status_code == 404


def test_rules_of_one_priority_stay_in_the_files_order(api):
    policy = make(api, rules=[{"verdict": "allow", "tool_name_glob": glob, "priority": 10} for glob in ("a", "b", "c")])
    content = yaml.safe_load(export(api, policy))

    for order in (["c", "a", "b"], ["x", "a", "b", "y"], ["b", "c", "b"]):
        content["rules"] = [{"verdict": "allow", "tool_name_glob": glob, "priority": 10} for glob in order]
        replaced = load(api, yaml.safe_dump(content), f"?policy_id={policy['id']}").json()
        assert [rule["tool_name_glob"] for rule in replaced["rules"]] == order


HEAD = "name: x\nrules:\n"


@pytest.mark.parametrize(
    ("text", "status", "param"),
    [
        (HEAD + "- verdict: maybe", 400, "rules.0.verdict"),
        (HEAD + "- verdict: allow\n- verdict: deny\n  args_match: {clauses: [{path: $.a, op: regex, value: '('}]}", 400, "rules.1.args_match.clauses.0.value"),
        (HEAD + "- verdict: allow\n  colour: red", 400, "rules.0.colour"),
        (HEAD + "- verdict: allow\n  id: 7", 400, "rules.0.id"),
        (HEAD + "- verdict: allow\n  label:", 400, "rules.0.label"),
        (HEAD + "- verdict: allow\n  label: 12", 400, "rules.0.label"),
        (HEAD + "- allow", 400, "rules.0"),
        ("name: x\nrules: all", 400, "rules"),
        ("rules: []", 400, "name"),
        ("name: x\ncolour: red", 400, "colour"),
        ("name: x\nis_default: true", 400, "is_default"),
        ("name: x\nformat: other/2", 400, "format"),
        ("name: x\nenabled: yes", 400, "enabled"),
        ("- name: x", 400, None),
        ("", 400, "name"),
        ("null", 400, None),
        ("name: [", 400, None),
        ("name: x\nname: y", 400, None),
        ("1: x", 400, None),
        ("name: &a x", 400, None),
        ("name: *a", 400, None),
        ("name: !!python/object/apply:os.system [id]", 400, None),
        ("name: !x y", 400, None),
        ("name: x\n---\nname: y", 400, None),
        ("name: " + "[" * 100 + "]" * 100, 400, None),
        ("[" * 100_000, 400, None),
        ("{" * 100_000, 400, None),
        ('{"name": ' + "[" * 100_000, 400, None),
        ("name: x\npriority: 1e999", 400, None),
        ('{"name": "x", "rules": [{"verdict": "allow", "priority": NaN}]}', 400, None),
        ("name: " + "9" * 5000, 400, None),
        (b"name: \xff", 400, None),
        (b"name: a\x00b", 400, None),
        ("name: x #" + " " * 16 * 1024 * 1024, 413, None),
        ("name: x\nrules: [" + "a," * 210_000 + "]", 400, None),
    ],
)
def test_what_is_wrong_in_a_file_is_named(api, text, status, param):
    answer = load(api, text)

    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert send(api, "get", POLICIES).json()["results"] == []


def test_a_policy_that_grew_beyond_a_request_comes_back_from_its_export(api):
    """By one rule after the other a policy becomes larger than any body of the management API."""
    policy = make(api)
    clauses = [{"path": "$.host", "op": "in", "value": [f"{number:03}-{'h' * 200}.example" for number in range(400)]}] * 8
    for number in range(2):
        rule = {"policy_id": policy["id"], "verdict": "deny", "priority": 500 + number, "args_match": {"clauses": clauses}}
        assert send(api, "post", RULES, rule).status_code == 201
    text = export(api, policy)
    assert len(text) > 1024 * 1024
    made = load(api, text.replace("name: research", "name: again", 1))
    assert made.status_code == 201, made.content[:300]
    assert _rules(made.json()) == _rules(send(api, "get", f"{POLICIES}/{policy['id']}").json())


@pytest.mark.parametrize("name", ["application/x-yaml", "text/yaml; charset=utf-8"])
def test_yaml_is_taken_by_its_older_names(api, name):
    assert api.post(f"{POLICIES}/import", "name: x", content_type=name).status_code == 201


def test_what_is_no_import_is_refused_in_words_that_help(api):
    other = api.post(f"{POLICIES}/import", "name: x", content_type="text/csv")
    assert other.status_code == 415
    assert other.json()["error"]["message"].startswith("Send the body as application/json or application/yaml or ")

    unnamed = api.post(f"{POLICIES}/import?version=3", "name: x", content_type="application/yaml")
    assert (unnamed.status_code, unnamed.json()["error"]["param"]) == (400, "version")

    nul = load(api, b"name: a\x00b").json()["error"]["message"]
    assert nul == "This is not the YAML of a policy: control characters are not allowed at character 8."

    policy = make(api)
    for asked in ("x", "0", "1.5", "-1"):
        told = send(api, "get", f"{POLICIES}/{policy['id']}/versions/diff?from={asked}")
        assert (told.status_code, told.json()["error"]["message"]) == (400, "A version of a policy is a whole number from 1.")


def test_plain_words_are_texts(api):
    text = "name: no\nrules:\n- {verdict: deny, label: on, notes: 2026-01-31, tool_name_glob: '1:30'}\n- {verdict: deny, label: 0x1f, notes: 1_000}\n"

    made = load(api, text).json()

    assert made["name"] == "no"
    assert [(rule["label"], rule["notes"]) for rule in made["rules"]] == [("on", "2026-01-31"), ("0x1f", "1_000")]


# --- Who may ------------------------------------------------------------------------------------------------------------
def test_a_member_reads_versions_and_writes_none(acme, api):
    policy = make(api)
    member, item = acme.client(Role.MEMBER), f"{POLICIES}/{policy['id']}"

    assert all(send(member, "get", item + path).status_code == 200 for path in ("/versions", "/versions/1", "/versions/diff", "/export"))
    refused = [
        send(member, "post", item + "/restore", {"version_to_restore": 1}),
        send(member, "post", item + "/fork", {"name": "mine"}),
        send(member, "post", f"{POLICIES}/import", RESEARCH),
    ]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {(403, "permission_denied")}


def test_another_workspaces_versions_are_missing(api, rival):
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER), {"verdict": "deny"})

    for path in ("/versions", "/versions/1", "/versions/diff", "/export"):
        assert send(api, "get", f"{POLICIES}/{theirs.pk}{path}").content == send(api, "get", f"{POLICIES}/999999999{path}").content
    assert load(api, "name: x", f"?policy_id={theirs.pk}").status_code == 404
