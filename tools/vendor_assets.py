"""Rebuild ``static/vendor`` from upstream packages: Tabler cut to what the console uses, icons as one sprite.

Run it by a maintainer after adding a Tabler class or an icon::

    npm pack @tabler/core@1.6.1 @tabler/icons@3.51.0    # unpack both somewhere
    python tools/vendor_assets.py --tabler core/dist/css/tabler.min.css --icons icons/icons/outline

Nothing is fetched here. A rule stays when every class in one of its selectors occurs in our templates,
scripts or form code, and a custom property stays when something kept refers to it.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "static" / "vendor"
ICON_NAMES = ROOT / "tools" / "icons.txt"
SHAPES = ROOT / "tools" / "shapes.svg"
# Kept although no template may name them yet: set from Python, or the parts any form may need.
ALWAYS = {"is-invalid", "visually-hidden", "visually-hidden-focusable", "form-check", "form-check-input", "form-check-label", "form-switch", "form-select"}
ALWAYS |= {"input-group", "input-group-text", "btn-check"}
AT_RULES_WITH_RULES = ("@media", "@supports", "@layer", "@container")


def blocks(css: str) -> Iterator[tuple[str, str]]:
    """Yield ``(prelude, body)`` of each block at the top level of ``css``; statements such as ``@charset`` are dropped."""
    start = depth = opened = 0
    quote = ""
    for at, char in enumerate(css):
        if quote:
            quote = "" if char == quote and css[at - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char == "{":
            opened, depth = (at, 1) if depth == 0 else (opened, depth + 1)
        elif char == "}":
            depth -= 1
            if depth == 0:
                yield css[start:opened].strip(), css[opened + 1 : at]
                start = at + 1
        elif char == ";" and depth == 0:
            start = at + 1


def split_selectors(prelude: str) -> list[str]:
    """Split at the commas that are not inside ``:is(...)`` or ``[...]``."""
    parts, depth = [""], 0
    for char in prelude:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def wanted(selector: str, used: set[str]) -> bool:
    # What stands in :is(...) or :not(...) need not all exist for the rule to apply; innermost first.
    outside = selector
    while (shorter := re.sub(r":[\w-]+\([^()]*\)", "", outside)) != outside:
        outside = shorter
    return "[data-bs-sidebar" not in selector and set(re.findall(r"\.((?:\\.|[\w-])+)", outside)) <= used


def trim(css: str, used: set[str]) -> str:
    """Drop the rules that can match nothing of ours, at every nesting."""
    kept = []
    for prelude, body in blocks(css):
        if prelude.startswith(AT_RULES_WITH_RULES):
            inner = trim(body, used)
            if inner:
                kept.append(f"{prelude}{{{inner}}}")
        elif prelude.startswith("@"):
            kept.append(f"{prelude}{{{body}}}")
        else:
            selectors = [selector for selector in split_selectors(prelude) if wanted(selector, used)]
            if selectors:
                kept.append(f"{','.join(selectors)}{{{body}}}")
    return "\n".join(kept)


def drop_unused_properties(css: str, also: str) -> str:
    """Drop ``--tblr-*`` definitions that nothing refers to, until none is left; ``also`` is our own stylesheet."""
    while (smaller := _drop_once(css, also)) != css:
        css = smaller
    return css


def _drop_once(css: str, also: str) -> str:
    referred = set(re.findall(r"var\(\s*(--[\w-]+)", css + also))
    animated = re.sub(r"@keyframes [\w-]+", "", css)
    css = re.sub(r"(--tblr-[\w-]+):[^;{}]*(?:;|(?=\}))", lambda found: found.group() if found.group(1) in referred else "", css)
    css = re.sub(r"@keyframes ([\w-]+)\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}\n?", lambda found: found.group() if found.group(1) in animated else "", css)
    return re.sub(r"(?<=[\n{}])[^{}\n;@]+\{\}\n?", "", css)


def words_in_use() -> set[str]:
    """What may be a class name: words of ``class`` attributes, and of any string in a script or in Python that renders forms."""
    markup = [path.read_text() for path in ROOT.glob("templates/**/*.html")]
    patterns = ("static/js/*.js", "*/*form*.py", "*/console*.py", "*/console/*.py", "*/*/*console.py", "*/templatetags/*.py")
    code = [path.read_text() for pattern in patterns for path in ROOT.glob(pattern)]
    quoted = [text for source in markup for text in re.findall(r'class="([^"]*)"', source)] + [
        text for source in code for text in re.findall(r'"([^"\n]*)"', source)
    ]
    return ALWAYS | {word for text in quoted for word in re.findall(r"[A-Za-z][\w-]*", text)}


def sprite(folder: Path) -> str:
    """One SVG with a symbol ``i-{name}`` per icon and the verdicts' shapes ``v-{verdict}``."""
    symbols = []
    for name in ICON_NAMES.read_text().split():
        body = re.search(r"<svg[^>]*>(.*)</svg>", (folder / f"{name}.svg").read_text(), re.DOTALL)
        assert body, name
        drawing = re.sub(r"\s*\n\s*", "", body.group(1))
        symbols.append(f'<symbol id="i-{name}" viewBox="0 0 24 24">{drawing}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + SHAPES.read_text() + "\n".join(symbols) + "\n</svg>\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tabler", type=Path, required=True)
    arguments.add_argument("--icons", type=Path, required=True)
    options = arguments.parse_args()
    source = re.sub(r"/\*.*?\*/", "", options.tabler.read_text(), flags=re.DOTALL)
    licence = "/* Tabler 1.6.1 (https://tabler.io), MIT, cut to the console's classes by tools/vendor_assets.py */\n"
    css = drop_unused_properties(trim(source, words_in_use()), (ROOT / "static" / "orca.css").read_text())
    (VENDOR / "tabler.css").write_text(licence + css + "\n")
    (ROOT / "static" / "icons.svg").write_text(sprite(options.icons))


if __name__ == "__main__":
    main()
