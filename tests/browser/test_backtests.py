"""A backtest as a person with a browser meets it: a rule is tried over what was recorded before it is saved."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_a_rule_is_tried_over_the_past_before_it_is_saved(desk, agent):
    policy = agent.policy("past", default_verdict="audit")
    ask(agent, 'call web.search {"q": "orcas"}', "web.search", run="run-7")
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto(f"/policies/{policy.pk}/")
    page.get_by_role("link", name="Add rule").first.click()
    page.locator("#rule-tool_name_glob").fill("web.*")
    page.locator("#rule-verdict").select_option("deny")
    page.get_by_role("button", name="Backtest it first").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("past")
    expect(page.locator("#backtest")).to_contain_text("came after the first change", timeout=60_000)
    expect(page.locator("#backtest")).to_contain_text("Newly denied")
    page.get_by_role("link", name="run-7").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("run-7")

    page.goto(f"/backtests/?policy={policy.pk}")
    page.get_by_role("button", name="Backtest").click()
    expect(page.locator("#backtest")).to_contain_text("No verdict changes", timeout=60_000)
    assert desk.watch.troubles == []
