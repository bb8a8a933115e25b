"""Shell text to commands, in one pass. Source: POSIX.1-2017 chapter 2 and the bash manual, "Shell Grammar" and "Shell Expansions".

Forgiving where a shell is strict, since what is judged may be half a command or no
shell at all: a stray ``)`` ends a command, and what follows a quote that never
closes is read a second time without it. Variables get the values assigned
earlier in the text; those it does not assign stay as ``$name``. Bodies of
``if``, ``for`` and functions are commands like any others, taken or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from firewall.engine.shell.evaluate import piped
from firewall.engine.shell.scope import ASSIGNMENT, MAX_DEPTH, MAX_VALUE_CHARS, Loop, Scope
from firewall.engine.shell.types import FED, UNKNOWN, Command, Pipeline, Redirect, Script, TooDeepError
from firewall.engine.shell.words import Words

_BLANK = re.compile(r"(?:[^\S\n]|\\\r?\n)+")
_REDIRECT = re.compile(r"(?:\d+|\{\w+\})?(<<<|<<-?|<>|<&|>&|&>>|&>|>>|>\||<|>)")

_FUNCTION = re.compile(r"\(\s*\)")

_FOREVER = re.compile(r"\(\(\s*;\s*(?:1|true)?\s*;")
KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "coproc", "begin", "end", "and", "or", "not"})


def parse(text: str, *, variables: Mapping[str, str] = {}, depth: int = 0) -> tuple[Script, Scope]:
    """Raises ``TooDeepError``. ``variables`` are set before the text begins, ``depth`` says how deep it was found in another."""
    scope = Scope(variables=dict(variables))
    return _Reader(text, scope, depth).script(), scope


class _Reader(Words):
    """Reads one text; a substitution in backticks, whose text must be unescaped first, gets a reader of its own."""

    def __init__(self, text: str, scope: Scope, depth: int) -> None:
        super().__init__(text, scope, depth)
        self.heredocs: list[tuple[Command, str, bool, bool]] = []
        self.loops: list[Loop] = []
        self.finished: list[str] = []
        self.defining, self.forever = "", False

    def script(self, closer: str = "") -> Script:
        """The commands up to ``closer``, which is skipped, or to the end of the text."""
        outer, self.command = self.command, Command()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooDeepError
        script: Script = [[]]
        cases = 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if blank := _BLANK.match(self.text, self.at):
                self.at = blank.end()
            elif char in "#\n":
                self._line(script)
            elif char == ")" or (char == "}" and closer == "}" and not self.command.words):
                self.at += 1
                if char == closer:
                    break
                if cases:
                    self.command = Command(inner=self.command.inner)
                self._end(script, pipeline=True)
            elif char == "(":
                self._parenthesis()
            elif char == "{" and not self.command.words and self.text[self.at + 1 : self.at + 2].isspace():
                self._group("}")
            elif (found := _REDIRECT.match(self.text, self.at)) and self.text[found.end() : found.end() + 1] != "(":
                self.at = found.end()
                self._redirect(found[1])
            elif char in ";&|":
                self._operator(script)
            else:
                start = self.at
                cases += self._word_of_command()
                # Whatever is no word and nothing else either is passed over: no text may hold the reader up.
                self.at += self.at == start
        self._end(script, pipeline=True)
        self.depth -= 1
        self.command = outer
        return [pipeline for pipeline in script if pipeline]

    # -- between words

    def _line_end(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def _line(self, script: Script) -> None:
        """Skip a comment, or end a line: its heredocs follow."""
        if self.text[self.at] == "#":
            self.at = self._line_end()
            return
        self._end(script, pipeline=True)
        self.at += 1
        self._read_heredocs()

    def _operator(self, script: Script) -> None:
        two = self.text[self.at : self.at + 2]
        piped = two == "|&" or (two[0] == "|" and two != "||")
        self.command.background = two[0] == "&" and two != "&&"
        self.at += 2 if two in ("&&", "||", ";;", "|&", ";&") else 1
        self._end(script, pipeline=not piped)

    def _parenthesis(self) -> None:
        words = self.command.words
        if len(words) == 1 and (empty := _FUNCTION.match(self.text, self.at)):
            self.defining = words[0]
            self.scope.functions.add(words[0])
            self.command, self.at = Command(inner=self.command.inner), empty.end()
        elif words or not self.arithmetic():
            self._group(")")
            if words:
                # A substitution of fish, an expression of PowerShell.
                words.append(UNKNOWN)

    def _group(self, closer: str) -> None:
        self.at += 1
        defined, self.defining = self.defining, ""
        self.forever = self.forever or (self.command.words == ["for"] and bool(_FOREVER.match(self.text, self.at - 1)))
        script = self.script(closer)
        if defined:
            self.scope.body(defined, script)
        self.command.inner.append(script)

    def _end(self, script: Script, *, pipeline: bool) -> None:
        """Close the current command; ``pipeline``: and the pipeline it ends."""
        command, self.command = self.command, Command()
        self.finished = command.words
        for loop in self.loops[-1:]:
            loop.holds(command)
        self._define(command, script[-1])
        if command.words or command.redirects or command.inner:
            script[-1].append(command)
        if pipeline and script[-1]:
            script.append([])

    def _define(self, command: Command, before: Pipeline) -> None:
        """Remember what a finished command defines; an alias it uses is read as well."""
        if not (words := command.words):
            return
        fed = piped(before) if words[0] == "read" and command.stdin is None else command.stdin
        if words[0] == "read" and fed is None and self.loops:
            # A loop over lines that are not known: each is one of many that it is fed.
            self.scope.variables |= dict.fromkeys((word for word in words[1:] if word.isidentifier()), FED)
        if (body := self.scope.define(words, fed)) is not None:
            command.inner.append(_Reader(body, self.scope, self.depth).script())
            command.words = body.split() + words[1:]

    def _keyword(self, word: str) -> None:
        """Loops are followed, since what never ends must not start more."""
        if word in ("while", "until"):
            self.loops.append(Loop(word))
        elif word == "do":
            if not self.loops or self.finished[:1] in (["for"], ["select"]):
                self.loops.append(Loop("for", self.forever))
                self.forever = False
            else:
                self.loops[-1].begins(self.finished)
        elif word == "done" and self.loops:
            loop = self.loops.pop()
            if loop.is_endless and loop.started and not loop.paced:
                self.scope.bomb = loop.started

    def _word_of_command(self) -> int:
        """Read one word into the command; 1 if it opens a ``case``, -1 if it closes one."""
        command, start = self.command, self.at
        words = self.word()
        literal = self.text[start : self.at]
        if not command.words and words and literal == words[0]:
            if literal in KEYWORDS:
                self._keyword(literal)
                return 0
            if literal == "esac":
                return -1
            if literal == "function":
                self._skip_blank()
                self.defining = "".join(self.word()[:1])
                self.scope.functions.add(self.defining)
                return 0
            if self._assigned(literal):
                return 0
        elif not command.words and words and ASSIGNMENT.match(literal) and self._assigned(" ".join(words)):
            # What is assigned is one word, whatever it holds.
            return 0
        self.scope.count(len(words))
        command.words += words
        if words == ["in"] and len(command.words) == 3 and command.words[0] == "case":
            self.command = Command(inner=command.inner)
            return 1
        return 0

    def _assigned(self, word: str) -> bool:
        if not (assigned := ASSIGNMENT.fullmatch(word)):
            return False
        name, value = assigned[1], assigned[2]
        if not value and self.text.startswith("(", self.at):
            self.at += 1
            value = " ".join(word for pipeline in self.script(")") for command in pipeline for word in command.words)
        if word[len(name)] == "+":
            value = self.scope.variables.get(name, "") + value
        self.scope.variables[name] = value[:MAX_VALUE_CHARS]
        return True

    def _skip_blank(self) -> None:
        if blank := _BLANK.match(self.text, self.at):
            self.at = blank.end()

    # -- redirections

    def _redirect(self, operator: str) -> None:
        self._skip_blank()
        start = self.at
        target = " ".join(self.word())
        if operator == "<<<":
            self.command.stdin = target
        elif operator in ("<<", "<<-"):
            quoted = self.text[start : self.at] != target
            self.heredocs.append((self.command, target, quoted, operator == "<<-"))
        else:
            self.command.redirects.append(Redirect(operator, target))

    def _read_heredocs(self) -> None:
        for command, delimiter, quoted, tabs in self.heredocs:
            lines = []
            while self.at < len(self.text):
                end = self._line_end()
                line = self.text[self.at : end]
                self.at = end + 1
                line = line.lstrip("\t") if tabs else line
                if line.rstrip("\r") == delimiter:
                    break
                lines.append(line)
            self.at = min(self.at, len(self.text))
            body = "\n".join(lines)
            if not quoted and ("$" in body or "`" in body):
                inner = _Reader(body, self.scope, self.depth + 1)
                body = inner.double(closed=False)
                command.inner += inner.command.inner
            command.stdin = body
        self.heredocs.clear()
