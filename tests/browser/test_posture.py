"""From what a level would have done to the level, and back, as a person with a browser does it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_a_level_is_seen_applied_and_undone(desk, agent):
    ask(agent, "what can you do?", "shell.exec", "kb.read")
    page = desk.open(agent.tenant)
    page.goto("/posture/")

    page.locator("#tight").get_by_role("link", name="See what it would do").click()
    expect(page.locator("#preview")).to_contain_text("shell.exec")
    page.get_by_role("button", name="Apply tight").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("it would have denied")
    dialog.get_by_role("button", name="Apply tight").click()
    expect(page.get_by_text("The posture is tight, in force now.")).to_be_visible()
    expect(page.get_by_role("link", name="autonomy_tight")).to_be_visible()

    page.get_by_role("button", name="Undo").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The level tight is undone")).to_be_visible()
    expect(page.get_by_role("link", name="autonomy_tight")).to_have_count(0)
    assert desk.watch.troubles == []
