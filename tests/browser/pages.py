"""A page that tells what went wrong on it: what a person would find in the browser's tools."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page

AXE = (Path(__file__).resolve().parent.parent / "vendor" / "axe.min.js").read_text()
GRAVE = ("serious", "critical")
_SIZES = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(entry => !/\\.woff2?$/.test(new URL(entry.name).pathname)).map(entry => [new URL(entry.name).pathname, entry.transferSize])"""


@dataclass
class Watch:
    """Everything a page did that it must not: errors of the console, failed requests, requests to anybody else."""

    origin: str
    troubles: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        page.on("console", lambda message: message.type == "error" and self.troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("response", lambda answer: answer.status >= 400 and self.troubles.append(f"{answer.status} {answer.url}"))
        page.on("request", lambda asked: self._is_foreign(asked.url) and self.troubles.append(f"elsewhere: {asked.url}"))

    def _is_foreign(self, url: str) -> bool:
        return not url.startswith((self.origin, "data:", "blob:"))


def grave_findings(page: Page, *only: str) -> list[str]:
    """What axe finds to be serious or critical, in words. ``only`` these of its rules."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)
    options: dict = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": list(only)}} if only else {})
    found = page.evaluate("options => axe.run(document, options).then(result => result.violations)", options)
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found if each["impact"] in GRAVE for node in each["nodes"]]


def sideways(page: Page) -> list[str]:
    """The elements that make the whole page scroll to the side, and tables cut off where no keyboard scrolls; none where all fits."""
    return page.evaluate("""() => {
        const cut = [...document.querySelectorAll('.tbl-wrap:not([tabindex])')].filter(each => each.scrollWidth > each.clientWidth + 1);
        const wide = document.documentElement.scrollWidth, fits = document.documentElement.clientWidth;
        const over = wide <= fits ? [] : [...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > fits + 1);
        return [...cut, ...over].slice(0, 8).map(each => `${wide} > ${fits}: ${each.outerHTML.slice(0, 120)}`);
    }""")


def weights(page: Page) -> dict[str, int]:
    """Bytes on the wire by path, fonts left out."""
    return dict(page.evaluate(_SIZES))
