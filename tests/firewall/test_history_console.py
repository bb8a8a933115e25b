"""A policy's history, copies and files in the console; rules that are switched and duplicated."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories.firewall import make_policy
from tests.firewall.test_console import HTMX, RULE, fresh, in_force, page
from workspaces import tenancy
from workspaces.permissions import Role

LOOSE = "name: agents\ndefault_verdict: allow\nrules:\n- {verdict: allow, tool_name_glob: web.search, priority: 10}\n"


@pytest.fixture
def browser(acme):
    return acme.client(Role.DEVELOPER)


@pytest.fixture
def policy(acme):
    shell = {"priority": 20, "tool_name_glob": "shell.*", "verdict": "deny", "label": "No shell"}
    search = {"priority": 10, "tool_name_glob": "web.search", "verdict": "allow"}
    return make_policy(acme.workspace, acme.person(Role.DEVELOPER), search, shell, name="agents", default_verdict="deny")


def test_history_tells_what_each_version_changed_and_compares_two(browser, policy):
    browser.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on"})
    browser.post(f"/policies/{policy.pk}/rules/", RULE)

    newest, all_of_it = page(browser.get(f"/policies/{policy.pk}/history/")), page(browser.get(f"/policies/{policy.pk}/history/?from=1&to=3"))

    assert "Version 2 to 3" in newest
    assert "Version 1 to 3" in all_of_it
    changes = all_of_it[: all_of_it.index("Versions</h2>")]
    assert "Shadow mode</td>" in changes
    assert '<del>off</del></td><td class="full"><ins>on</ins>' in changes
    assert "<ins>allow kb.*, priority 10</ins>" in changes
    assert browser.get(f"/policies/{policy.pk}/history/?from=9").status_code == 404


def test_a_version_is_restored_and_what_that_loosens_is_asked_first(browser, policy):
    browser.post(f"/policies/{policy.pk}/rules/", RULE | {"tool_name_glob": "*", "verdict": "deny", "priority": "1"})
    in_force(policy)
    browser.post(f"/policies/{policy.pk}/set/", {"is_default": "on"})
    version = fresh(policy).version
    wanted = {"version_to_restore": "1", "version": str(version)}

    asked = page(browser.post(f"/policies/{policy.pk}/restore/", wanted))
    assert "web.search" in asked
    assert fresh(policy).version == version

    browser.post(f"/policies/{policy.pk}/restore/", wanted | {"confirmed": "yes"})
    assert [rule.tool_name_glob for rule in fresh(policy).in_order] == ["web.search", "shell.*"]
    stale = browser.post(f"/policies/{policy.pk}/restore/", wanted | {"confirmed": "yes"}, follow=True)
    assert stale.redirect_chain[-1][0].endswith(f"/history/?from={version}&to={version + 1}"), "the page was of an older version: what changed since is shown"
    assert "Nothing is restored." in page(stale)


def test_a_copy_is_made_under_another_name(browser, policy):
    assert "agents-copy" in page(browser.get(f"/policies/{policy.pk}/fork/"))
    assert "There is a policy named agents already." in page(browser.post(f"/policies/{policy.pk}/fork/", {"name": "agents"}), 422)

    made = page(browser.post(f"/policies/{policy.pk}/fork/", {"name": "mine"}, follow=True))

    assert "No shell" in made
    assert "Nothing is judged by this policy yet." in made


def test_an_export_is_imported_as_a_file_and_as_text(browser, policy):
    sent = browser.get(f"/policies/{policy.pk}/export/")
    assert 'filename="agents.v1.yaml"' in sent.headers["Content-Disposition"]
    text = sent.content.decode().replace("name: agents", "name: other")

    as_file = browser.post("/policies/import/", {"file": SimpleUploadedFile("p.yaml", text.encode())}, follow=True)
    as_text = browser.post("/policies/import/", {"text": text.replace("other", "third")}, follow=True)

    assert "No shell" in page(as_file)
    assert "No shell" in page(as_text)
    assert "rules.0.verdict: One of" in page(browser.post("/policies/import/", {"text": "name: x\nrules:\n- verdict: maybe"}), 422)
    assert "Choose a file, or paste its text." in page(browser.post("/policies/import/", {}), 422)
    assert "at most 16 MB" in page(browser.post("/policies/import/", {"file": SimpleUploadedFile("p", b"#" * (16 * 1024 * 1024 + 1))}), 422)


def test_a_policy_is_replaced_by_a_file_and_what_that_loosens_is_asked_first(browser, policy):
    in_force(policy)
    address = f"/policies/{policy.pk}/import/"

    asked = page(browser.post(address, {"file": SimpleUploadedFile("p.yaml", LOOSE.encode()), "version": "1"}))
    assert "any tool that no rule names" in asked
    assert 'name="text" value="name: agents' in asked, "the answer sends the file again"
    assert fresh(policy).version == 1

    stale = browser.post(address, {"text": LOOSE, "version": "7", "confirmed": "yes"})
    assert "is at version 1, not 7" in page(stale, 422)
    browser.post(address, {"text": LOOSE, "version": "1", "confirmed": "yes"})
    assert (fresh(policy).version, policy.default_verdict, len(policy.in_order)) == (2, "allow", 1)


def test_a_file_that_is_too_large_to_be_sent_again_is_chosen_again(browser, policy):
    in_force(policy)
    address, large = f"/policies/{policy.pk}/import/", LOOSE + "# why\n" * 200_000
    asked = page(browser.post(address, {"file": SimpleUploadedFile("p.yaml", large.encode()), "version": "1"}))
    digest = re.search('name="digest" value="([0-9a-f]{64})"', asked)[1]
    assert 'type="file"' in asked
    assert len(asked) < 100_000
    answer = {"version": "1", "confirmed": "yes", "digest": digest}
    other = browser.post(address, answer | {"file": SimpleUploadedFile("p.yaml", (large + "#").encode())})
    assert "another file than the one that was asked about" in page(other, 422)
    browser.post(address, answer | {"file": SimpleUploadedFile("p.yaml", large.encode())})
    assert (fresh(policy).version, policy.default_verdict) == (2, "allow")


def test_a_rule_is_switched_off_and_on_and_asked_about_when_that_loosens(browser, policy):
    in_force(policy)
    shell = fresh(policy).in_order[1].pk
    with tenancy.scope(policy.workspace_id):
        policy.workspace.policies.update(default_verdict="allow")
    switch = f"/policies/{policy.pk}/rules/{shell}/switch/"

    assert "shell.*" in page(browser.post(switch, {"enabled": "off"}, headers=HTMX))
    assert fresh(policy).in_order[1].enabled
    browser.post(switch, {"enabled": "off", "confirmed": "yes"}, headers=HTMX)
    assert not fresh(policy).in_order[1].enabled
    assert "Rule enabled." in page(browser.post(switch, {"enabled": "on"}, headers=HTMX))


def test_a_duplicate_does_nothing_until_it_is_edited(browser, policy):
    search = fresh(policy).in_order[0].pk

    assert "The copy is disabled" in page(browser.post(f"/policies/{policy.pk}/rules/{search}/duplicate/", {}, headers=HTMX))

    assert [(rule.tool_name_glob, rule.enabled) for rule in fresh(policy).in_order] == [("web.search", True), ("web.search", False), ("shell.*", True)]


def test_a_conflict_says_both_versions_keeps_what_was_typed_and_shows_theirs(browser, policy):
    browser.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on"})

    stale = page(browser.post(f"/policies/{policy.pk}/", {"name": "typed", "default_verdict": "deny", "version": "1"}, headers=HTMX), 422)

    assert "version 2, and yours began at 1" in stale
    assert 'value="typed"' in stale
    assert f"/policies/{policy.pk}/history/?from=1&amp;to=2" in stale


def test_what_is_done_beside_an_open_rule_leaves_it_open(browser, policy):
    first, second = fresh(policy).in_order

    moved = page(browser.post(f"/policies/{policy.pk}/rules/order/", {"up": second.pk, "edit": first.pk}, headers=HTMX))
    saved = page(browser.post(f"/policies/{policy.pk}/", {"name": "agents", "default_verdict": "deny", "version": "2", "edit": "0"}, headers=HTMX))

    assert "Save the rule" in moved
    assert "Add the rule" in saved
