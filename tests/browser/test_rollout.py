"""Trying a call beside the rules, and drafting rules for tools that have none, as a person with a browser does it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask
from tests.browser.steps import add_rule, menu, rules
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_the_test_box_follows_what_is_typed_and_keeps_it(desk, agent):
    policy = agent.policy("trials", default_verdict="deny", rules=[{"priority": 10, "tool_name_glob": "web.search", "verdict": "allow", "label": "Search"}])
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/")
    decision = page.locator("#trial")

    page.locator("#try-tool").fill("kb.read")
    page.locator("#try-arguments").fill('{"id": 1}')
    expect(decision).to_contain_text("No rule decided")

    page.get_by_role("link", name="Add rule").first.click()
    page.locator("#rule-tool_name_glob").fill("kb.*")
    page.locator("#rule-verdict").select_option("allow")
    expect(decision).to_contain_text("with the unsaved rule")
    expect(decision).to_contain_text("Matched kb.*")
    expect(page.locator("#try-tool")).to_have_value("kb.read")

    page.get_by_role("link", name="Discard").click()
    expect(decision).to_contain_text("No rule decided")
    expect(page.locator("#try-arguments")).to_have_value('{"id": 1}')
    assert desk.watch.troubles == []


def test_chosen_tools_become_rules(desk, agent):
    ask(agent, "what can you do?", "email.send", "shell.exec")
    page = desk.open(agent.tenant)
    page.goto("/tools/?status=gap")
    page.get_by_label("Select email.send").check()
    page.get_by_label("Select shell.exec").check()
    page.get_by_role("button", name="Draft rules", exact=True).click()
    page.get_by_label("Verdict for shell.exec").select_option("deny")
    page.get_by_label("Name of a new policy").fill("drafted-by-hand")
    page.get_by_role("button", name="Make 2 rules").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("drafted-by-hand")
    expect(page.locator("#editor")).to_contain_text("shell.exec")
    assert desk.watch.troubles == []


def test_an_allow_list_is_written_watched_enforced_and_undone(desk, agent):
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto("/policies/")
    page.get_by_role("link", name="New policy").first.click()
    page.get_by_label("Name").fill("research")
    page.get_by_label("If no rule matches").select_option("deny")
    page.get_by_role("button", name="Make the policy").click()
    add_rule(page, "web.search", "allow")
    add_rule(page, "kb.*", "allow")
    expect(page.get_by_text("version 3", exact=True)).to_be_visible()
    assert rules(page) == ["web.search", "kb.*"]

    menu(page, "research", "Turn shadow mode on")
    expect(page.locator("#editor")).to_contain_text("this policy watches and blocks nothing")
    menu(page, "research", "Make it the workspace default")
    expect(page.locator("#editor")).to_contain_text("Workspace default")
    ask(agent, 'call web.search {"query": "orcas"} and call shell.exec {"command": "ls"}', "web.search", "shell.exec", run="watched")

    page.reload()
    expect(page.locator("#editor")).to_contain_text("would have blocked 2 calls")
    expect(page.locator("tbody [data-row]", has_text="web.search").locator(".matches")).to_contain_text("2")
    expect(page.locator("tbody [data-row]", has_text="kb.*").locator(".matches")).to_have_text("never matched")
    page.get_by_role("link", name="See the calls").click()
    for table, line in (("By tool", "shell.exec"), ("By run", "watched")):
        expect(page.get_by_role("table", name=table)).to_contain_text(line)
    page.get_by_role("link", name="research").first.click()
    menu(page, "research", "Backtest")
    page.get_by_label("Judge as if the policy were not in shadow").check()
    page.get_by_role("button", name="Backtest").click()
    expect(page.get_by_role("table", name="By tool")).to_contain_text("shell.exec")
    page.get_by_role("link", name="Open the policy").click()

    page.get_by_role("link", name="See the calls").click()
    page.get_by_role("button", name="Start blocking").click()
    page.get_by_role("dialog").get_by_role("button", name="Start blocking").click()
    expect(page.get_by_text("Enforcing")).to_be_visible()
    ask(agent, "call shell.exec", "web.search", "shell.exec", refused=True)
    ask(agent, "call web.search", "web.search")

    page.get_by_role("link", name="History").first.click()
    expect(page.get_by_role("table", name="Differences")).to_contain_text("Shadow mode")
    menu(page, "version 5", "Restore")
    expect(page.get_by_text("Denied now, and let through after this:")).to_be_visible()
    page.get_by_role("button", name="Restore it").click()
    expect(page.locator("#editor")).to_contain_text("this policy watches and blocks nothing")
    ask(agent, "call shell.exec", "web.search", "shell.exec")
    assert desk.watch.troubles == []
