"""Tool-name globs. Source: spec/firewall.md 2.3 and spec/decisions.md 6.1.

================  ====================================================
``""`` or ``*``   every tool
``foo.*``         ``foo.`` and at least one character more
``*.exec``        whatever ends in ``.exec``, and bare ``exec``
``*.shell.*``     ``.shell.`` with at least one character on each side
anything else     exactly that name; a ``*`` in it is no wildcard
================  ====================================================

Matching is case-sensitive and linear in the length of the name.

Providers refuse dots in function names, so agents send ``kb.read`` as
``kb__read``. Undoing that is ambiguous (``a__b__c`` may stand for ``a.b.c``,
``a__b.c``, ``a.b__c`` or itself; ``a___b`` for ``a._b`` or ``a_.b``), and the
two directions of a mistake are not alike, so a name has two readings:

* **wide**, for verdicts that stop or restrain a call: any ``__`` may be a dot or
  not, each by itself. If one reading is the forbidden tool, the call is stopped.
* **narrow**, for verdicts that let a call through: the name as sent, or with every
  plain ``__`` a dot. A plain one is exactly two underscores with other characters on
  both sides; longer runs and those at an end stay as they are. A tool cannot be
  let through by a reading that its author had to construct.

A ``__`` in a *glob* is two underscores and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import re2

if TYPE_CHECKING:
    from firewall.engine.types import Verdict

MAX_GLOB_CHARS = 128

TOOL_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
"""What a tool may be called (use ``fullmatch``)."""

_PLAIN_DOUBLE = re.compile(r"(?<=[^_])__(?=[^_])")

# Bytes in, bytes out: a name with a lone surrogate is still a name to answer for.
_BYTES = re2.Options()
_BYTES.encoding = re2.Options.Encoding.LATIN1


class Form(Enum):
    """The five forms of the grammar."""

    EVERY = auto()
    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    INFIX = auto()


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed glob. ``literal`` is its text without the wildcards and with their dots: ``foo.``, ``.exec``, ``.shell.``"""

    form: Form
    literal: str

    def matches(self, name: str, *, wide: bool) -> bool:
        """Whether ``name``, as sent, is meant; ``wide`` picks the reading of its ``__``."""
        if self.matches_spelling(name):
            return True
        if "__" not in name or "." not in self.literal:
            return False
        if wide:
            return _wide_pattern(self).fullmatch(name.encode("utf-8", "surrogatepass")) is not None
        return self.matches_spelling(_PLAIN_DOUBLE.sub(".", name))

    def matches_spelling(self, name: str) -> bool:
        """Whether exactly this spelling is meant: for names in which ``__`` is never a dot."""
        match self.form:
            case Form.EVERY:
                return True
            case Form.EXACT:
                return name == self.literal
            case Form.PREFIX:
                return name.startswith(self.literal) and len(name) > len(self.literal)
            case Form.SUFFIX:
                return name.endswith(self.literal) or name == self.literal[1:]
            case Form.INFIX:
                return name.find(self.literal, 1, len(name) - 1) >= 0


@dataclass(frozen=True, slots=True)
class Hint:
    """A remark for whoever types a glob. ``level``: ``error`` cannot be saved, ``warning`` likely not what is meant, ``info`` worth knowing."""

    level: str
    code: str
    text: str


def parse(text: str) -> Glob:
    """Read a glob. Total: what is no wildcard form is an exact name."""
    if text in ("", "*"):
        return Glob(Form.EVERY, "")
    head, tail = text.startswith("*."), text.endswith(".*")
    inner = text[2 * head : len(text) - 2 * tail]
    if not (head or tail) or not inner or "*" in inner:
        return Glob(Form.EXACT, text)
    form = Form.INFIX if head and tail else Form.SUFFIX if head else Form.PREFIX
    return Glob(form, text[head : len(text) - tail])


def underscored(text: str) -> str:
    """The spelling that all readings of a name share. Names that match one another have it in common; the converse does not hold."""
    return text.replace(".", "__")


def escaped(name: str) -> str:
    """At most 128 printable ASCII characters to show and store for any name; a good tool name is itself."""
    shown = name[:129].encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= 128 else shown[:125] + "..."


def hints(glob: str, verdict: Verdict) -> list[Hint]:
    """What the editor says about a glob as it is typed, most serious first."""
    if len(glob) > MAX_GLOB_CHARS:
        return [Hint("error", "too_long", f"A glob has at most {MAX_GLOB_CHARS} characters; this one has {len(glob)}.")]
    parsed = parse(glob)
    if dead := _matches_nothing(parsed.literal):
        return [dead]
    found = _too_wide(parsed, verdict)
    if not verdict.permits and parsed.literal.lower() != parsed.literal.upper():
        found.append(Hint("info", "case_sensitive", "Globs are case-sensitive: the same name in other capitals is not matched by this rule."))
    if "__" in parsed.literal:
        text = f'"__" in a glob matches two underscores only. "{glob.replace("__", ".")}" matches the name sent with dots and with "__".'
        found.append(Hint("info", "double_underscore", text))
    return found


def _matches_nothing(literal: str) -> Hint | None:
    if "*" in literal:
        meant = likely_meant(literal)
        text = f'"{literal}" is taken as an exact name, and no tool name has a "*". A wildcard stands first or last, next to a dot.'
        return Hint("warning", "literal_looks_like_glob", f'{text} Did you mean "{meant}"?' if meant else text)
    if literal and not TOOL_NAME.fullmatch(literal):
        return Hint("warning", "invalid_characters", "Matches nothing: tool names have only letters, digits and _ . : / - in them.")
    return None


def likely_meant(literal: str) -> str | None:
    """The wildcard form nearest to a literal that has a ``*``, if there is an obvious one."""
    core = literal.strip("*._")
    if not core:
        return "*"
    if "*" in core:
        return None
    return ("*." if literal[0] == "*" else "") + core.replace("__", ".") + (".*" if literal[-1] == "*" else "")


def _too_wide(parsed: Glob, verdict: Verdict) -> list[Hint]:
    if not verdict.permits:
        return []
    if parsed.form is Form.SUFFIX:
        text = (
            f'Lets through "{parsed.literal[1:]}" and every name that ends in "{parsed.literal}", whichever server offers it. Prefer exact names or a prefix.'
        )
        return [Hint("warning", "loose_suffix", text)]
    if parsed.form is Form.INFIX:
        return [Hint("warning", "loose_infix", f'Lets through every name with "{parsed.literal}" inside. Prefer exact names or a prefix.')]
    return []


# Globs are few and long-lived, names are many: a pattern is made when the first name with "__" needs it.
@lru_cache(maxsize=4096)
def _wide_pattern(glob: Glob) -> Any:
    """RE2 over UTF-8 bytes in which each dot of the glob is ``.`` or ``__``."""
    literal = glob.literal[1:] if glob.form is Form.SUFFIX else glob.literal
    core = rb"(?:\.|__)".join(re2.escape(part.encode("utf-8", "surrogatepass")) for part in literal.split("."))
    before = {Form.SUFFIX: rb"(?:.*(?:\.|__))?", Form.INFIX: rb".+"}.get(glob.form, b"")
    after = rb".+" if glob.form in (Form.PREFIX, Form.INFIX) else b""
    return re2.compile(rb"(?s)" + before + core + after, options=_BYTES)
