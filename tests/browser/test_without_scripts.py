"""The console in a browser that runs no script: all of it but what is live by nature."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask
from tests.factories.workspaces import PASSWORD
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_the_main_job_is_done_without_a_script(desk, agent):
    page = desk.open(java_script_enabled=False)
    page.goto("/account/login/")
    page.get_by_label("Email").fill(agent.tenant.person(Role.DEVELOPER).email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    page.goto("/keys/new/")
    page.get_by_label("Name").fill("scriptless")
    page.get_by_role("button", name="Make the key").click()
    agent.token = page.locator("#secret").inner_text()

    page.goto("/policies/new/")
    page.get_by_label("Name").fill("scriptless-policy")
    page.get_by_role("button", name="Make the policy").click()
    for glob in ("kb.*", "web.search"):
        page.get_by_role("link", name="Add rule").click()
        page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill(glob)
        page.get_by_label("Then").select_option("allow")
        page.get_by_role("button", name="Add the rule").click()
    page.get_by_role("button", name="More for web.search").click()
    page.get_by_role("button", name="Move up").last.click()
    assert page.locator("tbody .when code").all_inner_texts() == ["web.search", "kb.*"]

    page.goto("/keys/")
    page.get_by_role("link", name="scriptless").click()
    page.get_by_role("main").get_by_role("link", name="Edit").first.click()
    page.get_by_label("Policy").select_option("scriptless-policy")
    page.get_by_role("button", name="Save").click()

    ask(agent, 'call kb.read {"id": "1"}', "kb.read", run="plain-html")
    ask(agent, "call shell.exec", "shell.exec", run="plain-html", refused=True)
    _read_what_happened(page)
    assert desk.watch.troubles == []


def _read_what_happened(page):
    page.goto("/events/")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Verdict").click()
    page.get_by_role("link", name="Deny").first.click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="shell.exec").click()
    expect(page.locator("#panel")).to_contain_text("never reached the provider")
    page.goto("/runs/")
    page.get_by_role("link", name="plain-html").click()
    expect(page.get_by_role("table", name="Timeline")).to_contain_text("shell.exec")


def test_loosening_is_asked_about_on_a_page_of_its_own(desk, agent):
    policy = agent.policy("plain", default_verdict="deny")
    page = desk.open(agent.tenant, java_script_enabled=False)
    page.goto(f"/policies/{policy.pk}/")
    page.get_by_label("If no rule matches").select_option("audit")
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_role("main")).to_contain_text("any tool that no rule names")
    page.get_by_role("button", name="Loosen the policy").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    assert desk.watch.troubles == []
