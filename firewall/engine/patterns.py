"""Patterns that people write into rules: RE2, searched in linear time, refused when they would be slow or large all the same.

RE2 answers in time linear in the text as long as its automaton fits into memory, and falls back to a simulation whose cost is the
text times the program where it does not. So the program's size is bounded too, and capturing groups, which force the slow way, are off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

MAX_PATTERN_CHARS = 512
#: Bytes that one compiled pattern may take.
MAX_MEMORY_BYTES = 1 << 20
#: Instructions of a compiled pattern: about 50 ms for 64 KiB of text at worst.
MAX_PROGRAM = 160
#: The same for patterns without counted repetition, whose size is what their author typed: long lists of words.
MAX_PLAIN_PROGRAM = 600
#: Classes of Unicode are hundreds of instructions each, all of which may be in progress at once: for any pattern, and for one of few parts.
MAX_ENCODED, MAX_ENCODED_OF_FEW, FEW = 2_000, 4_000, 16

#: Finds in one text: of any pattern, and of one whose search may read far ahead each time.
MAX_FINDS, MAX_FAR_FINDS = 8_000, 256

#: Escapes, classes, and what opens a group: no operator in them.
_NO_OPERATORS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P?<\w+>|[a-zA-Z-]*[:)])", re.DOTALL)
_LAZY = re.compile(r"([*+?}])\?")
_UNBOUNDED = re.compile(r"[*+]|\{[0-9]+,\}")
_ENDS_EARLY = re.compile(r"\||\)[?*+{]")
_COUNTED = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
#: A class of Unicode, or (group 1) any other escape.
_CLASS = re.compile(r"(\\[^pP])|\\[pP](?:\{\^?\w+\}|\w)", re.DOTALL)
#: Half of a character, behind an even number of backslashes.
_ONE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def objection(pattern: object) -> str | None:
    """Why a pattern cannot be saved; None if it can."""
    if not isinstance(pattern, str) or not pattern:
        return "A pattern is a text, and not an empty one."
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"A pattern has at most {MAX_PATTERN_CHARS} characters; this one has {len(pattern)}."
    if "\x00" in pattern or _LONE_SURROGATE.search(pattern):
        return "Without NUL and lone surrogates."
    if _ONE_BYTE.search(pattern):
        return "Without \\C, which is a byte and may be half a character."
    try:
        encoded = compiled(pattern).programsize
        # Characters, not bytes, are what can be in progress at once; so sized as if each, and each class of them, were one byte.
        of_bytes = _BEYOND_ASCII.sub("\xff", _CLASS.sub(lambda each: each[1] or "\xff", pattern))
        size = re2.compile(of_bytes.encode("latin-1"), _options(re2.Options.Encoding.LATIN1)).programsize
    except re2.error as error:
        said = error.args[0] if error.args else error
        why, _, part = str(said.decode(errors="replace") if isinstance(said, bytes) else said).partition(": ")
        # The part of the pattern that it is about, told apart from the words.
        return f"RE2 refuses this pattern: {why}{f', “{part}”' if part else ''}."
    at_most = MAX_PROGRAM if _COUNTED.search(pattern) else MAX_PLAIN_PROGRAM
    if size > at_most:
        return f"The pattern is too large once its repetitions are written out: {size} steps, at most {at_most}."
    at_most = MAX_ENCODED_OF_FEW if size <= FEW else MAX_ENCODED
    if encoded > at_most:
        return f"The pattern is too large once its classes of characters are written out: {encoded} steps, at most {at_most}."
    return None


def most_finds(pattern: str) -> int:
    """How many finds of the pattern in one text are looked for: so many that all of them together take no longer than the bound for one.

    After each find the search begins anew. Where a pattern may end early or, much later, on a part that it would rather have
    (``a(?:.*b)?``), each may read the text to its end; else what was read in vain is not read again.
    """
    bare = _LAZY.sub(r"\1", _NO_OPERATORS.sub("", pattern))
    return MAX_FAR_FINDS if _UNBOUNDED.search(bare) and _ENDS_EARLY.search(bare) else MAX_FINDS


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The pattern, ready to be searched in what ``searchable`` gives. Raises ``re2.error``."""
    return re2.compile(pattern, _options(re2.Options.Encoding.UTF8))


def finds(pattern: Any, text: str, at_most: int) -> Iterator[tuple[int, int]]:
    """Where a compiled pattern finds something in what ``searchable`` gives, from left to right; the last of ``at_most`` goes on to the text's end."""
    # In bytes the binding is three times as fast; what was gone through is counted back into characters once.
    told = text.encode()
    is_ascii = len(told) == len(text)
    at = place = 0
    for number, match in enumerate(pattern.finditer(told)):
        start, end = match.span()
        if start == end and number < at_most:
            continue
        first = start if is_ascii else place + len(told[at:start].decode(errors="ignore"))
        if number == at_most:
            # Rather too much than a secret more, and no text takes longer than another of its length.
            yield first, len(text)
            return
        at, place = end, end if is_ascii else first + len(told[start:end].decode(errors="ignore"))
        yield first, place


def _options(encoding: Any) -> Any:
    options = re2.Options()
    options.encoding = encoding
    options.max_mem = MAX_MEMORY_BYTES
    options.never_capture = True
    options.log_errors = False
    return options


def searchable(text: str) -> str:
    """The text as RE2 can read it: a lone surrogate, which UTF-8 cannot say, becomes U+FFFD; positions stay."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
