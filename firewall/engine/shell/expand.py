"""Expansions that need no more than the text: parameters, braces, ``$'...'``. Source: the bash manual, "Shell Expansions"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from firewall.engine.shell.types import TooDeepError

BRACE_MARKS = {"{": "\ue000", ",": "\ue001", "}": "\ue002"}
"""Unquoted braces and commas, kept apart from quoted ones until the word is whole."""

MAX_BRACES = 64
MAX_BRACED_CHARS = 32_768

_UNMARK = str.maketrans({mark: char for char, mark in BRACE_MARKS.items()})
_INNERMOST = re.compile("\ue000([^\ue000\ue002]*)\ue002")
_RANGE = re.compile(r"(-?\d{1,4}|[A-Za-z])\.\.(-?\d{1,4}|[A-Za-z])")
_PARAMETER = re.compile(r"(!?)([A-Za-z_]\w*|[0-9@*#?$!-])(\[[^\]]*\])?(.*)", re.DOTALL)
_ANSI_C = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))|([^\\']+)|'", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
#: What these hold on any machine; the rest is unknown unless the text assigns it.
_COMMON = {"HOME": "~", "IFS": " ", "SHELL": "sh", "BASH": "bash", "PWD": ".", "TMPDIR": "/tmp", "OLDPWD": ".."}  # noqa: S108 - a name to compare with


def expand_braces(word: str, *, expand: bool) -> list[str]:
    """``a{b,c}`` as ``ab``, ``ac``. What is no alternative keeps its braces. Raises ``TooDeepError`` for more than is worth following."""
    if not expand:
        return [word.translate(_UNMARK)]
    words = [word]
    for _ in range(MAX_BRACES):
        longer = [each for word in words for each in _innermost_expanded(word)]
        if longer == words:
            break
        if len(longer) > len(words) and sum(map(len, longer)) > MAX_BRACED_CHARS:
            raise TooDeepError
        words = longer
    return [word.translate(_UNMARK) for word in words]


def _innermost_expanded(word: str) -> list[str]:
    if not (found := _INNERMOST.search(word)):
        return [word]
    before, inside, after = word[: found.start()], found[1], word[found.end() :]
    if "\ue001" in inside:
        return [before + choice + after for choice in inside.split("\ue001")]
    if (bounds := _RANGE.fullmatch(inside)) and bounds[1].isalpha() == bounds[2].isalpha():
        # The ends are enough to know where a range lies.
        return [before + end + after for end in (bounds[1], bounds[2])]
    return [f"{before}{{{inside}}}{after}"]


def parameter(body: str, variables: Mapping[str, str]) -> str:
    """The value of ``$body`` or ``${body}``; ``$name`` if the text does not say."""
    found = _PARAMETER.fullmatch(body)
    if not found:
        return f"${body}"
    indirect, name, _, rest = found.groups()
    value = variables.get(name, _COMMON.get(name))
    if indirect and value is not None:
        value = variables.get(value, value)
    if rest[:2] in (":-", ":=", "-", "=") or rest[:1] in ("-", "="):
        return value or rest.lstrip(":")[1:]
    if rest[:2] == ":+" or rest[:1] == "+":
        return rest.lstrip(":")[1:]
    if value is None:
        return f"${name}"
    return _altered(value, rest)


def _altered(value: str, rest: str) -> str:
    """``${name:1:2}``, ``${name/a/b}``, ``${name,,}``; cuts by pattern leave the value whole, which is the wider reading."""
    if part := re.fullmatch(r":\s*(-?\d{1,5})(?::\s*(-?\d{1,5}))?", rest):
        start, length = int(part[1]), part[2]
        end = None if length is None else start + int(length) if int(length) >= 0 else int(length)
        return value[start:end]
    if rest.startswith("/"):
        everywhere = rest.startswith("//")
        old, _, new = rest.lstrip("/").partition("/")
        return value.replace(old, new, -1 if everywhere else 1) if old else value
    match rest:
        case ",," | ",":
            return value.lower()
        case "^^" | "^":
            return value.upper()
    return value


def ansi_c(text: str, at: int) -> tuple[str, int]:
    """The value of ``$'...'`` whose inside begins at ``at``, and where it ends."""
    parts = []
    while found := _ANSI_C.match(text, at):
        at = found.end()
        if found[0] == "'":
            break
        two, four, eight, octal, control, other, plain = found.groups()
        if plain is not None:
            parts.append(plain)
        elif code := two or four or eight:
            number = int(code, 16)
            parts.append(chr(number) if number < 0x110000 else "")
        elif octal:
            parts.append(chr(int(octal, 8) & 0xFF))
        else:
            parts.append(chr(ord(control) & 0x1F) if control else _ESCAPES.get(other, other))
    else:
        at = len(text)
    return "".join(parts), at
