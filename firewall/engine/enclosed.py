"""Texts inside texts that may say where a call goes: URLs that a URL hands on, lists of URLs, JSON and forms in a string, a share.

Everything here finds texts and judges none of them; see ``destinations``. All of it takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote

from firewall.engine.arguments import decoded

#: Encodings within encodings that are undone: whoever follows a redirect undoes one, and a proxy before it another.
_LAYERS = 3
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{1,20}:)+//\S*")
_SCHEME = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,20}:)+)//")
_ONE_OF_SEVERAL = re.compile(r"[\s,;|]+")
_OPENERS = "\"'`<([{"
_CLOSERS = "\"'`>)]}"
_IN_PATH = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}:/{1,2}\S*")
_FORM = re.compile(r"[\w.\[\]-]{1,64}=[^\s=&]*(?:&[\w.\[\]-]{1,64}=[^\s=&]*)*")
#: ``\\host\share``, and what Windows makes of it: ``\\?\UNC\host\share``, ``\\host@SSL@8443\share``.
_SHARE = re.compile(r"\\\\(?:[?.]\\UNC\\)?(?P<host>[A-Za-z0-9._-]+)(?:@\w+)*\\[^\\\s]\S*")
_WITH_PORT = re.compile(r"(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(?:/\S*)?")
_BEGINS_ADDRESS = frozenset("0123456789[")
#: Fields of a database's URL that name another host than the one before the path.
_HOST_FIELDS = ("host", "hostaddr")
_WEB = ("http:", "https:", "ws:", "wss:", "ftp:")


def urls(text: str) -> list[str]:
    """The URLs of a text that is nothing but URLs: one, in quotes or brackets if need be, or several. Else none."""
    if "//" not in text:
        return []
    whole = _bare(text.strip())
    if _URL.fullmatch(whole):
        return [whole]
    found = [*dict.fromkeys(_bare(part) for part in _ONE_OF_SEVERAL.split(whole) if part)]
    return found if all(map(_URL.fullmatch, found)) else []


def _bare(text: str) -> str:
    while len(text) > 1 and text[0] in _OPENERS and text[-1] == _CLOSERS[_OPENERS.index(text[0])]:
        text = text[1:-1]
    return text


def place(text: str) -> str | None:
    """Whatever its field is called, a value of this form is a place: a share of Windows, an address with a port. As a URL's authority."""
    if text.startswith("\\\\") and (share := _SHARE.fullmatch(text)):
        return f"//{share['host']}/"
    return text if text[:1] in _BEGINS_ADDRESS and _WITH_PORT.fullmatch(text) else None


def fields(text: str) -> dict | None:
    """What a text says that is a JSON object, a JSON list or a form; None for any other."""
    text = text.strip()
    if text.startswith("{"):
        return decoded(text)
    if text.startswith("["):
        return decoded(f'{{"": {text}}}')
    return dict(parse_qs(text, keep_blank_values=True)) if "=" in text and _FORM.fullmatch(text) else None


def carried(url: str) -> Iterator[tuple[str, str]]:
    """The URLs and hosts in a URL's path and query, with the names that they have there: a redirect may lead there, and a proxy fetch them."""
    begins = _SCHEME.match(url)
    path, _, query = url[begins.end() if begins else 0 :].partition("#")[0].partition("?")
    is_store = begins is not None and begins[1].lower() not in _WEB
    if found := _IN_PATH.search(_decoded(path)):
        yield "", found[0]
    for pair in re.split("[&;]", query) if query else ():
        name, _, value = pair.partition("=")
        value = _decoded(value or name)
        if _URL.fullmatch(value) or value.startswith(("//", "\\\\")) or (name.lower() in _HOST_FIELDS and is_store):
            yield name.lower(), value


def _decoded(text: str) -> str:
    for _ in range(_LAYERS):
        if "%" not in text:
            break
        text = unquote(text)
    return text
