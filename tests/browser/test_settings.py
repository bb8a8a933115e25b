"""The settings of held calls as an Admin fills them in, and a test event that arrives at a real receiver."""

import re

from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from tests.browser.pages import grave_findings, sideways
from tests.browser.steps import settled, toast
from tests.factories.approvals import make_holding_policy
from tests.factories.workspaces import make_tenant
from workspaces.permissions import Role


def form(page: Page, button: str):
    """The form that this button sends."""
    return page.locator("form").filter(has=page.get_by_role("button", name=button, exact=True))


def save(page: Page, button: str) -> None:
    settled(page)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_load_state()
    settled(page)


def ask(page: Page, words: str, answer: str) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(words)
    expect(dialog.get_by_role("button", name="Keep as it is")).to_be_focused()
    dialog.get_by_role("button", name=answer, exact=True).click()


def test_an_admin_says_how_long_who_and_what_is_recorded(desk):
    tenant = make_tenant()
    policy = make_holding_policy(tenant)
    page = desk.open(tenant, Role.ADMIN)
    page.goto("/settings/")
    page.get_by_label("A hold waits for a decision").fill("5")
    save(page, "Save how long holds wait")
    expect(page.get_by_text("from 60 to").first).to_be_visible()
    page.get_by_label("A hold waits for a decision").fill("7200")
    save(page, "Save how long holds wait")
    toast(page, "Saved.")
    expect(page.get_by_label("A hold waits for a decision")).to_have_value("7200")
    plan = form(page, "Save this plan")
    plan.get_by_label("Policy").select_option(label=policy.name)
    plan.get_by_label("Approvals needed").fill("2")
    for person in tenant.people.values():
        if person != tenant.person(Role.MEMBER):
            plan.get_by_label(str(person), exact=True).check()
    save(page, "Save this plan")
    plans = page.get_by_role("table", name="Review plans")
    expect(plans.get_by_role("row").nth(1)).to_contain_text(re.compile(rf"{policy.name}\s*2"))
    page.get_by_label("Four eyes").check()
    save(page, "Save four eyes")
    page.reload()
    expect(page.get_by_label("Four eyes")).to_be_checked()
    page.get_by_label("Four eyes").uncheck()
    save(page, "Save four eyes")
    ask(page, "calls of their own side", "Keep as it is")
    page.reload()
    expect(page.get_by_label("Four eyes")).to_be_checked()
    page.get_by_label("Four eyes").uncheck()
    save(page, "Save four eyes")
    ask(page, "calls of their own side", "Loosen it")
    toast(page, "Saved.")
    expect(page.get_by_label("Four eyes")).not_to_be_checked()
    page.get_by_role("button", name=f"Remove the plan of {policy.name}").click()
    ask(page, "the plan of every other policy then holds", "Remove it")
    expect(plans).to_have_count(0)
    page.get_by_label("Record calls that no policy judges").uncheck()
    save(page, "Save what is recorded")
    ask(page, "leave no events", "Record less")
    toast(page, "Saved.")
    assert [trouble for trouble in desk.watch.troubles if "422" not in trouble] == []


def test_a_test_event_arrives_signed_and_is_sent_again(desk, receiver):
    receiver.answers, receiver.said = [503], b"busy just now"
    page = desk.open(make_tenant(), Role.ADMIN)
    page.goto("/settings/")
    page.get_by_label("Address", exact=False).first.fill("https://127.0.0.1/")
    save(page, "Save the webhook")
    expect(page.locator(".invalid-feedback")).to_be_visible()
    page.get_by_label("Address", exact=False).first.fill(receiver.url)
    save(page, "Save the webhook")
    toast(page, "Saved.")
    page.get_by_role("button", name="Make a secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    secret = page.locator(".reveal code").inner_text().strip()
    page.goto("/settings/")
    assert secret not in page.content()
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_text("The receiver answered 503.")).to_be_visible()
    expect(page.get_by_text("busy just now")).to_be_visible()
    assert (grave_findings(page), sideways(page)) == ([], [])
    settled(page)
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_text("Delivered", exact=True)).to_be_visible()
    first, second = receiver.wait_for(2)
    assert Webhook(secret).verify(second.body, second.headers)["event"] == "firewall.approval.test"
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    page.get_by_role("link", name="Messages").click()
    expect(page.get_by_role("link", name="firewall.approval.test")).to_be_visible()
    assert [trouble for trouble in desk.watch.troubles if "422" not in trouble] == []
