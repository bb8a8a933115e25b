"""The page of templates."""

from django.utils.html import escape

from firewall.engine.templates import TEMPLATES
from workspaces import tenancy
from workspaces.permissions import Role


def test_each_template_is_told_rule_by_rule(acme):
    page = acme.client(Role.MEMBER).get("/templates/").content.decode()
    for template in TEMPLATES.values():
        assert escape(template.description) in page
        for rule in template.rules:
            assert escape(rule["label"]) in page
            assert escape(rule["notes"]) in page
    assert "Apply" not in page


def test_applying_one_leads_to_the_policy(acme):
    answer = acme.client(Role.DEVELOPER).post("/templates/data/apply/", {"name": "Analysts"})
    with tenancy.scope(acme.workspace.pk):
        made = acme.workspace.policies.get()
    assert (answer.status_code, answer["Location"], made.name) == (302, f"/policies/{made.pk}/", "Analysts")


def test_a_name_that_is_taken_is_said_beside_the_template_and_kept(acme):
    client = acme.client(Role.DEVELOPER)
    client.post("/templates/data/apply/", {"name": "Analysts"})
    answer = client.post("/templates/coding/apply/", {"name": "Analysts"})
    assert answer.status_code == 422
    assert "There is a policy named Analysts already." in answer.content.decode()
    assert 'value="Analysts"' in answer.content.decode()


def test_there_is_no_other_template(acme):
    assert acme.client(Role.DEVELOPER).post("/templates/none/apply/", {"name": "x"}).status_code == 404
