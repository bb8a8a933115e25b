"""What a pipeline prints, where that can be told without running it: echo, printf, and the filters text is hidden behind."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from firewall.engine.shell.searches import listed

if TYPE_CHECKING:
    from firewall.engine.shell.types import Command, Pipeline, Script

MAX_OUTPUT_CHARS = 65_536

_PERCENT = re.compile(r"%(?:[-+ 0#]*\d*(?:\.\d+)?)([sbdiqcxX%])")
_TR_RANGE = re.compile(r"(.)-(.)", re.DOTALL)


def output_of(script: Script) -> str | None:
    """The text printed by ``script``, None where it depends on more than the text."""
    outputs = [piped(pipeline) for pipeline in script]
    if None in outputs:
        return None
    return "".join(filter(None, outputs))[:MAX_OUTPUT_CHARS]


def says(script: Script) -> list[str]:
    """What its commands print one by one, as far as each can be told: some of it is enough to be warned by."""
    return [text for pipeline in script if (text := piped(pipeline))]


def piped(pipeline: Pipeline) -> str | None:
    text: str | None = None
    for command in pipeline:
        text = printed(command, text)
        if text is None:
            return None
    return text


def printed(command: Command, fed: str | None) -> str | None:
    """What ``command`` prints when fed ``fed``; None if unknown."""
    words = command.words
    if not words:
        return output_of(command.inner[-1]) if len(command.inner) == 1 else None
    fed = command.stdin if command.stdin is not None else fed
    name = words[0].rsplit("/", 1)[-1]
    if printer := _PRINTERS.get(name):
        return printer(words[1:])
    if (found := listed(words)) is not None:
        return found
    if fed is not None and (filtered := _FILTERS.get(name)):
        return filtered(words[1:], fed)
    return None


def _echo(words: list[str]) -> str:
    escapes = False
    while words and re.fullmatch(r"-[neE]+", words[0]):
        escapes = escapes or "e" in words[0]
        words = words[1:]
    text = " ".join(words)
    # dash's echo reads escapes without -e; text that has any is read so.
    return unescaped(text) if escapes or "\\x" in text or "\\0" in text else text


def _printf(words: list[str]) -> str | None:
    if words[:1] == ["-v"]:
        return None
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        return ""
    arguments = iter(words[1:])
    form = unescaped(words[0])
    rounds = max(1, len(words) - 1) if "%" in form else 1
    parts: list[str] = []
    for turn in range(rounds):
        before = len(words)
        used: list[str] = []

        def put(found: re.Match[str], used: list[str] = used) -> str:
            if found[1] == "%":
                return "%"
            value = next(arguments, None)
            if value is None:
                return ""
            used.append(value)
            return unescaped(value) if found[1] == "b" else value

        text = _PERCENT.sub(put, form)
        if turn and not used:
            break
        parts.append(text)
        if len(parts) > before:
            break
    return "".join(parts)


def unescaped(text: str) -> str:
    """Backslash escapes as echo -e and printf read them."""
    from firewall.engine.shell.expand import ansi_c

    return ansi_c(re.sub(r"\\0([0-7]{1,3})", r"\\\1", text).replace("'", "\\'") + "'", 0)[0]


def _base64(words: list[str], fed: str) -> str | None:
    if not any(word in ("-d", "-D", "--decode", "-di", "-id") or re.fullmatch(r"-[a-z]*d[a-z]*", word) for word in words):
        return None
    return unbase64(fed)


def unbase64(text: str, *, encoding: str = "utf-8") -> str | None:
    """None if ``text`` is not base64 of text."""
    compact = "".join(text.split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True).decode(encoding)
    except (binascii.Error, ValueError):
        return None


def _base32(words: list[str], fed: str) -> str | None:
    if "-d" not in words and "--decode" not in words:
        return None
    try:
        return base64.b32decode("".join(fed.split())).decode()
    except (binascii.Error, ValueError):
        return None


def _hex(words: list[str], fed: str) -> str | None:
    if not any(word.startswith("-") and "r" in word for word in words):
        return None
    try:
        return bytes.fromhex("".join(re.sub(r"\\x|0x", "", fed).split())).decode()
    except ValueError:
        return None


def _openssl(words: list[str], fed: str) -> str | None:
    return unbase64(fed) if words[:1] in (["base64"], ["enc"]) and "-d" in words else None


def _rev(words: list[str], fed: str) -> str:
    return "\n".join(line[::-1] for line in fed.split("\n"))


def _tr(words: list[str], fed: str) -> str | None:
    if words[:1] == ["-d"] and len(words) == 2:
        return fed.translate({ord(char): None for char in _tr_set(words[1])})
    if len(words) != 2 or words[0].startswith("-"):
        return fed if words[:1] == ["-s"] else None
    old, new = _tr_set(words[0]), _tr_set(words[1])
    if not new:
        return None
    new += new[-1] * (len(old) - len(new))
    return fed.translate({ord(a): b for a, b in zip(old, new, strict=False)})


def _tr_set(text: str) -> str:
    classes = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:space:]": " \t\n"}
    for name, members in classes.items():
        text = text.replace(name, members)
    return _TR_RANGE.sub(lambda found: "".join(map(chr, range(ord(found[1]), min(ord(found[2]), ord(found[1]) + 255) + 1))), unescaped(text))


def _sed(words: list[str], fed: str) -> str | None:
    """``s/a/b/g`` with plain text; anything more is unknown."""
    if len(words) != 1 or not (found := re.fullmatch(r"s(.)(.*)\1(.*)\1(g?)e?", words[0], re.DOTALL)):
        return None
    old, new = found[2], found[3]
    if not old or re.search(r"[\\\[\]*.^$&]", old + new):
        return None
    return fed.replace(old, new, -1 if found[4] else 1)


def _cut(words: list[str], fed: str) -> str | None:
    """``cut -d: -f2``: one field, or all from one on."""
    found = re.fullmatch(r"(?:-d ?(.)|-d=(.))? ?-f ?(\d{1,3})(-?)", " ".join(words), re.DOTALL)
    if not found:
        return None
    separator, field = found[1] or found[2] or "\t", int(found[3])
    lines = [line.split(separator) for line in fed.split("\n")]
    return "\n".join(separator.join(parts[field - 1 :] if found[4] else parts[field - 1 : field]) for parts in lines)


def _cat(words: list[str], fed: str) -> str | None:
    return fed if all(word in ("-", "-u", "/dev/stdin") for word in words) else None


def _which(words: list[str]) -> str | None:
    return words[-1] if words and not words[-1].startswith("-") else None


def _command(words: list[str]) -> str | None:
    return _which(words) if words[:1] in (["-v"], ["-V"]) else None


def _mktemp(words: list[str]) -> str:
    """A new name among the temporary files, unless a template says where."""
    template = next((word for word in words if "XXX" in word and "/" in word), "")
    return template or "/tmp/tmp.XXXXXXXXXX"  # noqa: S108 - a name to compare with


_PRINTERS: dict[str, Callable[[list[str]], str | None]] = {
    "echo": _echo,
    "printf": _printf,
    "print": _echo,
    "which": _which,
    "command": _command,
    "mktemp": _mktemp,
    "pwd": lambda words: ".",
}
_FILTERS: dict[str, Callable[[list[str], str], str | None]] = {
    "base64": _base64,
    "base32": _base32,
    "xxd": _hex,
    "openssl": _openssl,
    "rev": _rev,
    "tr": _tr,
    "sed": _sed,
    "cat": _cat,
    "cut": _cut,
    "tac": lambda words, fed: "\n".join(reversed(fed.split("\n"))),
    "tee": lambda words, fed: fed,
    "rot13": lambda words, fed: codecs.encode(fed, "rot13"),
}
