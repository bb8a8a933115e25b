"""One program about to run, as the rules see it, and the tables rules are written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from firewall.engine.shell.types import Category, Command, Finding, Script


@dataclass
class Call:
    """``name`` is the program without folder, case or ``.exe``; ``args`` follow it.

    ``before`` are the commands that feed it in its pipeline and ``fed`` their text, None if unknown; ``inner`` are those whose output
    stands among its words. ``variables`` are those the text has set. ``again`` judges another shell text and ``words_again`` other words, as run by this call.
    """

    name: str
    args: list[str]
    before: list[Command] = field(default_factory=list)
    fed: str | None = None
    inner: list[Script] = field(default_factory=list)
    variables: Mapping[str, str] = field(default_factory=dict)
    again: Callable[[str], Finding | None] = lambda text: None
    words_again: Callable[[list[str]], Finding | None] = lambda words: None

    @cached_property
    def flags(self) -> frozenset[str]:
        """Options before ``--``: whole, without their ``=value``, and the letters of a cluster one by one."""
        found = set()
        for word in self.args:
            if word == "--":
                break
            if word.startswith("-") and len(word) > 1:
                found.add(word.partition("=")[0])
                if word[1] != "-":
                    found.update("-" + letter for letter in word[1:].partition("=")[0])
        return frozenset(found)

    @cached_property
    def operands(self) -> list[str]:
        """Words that are no options; values of options that take one are among them."""
        found, only_operands = [], False
        for word in self.args:
            if word == "--" and not only_operands:
                only_operands = True
            elif only_operands or not word.startswith("-") or word == "-":
                found.append(word)
        return found

    @cached_property
    def places(self) -> list[int]:
        """For each operand, how many options stand before it: as many operands before it may be their values."""
        found, options, only_operands = [], 0, False
        for word in self.args:
            if word == "--" and not only_operands:
                only_operands = True
            elif only_operands or not word.startswith("-") or word == "-":
                found.append(options)
            else:
                options += "=" not in word
        return found

    def value(self, *names: str) -> str | None:
        """The value of the first of these options that is there: the next word, or what follows ``=`` or a letter."""
        for place, word in enumerate(self.args):
            if word[:1] != "-" and word[:1] != "/":
                continue
            for name in names:
                if word == name:
                    return self.args[place + 1] if place + 1 < len(self.args) else ""
                if word.startswith(name + "="):
                    return word[len(name) + 1 :]
                if len(name) == 2 and name[0] == "-" and word.startswith(name) and len(word) > 2:
                    return word[2:]
        return None

    def starts(self, path: tuple[str, ...]) -> bool:
        """Whether the operands begin with ``path``, allowing for values of the options before them."""
        operands = self.operands
        if not path:
            return True
        for skipped in range(min(4, len(operands))):
            if (not skipped or self.places[skipped] >= skipped) and tuple(operands[skipped : skipped + len(path)]) == path:
                return True
        return False


Rule = Callable[[Call], Finding | None]


@dataclass(frozen=True, slots=True)
class Row:
    """Destructive if the operands start with ``path``, any of ``needs`` is there (or none is needed) and none of ``unless``."""

    path: tuple[str, ...]
    needs: frozenset[str]
    unless: frozenset[str]
    category: Category
    reason: str

    def spares(self, call: Call) -> bool:
        """Whether the row is about ``call`` and finds nothing for an option that says so."""
        return bool(self.unless & call.flags) and call.starts(self.path)

    def finding(self, call: Call) -> Finding | None:
        if not call.starts(self.path) or "--help" in call.flags or "/?" in call.args:
            return None
        present = call.flags | frozenset(call.args) if self.needs else call.flags
        if (self.needs and not self.needs & present) or self.unless & call.flags:
            return None
        needed = next((word for word in call.args if word[:1] != "$" and (word in self.needs or word.partition("=")[0] in self.needs)), None)
        return Finding(self.category, needed or (self.path[-1] if self.path else call.name), self.reason)


def table(category: Category, text: str) -> dict[str, tuple[Row, ...]]:
    """Rows by program from lines of ``program path.. + any of these ! none of these | reason``; ``a,b`` stands for either program."""
    rows: dict[str, list[Row]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        words, _, reason = line.partition("|")
        words, _, unless = words.partition(" ! ")
        words, _, needs = words.partition(" + ")
        programs, *path = words.split()
        row = Row(tuple(path), frozenset(needs.split()), frozenset(unless.split()), category, reason.strip())
        for program in programs.split(","):
            rows.setdefault(program, []).append(row)
    return {program: tuple(found) for program, found in rows.items()}
