"""Keys at a browser: several chosen at once, the way from an open gate to a closed one, a gauge that moves."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask
from tests.browser.pages import grave_findings
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_several_keys_are_chosen_counted_let_go_and_changed(desk, agent):
    for name in ("one", "two"):
        make_key(agent.tenant, name=name)
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.goto("/keys/")
    chosen = page.get_by_role("region", name="Selection")
    expect(chosen).to_be_hidden()
    page.get_by_label("Select one").check()
    page.get_by_label("Select two").check()
    assert page.locator(".chosen").evaluate("each => getComputedStyle(each, '::before').content").startswith("counter")
    assert grave_findings(page) == []
    chosen.get_by_role("button", name="Clear selection").click()
    expect(chosen).to_be_hidden()
    page.get_by_label("Select one").check()
    chosen.get_by_label("When they expire").select_option("7d")
    chosen.get_by_role("button", name="Set expiry").click()
    expect(page.get_by_text("1 key changed.")).to_be_visible()
    page.get_by_label("Select one").check()
    chosen.get_by_label("When they expire").select_option("90d")
    chosen.get_by_role("button", name="Set expiry").click()
    expect(page.get_by_text("It lives until")).to_be_visible()
    expect(page.get_by_role("link", name="Leave them as they are")).to_be_focused()
    assert grave_findings(page) == []
    page.get_by_role("button", name="Change 1 key").click()
    expect(page.get_by_text("in 90 days", exact=True)).to_be_visible()
    assert desk.watch.troubles == []


def test_an_open_gate_is_closed_by_what_the_editor_proposes(desk, agent):
    ask(agent, "hello", run="first")
    page = desk.open(agent.tenant, Role.DEVELOPER)
    for gate, proposed in (("Models", "demo-small"), ("Credit", "1")):
        page.goto(f"/keys/{agent.key_id}/")
        page.get_by_role("link", name=f"Close the gate {gate}").click()
        expect(page.get_by_text("Nothing is changed until you save.")).to_be_visible()
        if gate == "Models":
            expect(page.get_by_label("Listed models")).to_have_value(proposed)
        if gate == "Credit":
            expect(page.get_by_label("Each cycle, US dollars")).to_have_value(proposed)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("link", name=f"Close the gate {gate}")).to_have_count(0)
    expect(page.get_by_text("2 of 6 gates closed")).to_be_visible()
    assert desk.watch.troubles == []


def test_a_ceiling_fills_while_one_looks(desk, agent):
    with tenancy.scope(agent.workspace.pk):
        agent.workspace.api_keys.update(cycle_limit_micro_usd=1_000_000, cycle="day")
    ask(agent, "hello")
    page = desk.open(agent.tenant)
    page.goto(f"/keys/{agent.key_id}/")
    gauge = page.locator("#ceilings svg.gauge").first
    before = gauge.get_attribute("aria-label")
    ask(agent, "count to 400")
    expect(gauge).not_to_have_attribute("aria-label", before)
    assert grave_findings(page) == []
    assert desk.watch.troubles == []
