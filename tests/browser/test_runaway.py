"""A cap is set, an agent runs away, and a person watches: the gauge fills, the run ends, and one button ends another."""

import openai
import pytest
from playwright.sync_api import expect

from orcarouter.demo import runaway
from tests.browser.conftest import ask
from tests.browser.pages import grave_findings
from workspaces import tenancy

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_the_gauge_fills_until_the_cap_ends_the_run(desk, agent):
    policy = agent.policy("capped", default_verdict="allow")
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/")
    page.get_by_role("link", name="Add rule").click()
    page.get_by_label("Then").select_option("cap_cost")
    page.get_by_label("The most a run may cost").fill("0.01")
    page.locator("#rule-form").get_by_label("Name").fill("Run cost cap")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.locator("tbody [data-row]")).to_contain_text("Run cost cap")

    story = runaway.loop(agent.sdk(), "runaway")
    next(story)
    page.goto(f"/runs/{agent.key_id}/runaway/")
    gauge = page.locator("#run-live svg.gauge")
    seen, turns = [gauge.get_attribute("aria-label")], []
    for turn in story:
        turns.append(turn)
        if not turn.refusal:
            # Without a reload: the page asks for itself.
            expect(gauge).not_to_have_attribute("aria-label", seen[-1])
            seen.append(gauge.get_attribute("aria-label"))
    assert turns[-1].reason_code == "cost_cap", turns[-1]
    assert len(seen) >= 3, seen
    with tenancy.scope(agent.workspace.pk):
        spent = sum(row.cost_micro_usd for row in agent.workspace.usage.filter(agent_run_id="runaway"))
        denied = agent.workspace.events.filter(agent_run_id="runaway", reason_code="cost_cap").count()
    assert 0 < spent <= 10_000
    assert denied == 1
    page.reload()
    expect(page.get_by_text("rule Run cost cap, priority")).to_be_visible()
    assert grave_findings(page) == []
    assert desk.watch.troubles == []


def test_one_button_ends_a_run_that_has_money_left(desk, agent):
    ask(agent, "hello", run="wanted")
    page = desk.open(agent.tenant)
    page.goto(f"/runs/{agent.key_id}/wanted/")
    page.get_by_role("button", name="Stop run").first.click()
    expect(page.get_by_text("Stopped by").first).to_be_visible()
    with pytest.raises(openai.BadRequestError) as refused:
        ask(agent, "hello again", run="wanted")
    assert refused.value.body["metadata"]["reason_code"] == "run_stopped"
    ask(agent, "another one", run="other")
    assert desk.watch.troubles == []
