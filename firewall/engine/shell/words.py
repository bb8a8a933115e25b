"""The words of a shell text: quotes, expansions and substitutions, read where they stand."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from firewall.engine.shell.evaluate import output_of
from firewall.engine.shell.expand import BRACE_MARKS, ansi_c, expand_braces, parameter
from firewall.engine.shell.scope import MAX_DEPTH, MAX_EXPANDED_CHARS, Scope
from firewall.engine.shell.types import UNKNOWN, Command, Script, TooDeepError

MAX_SECOND_READINGS = 4

_PLAIN = re.compile(r"[^\s'\"\\$`;&|<>(){},]+")
_IN_DOUBLE = re.compile(r'[^"\\$`]+')
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_EACH = re.compile(r'"\$(?:@|\{@\}|\{\w+\[@\]\})"')
_BACKTICKED = re.compile(r"((?:[^`\\]|\\.)*)`", re.DOTALL)


class Words(ABC):
    """A place in a text, and the command its words belong to."""

    def __init__(self, text: str, scope: Scope, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooDeepError
        self.text, self.scope, self.depth, self.at = text, scope, depth, 0
        self.command = Command()

    @abstractmethod
    def script(self, closer: str = "") -> Script:
        """The commands up to ``closer``, which is skipped, or to the end of the text."""

    def word(self) -> list[str]:
        """The words one written word becomes: more than one after expansion, none if it vanishes."""
        text = self.text
        if (plain := _PLAIN.match(text, self.at)) and (plain.end() == len(text) or text[plain.end()] in " \n"):
            self.at = plain.end()
            return [plain[0]]
        done: list[str] = []
        parts: list[str] = []
        exists = marked = False
        while self.at < len(text):
            if plain := _PLAIN.match(text, self.at):
                self.at = plain.end()
                parts.append(plain[0])
                continue
            char = text[self.at]
            if char == "'":
                exists = True
                parts.append(self._single())
            elif char == '"' and (each := _EACH.match(text, self.at)):
                # The one expansion that quotes do not keep whole.
                self.at += 1
                self._expansion(done, parts)
                self.at = each.end()
            elif char == '"':
                self.at += 1
                exists = True
                parts.append(self.double())
            elif char == "\\":
                escaped = text[self.at + 1 : self.at + 2]
                parts.append("" if escaped == "\n" else escaped)
                self.at += 2
            elif char in "{},":
                marked = marked or char == "{"
                parts.append(BRACE_MARKS[char])
                self.at += 1
            elif char in "$`":
                self._expansion(done, parts)
            elif char in "<>" and not parts and text[self.at + 1 : self.at + 2] == "(":
                parts.append(self._process())
            else:
                break
        self.at = min(self.at, len(text))
        word = "".join(parts)
        if word or exists:
            done.append(word)
        return [each for word in done for each in expand_braces(word, expand=marked)]

    def _expansion(self, done: list[str], parts: list[str]) -> None:
        """An unquoted ``$`` or backtick: its value is split into words at blanks, or where ``IFS`` says."""
        quoted = self.text.startswith(("$'", '$"'), self.at)
        value = self.dollar() if self.text[self.at] == "$" else self._backtick()
        if quoted or value == UNKNOWN:
            parts.append(value)
            return
        if (separators := self.scope.variables.get("IFS")) and separators.strip():
            value = value.translate({ord(char): " " for char in separators})
        pieces = value.split()
        if not pieces:
            pieces = [""]
        opens, closes = value[:1].isspace(), value[-1:].isspace()
        for number, piece in enumerate([*([""] if opens else []), *pieces, *([""] if closes and value.strip() else [])]):
            if number and parts and (word := "".join(parts)):
                done.append(word)
                parts.clear()
            parts.append(piece)

    def _process(self) -> str:
        self.at += 2
        script = self.script(")")
        self.command.inner.append(script)
        self.command.processes.append(script)
        return "/dev/fd/63"

    def _unclosed(self, start: int) -> None:
        """A quote that opens at ``start`` never closes: a shell would wait for more, so read what follows as if it did not count."""
        if self.scope.second_readings < MAX_SECOND_READINGS:
            self.scope.second_readings += 1
            self.command.inner.append(type(self)(self.text[start + 1 :], self.scope, self.depth).script())

    def _single(self) -> str:
        start, end = self.at, self.text.find("'", self.at + 1)
        if end < 0:
            self.at = len(self.text)
            self._unclosed(start)
            return self.text[start + 1 :]
        self.at = end + 1
        return self.text[start + 1 : end]

    def double(self, *, closed: bool = True) -> str:
        """The inside of double quotes, from after the first to after the last; not ``closed``: to the end of the text."""
        start, parts = self.at, []
        while self.at < len(self.text):
            if plain := _IN_DOUBLE.match(self.text, self.at):
                self.at = plain.end()
                parts.append(plain[0])
                continue
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                if closed:
                    return "".join(parts)
                parts.append(char)
            elif char == "\\":
                escaped = self.text[self.at + 1 : self.at + 2]
                parts.append(escaped if escaped in '"\\$`' else "" if escaped == "\n" else char + escaped)
                self.at += 2
            elif char == "$":
                parts.append(self.dollar(quoted=True))
            else:
                parts.append(self._backtick())
        self.at = min(self.at, len(self.text))
        if closed:
            self._unclosed(start - 1)
        return "".join(parts)

    def dollar(self, *, quoted: bool = False) -> str:
        """What stands at a ``$``: a parameter, a substitution, arithmetic, a quote, or the sign itself."""
        self.at += 1
        text = self.text
        following = text[self.at : self.at + 1]
        if following == "(":
            if self.arithmetic():
                return "0"
            self.at += 1
            return self._substituted(self.script(")"))
        if following == "{":
            end = self._brace_end()
            body, self.at = text[self.at + 1 : end], min(end + 1, len(text))
            if "$(" in body or "`" in body:
                inner = type(self)(body, self.scope, self.depth + 1)
                body = inner.double(closed=False)
                self.command.inner += inner.command.inner
            return self._parameter(body)
        if following == "'" and not quoted:
            value, self.at = ansi_c(text, self.at + 1)
            return value
        if following == '"' and not quoted:
            self.at += 1
            return self.double()
        if name := _NAME.match(text, self.at):
            self.at = name.end()
            return self._parameter(name[0])
        return "$"

    def _parameter(self, body: str) -> str:
        value = parameter(body, self.scope.variables)
        self.scope.expanded += len(value)
        if self.scope.expanded > MAX_EXPANDED_CHARS:
            raise TooDeepError
        return value

    def _brace_end(self) -> int:
        level = 0
        for found in re.compile(r"[{}]").finditer(self.text, self.at):
            level += 1 if found[0] == "{" else -1
            if not level:
                return found.start()
        return len(self.text)

    def _backtick(self) -> str:
        body = _BACKTICKED.match(self.text, self.at + 1)
        if not body:
            self.at += 1
            return ""
        self.at = body.end()
        inner = body[1].replace("\\`", "`").replace("\\$", "$").replace("\\\\", "\\")
        return self._substituted(type(self)(inner, self.scope, self.depth).script())

    def _substituted(self, script: Script) -> str:
        self.command.inner.append(script)
        output = output_of(script)
        return UNKNOWN if output is None else output.rstrip("\n")

    def arithmetic(self) -> bool:
        """Skip ``((...))``; or a group within a group, which shells fall back to: so what is in it is read as if it ran."""
        if not self.text.startswith("((", self.at) or (end := self.text.find("))", self.at)) < 0:
            return False
        self.command.inner.append(type(self)(self.text[self.at + 2 : end], self.scope, self.depth).script())
        self.at = end + 2
        return True
