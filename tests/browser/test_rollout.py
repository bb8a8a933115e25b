"""Trying a call beside the rules, and drafting rules for tools that have none, as a person with a browser does it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask

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
    page.get_by_role("button", name="Draft rules").click()
    page.get_by_label("Verdict for shell.exec").select_option("deny")
    page.get_by_label("Name of a new policy").fill("drafted-by-hand")
    page.get_by_role("button", name="Make 2 rules").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("drafted-by-hand")
    expect(page.locator("#editor")).to_contain_text("shell.exec")
    assert desk.watch.troubles == []
