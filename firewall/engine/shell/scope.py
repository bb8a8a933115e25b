"""What a shell text has defined so far, and the loops it stands in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from firewall.engine.shell.evaluate import printed
from firewall.engine.shell.types import UNKNOWN, Command, Script, TooDeepError

MAX_DEPTH = 12
MAX_WORDS = 20_000
MAX_EXPANDED_CHARS = 524_288
MAX_VALUE_CHARS = 4_096

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]]*\])?\+?=(.*)", re.DOTALL)
_DECLARING = frozenset({"export", "local", "declare", "typeset", "readonly"})
_ENDLESS = {"while": (["true"], [":"], ["1"], ["[", "1", "]"], ["test", "1"]), "until": (["false"], ["[", "]"])}
#: With one of these a loop has a pace, or an end.
_PACES = frozenset({"sleep", "wait", "read", "break", "exit", "return", "inotifywait", "usleep", "select", "pause", "timeout"})


@dataclass(slots=True)
class Scope:
    """Shared by all readers of a text's parts. ``bomb`` is what it starts again and again without end."""

    variables: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    bomb: str = ""
    second_readings: int = 0
    words: int = 0
    expanded: int = 0

    def count(self, words: int) -> None:
        self.words += words
        if self.words > MAX_WORDS:
            raise TooDeepError

    def define(self, words: list[str], stdin: str | None) -> str | None:
        """Remember the variables and aliases that ``words`` define; the text of an alias if it is one that they use."""
        match words[0]:
            case "for" | "select" if len(words) > 3 and words[2] == "in":
                self.variables[words[1]] = " ".join(words[3:])
            case "set" if len(words) > 2 and words[1] == "--":
                self.variables["@"] = self.variables["*"] = " ".join(words[2:])
            case "set" if len(words) > 2 and words[1].isidentifier():
                self.variables[words[1]] = " ".join(words[2:])  # fish
            case name if name[:1] == "$" and words[1:2] == ["="] and len(words) > 2:
                self.variables[name[1:]] = _of_powershell(words[2:])[:MAX_VALUE_CHARS]
            case "printf" if words[1:2] == ["-v"] and len(words) > 3:
                self.variables[words[2]] = (printed(Command(words=["printf", *words[3:]]), None) or "")[:MAX_VALUE_CHARS]
            case "read" if stdin and not words[-1].startswith("-"):
                self.variables[words[-1]] = stdin.strip()[:MAX_VALUE_CHARS]
            case "alias":
                for word in words[1:]:
                    name, _, body = word.partition("=")
                    self.aliases[name] = body
            case name if name in _DECLARING:
                for word in words[1:]:
                    if assigned := ASSIGNMENT.fullmatch(word):
                        self.variables[assigned[1]] = assigned[2]
            case name if name in self.aliases:
                # Once: an alias may name itself.
                return self.aliases.pop(name)
        return None

    def body(self, name: str, script: Script) -> None:
        """The body of a function: one that puts itself into the background doubles at every turn."""
        if any(command.background and command.words[:1] == [name] for pipeline in script for command in pipeline):
            self.bomb = name


def _of_powershell(words: list[str]) -> str:
    """The value of an expression: a word, a path put together, or a new name among the temporary files."""
    match words[0].lower():
        case "new-temporaryfile" | "[io.path]::gettempfilename" | "[system.io.path]::gettempfilename":
            return "$env:TEMP/new"
        case "join-path":
            return "/".join(word for word in words[1:] if not word.startswith("-"))
        case "[io.path]::gettemppath" | "[system.io.path]::gettemppath":
            return "$env:TEMP"
    return words[0] if len(words) == 1 else UNKNOWN


@dataclass(slots=True)
class Loop:
    """A loop being read: an endless one that starts programs in the background, and never waits, fills the machine."""

    keyword: str
    is_endless: bool = False
    started: str = ""
    paced: bool = False

    def begins(self, condition: list[str]) -> None:
        self.is_endless = self.is_endless or condition in _ENDLESS.get(self.keyword, ())

    def holds(self, command: Command) -> None:
        if command.words:
            self.paced = self.paced or command.words[0] in _PACES
        if command.background:
            self.started = self.started or (command.words[0] if command.words else "&")
