"""What every template of the console keeps to, whoever writes it."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
SPRITE = (settings.BASE_DIR / "static" / "icons.svg").read_text()


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.parent.name == "cotton"], ids=lambda path: path.stem)
def test_a_component_is_documented_in_its_first_line(path):
    assert path.read_text().startswith(f"{{# {path.stem} - ")


def test_nothing_in_a_template_needs_an_unsafe_content_policy():
    unsafe = re.compile(r"""\sstyle=|<style|\son[a-z]+=["']|href=["']javascript:|hx-on|<script(?![^>]*\ssrc=)|https?://(?:cdn|unpkg)""")
    assert {path.name: found.group() for path in TEMPLATES if (found := unsafe.search(path.read_text()))} == {}


def test_every_icon_that_is_named_is_in_the_sprite():
    drawn = set(re.findall(r'id="i-([\w-]+)"', SPRITE))
    named = {name for path in TEMPLATES for name in _icons(path)}
    assert named
    assert named <= drawn


def _icons(path: Path) -> set[str]:
    source = path.read_text()
    values = re.findall(r'<c-icon name="([^"]+)"|\sicon="([^"]+)"|{% icon "([^"]+)"', source)
    # A name may be chosen in the tag: `{% if x %}a{% else %}b{% endif %}`.
    words = [word for pair in values for value in pair for word in re.sub(r"{[{%].*?[%}]}", " ", value).split()]
    return set(words)
