"""A payment waits, a person looks at it and approves it in the console, and exactly that payment runs."""

import pytest
from playwright.sync_api import expect

from tests.browser.pages import grave_findings, sideways
from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, calls_of, chat, decide, held, refused
from workspaces.permissions import Role

PAY = 'call payments.transfer {"amount_usd": 4180, "payee": "Marlow Freight", "api_key": "sk-live-1234567890abcdef"}'


@pytest.fixture
def agent(stack, committed):
    made = make_agent(stack, name="billing-reconciler")
    made.policy("payments", default_verdict="allow", rules=[HOLDS])
    return made


def test_a_person_approves_and_exactly_that_call_runs(agent, desk):
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto("/approvals/")
    expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
    told = held(chat(agent, PAY, run="payment"))
    row = page.get_by_role("link", name="payments.transfer")
    expect(row).to_be_visible()
    expect(page).to_have_title("(1) Approvals · OrcaRouter")
    row.click()
    panel = page.locator("#panel")
    expect(panel.get_by_text("Marlow Freight").first).to_be_visible()
    assert "sk-live" not in page.content()
    for width in (1440, 380):
        page.set_viewport_size({"width": width, "height": 900})
        assert grave_findings(page) == []
        assert sideways(page) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    panel.get_by_label("Reason").fill("invoice seen")
    page.keyboard.press("Enter")
    panel.get_by_label("Reason").press("Enter")
    expect(panel.get_by_role("button", name="Approve once")).to_be_visible()
    panel.get_by_role("heading", name="payments.transfer").focus()
    page.keyboard.press("a")
    expect(panel.get_by_role("button", name="Approve once")).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel.get_by_text("The call may run once.")).to_be_visible()
    expect(panel.get_by_role("heading", name="payments.transfer")).to_be_focused()
    expect(page).to_have_title("Approvals · OrcaRouter")
    answer = chat(agent, PAY, told["approval_id"], run="payment")
    assert calls_of(answer)[0][1]["amount_usd"] == 4180
    refused(chat(agent, PAY, told["approval_id"], run="payment"), "used")
    again = held(chat(agent, PAY.replace("4180", "310"), run="payment"))
    page.goto(f"/approvals/{again['approval_id']}/")
    expect(panel.get_by_text("13 times less")).to_be_visible()
    assert desk.watch.troubles == []


def test_the_slower_reviewer_is_told_who_was_faster(agent, desk):
    told = held(chat(agent, PAY))
    page = desk.open(agent.tenant, Role.ADMIN)
    page.goto(f"/approvals/{told['approval_id']}/")
    decide(agent, told["approval_id"])
    expect(page.get_by_text(f"{agent.tenant.person(Role.DEVELOPER).email} has decided about this hold: approved at")).to_be_visible()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text(f"{agent.tenant.person(Role.DEVELOPER).email} was faster: approved")).to_be_visible()


def test_several_alike_are_decided_together(agent, desk):
    for n in range(3):
        held(chat(agent, f'call payments.transfer {{"amount": {n}, "to": "Marlow"}}', run="r"))
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto("/approvals/")
    page.get_by_role("link", name="payments.transfer").first.click()
    expect(page.locator("#panel").get_by_text("2 more like it")).to_be_visible()
    assert [text.split() for text in page.locator("#panel .alike .pair").all_inner_texts()] == [["amount", "1"], ["amount", "2"]]
    expect(page.locator("#menu-count")).to_have_text("3 open")
    for box in page.locator("#panel input[type=checkbox]").all():
        box.check()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("3 calls will not run.")).to_be_visible()
    expect(page.locator("#menu-count")).to_be_hidden()
    expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
