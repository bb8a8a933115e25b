"""What a person does in the console, from signing in to reading what was done."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ask
from tests.browser.steps import add_rule, menu, rules, toast
from tests.factories.firewall import EventFactory
from tests.factories.workspaces import PASSWORD, make_tenant
from workspaces import tenancy
from workspaces.paging import PAGE_SIZE
from workspaces.permissions import Role

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.goto("/account/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


# --- Signing in -----------------------------------------------------------------------------------------------------
def test_a_wrong_password_is_said_and_soon_nobody_may_go_on_guessing(desk):
    tenant, page = make_tenant(), desk.open()
    email = tenant.person(Role.MEMBER).email
    for _ in range(5):
        sign_in(page, email, "not the password")
        expect(page.get_by_text("not correct").first).to_be_visible()
    sign_in(page, email)
    expect(page.get_by_text(re.compile("too many", re.IGNORECASE)).first).to_be_visible()
    page.goto("/keys/")
    assert page.url.startswith(f"{desk.url}/account/login/")


def test_signing_in_leads_to_the_page_that_was_asked_for(desk, agent):
    page = desk.open()
    page.goto("/keys/")
    page.get_by_label("Email").fill(agent.tenant.person(Role.DEVELOPER).email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Keys", level=1)).to_be_visible()
    assert page.url == f"{desk.url}/keys/"
    assert desk.watch.troubles == []


def test_an_expired_session_is_said_and_nothing_typed_is_lost(desk, agent):
    policy = agent.policy()
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/?edit=0")
    page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill("payments.*")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.get_by_role("alert").filter(has_text="Your session has ended").first).to_be_visible()
    expect(page.locator("#rule-form").get_by_label(re.compile("^Tool"))).to_have_value("payments.*")
    assert page.url.startswith(f"{desk.url}/policies/{policy.pk}/")


# --- The main job ---------------------------------------------------------------------------------------------------
def test_from_a_new_key_to_a_refused_call_that_arrives_live(desk, agent):
    page = desk.open(agent.tenant, Role.DEVELOPER)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _make_key(page)
    agent.token = page.locator("#secret").inner_text()
    # It is said for a moment only, so somebody looks all the time.
    page.evaluate("""() => { window.copied = new Promise(seen => new MutationObserver(
        () => document.querySelector('.copied') && seen(true)).observe(document.body, {attributes: true, subtree: true})); }""")
    page.locator(".reveal").get_by_role("button", name="Copy").click()
    expect(page.locator("#announce")).to_have_text("Copied")
    assert page.evaluate("Promise.race([window.copied, new Promise(late => setTimeout(() => late(false), 1000))])")
    assert page.evaluate("navigator.clipboard.readText()") == agent.token
    page.goto(page.get_by_role("link", name="I have stored it").get_attribute("href"))
    assert agent.token not in page.content()
    agent.key_id = int(page.url.rstrip("/").rsplit("/", 1)[1])

    _make_policy(page)
    _bind(page, agent.key_id)

    events = desk.open(agent.tenant, Role.DEVELOPER)
    events.goto("/events/")
    expect(events.get_by_text("No event yet")).to_be_visible()
    ask(agent, 'call web.search {"query": "orcas"}', "web.search", run="orcas")
    expect(events.locator("tbody").get_by_role("link", name="web.search").first).to_be_visible()
    ask(agent, "call shell.exec", "shell.exec", run="orcas", refused=True)
    refused = events.locator("tr", has=events.get_by_role("link", name="shell.exec"))
    expect(refused).to_contain_text("Deny")

    _read_event(events)
    _read_run(events)
    assert desk.watch.troubles == []


def _make_key(page: Page) -> None:
    page.goto("/keys/")
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill("orca-watcher")
    expect(page.locator("#effect")).to_contain_text("any model")
    page.get_by_role("button", name="Make the key").click()


def _make_policy(page: Page) -> None:
    page.goto("/policies/")
    page.get_by_role("link", name="New policy").first.click()
    page.get_by_label("Name").fill("orca-policy")
    page.get_by_label("If no rule matches").select_option("deny")
    page.get_by_role("button", name="Make the policy").click()
    address = page.url
    add_rule(page, "web.search", "allow")
    toast(page, "Rule added")
    add_rule(page, "kb.*", "allow")
    expect(page.locator("tbody [data-row]")).to_have_count(2)
    assert rules(page) == ["web.search", "kb.*"]
    assert page.locator("tbody [data-row] .prio").all_inner_texts() == ["10", "20"]
    assert page.url == address


def _bind(page: Page, key_id: int) -> None:
    page.goto(f"/keys/{key_id}/edit/")
    page.get_by_label("Policy").select_option("orca-policy")
    page.get_by_role("button", name="Save").click()
    toast(page, "It is in force from the key's next call.")


def _read_event(page: Page) -> None:
    page.get_by_role("link", name="shell.exec").first.click()
    panel = page.locator("#panel")
    expect(panel).to_contain_text("The request was refused and never reached the provider.")
    expect(panel).to_contain_text("default_deny")
    expect(panel.get_by_role("link", name="orca-policy")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Verdict").click()
    page.get_by_role("group", name="Verdict").get_by_role("link", name="Deny").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "verdict=deny" in page.url
    page.get_by_role("link", name="remove").click()
    expect(page.locator("tbody").get_by_role("link", name="web.search").first).to_be_visible()


def _read_run(page: Page) -> None:
    page.goto("/runs/")
    page.get_by_role("link", name="orcas").click()
    timeline = page.get_by_role("table", name="Timeline")
    expect(timeline.locator("tbody tr")).to_have_count(5)
    steps = timeline.locator("tbody tr").all_inner_texts()
    assert [step.split()[0] for step in steps] == ["Model", "web.search", "web.search", "Refused", "shell.exec"]
    assert "Allow" in steps[1]
    assert "Deny" in steps[4]
    assert re.search(r"\$0\.0", steps[0])
    assert re.search(r"\b[1-9]\d*\b", steps[0])


# --- The rule editor ------------------------------------------------------------------------------------------------
def test_rules_are_edited_put_in_order_and_deleted_without_leaving_the_page(desk, agent):
    policy = agent.policy(bind=False, rules=[{"priority": 10 * n, "tool_name_glob": f"tool.{n}", "verdict": "allow"} for n in (1, 2, 3)])
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/")
    page.evaluate("window.stayed = true")
    menu(page, "tool.2", "Edit")
    page.locator("#rule").get_by_label(re.compile("^Name")).fill("the second")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    expect(page.locator("tbody")).to_contain_text("the second")
    menu(page, "tool.3", "Move up")
    expect(page.locator("tbody [data-row] .when code").nth(1)).to_have_text("tool.3")
    page.get_by_role("button", name=re.compile("tool.1")).first.press("ArrowDown")
    toast(page, "Order saved")
    expect(page.get_by_text("version 4", exact=True)).to_be_visible()
    assert rules(page) == ["tool.3", "tool.1", "tool.2"]
    menu(page, "tool.1", "Delete")
    expect(page.locator("tbody [data-row]")).to_have_count(2)
    assert rules(page) == ["tool.3", "tool.2"]
    assert page.evaluate("window.stayed") is True
    assert desk.watch.troubles == []


def test_a_glob_is_explained_as_it_is_typed(desk, agent):
    ask(agent, "hello", "kb.read", "web.search")
    policy = agent.policy()
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/?edit=0")
    words, glob = page.locator("#rule-words"), page.locator("#rule-form").get_by_label(re.compile("^Tool"))
    expect(words).to_contain_text("Every tool is stopped")
    glob.press_sequentially("kb.*")
    expect(words).to_contain_text("Any tool whose name begins with kb. is stopped")
    expect(words).to_contain_text("Matches tools seen here: kb.read")
    page.get_by_label("Then").select_option("allow")
    expect(words).to_contain_text("is let through")
    assert desk.watch.troubles == []


def test_loosening_asks_first_and_keeps_all_when_it_is_not_meant(desk, agent):
    policy = agent.policy("strict", default_verdict="deny")
    page = desk.open(agent.tenant)
    page.goto(f"/policies/{policy.pk}/")
    page.get_by_label("If no rule matches").select_option("allow")
    page.get_by_role("button", name="Save the policy").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("any tool that no rule names")
    asked.get_by_role("button", name="Keep as it is").click()
    expect(asked).to_be_hidden()
    page.reload()
    expect(page.get_by_label("If no rule matches")).to_have_value("deny")
    # A menu closes when the page scrolls, so all of the page is in view.
    page.set_viewport_size({"width": 1440, "height": 2400})
    menu(page, "strict", "Turn shadow mode on")
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop blocking with strict?")
    page.get_by_role("link", name="Keep as it is").click()
    expect(page.get_by_text("Enforcing")).to_be_visible()
    page.get_by_label("If no rule matches").select_option("allow")
    page.get_by_role("button", name="Save the policy").click()
    page.get_by_role("dialog").get_by_role("button", name="Loosen the policy").click()
    expect(page.get_by_text("version 2", exact=True)).to_be_visible()
    assert desk.watch.troubles == []


# --- People, providers, records -------------------------------------------------------------------------------------
def test_a_provider_is_added_and_tested(desk, agent):
    page = desk.open(agent.tenant, Role.ADMIN)
    page.goto("/providers/")
    page.get_by_role("button", name="Test Demo").click()
    expect(page.locator("#outcome")).to_contain_text("Demo answers")
    page.get_by_role("link", name="New provider").click()
    page.get_by_label("Name").fill("Elsewhere")
    page.get_by_label("Base address").fill("https://127.0.0.1/v1")
    page.get_by_label(re.compile("^Secret")).fill("sk-never-shown")
    page.get_by_label(re.compile("^Models")).fill("gpt-4o @ 2.50 / 10")
    page.get_by_role("button", name="Add the provider").click()
    expect(page.get_by_text("Not saved").or_(page.get_by_role("alert")).first).to_be_visible()
    page.get_by_label("Base address").fill("https://198.20.0.1/v1")
    page.get_by_label(re.compile("^Secret")).fill("sk-never-shown")
    page.get_by_role("button", name="Add the provider").click()
    expect(page.locator("tr", has_text="Elsewhere")).to_contain_text("stored")
    assert "sk-never-shown" not in page.content()


def test_who_is_invited_joins_by_the_link_and_a_role_decides_what_they_see(desk, agent):
    owner = desk.open(agent.tenant)
    owner.goto("/members/")
    owner.get_by_label("E-mail address").fill("newcomer@example.org")
    owner.locator("#invite select").select_option(label="Member")
    owner.get_by_role("button", name="Make an invitation link").click()
    owner.get_by_role("dialog").get_by_role("button", name="Make the link").click()
    link = owner.locator("#secret").inner_text()

    guest = desk.open()
    guest.goto(link)
    guest.get_by_label(re.compile("Your name")).fill("Nora Newcomer")
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_role("button", name="Make my account and join").click()
    menu_of_guest = guest.get_by_role("navigation", name="Console")
    expect(menu_of_guest).to_contain_text("Nora Newcomer")
    expect(menu_of_guest.get_by_role("link", name="Providers")).to_have_count(0)
    guest.goto("/keys/")
    expect(guest.get_by_role("heading", name="Keys", level=1)).to_be_visible()
    expect(guest.get_by_role("link", name="New key")).to_have_count(0)

    owner.goto("/members/")
    menu(owner, "Nora Newcomer", "Change role")
    owner.get_by_role("dialog").get_by_label("Role").select_option(label="Admin")
    owner.get_by_role("dialog").get_by_role("button", name="Change role").click()
    toast(owner, "Nora Newcomer is now Admin")
    guest.reload()
    expect(menu_of_guest.get_by_role("link", name="Providers")).to_have_count(1)
    expect(guest.get_by_role("link", name="New key")).to_be_visible()
    guest.goto(link)
    expect(guest.get_by_text("This invitation has ended")).to_be_visible()


def test_an_access_token_is_made_used_and_revoked_and_the_log_tells_it(desk, agent):
    page = desk.open(agent.tenant)
    page.goto("/access-tokens/")
    page.get_by_label("Name").fill("nightly export")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#secret").inner_text()
    bearer = {"Authorization": f"Bearer {token}"}
    stranger = desk.open()
    assert stranger.request.get("/api/token/", headers=bearer).status == 200
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke the token").click()
    toast(page, "opens nothing any more")
    assert stranger.request.get("/api/token/", headers=bearer).status == 401
    page.goto("/audit/")
    newest = page.locator("tbody tr")
    expect(newest.nth(0)).to_contain_text("nightly export")
    expect(newest.nth(0)).to_contain_text("revoke")
    expect(newest.nth(1)).to_contain_text("create")
    page.get_by_role("button", name="Action").click()
    page.get_by_role("group", name="Action").get_by_role("link").filter(has_text="Key created").first.click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert desk.watch.troubles == []


# --- Everywhere -----------------------------------------------------------------------------------------------------
def test_the_chosen_theme_is_remembered(desk, agent):
    page = desk.open(agent.tenant, color_scheme="light")
    page.goto("/policies/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.goto("/keys/")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    assert page.evaluate(ground) == dark


def test_a_slash_searches_keys_policies_and_tools(desk, world):
    page = desk.open(world.tenant)
    page.goto("/policies/")
    page.keyboard.press("/")
    page.keyboard.type("research")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main").get_by_role("link", name="researcher")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="research-agents").click()
    expect(page.get_by_role("heading", name="research-agents", level=1)).to_be_visible()
    assert desk.watch.troubles == []


def test_what_a_role_may_not_do_is_not_offered(desk, world):
    page = desk.open(world.tenant, Role.MEMBER)
    for path in ("/policies/", f"/policies/{world.places['policy'][0]}/", "/keys/", f"/keys/{world.agent.key_id}/"):
        page.goto(path)
        expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()
        assert page.get_by_role("main").get_by_role("button", name=re.compile("Delete|Save|Add|Freeze|Disable")).count() == 0
    with tenancy.scope(world.tenant.workspace.pk):
        assert world.tenant.workspace.policies.count() == 2
    assert desk.watch.troubles == []


def test_a_burst_longer_than_a_page_stays_in_order_when_the_feed_goes_live(desk):
    tenant = make_tenant()
    page = desk.open(tenant, Role.DEVELOPER)
    page.goto("/policies/")
    for number in range(PAGE_SIZE + 10):
        EventFactory(workspace=tenant.workspace, tool_name=f"tool.{number}", verdict="deny")
    page.goto("/events/")
    expect(page.locator("tbody [data-id]").first).to_contain_text(f"tool.{PAGE_SIZE + 9}")
    EventFactory(workspace=tenant.workspace, tool_name="the.newest", verdict="deny")
    expect(page.locator("tbody [data-id]").first).to_contain_text("the.newest")
    shown = [row.get_attribute("data-id") for row in page.locator("tbody [data-id]").all()]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == PAGE_SIZE + 1
