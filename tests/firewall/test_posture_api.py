"""Presets and templates over the API."""

import pytest

from firewall.engine.templates import TEMPLATES
from workspaces import tenancy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/"


def apply(tenant, **body):
    return tenant.client(Role.DEVELOPER).post(f"{PATH}templates/apply", body, content_type="application/json")


def test_seven_templates_are_listed_with_their_rules_in_order(acme):
    rows = acme.client(Role.MEMBER).get(f"{PATH}templates").json()["results"]
    assert [row["id"] for row in rows] == ["coding", "support", "rag", "data", "devops", "browser", "baseline"]
    for row in rows:
        assert set(row) == {"id", "name", "description", "default_verdict", "max_runs_per_key_per_hour", "rules"}
        assert row["rules"][0]["verdict"] == "cap_cost"
        assert [rule["priority"] for rule in row["rules"]] == sorted(rule["priority"] for rule in row["rules"])


def test_a_presets_rules_go_into_a_policy_as_they_are(acme):
    presets = acme.client(Role.MEMBER).get(f"{PATH}presets").json()["results"]
    assert {"block_destructive_shell", "block_ssrf_egress", "block_secrets_in_args"} <= {row["id"] for row in presets}
    for row in presets:
        body = {"name": row["id"], "rules": row["rules"]}
        assert acme.client(Role.DEVELOPER).post(f"{PATH}policies", body, content_type="application/json").status_code == 201


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_becomes_an_ordinary_policy(acme, template):
    answer = apply(acme, template=template)
    assert answer.status_code == 201, answer.content
    made, wanted = answer.json(), TEMPLATES[template]
    assert (made["name"], made["default_verdict"], made["is_default"], made["version"]) == (wanted.name, wanted.default_verdict, False, 1)
    assert made["max_runs_per_key_per_hour"] == 60
    assert [(rule["label"], rule["notes"]) for rule in made["rules"]] == [(rule["label"], rule["notes"]) for rule in wanted.rules]
    with tenancy.scope(acme.workspace.pk):
        entry = acme.workspace.audit_entries.latest("id")
        assert entry.action == "firewall_policy_create"
        assert set(entry.payload) == {"id", "name", "is_default", "default_verdict", "enabled"}


def test_a_template_may_be_applied_twice_under_two_names(acme):
    assert apply(acme, template="coding").status_code == 201
    again = apply(acme, template="coding")
    assert (again.status_code, again.json()["error"]["param"]) == (409, "name")
    assert apply(acme, template="coding", name="Coding, nightly").json()["name"] == "Coding, nightly"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"template": "none"}, "template"),
        ({}, "template"),
        ({"template": ["coding"]}, "template"),
        ({"template": "coding", "name": ""}, "name"),
        ({"template": "coding", "rules": []}, "rules"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name_and_leaves_nothing(acme, body, param):
    answer = apply(acme, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    with tenancy.scope(acme.workspace.pk):
        assert not acme.workspace.policies.exists()
