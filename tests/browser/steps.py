"""What people do on a policy's page, again and again."""

import re

from playwright.sync_api import Page, expect


def settled(page: Page) -> None:
    """What was done before may still be renewing a part of the page, and closes the menus in it."""
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)


def add_rule(page: Page, glob: str, then: str) -> None:
    settled(page)
    page.get_by_role("link", name="Add rule").click()
    page.locator("#rule-form").get_by_label(re.compile("^Tool")).fill(glob)
    page.get_by_label("Then").select_option(then)
    page.get_by_role("button", name="Add the rule").click()


def rules(page: Page) -> list[str]:
    return page.locator("tbody [data-row] .when code").all_inner_texts()


def menu(page: Page, of: str, item: str) -> None:
    settled(page)
    page.get_by_role("button", name=f"More for {of}", exact=True).click()
    page.get_by_role("group", name=f"More for {of}", exact=True).get_by_text(item).click()


def toast(page: Page, words: str) -> None:
    expect(page.get_by_role("region", name="Messages")).to_contain_text(words)
