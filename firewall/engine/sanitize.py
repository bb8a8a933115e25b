"""Take secrets and personal numbers out of a call's arguments and leave the rest as it was.

The text of the arguments is rewritten in place: only the strings that have something to take out change, and names, numbers, order and
white space stay to the byte, so what was valid JSON still is. Where finds overlap the longest wins, among equals the one listed first.
Source: spec/firewall.md 2.7, spec/decisions.md 6.9.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from firewall.engine import patterns
from firewall.engine.arguments import decoded

MAX_CUSTOM = 20
CUSTOM = "custom"

Span = tuple[int, int]

#: What may stand before a token: no letter or digit of its own, or the escape of a line's end in text that is JSON itself.
_BEFORE = r"(?:^|[^A-Za-z0-9]|\\[nrtbf])"
#: Python's, as RE2 cannot look without taking: the character between two numbers is the end of one and the beginning of the other.
_SSN = re.compile(r"(?<![0-9])(?<![0-9]-)([0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{3} [0-9]{2} [0-9]{4})(?!-?[0-9])")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"')
_COLON = re.compile(r"[ \t\r\n]*:")


@dataclass(frozen=True, slots=True)
class Preset:
    """Group 1 of ``pattern`` is taken out, or what ``spans`` finds in it; ``hint`` finds something in every text worth searching."""

    name: str
    hint: re.Pattern[str]
    pattern: Any
    spans: Callable[[str, int], Iterable[Span]] | None = None

    def find(self, text: str, searched: str) -> Iterator[Span]:
        if self.hint.search(text) is None:
            return
        for match in self.pattern.finditer(searched):
            start, end = match.span(1)
            if self.spans is None:
                yield start, end
            else:
                yield from self.spans(text[start:end], start)


def _aws_key(run: str, start: int) -> Iterator[Span]:
    if len(run) == 20 and run == run.upper():
        yield start, start + len(run)


def _aws_secret(run: str, start: int) -> Iterator[Span]:
    # 40 characters of base64: a commit's hash is one of its look-alikes, but has letters of one case only.
    if len(run) == 40 and run.lower() != run != run.upper():
        yield start, start + len(run)


def _cards(run: str, start: int) -> Iterator[Span]:
    """Card numbers in a run of digits whose groups stand one space or dash apart: whole groups, the longest first."""
    groups = [match.span() for match in re.finditer("[0-9]+", run)]
    at = 0
    while at < len(groups):
        # A card has at most five groups (4 4 4 4 3); a long table of numbers must not cost more than its length.
        for last in range(min(len(groups), at + 5), at, -1):
            (first, _), (_, end) = groups[at], groups[last - 1]
            if 13 <= end - first - (last - at - 1) <= 19 and _luhn(run[first:end].replace(" ", "").replace("-", "")):
                yield start + first, start + end
                at = last - 1
                break
        at += 1


#: Each digit doubled, and the digits of that summed.
_DOUBLED = str.maketrans("0123456789", "0246813579")


def _luhn(digits: str) -> bool:
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


PRESETS: Mapping[str, Preset] = {
    name: Preset(name, re.compile(hint), re2.compile(pattern) if isinstance(pattern, str) else pattern, spans)
    for name, hint, pattern, spans in (
        ("aws_access_key", "A[KS]IA", rf"{_BEFORE}((?:AKIA|ASIA)[A-Za-z0-9]{{16,}})", _aws_key),
        ("aws_secret_key", "(?s).{40}", r"(?:^|\\[nrtbf]|[^A-Za-z0-9/+])([A-Za-z0-9/+]{40,})", _aws_secret),
        ("anthropic_key", "sk-ant-", rf"{_BEFORE}(sk-ant-[A-Za-z0-9_-]{{40,}})", None),
        ("openai_key", "sk-", rf"{_BEFORE}(sk-[A-Za-z0-9_-]{{32,}})", None),
        ("bearer_token", "(?i:bearer)", rf"(?i){_BEFORE}bearer\s+([A-Za-z0-9._~+/=-]{{16,}})", None),
        ("email", "@", r"(?:\\(?:[nrtbf]|u[0-9A-Fa-f]{4}))?([\pL\pN._%+'-]+@(?:[\pL\pN-]+\.)+(?:xn--[A-Za-z0-9-]+|\pL{2,}))", None),
        ("ssn_us", "[0-9]{3}[- ][0-9]{2}[- ]", _SSN, None),
        ("credit_card", "[0-9][0-9 -]{11}[0-9]", r"(?:^|[^0-9A-Za-z]|\\[nrtbf])([0-9](?:[ -]?[0-9]){12,})", _cards),
    )
}


@dataclass(frozen=True, slots=True)
class Sanitizers:
    """What a rule takes out: names of ``PRESETS`` and patterns of its own."""

    presets: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()

    def as_json(self) -> dict:
        return {"presets": list(self.presets), "custom": list(self.custom)}


@dataclass(frozen=True, slots=True)
class Redacted:
    """``text`` is the text that was given when nothing was found. ``counts`` by name, in the order of the rule."""

    text: str
    counts: tuple[tuple[str, int], ...] = ()


# --- Reading --------------------------------------------------------------------------------------------------------
def read(spec: Mapping) -> Sanitizers:
    """The sanitizers of a decoded ``sanitize`` without ``objections``."""
    return Sanitizers(tuple(spec.get("presets") or ()), tuple(spec.get("custom") or ()))


def objections(spec: object) -> list[tuple[str, str]]:
    """What is wrong with a decoded ``sanitize``: (path within it, message). Whether it is needed at all is the rule's business."""
    if not isinstance(spec, Mapping):
        return [("", "An object with presets and custom patterns.")]
    found = [(str(name), "There is no such field.") for name in spec if name not in ("presets", "custom")]
    presets, custom = spec.get("presets") or [], spec.get("custom") or []
    if not isinstance(presets, list):
        found.append(("presets", "A list of presets."))
    elif unknown := [preset for preset in presets if not isinstance(preset, str) or preset not in PRESETS]:
        found.append((f"presets[{presets.index(unknown[0])}]", f"One of {', '.join(PRESETS)}."))
    if not isinstance(custom, list):
        found.append(("custom", "A list of patterns."))
    elif len(custom) > MAX_CUSTOM:
        found.append(("custom", f"A rule has at most {MAX_CUSTOM} patterns of its own; these are {len(custom)}."))
    else:
        found += [(f"custom[{place}]", message) for place, pattern in enumerate(custom) if (message := _objection(pattern))]
    return found


def _objection(pattern: object) -> str | None:
    if message := patterns.objection(pattern):
        return message
    return "The pattern finds something in an empty text, and so everywhere." if patterns.compiled(str(pattern)).search("") else None


# --- Redacting ------------------------------------------------------------------------------------------------------
class Sanitizer:
    """Compiled sanitizers. A custom pattern that cannot be compiled finds nothing."""

    def __init__(self, of: Sanitizers) -> None:
        # In the order of the table: of two finds of one length the more particular comes first.
        self._presets = [preset for name, preset in PRESETS.items() if name in of.presets]
        self._custom = [(pattern, patterns.most_finds(text)) for text in of.custom if (pattern := _compiled(text)) is not None]

    def arguments(self, text: str) -> Redacted | None:
        """The arguments of a call, cleaned; None if they are not JSON that can be rewritten for sure (see ``arguments.decoded``)."""
        if decoded(text) is None:
            return None
        counts: Counter[str] = Counter()
        return Redacted(_STRING.sub(lambda string: self._string(text, string, counts), text), tuple(counts.items()))

    def text(self, text: str) -> Redacted:
        """Any text, cleaned."""
        counts: Counter[str] = Counter()
        return Redacted(self._redact(text, counts), tuple(counts.items()))

    def _string(self, whole: str, string: re.Match[str], counts: Counter[str]) -> str:
        if _COLON.match(whole, string.end()):
            return string[0]
        value = json.loads(string[0])
        cleaned = self._redact(value, counts)
        return string[0] if cleaned is value else json.dumps(cleaned)

    def _redact(self, text: str, counts: Counter[str]) -> str:
        kept = _without_overlaps(self._finds(text))
        if not kept:
            return text
        pieces, at = [], 0
        for start, end, name in kept:
            pieces += [text[at:start], f"[redacted:{name}]"]
            at = end
            counts[name] += 1
        return "".join([*pieces, text[at:]])

    def _finds(self, text: str) -> Iterator[tuple[int, int, str]]:
        searched = patterns.searchable(text)
        for preset in self._presets:
            for start, end in preset.find(text, searched):
                yield start, end, preset.name
        for pattern, most in self._custom:
            for start, end in patterns.finds(pattern, searched, most):
                yield start, end, CUSTOM


def _compiled(pattern: str) -> Any:
    try:
        return patterns.compiled(pattern)
    except re2.error:
        return None


def _without_overlaps(finds: Iterable[tuple[int, int, str]]) -> Sequence[tuple[int, int, str]]:
    """The longest finds first, each where no longer one is; by place."""
    # Finds of one pattern never overlap, so a text has few that do: those are settled group by group.
    ordered = sorted(enumerate(finds), key=lambda each: (each[1][0], each[0]))
    kept: list[tuple[int, int, str]] = []
    group: list[tuple[int, tuple[int, int, str]]] = []
    reach = 0
    for number, find in ordered:
        if group and find[0] >= reach:
            kept += _settled(group)
            group = []
        group.append((number, find))
        reach = max(reach, find[1]) if len(group) > 1 else find[1]
    return kept + _settled(group)


def _settled(group: list[tuple[int, tuple[int, int, str]]]) -> list[tuple[int, int, str]]:
    if len(group) == 1:
        return [group[0][1]]
    chosen: list[tuple[int, int, str]] = []
    starts: list[int] = []
    for _, find in sorted(group, key=lambda each: (each[1][0] - each[1][1], each[0])):
        at = bisect(starts, find[0])
        if (at == 0 or chosen[at - 1][1] <= find[0]) and (at == len(chosen) or find[1] <= chosen[at][0]):
            starts.insert(at, find[0])
            chosen.insert(at, find)
    return chosen
