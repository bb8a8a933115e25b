"""Files that a text writes itself, so that what it runs from them later is no secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call
from firewall.engine.shell.code import INTERPRETERS, interpreter_name
from firewall.engine.shell.databases import CLIENTS
from firewall.engine.shell.evaluate import printed
from firewall.engine.shell.recipes import IMPLIED
from firewall.engine.shell.types import Command
from firewall.engine.shell.wrappers import SHELLS

#: What is in them runs without being called: when somebody enters, commits, or opens the folder.
_START_FILE = re.compile(
    r"(?:.*/)?\.(?:(?:bash|zsh)(?:rc|_profile|_login|_logout|env)|zshenv|zprofile|zlogin|kshrc|cshrc|tcshrc|profile|login|xinitrc|xprofile|envrc)"
    r"|(?:.*/)?\.(?:git/hooks|husky)/[^/]+|/etc/(?:profile|bash\.bashrc|zshrc|rc\.local|profile\.d/.+|init\.d/.+|rc\d?\.d/.+|update-motd\.d/.+)|(?:.*/)?config\.fish"
)
_UNIT_RUNS = re.compile(r"(?m)^\s*Exec\w+=[-@:+!]*(.*)$")
_SHEBANG = re.compile(r"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(?:\S*/)?([\w.+-]+)")
#: Besides shells, interpreters and clients of databases, what takes its orders from a file.
_ORDERED = frozenset({"crontab", "at", "batch", "diskpart", "make", "gmake", "xargs", "parallel", "ftp", "sftp", "expect", "ansible-playbook"})


#: Options that have a program read, and not run.
_ONLY_CHECKS = {"sh": ("-n",), "node": ("--check", "-c"), "nodejs": ("--check", "-c"), "ruby": ("-c",), "perl": ("-c",), "php": ("-l",)}


@dataclass(slots=True)
class Written:
    """The texts by the last part of the file's name, since the folder may change in between. Each is run once: a file may run itself."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    asked: set[tuple[str, ...]] = field(default_factory=set)

    def keep(self, command: Command, said: str | None) -> str | None:
        """Note what ``command``, which says ``said``, writes to files; the text if one of them starts by itself."""
        targets = [(redirect.target, redirect.operator.endswith(">>")) for redirect in command.redirects if ">" in redirect.operator]
        if command.words[:1] == ["tee"]:
            tee = Call("tee", command.words[1:])
            targets += [(target, bool(tee.flags & {"-a", "--append"})) for target in tee.operands]
        starts: str | None = None
        for target, appends in targets:
            name = _name(target)
            if said is None:
                self.texts.pop(name, None)
                continue
            if not appends:
                self.texts[name] = []
            self.texts.setdefault(name, []).append(said)
            if _START_FILE.fullmatch(paths.clean(target)):
                starts = said
            elif target.endswith(".service"):
                starts = "\n".join(_UNIT_RUNS.findall(said))
        return starts

    def read(self, name: str) -> str | None:
        """Its text, once."""
        parts = self.texts.pop(_name(name), None) if self.texts else None
        return None if parts is None else "".join(parts)

    def printed(self, command: Command, fed: str | None) -> str | None:
        """What ``command`` says, with the files it shows."""
        if self.texts and command.words[:1] == ["cat"] and len(command.words) == 2 and (parts := self.texts.get(_name(command.words[1]))) is not None:
            return "".join(parts)
        return printed(command, fed)

    def fed(self, command: Command) -> str | None:
        """The file that ``command`` reads as its input."""
        source = next((redirect.target for redirect in command.redirects if redirect.operator == "<"), "")
        if source == "/dev/null":
            return ""
        return self.read(source) if source else None

    def ordered(self, call: Call, word: str) -> Call:
        """``call`` fed the text of the file it was told to run; itself if the text has written none such. ``word`` is its program as written."""
        if not self.texts:
            return call
        if "/" in word and (text := self.read(word)) is not None:
            shebang = _SHEBANG.match(text)
            return replace(call, name=shebang[1] if shebang else "sh", args=[], before=[], fed=text)
        if (implied := self._implied(call)) is not None:
            return replace(call, args=["-f", "-", *call.args] if call.name in ("make", "gmake") else call.args, before=[], fed=implied)
        if not call.flags.isdisjoint(_ONLY_CHECKS.get("sh" if call.name in SHELLS else interpreter_name(call.name), ())):
            return call
        runs = call.name in SHELLS or call.name in (".", "source") or interpreter_name(call.name) in INTERPRETERS
        named = call.operands[:1] if runs else call.args if call.name in CLIENTS or call.name in _ORDERED else []
        for file in named:
            bare = file.partition("=")[2] if file.startswith("--") else file.lstrip("@")
            if bare and (text := self.read(bare)) is not None:
                name = "sh" if call.name in (".", "source") else call.name
                rest = [] if runs else ["-" if word == file else word for word in call.args]
                return replace(call, name=name, args=rest, before=[], fed=text)
        return call

    def _implied(self, call: Call) -> str | None:
        """The file that a task runner reads unasked; once for each thing it is asked to do, since a task may start others."""
        asked = (call.name, *call.args)
        text = next(("".join(self.texts[name]) for name in IMPLIED.get(call.name, ()) if name in self.texts), None)
        if text is None or asked in self.asked or call.value("-f", "--file", "--makefile"):
            return None
        self.asked.add(asked)
        return text


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
