"""Writing a policy: its rules in all their parts, its JSON, its versions, and what somebody else does meanwhile."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask
from tests.browser.pages import grave_findings, sideways
from tests.browser.steps import add_rule, menu, rules
from workspaces import tenancy
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]

CLAUSES = {"clauses": [{"path": "$.query", "op": "regex", "value": "(?i)drop"}, {"path": "$.database", "op": "in", "value": ["ledger", "invoices"]}]}


@pytest.mark.parametrize("width", [1440, 380])
def test_clauses_come_and_go_while_a_rule_is_written(desk, agent, width):
    policy = agent.policy("clauses", rules=[{"verdict": "deny", "tool_name_glob": "db.*", "args_match": CLAUSES}])
    page = desk.open(agent.tenant, width=width)
    with tenancy.scope(policy.workspace_id):
        rule = policy.rules.get().pk
    page.goto(f"/policies/{policy.pk}/?edit={rule}")
    expect(page.locator("#rule-words")).to_contain_text("if $.query matches the pattern (?i)drop and $.database is one of ledger or invoices.")

    page.get_by_text("As JSON").click()
    expect(page.locator("#rule-raw")).to_have_value(re.compile('"op": "regex"'))
    page.get_by_role("button", name="Clause", exact=True).click()
    expect(page.get_by_label("Path of clause 3")).to_be_focused()
    page.keyboard.type("$.rows")
    page.get_by_label("Operator of clause 3").select_option("gt")
    page.get_by_label("Value of clause 3").fill("many")
    page.get_by_label("Then").select_option("cap_cost")
    page.get_by_label("The most a run may cost").fill("2.5")
    expect(page.locator("#rule-words")).to_contain_text("more than $2.50")
    expect(page.locator("#rule-raw")).to_have_value(re.compile('"cap_cost_cents": 250'))
    page.get_by_label("Then").select_option("sanitize")
    expect(page.get_by_label("The most a run may cost")).to_be_hidden()
    page.get_by_label("E-mail addresses").check()
    page.get_by_label("Path of clause 3").press("Enter")
    expect(page.locator("#clause-3-error")).to_have_text("gt takes a number.")
    assert grave_findings(page) + sideways(page) == []
    page.emulate_media(color_scheme="dark")
    assert grave_findings(page, "color-contrast") == []

    page.get_by_role("button", name="Remove clause 3").click()
    expect(page.get_by_label("Path of clause 3")).to_have_count(0)
    expect(page.get_by_label("E-mail addresses")).to_be_checked()
    page.get_by_role("button", name="Save the rule").click()
    page.get_by_role("button", name="Loosen the policy").click()
    expect(page.locator("tbody [data-row]")).to_contain_text("redact email")
    assert [trouble for trouble in desk.watch.troubles if "422" not in trouble] == []


def test_the_fields_and_the_json_follow_one_another(desk, agent):
    ask(agent, 'call db.query {"sql": "select 1", "database": "ledger"}', "db.query")
    policy = agent.policy("both", bind=False, default_verdict="deny")
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto(f"/policies/{policy.pk}/?edit=0")
    page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill("db.query")
    page.get_by_role("button", name="Clause on $.sql, lately select 1").click()
    expect(page.get_by_label("Path of clause 1")).to_have_value("$.sql")
    page.get_by_label("Value of clause 1").fill("drop table x")
    raw = page.locator("#rule-raw")
    page.get_by_text("As JSON").click()
    expect(raw).to_have_value(re.compile('"value": "drop table x"'))

    page.locator("#try-tool").fill("db.query")
    raw.fill('{"verdict": "deny", "tool_name_glob": "db.*", "args_match": {"clauses": [')
    expect(page.locator("#rule-raw-error")).to_contain_text("Not JSON yet")
    clauses = [{"path": "$.sql", "op": "regex", "value": "drop"}, {"path": "$.rows", "op": "gt", "value": 5}]
    raw.fill(json.dumps({"verdict": "deny", "tool_name_glob": "db.*", "label": "No drops", "args_match": {"clauses": clauses}}))
    expect(page.get_by_label("Path of clause 2")).to_have_value("$.rows")
    expect(page.locator("#rule-raw-error")).to_have_text("")
    expect(page.locator("#rule-words")).to_contain_text("begins with db. is stopped")
    expect(page.locator("#trial")).to_contain_text("with the unsaved rule")
    expect(raw).to_be_focused()
    assert grave_findings(page) + sideways(page) == []

    # What was typed outlives a change of the page, rows of clauses too.
    page.locator("#policy").get_by_label("Name").fill("both of them")
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    expect(page.get_by_label("Path of clause 2")).to_have_value("$.rows")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.locator("tbody [data-row]")).to_contain_text("No drops")
    assert desk.watch.troubles == []


def test_a_rule_says_what_it_would_have_done_and_the_bar_what_saving_changes(desk, agent):
    policy = agent.policy("databases", default_verdict="audit", rules=[{"verdict": "deny", "tool_name_glob": "db.drop", "label": "No drops"}])
    ask(agent, 'call db.query {"sql": "select 1"} and call db.query {"sql": "delete"}', "db.query")
    with tenancy.scope(policy.workspace_id):
        rule = policy.rules.get().pk
    page = desk.open(agent.tenant, Role.DEVELOPER, width=380)
    page.goto(f"/policies/{policy.pk}/?edit={rule}")
    line, bar = page.locator("#rule-effect"), page.get_by_role("region", name="Unsaved rule")
    expect(line).to_contain_text("Of the 3 calls of the last 7 days it would have denied none.")
    expect(bar).to_be_hidden()

    tool = page.locator("#rule-form").get_by_label(re.compile("^Tool"))
    tool.fill("db.*")
    expect(line).to_contain_text("it would have denied 3, 3 more than the saved rule.")
    expect(bar).to_contain_text("Tool changed")
    expect(bar).to_contain_text("Stricter: 3 calls would be denied that are not now. Saving makes version 2")
    assert sound(page) == []
    page.get_by_role("button", name="See them").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="db.query")).to_have_count(3)
    assert grave_findings(page) == []
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Clause", exact=True).click()
    page.get_by_label("Path of clause 1").fill("$.sql")
    page.get_by_label("Operator of clause 1").select_option("regex")
    page.get_by_label("Value of clause 1").fill("((")
    expect(line).to_contain_text("Once the rule is valid")
    expect(bar).to_contain_text("Not valid yet")
    page.get_by_label("Value of clause 1").fill("delete")
    expect(line).to_contain_text("it would have denied 1, 1 more than the saved rule.")
    expect(bar).to_contain_text("Tool, Arguments changed")

    bar.get_by_role("link", name="Discard").click()
    expect(page.locator("#rule-form")).to_have_count(0)
    expect(bar).to_have_count(0)
    assert rules(page) == ["db.drop"]
    page.goto(f"/policies/{policy.pk}/?edit={rule}")
    tool.fill("db.*")
    bar.get_by_role("button", name="Save the rule").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    page.locator("#policy").get_by_label("If no rule matches").select_option("deny")
    whole = page.get_by_role("region", name="Unsaved policy")
    expect(whole).to_contain_text("No recorded call would be decided otherwise. Saving makes version 3")
    whole.get_by_role("button", name="Discard").click()
    expect(whole).to_be_hidden()
    assert desk.watch.troubles == []


# --- Versions -----------------------------------------------------------------------------------------------------------
def test_what_is_typed_in_one_form_of_a_policy_outlives_a_save_in_another(desk, agent):
    policy = agent.policy("agents", bind=False, default_verdict="deny")
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto(f"/policies/{policy.pk}/")
    page.locator("#policy").get_by_label("Name").fill("typed-name")
    add_rule(page, "kb.*", "allow")
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    expect(page.locator("#policy").get_by_label("Name")).to_have_value("typed-name")

    page.get_by_role("link", name="Add rule").click()
    page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill("web.search")
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_role("heading", name="typed-name", level=1)).to_be_visible()
    expect(page.locator("#rule-form").get_by_label(re.compile("^Tool"))).to_have_value("web.search")
    expect(page.locator("#rule-words")).to_contain_text("In words")
    # A menu closes when its row scrolls away, so all of the page is in view.
    page.set_viewport_size({"width": 1440, "height": 2400})
    menu(page, "kb.*", "Disable")
    expect(page.locator("tbody [data-row]").get_by_text("Disabled")).to_be_visible()
    expect(page.locator("#rule-form").get_by_label(re.compile("^Tool"))).to_have_value("web.search")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.get_by_text("version 5", exact=True)).to_be_visible()
    assert rules(page) == ["kb.*", "web.search"]
    assert desk.watch.troubles == []


def test_somebody_elses_save_is_not_written_over_unseen(desk, agent):
    policy = agent.policy("agents", bind=False, default_verdict="deny")
    mine, theirs = desk.open(agent.tenant, Role.DEVELOPER), desk.open(agent.tenant, Role.ADMIN)
    mine.goto(f"/policies/{policy.pk}/")
    mine.locator("#policy").get_by_label("Name").fill("mine")
    theirs.goto(f"/policies/{policy.pk}/")
    theirs.locator("#policy").get_by_label("Name").fill("theirs")
    theirs.get_by_role("button", name="Save the policy").click()
    expect(theirs.get_by_text("version 2", exact=True)).to_be_visible()

    add_rule(mine, "kb.*", "allow")
    expect(mine.get_by_text("version 3", exact=True)).to_be_visible()
    expect(mine.locator("#policy").get_by_label("Name")).to_have_value("mine")
    mine.get_by_role("button", name="Save the policy").click()
    met = mine.locator("#conflict")
    expect(met).to_contain_text("version 3, and yours began at 1")
    expect(met).to_be_focused()
    expect(met).to_contain_text("Name: agents, now theirs.")
    expect(met).to_contain_text("yours over theirs")
    assert grave_findings(mine) + sideways(mine) == []
    with mine.expect_popup() as opened:
        met.get_by_role("link", name="Compare the versions").click()
    expect(opened.value.get_by_text("Name: agents, now theirs.").first).to_be_visible()
    met.get_by_role("button", name="Re-apply mine").click()
    expect(mine.get_by_role("heading", name="mine", level=1)).to_be_visible()
    assert {trouble[:3] for trouble in desk.watch.troubles} <= {"422", "con"}


def test_a_policy_is_undone_from_its_history(desk, agent):
    policy = agent.policy("agents", default_verdict="deny", rules=[{"priority": 10, "tool_name_glob": "kb.*", "verdict": "allow"}])
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto(f"/policies/{policy.pk}/")
    menu(page, "kb.*", "Delete")
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    page.get_by_role("link", name="History").first.click()
    expect(page.get_by_text("Removed the rule for kb.*: allow kb.*, priority 10.").first).to_be_visible()
    menu(page, "version 1", "Restore")
    page.get_by_role("button", name="Restore it").click()
    expect(page.get_by_text("version 3", exact=True)).to_be_visible()
    assert rules(page) == ["kb.*"]
    assert desk.watch.troubles == []


def test_a_preset_is_inserted_and_the_test_box_stays_in_view(desk, agent):
    rules_before = [{"priority": place, "tool_name_glob": f"kb.topic{place}", "verdict": "allow"} for place in range(1, 16)]
    policy = agent.policy("agents", bind=False, default_verdict="deny", rules=rules_before)
    page = desk.open(agent.tenant, Role.DEVELOPER, width=1280)
    page.goto(f"/policies/{policy.pk}/")
    expect(page.get_by_text("Not in use")).to_be_visible()

    page.get_by_role("link", name="Insert a preset").click()
    page.get_by_role("button", name="Insert 4 rules of Block destructive commands").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    expect(page.locator("tbody [data-row] b").first).to_have_text("No destructive command ($.command)")

    page.locator("tr.foot").scroll_into_view_if_needed()
    tool = page.get_by_label("Name of the tool")
    expect(tool).to_be_in_viewport()
    tool.fill("Bash")
    page.get_by_label("Arguments").fill('{"command": "rm -rf /srv"}')
    expect(page.locator("#trial")).to_contain_text("$.command is destructive")
    expect(page.locator("#trial")).to_be_in_viewport()
    assert sideways(page) == []
    assert desk.watch.troubles == []


def test_a_recent_call_is_taken_into_the_test_box(desk, agent):
    policy = agent.policy("agents", default_verdict="allow", rules=[{"priority": 10, "tool_name_glob": "db.*", "verdict": "deny", "label": "No databases"}])
    ask(agent, 'invent db.query {"sql": "drop table payouts"}', "web.search")
    page = desk.open(agent.tenant, Role.DEVELOPER, width=380)
    with tenancy.scope(policy.workspace_id):
        rule = policy.rules.get().pk
    page.goto(f"/policies/{policy.pk}/?edit={rule}")
    page.get_by_label("Then").select_option("audit")
    # What is said of the rule grows, and moves what stands below it.
    expect(page.locator("#rule-words")).to_contain_text("marked for audit")
    expect(page.locator("#rule-effect")).to_contain_text("it would have marked")
    opener = page.get_by_role("link", name="Take a recent call")
    opener.click()
    listed = page.get_by_role("dialog", name="Take a recent call")
    expect(listed).to_contain_text('{"sql": "drop table payouts"}')
    assert grave_findings(page) + sideways(page) == []
    page.keyboard.press("Escape")
    expect(listed).to_have_count(0)
    opener.press("Enter")
    listed.get_by_role("link", name="db.query").press("Enter")

    expect(page.get_by_label("Name of the tool")).to_have_value("db.query")
    expect(page.get_by_label("Arguments")).to_have_value(re.compile("drop table payouts"))
    expect(page.locator("#trial")).to_contain_text("with the unsaved rule")
    expect(page.locator("#trial")).to_contain_text("Audit")
    expect(listed).to_have_count(0)
    expect(opener).to_be_focused()
    assert grave_findings(page) + sideways(page) == []
    assert desk.watch.troubles == []


def test_a_warning_is_mended_by_a_proposal_that_is_saved_by_hand(desk, agent):
    rules_before = [
        {"priority": 10, "tool_name_glob": "db*", "verdict": "deny", "label": "No databases"},
        {"priority": 20, "tool_name_glob": "kb.*", "verdict": "deny", "label": "No pages"},
        {"priority": 30, "tool_name_glob": "kb.read", "verdict": "allow", "label": "Reading"},
    ]
    agent.policy("warned", default_verdict="allow", rules=rules_before)
    page = desk.open(agent.tenant, Role.DEVELOPER, width=380)
    page.goto("/policies/")
    page.get_by_role("link", name="Change to db.*: No databases of warned").click()
    expect(page.get_by_text("Proposed, and not saved:")).to_be_visible()
    expect(page.locator("#rule-words")).to_contain_text("begins with db. is stopped")
    assert grave_findings(page) + sideways(page) == []
    # It is what the page would lose.
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("link", name="Add rule").click()
    assert asked == ["Discard what you changed in this rule?"]

    # Another literal, typed by hand, is mended in the same form.
    page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill("shell*")
    page.locator("#rule-words").get_by_role("button", name="Change to shell.*").click()
    expect(page.locator("#rule-form").get_by_label(re.compile("^Tool"))).to_have_value("shell.*")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()

    page.get_by_role("button", name="Move it above “No pages”").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("kb.read")
    assert grave_findings(page) == []
    question.get_by_role("button", name="Keep as it is").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    page.get_by_role("button", name="Move it above “No pages”").click()
    question.get_by_role("button", name="Move the rule").click()
    expect(page.get_by_text("version 3", exact=True)).to_be_visible()
    assert rules(page) == ["shell.*", "kb.read", "kb.*"]
    assert desk.watch.troubles == []


# --- States -------------------------------------------------------------------------------------------------------------
LONG = {
    "priority": 1_000_000,
    "label": "Nobody" * 20,
    "notes": "because " * 200 + "x" * 300,
    "tool_name_glob": "t" * 126 + ".*",
    "skill_name_glob": "s" * 128,
    "verdict": "deny",
    "args_match": {"clauses": [{"path": f"$.{'deep.' * 10}p{number}", "op": "regex", "value": "v" * 500} for number in range(20)]},
    "egress": {"deny": [f"{'h' * 60}{number}.example" for number in range(40)], "allow": ["2001:db8:1111:2222:3333:4444:5555:6666"]},
}


def sound(page) -> list[str]:
    found = grave_findings(page) + sideways(page)
    page.emulate_media(color_scheme="dark")
    found += grave_findings(page, "color-contrast")
    page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("width", [320, 1280])
def test_a_policy_is_sound_empty_with_the_longest_rule_and_for_who_only_reads(desk, agent, width):
    empty = agent.policy("empty", bind=False, default_verdict="deny")
    long = agent.policy("p" * 64, bind=False, default_verdict="audit", rules=[LONG, LONG | {"enabled": False, "verdict": "allow", "egress": None}])
    with tenancy.scope(long.workspace_id):
        rule = long.rules.first().pk
    page = desk.open(agent.tenant, Role.DEVELOPER, width=width)
    page.goto(f"/policies/{empty.pk}/")
    assert sound(page) == []
    page.goto(f"/policies/{long.pk}/")
    expect(page.get_by_text("Disabled").first).to_be_visible()
    assert sound(page) == []
    page.goto(f"/policies/{long.pk}/?edit={rule}")
    expect(page.locator("#rule-words")).to_contain_text("In words")
    page.locator("#try-tool").fill("t" * 126 + ".x")
    expect(page.locator("#trial .walk")).to_be_visible()
    assert sound(page) == []
    page.get_by_role("button", name="Clause", exact=True).click()
    page.get_by_label("Path of clause 21").fill("$.one_more")
    page.get_by_label("Path of clause 21").press("Enter")
    expect(page.locator(".error-summary")).to_contain_text("A rule has at most 20 clauses; these are 21.")
    assert sound(page) == []

    reader = desk.open(agent.tenant, Role.MEMBER, width=width)
    reader.goto(f"/policies/{long.pk}/?edit={rule}")
    expect(reader.locator("#rule-form")).to_have_count(0)
    for name in ("Add rule", "Take a recent call", "Edit", "Change"):
        expect(reader.get_by_role("link", name=name, exact=True)).to_have_count(0)
    for name in ("Save the policy", "Delete", "Test the call", "More for " + LONG["label"]):
        expect(reader.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(reader.get_by_role("table", name="Rules")).to_contain_text("Otherwise")
    assert sound(reader) == []
    assert {trouble[:3] for trouble in desk.watch.troubles} <= {"422", "con"}
