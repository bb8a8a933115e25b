"""The console by keyboard alone: everything can be reached, is seen to be reached, and can be worked."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.factories.workspaces import PASSWORD
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]

_FOCUS = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const name = at.getAttribute('aria-label') || at.labels?.[0]?.innerText || at.innerText || at.name || at.tagName;
    return [name.trim(), parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none'];
}"""
MOST_STOPS = 80


def focused(page: Page) -> tuple[str, bool]:
    """What has the focus, by its name, and whether one sees that it has."""
    name, is_seen = page.evaluate(_FOCUS)
    return name, is_seen


def tab_to(page: Page, wanted: str) -> None:
    """Go on by Tab to what has this name; every stop on the way must be seen."""
    passed = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        name, is_seen = focused(page)
        assert is_seen, f"{name} has the focus, and nothing shows it"
        if re.search(wanted, name):
            return
        passed.append(name)
    raise AssertionError(f"{wanted} is not reached: {passed}")


def test_the_first_stop_skips_the_menu(desk, world):
    page = desk.open(world.tenant)
    page.goto("/policies/")
    page.keyboard.press("Tab")
    assert focused(page) == ("Skip to content", True)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page)[0] == "From a template"


def test_signing_in_making_a_policy_and_a_rule_by_keyboard(desk, agent):
    page = desk.open()
    page.goto("/account/login/?next=/policies/new/")
    tab_to(page, "^Email")
    page.keyboard.type(agent.tenant.person(Role.DEVELOPER).email)
    tab_to(page, "^Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New policy", level=1)).to_be_visible()
    tab_to(page, "^Name")
    page.keyboard.type("by-keyboard")
    tab_to(page, "Make the policy")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by-keyboard", level=1)).to_be_visible()
    tab_to(page, "Add rule")
    page.keyboard.press("Enter")
    expect(page.get_by_label(re.compile("^Name")).first).to_be_focused()
    tab_to(page, "^Tool")
    page.keyboard.type("web.search")
    tab_to(page, "^Then")
    page.keyboard.press("a")
    tab_to(page, "Add the rule")
    page.keyboard.press("Space")
    expect(page.locator("tbody [data-row]")).to_contain_text("web.search")
    expect(page.locator("tbody [data-row]")).to_contain_text("Allow")
    tab_to(page, "More for web.search")
    page.keyboard.press("Enter")
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.locator("tbody [data-row]")).to_have_count(0)
    assert desk.watch.troubles == []


def test_an_event_is_opened_stepped_through_and_closed_and_the_focus_comes_back(desk, world):
    page = desk.open(world.tenant)
    page.goto("/events/?verdict=deny")
    tab_to(page, r"^(shell\.exec|email\.send)$")
    opener = focused(page)[0]
    page.keyboard.press("Enter")
    panel = page.locator("#panel")
    expect(panel.locator("[data-panel-heading]")).to_be_focused()
    first = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != first)
    page.keyboard.press("k")
    page.wait_for_url(first)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert focused(page)[0] == opener
    tab_to(page, "^More|^Older|agents|shell|email")
    assert desk.watch.troubles == []


def test_a_menu_and_a_question_close_by_escape_and_give_the_focus_back(desk, world):
    page = desk.open(world.tenant)
    page.goto("/events/")
    tab_to(page, "^Verdict")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Verdict")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Verdict")).to_be_hidden()
    assert focused(page)[0].startswith("Verdict")
    page.goto("/access-tokens/")
    tab_to(page, "^Revoke")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Keep as it is")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert focused(page)[0].startswith("Revoke")


@pytest.mark.parametrize("path", ["/", "/keys/", "/runs/", "/audit/", "/members/", "/providers/new/", "/keys/new/"])
def test_every_stop_of_a_page_is_seen(desk, world, path):
    page = desk.open(world.tenant)
    page.goto(path)
    stops = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        name, is_seen = focused(page)
        stops.append(name)
        assert is_seen, f"{name} has the focus, and nothing shows it"
    assert len(stops) > 10


def test_the_focus_stays_where_it_was_when_the_page_renews_a_part(desk, agent):
    policy = agent.policy(bind=False, rules=[{"priority": 10 * n, "tool_name_glob": f"tool.{n}", "verdict": "allow"} for n in (1, 2)])
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/")
    tab_to(page, "^Move tool.1")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#toasts")).to_contain_text("Order saved")
    assert focused(page)[0].startswith("Move tool.1")
    tab_to(page, "^More for tool.1")
    page.keyboard.press("Enter")
    tab_to(page, "Move up")
    page.keyboard.press("Enter")
    expect(page.locator("tbody [data-row] .when code").first).to_have_text("tool.1")
    assert focused(page)[0] == "More for tool.1"
    assert desk.watch.troubles == []
