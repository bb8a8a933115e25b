"""What mends a warning is proposed in the editor, asked about, and saved by nobody but its author."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from firewall import selectors, services
from firewall.console.warned import summaries
from tests.factories.firewall import EventFactory, make_policy
from tests.firewall.pages import HTMX, RULE, fresh, page
from workspaces import tenancy
from workspaces.permissions import Role


@pytest.fixture
def made(acme):
    def make(*rules, **fields):
        policy = make_policy(acme.workspace, acme.person(Role.OWNER), *rules, name="warned", **fields)
        return policy, fresh(policy).in_order

    return make


SHELL = {"verdict": "deny", "tool_name_glob": "shell*", "priority": 10}


def test_a_change_of_a_field_is_proposed_in_the_rules_form(browser, made):
    policy, [own] = made(SHELL)

    listed = page(browser.get("/policies/"))
    shown = page(browser.get(f"/policies/{policy.pk}/"))
    proposed = page(browser.get(f"/policies/{policy.pk}/", {"edit": own.pk, "fix": "tool_name_glob:shell.*"}))

    link = f"/policies/{policy.pk}/?edit={own.pk}&amp;fix=tool_name_glob:shell.%2A#rule"
    assert link in listed
    assert link in shown
    assert "Tool <code>shell*</code> becomes <code>shell.*</code>" in proposed
    assert 'name="tool_name_glob" value="shell.*"' in proposed
    assert "data-unsaved" in proposed
    assert fresh(policy).version == 1
    for other in ("tool_name_glob:*", "verdict:allow", "remove:", "above:first", "x"):
        assert "data-unsaved" not in page(browser.get(f"/policies/{policy.pk}/", {"edit": own.pk, "fix": other})), "only what the warnings say"


def test_a_rule_that_is_being_typed_is_mended_in_its_form(browser, made):
    policy, _ = made()
    typed = RULE | {"tool_name_glob": "shell*", "verdict": "deny", "label": "typed", "edit": "0"}

    told = page(browser.post(f"/policies/{policy.pk}/rule-words/", typed, headers=HTMX))
    mended = page(browser.post(f"/policies/{policy.pk}/rules/", typed | {"rows": "fix:tool_name_glob:shell.*"}, headers=HTMX))
    other = page(browser.post(f"/policies/{policy.pk}/rules/", typed | {"rows": "fix:verdict:allow"}, headers=HTMX))

    assert 'value="fix:tool_name_glob:shell.*"' in told
    assert 'name="tool_name_glob" value="shell.*"' in mended
    assert 'value="typed"' in mended
    assert 'name="tool_name_glob" value="shell*"' in other
    assert fresh(policy).version == 1


def test_a_loose_glob_is_narrowed_to_the_one_tool_seen(acme, browser, made):
    policy, [own] = made({"verdict": "allow", "tool_name_glob": "*.read"}, default_verdict="deny")
    EventFactory(workspace=acme.workspace, tool_name="kb.read")
    assert f"?edit={own.pk}&amp;fix=tool_name_glob:kb.read#rule" in page(browser.get(f"/policies/{policy.pk}/"))
    EventFactory(workspace=acme.workspace, tool_name="secrets.read")
    shown = page(browser.get(f"/policies/{policy.pk}/"))
    assert "fix=" not in shown
    assert "Narrow it" in shown


REACHED = ({"verdict": "deny", "tool_name_glob": "kb.*", "priority": 10}, {"verdict": "allow", "tool_name_glob": "kb.read", "priority": 20})


def test_a_rule_that_is_never_reached_is_moved_or_removed_once_that_was_asked(browser, made):
    policy, [wide, narrow] = made(*REACHED, is_default=True)
    address = f"/policies/{policy.pk}/rules/{narrow.pk}/fix/"

    assert "Move it above the rule for kb.*" in page(browser.get(f"/policies/{policy.pk}/"))
    asked = page(browser.post(address, {"fix": "above", "version": "1"}, headers=HTMX))
    assert "Denied now, and let through after this" in asked
    assert "kb.read" in asked
    assert fresh(policy).version == 1
    page(browser.post(address, {"fix": "above", "version": "1", "confirmed": "yes"}, follow=True))
    assert [rule.pk for rule in fresh(policy).in_order] == [narrow.pk, wide.pk]
    assert "There is nothing to mend" in page(browser.post(address, {"fix": "above", "version": "2"}, headers=HTMX))

    page(browser.post(f"/policies/{policy.pk}/rules/order/", {"order": [wide.pk, narrow.pk], "version": "2"}, headers=HTMX))
    assert "No call reaches it" in page(browser.post(address, {"fix": "remove", "version": "3"}, headers=HTMX))
    page(browser.post(address, {"fix": "remove", "version": "3", "confirmed": "yes"}, follow=True))
    assert [rule.pk for rule in fresh(policy).in_order] == [wide.pk]
    assert fresh(policy).version == 4


def test_a_cap_is_moved_first(browser, made):
    allow = {"verdict": "allow", "tool_name_glob": "kb.*", "priority": 10}
    policy, [allowing, cap] = made(allow, {"verdict": "cap_cost", "cap_cost_cents": 100, "priority": 20})
    address = f"/policies/{policy.pk}/rules/{cap.pk}/fix/"

    assert "Move it first" in page(browser.get(f"/policies/{policy.pk}/"))
    assert "meet the cap" in page(browser.post(address, {"fix": "above", "version": "1"}))
    page(browser.post(address, {"fix": "above", "version": "1", "confirmed": "yes"}, follow=True))
    assert [rule.pk for rule in fresh(policy).in_order] == [cap.pk, allowing.pk]


def test_a_fix_of_a_policy_that_somebody_else_changed_is_a_conflict(acme, browser, made):
    policy, [wide, narrow] = made(*REACHED)
    acme.client(Role.ADMIN).post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on"})

    met = page(browser.post(f"/policies/{policy.pk}/rules/{narrow.pk}/fix/", {"fix": "remove", "version": "1", "confirmed": "yes"}), 409)

    assert "Removing the rule for kb.read" in met
    assert [rule.pk for rule in fresh(policy).in_order] == [wide.pk, narrow.pk]


def test_a_member_sees_the_warning_and_no_way_to_change_it(acme, made):
    policy, [own] = made(SHELL)
    member = acme.client(Role.MEMBER)

    shown = page(member.get(f"/policies/{policy.pk}/"))
    listed = page(member.get("/policies/"))
    tried = page(member.get(f"/policies/{policy.pk}/", {"edit": own.pk, "fix": "tool_name_glob:shell.*"}))

    assert "Did you mean" in shown
    assert "Look" in listed
    for each in (shown, listed):
        assert "fix=" not in each
    assert f'action="/policies/{policy.pk}/rules/' not in tried
    assert member.post(f"/policies/{policy.pk}/rules/{own.pk}/fix/", {"fix": "remove"}).status_code == 403


def test_a_save_says_what_it_changed_and_offers_its_undo(acme, browser, made):
    policy, [own] = made({"verdict": "deny", "tool_name_glob": "kb.*", "priority": 10}, is_default=True)
    undo = f"/policies/{policy.pk}/restore/?version_to_restore=1&version=2"

    said = page(browser.post(f"/policies/{policy.pk}/rules/{own.pk}/", RULE | {"verdict": "deny", "label": "No pages", "version": "1"}, headers=HTMX))
    assert "Rule saved." in said
    assert "now No pages" in said
    assert f'action="{undo.replace("&", "&amp;")}"' in said
    loosened = browser.post(f"/policies/{policy.pk}/rules/{own.pk}/delete/", {"version": "2", "confirmed": "yes"}, follow=True)
    back = f"/policies/{policy.pk}/restore/?version_to_restore=2&version=3"
    assert back.replace("&", "&amp;") in page(loosened)

    assert "Nothing is restored" in page(browser.post(undo, follow=True)), "somebody saved since"
    page(browser.post(back, follow=True))
    assert [(rule.label, rule.pk) for rule in fresh(policy).in_order] == [("No pages", own.pk)]
    asked = page(browser.post(f"/policies/{policy.pk}/restore/?version_to_restore=3&version=4"))
    assert "Denied now, and let through after this" in asked, "an undo that loosens asks as any change does"
    assert 'name="version_to_restore" value="3"' in asked


def test_a_policy_made_the_default_has_no_undo(acme, browser, made):
    policy, _ = made()
    said = page(browser.post(f"/policies/{policy.pk}/set/", {"is_default": "on"}, headers=HTMX))
    assert "is the workspace default" in said
    assert ">Undo<" not in said


# --- Of many policies ---------------------------------------------------------------------------------------------------
def test_a_list_of_policies_looks_through_few_rules_at_a_time_and_through_a_version_once(acme):
    behind = [{"verdict": "deny", "tool_name_glob": "*", "priority": 1}, *({"verdict": "deny", "tool_name_glob": "kb.read"} for _ in range(3))]
    owner = acme.person(Role.OWNER)
    many, one = make_policy(acme.workspace, owner, *behind, name="many"), make_policy(acme.workspace, owner, *behind[:2], name="one")
    with tenancy.scope(acme.workspace.pk):
        policies = list(selectors.policies(acme.workspace))
        first = summaries(acme.workspace, policies, most_rules=4)
        second = summaries(acme.workspace, policies, most_rules=4)
        with CaptureQueriesContext(connection) as asked:
            third = summaries(acme.workspace, policies, most_rules=4)
        services.delete_rule(many.rules.last(), actor=owner, at=timezone.now())
        changed = summaries(acme.workspace, list(selectors.policies(acme.workspace)))
    assert {pk: found.count for pk, found in first.items()} == {one.pk: 1}
    assert {pk: found.count for pk, found in second.items()} == {one.pk: 1, many.pk: 3} == {pk: found.count for pk, found in third.items()}
    assert asked.captured_queries == []
    assert changed[many.pk].count == 2


def test_the_list_says_which_policies_it_has_not_looked_through(acme):
    """So many rules that no page looks through all of them at once."""
    rules = [{"verdict": "deny", "tool_name_glob": f"t{number}.*"} for number in range(500)]
    for number in range(5):
        make_policy(acme.workspace, acme.person(Role.OWNER), *rules, name=f"big-{number}")
    browser = acme.client(Role.MEMBER)
    assert "1 policy was not looked through" in page(browser.get("/policies/"))
    assert "not looked through" not in page(browser.get("/policies/"))
