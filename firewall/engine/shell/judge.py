"""Judge a text that a shell may run: parse it, unwrap what runs something else, and ask the rules about every program."""

from __future__ import annotations

import itertools
import re

from firewall.engine.shell import code, containers, databases, files, network, paths, programs, unwrap, windows, wrappers
from firewall.engine.shell.call import Call
from firewall.engine.shell.evaluate import says
from firewall.engine.shell.parse import KEYWORDS, parse
from firewall.engine.shell.programs import SHADOWED, program_name
from firewall.engine.shell.scope import MAX_DEPTH, Scope
from firewall.engine.shell.types import FED, UNKNOWN, Category, Command, Finding, Judgement, Script, TooDeepError
from firewall.engine.shell.written import Written

MAX_CHARS = 65_536
"""Longer is called destructive: a command nobody can read, and a way around a judge that reads only the beginning."""

MAX_PIPED = 64
"""Commands of one pipeline, and redirections of one command: rules look at each beside all the others."""

MAX_JUDGED = 4_000
"""Commands judged in one text, those inside others included."""

_PLAIN = re.compile(r"[\w./:=@%+, -]*")


_EVALUATES = frozenset({"eval", "iex", "invoke-expression"})
_MAKES_WORDS = frozenset({"xargs", "parallel", "rush"})


def judge(command: str) -> Judgement:
    """Whether running ``command`` would destroy something, open or stop the machine, run what was downloaded, or give credentials away.

    The text may be POSIX shell, bash, zsh, fish, PowerShell or cmd.exe, or SQL by itself. Every text has an answer, in time
    linear in its length; one that is too long or too deeply nested to be read is destructive. What a command *would* do is
    judged from its text alone: ``rm -rf "$dir"`` deletes a folder, whichever it is.
    """
    if len(command) > MAX_CHARS:
        return Judgement(True, f"The command is longer than {MAX_CHARS} characters, too long to be judged.", "", Category.UNREADABLE)
    if not command.isascii():
        command = command.encode("utf-8", "replace").decode()
    try:
        finding = databases.statement(command) or _Judge().text(command, 0)
    except (TooDeepError, UnicodeEncodeError):
        return Judgement(True, "The command is nested too deeply to be judged.", "", Category.UNREADABLE)
    if finding is None:
        return Judgement(False)
    at = command.find(finding.word) if finding.word else -1
    span = (at, at + len(finding.word)) if at >= 0 else None
    return Judgement(True, f"{finding.word}: {finding.reason}.", finding.word, finding.category, span)


class _Judge:
    """One judgement under way: it counts what was judged, so that commands inside commands end."""

    def __init__(self) -> None:
        self.judged = 0
        self.is_windows = True
        self.known: dict[str, str] = {}
        self.downloaded: set[str] = set()
        self.written = Written()

    def text(self, text: str, depth: int, variables: dict[str, str] | None = None, runner: Call | None = None) -> Finding | None:
        """``runner`` is the program that runs ``text``, and hands its own input on to it."""
        if _PLAIN.fullmatch(text) and "=" not in text and not variables:
            return self.words(text.split(), Command(), runner.before if runner else [], depth, fed=runner.fed if runner else None)
        if found := windows.endless(text):
            return found
        if not windows.written(text):
            return self.read(text, depth, variables, runner)
        if found := self.read(text.replace("\\", "/"), depth, variables, runner):
            return found
        if depth == 0:
            self.written = Written()
        was, self.is_windows = self.is_windows, False
        found = self.read(text, depth, variables, runner)
        self.is_windows = was
        return found

    def read(self, text: str, depth: int, variables: dict[str, str] | None, runner: Call | None) -> Finding | None:
        script, scope = parse(text, variables=variables or {}, depth=depth)
        if found := self.script(script, scope, depth, runner):
            return found
        return self.variables(scope, variables or {}, depth)

    def variables(self, scope: Scope, before: dict[str, str], depth: int) -> Finding | None:
        """Variables that a text sets and a program or the shell itself will use."""
        for name, value in scope.variables.items():
            if before.get(name) != value and (found := self.variable(name, value, depth)):
                return found
        for name, body in scope.aliases.items():
            # Who calls a program by a name that looks, asks for nothing else.
            if name in SHADOWED and (found := self.text(f"{body} {FED}", depth + 1)):
                return found
        return None

    def variable(self, name: str, value: str, depth: int) -> Finding | None:
        if (name == "HISTFILE" and value in ("", "/dev/null")) or (name in ("HISTSIZE", "HISTFILESIZE", "SAVEHIST") and value == "0"):
            return Finding(Category.TRACES, name, "stops the history of commands")
        if name in wrappers.LOADED_VARIABLES and any(paths.temporary(path) or path.startswith("./") for path in value.split(":")):
            return Finding(Category.PERMISSIONS, name, "makes programs load what anybody may have put there")
        if name == "PATH" and any(map(_anybodys, value.split(":"))):
            return Finding(Category.PERMISSIONS, name, "runs programs that anybody may have put there")
        return self.text(value, depth + 1) if name in wrappers.RUN_VARIABLES and value else None

    def script(self, script: Script, scope: Scope, depth: int, runner: Call | None = None) -> Finding | None:
        if depth > MAX_DEPTH:
            raise TooDeepError
        self.known = scope.variables
        for pipeline in script:
            if len(pipeline) > MAX_PIPED:
                raise TooDeepError
            if found := _fork_bomb(pipeline, scope) or _shell_on_a_line(pipeline):
                return found
            fed = runner.fed if runner else None
            outer = runner.before if runner else []
            for place, command in enumerate(pipeline):
                if found := self.command(command, [*outer, *pipeline[:place]], fed, scope, depth):
                    return found
                fed = self.written.printed(command, fed)
                if (starts := self.written.keep(command, fed)) and (found := self.text(starts, depth + 1)):
                    return found
        return None

    def command(self, command: Command, before: list[Command], fed: str | None, scope: Scope, depth: int) -> Finding | None:
        for inner in command.inner:
            if found := self.script(inner, scope, depth + 1):
                return found
        if len(command.redirects) > MAX_PIPED:
            raise TooDeepError
        for redirect in command.redirects:
            if found := files.redirected(redirect, command):
                return found
        if self.downloaded and (names := [redirect.target for redirect in command.redirects if redirect.operator == "<" and self.is_download(redirect.target)]):
            before = [*before, Command(words=["curl", *names])]
        given = [command.stdin, self.written.fed(command), "\n".join(text for process in command.processes for text in says(process)) or None, fed]
        return self.words(command.words, command, before, depth, fed=next((text for text in given if text is not None), None))

    def words(
        self, words: list[str], command: Command, before: list[Command], depth: int, *, fed: str | None = None, inner: list[Script] | None = None
    ) -> Finding | None:
        """Judge a program and its arguments; ``command`` and ``before`` are where they stand, ``inner`` what some of them are the output of."""
        self.judged += 1
        if self.judged > MAX_JUDGED or depth > MAX_DEPTH:
            raise TooDeepError
        while words and (words[0] in KEYWORDS or words[0] in ("&", "{") or words in (["."], ["source"])):
            words = words[1:]
        if not words:
            return None
        if (each := windows.each(words, command)) is not None:
            return self.words(each, command, before, depth + 1)
        name, words = program_name(words[0]), words if not words[0].startswith("/etc/init.d/") else ["service", program_name(words[0]), *words[1:]]
        call = Call(
            name if words[0] != "service" else "service",
            words[1:],
            before,
            fed,
            inner or command.inner,
            self.known,
            again=lambda text: self.text(text, depth + 1),
            words_again=lambda inner: self.words(inner, Command(), [], depth + 1),
        )
        call = self.written.ordered(call, words[0])
        if self.downloaded and (found := self.fetched_before(call, words[0])):
            return found
        self.downloaded.update(network.saved_as(command))
        if call.name in (".", "source") and command.processes and (found := _downloaded(command, call.name)):
            return found
        if call.name in wrappers.SHELLS or call.name in (".", "source"):
            for text in (text for process in command.processes for text in says(process)):
                if found := self.text(text, depth + 1):
                    return found
        inside = unwrap.unwrap(call)
        if found := self.wrapped(call, inside, command, depth):
            return found
        if found := windows.method(call, command) or containers.machine_reached(call) or network.run_from_elsewhere(call):
            return found
        # What was said by the words it runs is not said by it.
        found = None if inside and inside.words else programs.ask(call, is_windows=self.is_windows)
        return found

    def fetched_before(self, call: Call, word: str) -> Finding | None:
        """Running a file that an earlier command downloaded."""
        runs = (
            call.operands[:1]
            if call.name in wrappers.SHELLS or call.name in (".", "source") or code.interpreter_name(call.name) in code.INTERPRETERS
            else [word]
            if "/" in word
            else []
        )
        for file in runs:
            if self.is_download(file):
                return Finding(Category.DOWNLOAD, file, "is run as soon as it was downloaded")
        return None

    def is_download(self, file: str) -> bool:
        return file.rsplit("/", 1)[-1] in self.downloaded

    def wrapped(self, call: Call, inside: unwrap.Inside | None, command: Command, depth: int) -> Finding | None:
        """What ``call`` runs besides itself."""
        if found := _unseen(call, command, reads_input=inside is not None and inside.reads_input):
            return found
        if inside is None:
            return None
        if inside.reads_input:
            read = code.writes_commands(call.before[-1:]) if call.fed is None else [call.fed] if call.name not in _MAKES_WORDS else []
            if found := next(filter(None, (self.text(text, depth + 1) for text in read)), None):
                return found
        for text in inside.texts:
            variables = self.known | {str(number): value for number, value in enumerate(inside.arguments)}
            if inside.arguments:
                variables |= dict.fromkeys("@*", " ".join(inside.arguments[1:]))
            if found := self.text(text, depth + 1, variables, call):
                return found
        if found := next(filter(None, (self.variable(name, value, depth) for name, value in inside.settings)), None):
            return found
        if not inside.words:
            return None
        if inside.reads_input:
            return self.fed_words(call, inside.words, depth)
        return self.words(inside.words, command, call.before, depth + 1, fed=call.fed, inner=call.inner)

    def fed_words(self, call: Call, words: list[str], depth: int) -> Finding | None:
        """``xargs``: the words come after, or where the mark stands; those not known are some files of a search."""
        mark = call.value("-I", "--replace") or "{}"
        items = call.fed.split() if call.fed is not None else []
        if not items and program_name(words[0]) in ("rm", "unlink", "shred", "srm"):
            return Finding(Category.DELETION, f"{call.name} {words[0]}", "deletes every file it is fed")
        inner: list[Script] | None = [[[*call.before]]] if call.before else None
        if any(mark in word for word in words):
            return self.words([word.replace(mark, " ".join(items) or FED) for word in words], Command(), [], depth + 1, inner=inner)
        return self.words([*words, *(items or [FED])], Command(), [], depth + 1, inner=inner)


def _anybodys(folder: str) -> bool:
    """A folder on the way to programs that anybody may write to; one of programs unpacked there is somebody's own."""
    return folder in paths.TEMPORARY or (paths.temporary(folder) and not folder.rstrip("/").endswith("bin") and "XXX" not in folder)


def _unseen(call: Call, command: Command, *, reads_input: bool) -> Finding | None:
    """A shell or an interpreter given what is downloaded, or cannot be read here."""
    name = call.name
    interprets = code.interpreter_name(name) in code.INTERPRETERS
    if not (name in wrappers.SHELLS or interprets or name in _EVALUATES or name in ("at", "batch", "ssh", "su", "sudo", "doas")):
        return None
    if command.processes and (found := _downloaded(command, name)):
        return found
    options = code.INTERPRETERS.get(code.interpreter_name(name), ())
    given = any(word in options and value.startswith(UNKNOWN) for word, value in itertools.pairwise(call.args))
    if name in _EVALUATES or given or call.args[:1] in (["-c"], ["-Command"]):
        fetcher = next(filter(None, map(network.fetches, command.inner)), None)
        if fetcher is None and name in ("iex", "invoke-expression"):
            fetcher = network.fetching(Command(words=call.args))
        if fetcher:
            return Finding(Category.DOWNLOAD, fetcher, f"is fed to {name}, which runs what was downloaded")
    reads = reads_input or (interprets and not call.flags & {"-c", "-e"} and all(word in ("-", "/dev/stdin") for word in call.operands))
    return network.piped_to_interpreter(call.before, name) if reads and call.fed is None else None


def _downloaded(command: Command, name: str) -> Finding | None:
    fetcher = next(filter(None, map(network.fetches, command.processes)), None)
    return Finding(Category.DOWNLOAD, fetcher, f"is fed to {name}, which runs what was downloaded") if fetcher else None


def _shell_on_a_line(pipeline: list[Command]) -> Finding | None:
    """``cat fifo | sh -i | nc host 99 > fifo``."""
    if len(pipeline) < 2:
        return None
    names = [program_name(command.words[0]) for command in pipeline if command.words]
    shell = next((place for place, name in enumerate(names) if name in wrappers.SHELLS), len(names))
    line = next((name for name in names[shell + 1 :] if name in ("nc", "ncat", "netcat", "socat", "telnet", "openssl")), None)
    return Finding(Category.REMOTE_CONTROL, line, "gives a shell to whoever is at the other end") if line else None


def _fork_bomb(pipeline: list[Command], scope: Scope) -> Finding | None:
    names = [command.words[0] for command in pipeline if command.words and command.words[0] in scope.functions]
    # $0 and %0 are the script that is running.
    again = [command.words[-1] for command in pipeline if command.words and command.words[-1].removeprefix("./") in ("$0", "%0")]
    starts = pipeline[0].words[:1] == ["start"] or pipeline[-1].background
    if (len(names) > 1 and len(set(names)) == 1) or len(again) > 1 or (again and starts):
        return Finding(Category.FORK_BOMB, (names or again)[0], "starts itself again without end")
    if len(pipeline) == 1 and pipeline[0].background and pipeline[0].words[:1] == ["yes"]:
        return Finding(Category.FORK_BOMB, "yes", "keeps a processor busy without end, unseen")
    return Finding(Category.FORK_BOMB, scope.bomb, "is started again and again without end") if scope.bomb else None
