"""What a project's own files tell a task runner to do, where the text has written or fed them: makefiles, scripts of a package, playbooks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.types import Category, Finding

#: A variable of make that may be a command: ``SHELL=...``, ``CC='sh -c ...'``.
_COMMAND_VARIABLE = re.compile(r"(?:SHELL|[A-Z_.]+(?==.*\s))=(.*)|--eval=(.*)", re.DOTALL)
_MAKE_VARIABLE = re.compile(r"([A-Za-z_]\w*)\s*(?:::?|\?|\+)?=\s*(.*)")
_MAKE_USED = re.compile(r"\$(?:[({](\w+)[)}]|([@<^?*])|(\$))")


@dataclass(slots=True)
class _Recipes:
    """The commands by target and the targets each needs first, from the text of a makefile or a justfile."""

    commands: dict[str, list[str]] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def read(self, text: str) -> _Recipes:
        current: list[str] = []
        for line in text.split("\n"):
            if line[:1] in ("\t", " ") and current:
                for target in current:
                    self.commands[target].append(line.strip().lstrip("@-+"))
            elif assigned := _MAKE_VARIABLE.match(line):
                self.variables[assigned[1]] = assigned[2]
            elif ":" in line:
                named, _, rest = line.partition(":")
                needs, _, told = rest.partition(";")
                current = named.removeprefix("@").split()[:8]
                for target in current:
                    self.commands.setdefault(target, []).extend([told] if told else [])
                    self.needs.setdefault(target, []).extend(needs.split())
        return self

    def run(self, asked: list[str]) -> str:
        """The commands for ``asked``, or for the first target if none is, with those of what it needs."""
        waiting = asked or [target for target in self.commands if not target.startswith(".")][:1]
        done: dict[str, None] = {}
        while waiting:
            target = waiting.pop()
            if target not in done and target in self.commands:
                done[target] = None
                waiting += self.needs[target]
        lines = [self._filled(line, target) for target in done for line in self.commands[target]]
        return "\n".join(lines)

    def _filled(self, line: str, target: str) -> str:
        return _MAKE_USED.sub(lambda used: "$" if used[3] else target if used[2] else self.variables.get(used[1], f"${used[1]}"), line)


def make(call: Call) -> Finding | None:
    """Recipes of a makefile that is fed, and commands given as variables."""
    for word in call.args:
        if (given := _COMMAND_VARIABLE.fullmatch(word)) and (found := call.again(given[1] or given[2] or "")):
            return found
    if call.fed is None or call.value("-f", "--file", "--makefile") not in ("-", "/dev/stdin") or {"-n", "--dry-run", "--just-print"} & call.flags:
        return None
    asked = [word for word in call.operands if word != "-" and "=" not in word]
    recipes = _Recipes().read(call.fed)
    return call.again(recipes.run(asked))


def just(call: Call) -> Finding | None:
    if call.fed is None or {"-n", "--dry-run", "--list", "-l"} & call.flags:
        return None
    return call.again(_Recipes().read(call.fed).run(call.operands[:1]))


def package_script(call: Call) -> Finding | None:
    """``npm run x`` where the text has written ``package.json``, with what runs before and after it."""
    if call.operands[:2] == ["pkg", "set"]:
        return next(filter(None, (call.again(word.partition("=")[2]) for word in call.operands[2:] if word.startswith("scripts."))), None)
    operands = call.operands[1:] if call.operands[:1] in (["run"], ["run-script"]) else call.operands
    if call.fed is None or not operands:
        return None
    try:
        scripts = json.loads(call.fed)["scripts"]
        told = [scripts[name] for name in (f"pre{operands[0]}", operands[0], f"post{operands[0]}") if name in scripts]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return next(filter(None, (call.again(text) for text in told if isinstance(text, str))), None)


_TASK = re.compile(
    r"(?m)^([ \t]*(?:-[ \t]+)?)(?:[\w.]*\.)?(?:shell|command|raw|cmd|win_shell|win_command)[ \t]*:[ \t]*"
    r"(?:[|>][+-]?[ \t]*\n((?:[ \t]+.*\n?)+)|(.+))"
)
_ABSENT = re.compile(r"(?m)^[ \t]*state[ \t]*:[ \t]*[\"']?absent\b|\bstate=absent\b")
_PLACE = re.compile(r"(?m)\b(?:path|dest)\s*[:=]\s*[\"']?([^\s\"']+)")


def playbook(call: Call) -> Finding | None:
    """The tasks of a playbook: what they run in a shell, and what shall be absent."""
    if call.fed is None or call.flags & {"--check", "-C", "--syntax-check", "--list-tasks"}:
        return None
    for task in _TASK.finditer(call.fed):
        text = (task[2] or task[3]).strip()
        if found := call.again(text[1:-1] if text[:1] in ("'", '"') and text[-1:] == text[:1] else text):
            return found
    absent, places = _ABSENT.search(call.fed), _PLACE.findall(call.fed)
    if absent and not (places and all(map(paths.harmless, places))):
        return Finding(Category.CLOUD, absent[0].strip(), "deletes on many machines")
    return None


#: The files a task runner reads without being told their name.
IMPLIED = {
    **dict.fromkeys(("make", "gmake"), ("Makefile", "makefile", "GNUmakefile")),
    "just": ("justfile", "Justfile", ".justfile"),
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun"), ("package.json",)),
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(("make", "gmake"), make),
    "just": just,
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun"), package_script),
    "ansible-playbook": playbook,
}
