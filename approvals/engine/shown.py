"""What a reviewer is shown of a call's arguments: all of them, without secrets."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from firewall.engine.arguments import decoded
from firewall.engine.summary import redacted as redacted_text

#: Longer arguments are shown up to here; what is approved is the whole, by its hash.
MAX_SHOWN_CHARS = 256 * 1024
REDACTED = "[redacted]"
#: Names of fields whose value is a secret, whatever it looks like.
_SECRET = re.compile(r"pass(?:word|wd|phrase)|secret|token|api_?key|authorization|credential|private_?key", re.IGNORECASE)
#: A name that stands in a path as it is; every other one is quoted, so that no name can look like another's path.
_PLAIN = re.compile(r"\w[\w-]*")


def redacted(arguments: str) -> str:
    """A call's arguments without secrets: JSON where they were one object, else the text as far as it may be shown."""
    value = decoded(arguments)
    if value is None:
        # Redact before cutting: half a secret is still a secret.
        return _text(arguments[: 2 * MAX_SHOWN_CHARS].replace("\x00", "�"))[:MAX_SHOWN_CHARS]
    text = orjson.dumps(_clean(value, is_secret=False), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS]


def _clean(value: Any, *, is_secret: bool) -> Any:
    match value:
        case dict():
            names = _names(value)
            return {names[name]: _clean(inner, is_secret=is_secret or _SECRET.search(name) is not None) for name, inner in value.items()}
        case list():
            return [_clean(inner, is_secret=is_secret) for inner in value]
        case None | bool():
            return value
    if is_secret:
        return REDACTED
    if isinstance(value, str):
        return _text(value)
    written = repr(value)
    cleaned = redacted_text(written)
    # A card's number need not be a string; what orjson cannot write as a number is shown by its digits.
    return cleaned if cleaned != written else value if abs(value) < 2**63 else written


def _text(text: str) -> str:
    # Half a surrogate pair is no character: nothing writes it, nothing matches it.
    return redacted_text(text.encode(errors="replace").decode())


def _names(value: Mapping[str, Any]) -> dict[str, str]:
    """The redacted form of each name, no two the same: else one field would hide behind another."""
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    taken = set()
    for name in value:
        shown = cleaned = _text(name)
        while shown in taken:
            times[cleaned] += 1
            shown = f"{cleaned} ({times[cleaned] + 1})"
        taken.add(shown)
        found[name] = shown
    return found


def hides(shown: str) -> bool:
    """Whether a value was redacted, or in part: two that look the same need not be."""
    return "[redacted" in shown


def is_cut(shown: str) -> bool:
    """Whether arguments are shown up to a point only."""
    return len(shown) >= MAX_SHOWN_CHARS


def paths(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """``(path, value)`` of each leaf: ``to[0].name``, ``["a.b"]``; no two the same. An empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            step = f"{at}.{name}".removeprefix(".") if _PLAIN.fullmatch(name) else f"{at}[{json.dumps(name)}]"
            yield from paths(inner, step)
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from paths(inner, f"{at}[{place}]")
    else:
        yield at, value
