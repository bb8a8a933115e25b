"""Every page, in both themes and at both widths: usable by everyone, quiet, light, and asking nobody else."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from playwright.sync_api import expect

from tests.browser.pages import grave_findings, sideways, weights

pytestmark = [pytest.mark.browser, pytest.mark.stack]

#: Answers to scripts and downloads, not pages.
FRAGMENTS = {"policy_export", "events_live", "rule_words", "rule_json", "key_effect", "keys_export", "usage_export"}
#: Pages that nobody has to be signed in for; all others are tried by asking.
PUBLIC = {"invitation"}
NARROW, WIDE = 380, 1440
MAX_PAGE_BYTES = 150 * 1024


def _views(patterns: list) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        else:
            yield pattern


def _is_page(view: URLPattern) -> bool:
    """Whether it answers a GET: a page leads a stranger to the sign-in, an action refuses the method."""
    if view.name in PUBLIC:
        return True
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    return view.callback(request).status_code != 405


CONSOLE = next(each for each in get_resolver().url_patterns if isinstance(each, URLResolver) and each.namespace == "console")
PAGES = sorted(view.name for view in _views(CONSOLE.url_patterns) if view.name not in FRAGMENTS and _is_page(view))
#: The same pages in another state, and pages of other parts.
OTHERS = [
    "/events/?verdict=deny&surface=response",
    "/events/?tool_name=nothing.like.this",
    "/runs/?verdict=deny",
    "/posture/?level=tight",
    "/tools/?status=gap",
    "/tools/?status=covered&surface=egress",
    "/test/?policy=draft",
    "/backtests/?days=30&enforce=on",
    "/search/?q=search",
    "/search/?q=nothing-like-this",
    "/keys/?state=disabled",
    "/keys/?ceiling=none&unused=30",
    "/?range=30d",
    "/usage/?by=key",
    "/usage/?by=run&range=7d",
    "/usage/?by=model&environment=nowhere",
    "/account/password/change/",
    "/account/reauthenticate/",
    "/account/logout/",
]
FOR_STRANGERS = ["/account/login/", "/account/login/?next=/keys/"]


def look_over(page, path: str) -> list[str]:
    """Open a page and say what is wrong with it."""
    page.goto(path)
    expect(page.locator(".htmx-request")).to_have_count(0)
    wrong = [f"wide: {each}" for each in grave_findings(page) + sideways(page)]
    page.emulate_media(color_scheme="dark")
    wrong += [f"wide, dark: {each}" for each in grave_findings(page, "color-contrast")]
    page.set_viewport_size({"width": NARROW, "height": 800})
    wrong += [f"narrow, dark: {each}" for each in grave_findings(page, "color-contrast")]
    page.emulate_media(color_scheme="light")
    wrong += [f"narrow: {each}" for each in grave_findings(page) + sideways(page)]
    sizes = weights(page)
    if sum(sizes.values()) > MAX_PAGE_BYTES:
        wrong.append(f"{sum(sizes.values())} bytes: {sizes}")
    return wrong


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(desk, world, name):
    page = desk.open(world.tenant, width=WIDE)
    assert look_over(page, reverse(f"console:{name}", args=world.places.get(name, ()))) == []
    assert desk.watch.troubles == []


@pytest.mark.parametrize("path", OTHERS)
def test_a_page_in_another_state_is_sound(desk, world, path):
    page = desk.open(world.tenant, width=WIDE)
    assert look_over(page, path) == []
    assert desk.watch.troubles == []


@pytest.mark.parametrize("path", FOR_STRANGERS)
def test_a_page_for_strangers_is_sound(desk, path):
    assert look_over(desk.open(width=WIDE), path) == []
    assert desk.watch.troubles == []


EMPTY = ("overview", "events", "runs", "policies", "keys", "providers", "audit", "members", "tokens", "usage", "budgets", "prices", "tool_prices")


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_page_is_sound(desk, agent, name):
    assert look_over(desk.open(agent.tenant, width=WIDE), reverse(f"console:{name}")) == []
    assert desk.watch.troubles == []


def test_the_document_of_the_api_is_read_offline(desk, world):
    page = desk.open(world.tenant, width=WIDE)
    page.goto("/api/docs/")
    page.locator("#operations-tag-Keys").click()
    page.locator(".opblock-get .opblock-summary-control").first.click()
    expect(page.get_by_text("Responses").first).to_be_visible()
    assert grave_findings(page) == []
    assert desk.watch.troubles == []


def test_a_page_that_is_not_there_says_so(desk, world):
    page = desk.open(world.tenant, width=WIDE)
    assert look_over(page, "/policies/999999999/") == []
    assert page.get_by_role("heading", level=1).count() == 1
    assert {trouble[:3] for trouble in desk.watch.troubles} <= {"404", "con"}
