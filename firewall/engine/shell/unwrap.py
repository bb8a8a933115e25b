"""Programs that run another program: what they run, as words or as text that a shell reads."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from firewall.engine.shell.call import Call
from firewall.engine.shell.evaluate import unbase64
from firewall.engine.shell.managers import MANAGERS
from firewall.engine.shell.types import FOUND
from firewall.engine.shell.windows import lists_all
from firewall.engine.shell.wrappers import (
    AFTER,
    AFTER_NAMES,
    ARCHITECTURE,
    BLOCK_TAKERS,
    COMMAND_OPTIONS,
    POWERSHELLS,
    SETTING,
    SHELLS,
    SSH_VALUED,
    VALUED_AFTER,
    WRAPPERS,
    XARGS_VALUED,
)

#: What a block of PowerShell calls the thing it is run for.
_ITEM = re.compile(r"(?i)\$(?:_|psitem)(?:\.(?:fullname|path|pspath|name))?")


@dataclass(slots=True)
class Inside:
    """What is run: words, texts, or both; ``arguments`` are the positional parameters of a text, ``settings`` variables set for it."""

    words: list[str] | None = None
    texts: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    reads_input: bool = False


def unwrap(call: Call) -> Inside | None:
    """What ``call`` runs; None if it runs nothing but itself."""
    name = call.name
    if name in SHELLS:
        return _shell(call)
    if name in ("xargs", "parallel", "rush"):
        rest = _after_options(call.args, XARGS_VALUED, 0)
        if ":::" in rest:
            at = rest.index(":::")
            rest, inputs = rest[:at], [word for word in rest[at + 1 :] if word != ":::"]
            return Inside(texts=tuple(inputs[:64])) if not rest else Inside(words=[*rest, *inputs], texts=(" ".join(rest),) if len(rest) == 1 else ())
        return Inside(words=rest, texts=(rest[0],) if name != "xargs" and len(rest) == 1 and " " in rest[0] else (), reads_input=True)
    if name in ("eval", "watch", "iex", "invoke-expression"):
        rest = _after_options(call.args, frozenset({"-n", "--interval", "-Command"}), 0) if name != "eval" else call.args
        return Inside(texts=(" ".join(rest),)) if rest else Inside(reads_input=name != "watch")
    return _remote_or_later(call)


def _remote_or_later(call: Call) -> Inside | None:
    """Programs that run a command elsewhere, as someone else or at another time; then those that run the words after their own."""
    name = call.name
    if name in ("ssh", "autossh", "mosh", "rsh", "sshpass", "pdsh", "clush", "pssh", "parallel-ssh", "dsh"):
        return _ssh(call)
    if name in ("su", "runuser", "script", "flock", "newgrp", "sg", "entr"):
        command = call.value("-c", "--command", "--session-command")
        clustered = next((after for word, after in itertools.pairwise(call.args) if re.fullmatch(r"-[a-zA-Z]+c", word)), None)
        if (command := clustered if command is None else command) is not None:
            return Inside(texts=(command,))
        if name == "flock":
            return Inside(words=_after_options(call.args, frozenset({"-w", "-E", "--timeout"}), 1))
        if name == "runuser" and (user := _after_options(call.args, frozenset({"-u", "-g", "-G", "--user"}), 0)):
            return Inside(words=user)
        return Inside(texts=tuple(call.operands[1:2])) if name == "sg" else Inside(reads_input=name in ("su", "newgrp"))
    if name in (".", "source"):
        return Inside(reads_input=True) if call.operands[:1] in (["/dev/stdin"], ["/dev/fd/0"]) else None
    if name in ("schtasks", "new-scheduledtaskaction"):
        return Inside(texts=tuple(filter(None, (call.value("/tr", "/TR"), call.value("-Argument")))))
    if name in ("trap", "at", "batch", "bind"):
        return Inside(texts=tuple(call.operands[:1]) if name == "trap" else (), reads_input=name in ("at", "batch"))
    if name in ("tmux", "screen", "byobu", "zellij", "dtach", "abduco"):
        return Inside(texts=tuple(word for word in call.operands[1:] if " " in word), words=_terminal(call))
    return _wrapped(call) if name in WRAPPERS else _each(call) or _after_word(call)


def _each(call: Call) -> Inside | None:
    """What Windows runs for each: ``% { Remove-Item $_ }``, ``forfiles /c "cmd /c del @path"``."""
    if call.name in BLOCK_TAKERS and "{" in call.args:
        block = call.args[call.args.index("{") + 1 :]
        block = block[: block.index("}")] if "}" in block else block
        return Inside(words=[_ITEM.sub(lambda item: FOUND, word) for word in block] if any(map(lists_all, call.before)) else block)
    if call.name == "forfiles" and (command := call.value("/c", "-c")):
        return Inside(texts=(re.sub(r"(?i)@(?:path|file|fname|relpath)", FOUND, command),))
    return None


def _wrapped(call: Call) -> Inside | None:
    wrapper = WRAPPERS[call.name]
    if call.name == "env" and (text := call.value("-S", "--split-string")):
        return Inside(texts=(text,))
    if call.name == "command" and call.flags & {"-v", "-V"}:
        return Inside()
    if call.name in ("sudo", "doas") and not call.operands and call.flags & {"-s", "-i", "--shell", "--login"}:
        return Inside(reads_input=True)
    rest = _after_options(call.args, wrapper.valued, wrapper.skipped, settings=True)
    if call.name in ("setarch", "arch") and len(rest) > 1 and ARCHITECTURE.fullmatch(rest[0]):
        rest = rest[1:]
    settings = [word.partition("=") for word in call.args[: len(call.args) - len(rest)] if SETTING.fullmatch(word)]
    return Inside(words=rest, settings=tuple((name, value) for name, _, value in settings))


def _after_options(words: list[str], valued: frozenset[str], skipped: int, *, settings: bool = False) -> list[str]:
    """The words after a wrapper's own: its options with their values, ``NAME=value`` settings, ``skipped`` operands."""
    place = 0
    while place < len(words):
        word = words[place]
        if word == "--":
            place += 1
            if not skipped:
                break
        elif word.startswith("-"):
            place += 2 if word in valued or _ends_valued(word, valued) else 1
        elif settings and SETTING.fullmatch(word):
            place += 1
        elif skipped:
            skipped -= 1
            place += 1
        else:
            break
    while settings and place < len(words) and SETTING.fullmatch(words[place]):
        place += 1
    return words[place:]


def _ends_valued(word: str, valued: frozenset[str]) -> bool:
    """``-iu``: of a cluster of letters the first that takes a value is the last, so the value is the next word."""
    first = next((place for place, letter in enumerate(word) if place and f"-{letter}" in valued), 0)
    return not word.startswith("--") and first > 1 and first == len(word) - 1


def _shell(call: Call) -> Inside | None:
    if call.name in POWERSHELLS and (inside := _powershell(call.args)):
        return inside
    if call.name == "cmd":
        for place, word in enumerate(call.args):
            if word[:2].lower() in ("/c", "/k"):
                return Inside(texts=(" ".join([word[2:], *call.args[place + 1 :]]).strip().replace("^", ""),))
        return Inside(reads_input=True)
    place = 0
    while place < len(call.args):
        word = call.args[place]
        if word in ("-c", "--command", "--commands") or re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", word):
            rest = [each for each in call.args[place + 1 :] if not re.fullmatch(r"[-+][a-zA-Z]+|--", each) or each == call.args[-1]]
            return Inside(texts=tuple(rest[:1]), arguments=tuple(rest[1:]))
        if word in ("-o", "-O", "+o", "--rcfile", "--init-file"):
            place += 1
        elif re.fullmatch(r"-[a-zA-Z]*s[a-zA-Z]*", word) and call.name not in POWERSHELLS:
            return Inside(reads_input=True)
        elif not word.startswith(("-", "+")):
            return None if word not in ("/dev/stdin", "/dev/fd/0") else Inside(reads_input=True)
        elif word in ("--version", "--help"):
            return None
        place += 1
    return Inside(reads_input=True)


def _powershell(args: list[str]) -> Inside | None:
    """Options may be shortened: ``-enc``, ``-e``, ``-c``. Source: about_Powershell_exe."""
    for place, word in enumerate(args):
        option = word.lower().lstrip("-/")
        if not word.startswith(("-", "/")) or not option:
            return (
                Inside(texts=(" ".join(args[place:]),))
                if not word.startswith("/dev") and not word.endswith(".ps1") and place < len(args) and args[place - 1 : place] != ["-File"]
                else None
            )
        if option in ("ec", "enc") or "encodedcommand".startswith(option):
            decoded = unbase64(args[place + 1], encoding="utf-16-le") if place + 1 < len(args) else None
            return Inside(texts=(decoded if decoded is not None else "",), reads_input=decoded is None)
        if "command".startswith(option):
            return Inside(texts=(" ".join(args[place + 1 :]),)) if args[place + 1 :] != ["-"] else Inside(reads_input=True)
        if option in ("executionpolicy", "ep", "ex", "exec", "windowstyle", "w", "version", "inputformat", "outputformat"):
            return _powershell(args[place + 2 :])
        if option in ("file", "f"):
            return None
    return None


def _ssh(call: Call) -> Inside | None:
    rest = _after_options(call.args, SSH_VALUED | {"-g"} if call.name != "sshpass" else frozenset({"-p", "-f", "-e"}), 0 if call.name == "sshpass" else 1)
    if call.name == "sshpass":
        return Inside(words=rest)
    if call.name in ("pdsh", "clush", "pssh", "parallel-ssh", "dsh"):
        rest = _after_options(call.args, frozenset({"-w", "-g", "-l", "-f", "-x", "-h", "-H", "-p", "-t", "-o", "-e", "-m"}), 0)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        rest = rest[2:] if rest[0] in SSH_VALUED else rest[1:]
    proxy = next((word.partition("=")[2] for word in call.args if word.lower().startswith(("proxycommand=", "-oproxycommand=", "localcommand="))), "")
    return Inside(texts=tuple(filter(None, (" ".join(rest), proxy))), reads_input=not rest)


def _terminal(call: Call) -> list[str] | None:
    """The command of a new window: what follows the options of ``new-session`` or ``screen``."""
    if call.name == "screen":
        return _after_options(call.args, frozenset({"-S", "-c", "-t", "-h", "-L", "-T"}), 0) or None
    if call.operands[:1] and call.operands[0] in ("new-session", "new", "new-window", "neww", "split-window", "splitw", "run-shell", "respawn-pane"):
        return _after_options(call.args[call.args.index(call.operands[0]) + 1 :], frozenset({"-s", "-n", "-t", "-c", "-x", "-y", "-F", "-e"}), 0) or None
    return None


def _after_word(call: Call) -> Inside | None:
    args = call.args
    name = call.name
    if name == "docker" and "compose" in args[:4]:
        name, args = "docker-compose", args[args.index("compose") + 1 :]
    for place, word in enumerate(args[:6] if name in AFTER_NAMES else ()):
        skipped = AFTER.get((name, word))
        if skipped is None:
            continue
        rest = args[place + 1 :]
        if "--" in rest and name not in ("docker", "podman"):
            return Inside(words=rest[rest.index("--") + 1 :])
        inner = _after_options(rest, VALUED_AFTER, skipped)
        entrypoint = call.value("--entrypoint")
        if entrypoint:
            inner = [entrypoint, *inner]
        command = call.value("-c", "--command") if name in ("npm", "pnpm", "doppler") else None
        return Inside(words=inner, texts=(command,) if command else ())
    if name in ("yarn", "pnpm", "bun") and call.operands[:1] and call.operands[0] in MANAGERS | {"rimraf", "del-cli", "shx", "cross-env"}:
        return Inside(words=args[args.index(call.operands[0]) :])
    return _each_tool(call)


def _each_tool(call: Call) -> Inside | None:
    """Programs with a way of their own to be told what to run."""
    name, args = call.name, call.args
    if name in ("npx", "bunx"):
        return Inside(words=_after_options(args, frozenset({"-p", "--package"}), 0))
    if name in ("gcloud", "az", "vagrant", "fly", "flyctl", "eb", "aws", "nix-shell", "doctl", "hcloud", "limactl", "wsl"):
        command = (
            call.value("--command", "-C", "-c", "--run", "--parameters", "--scripts", "-e")
            if {"ssh", "run-command", "send-command", "invoke"} & set(args) or name in ("nix-shell", "wsl")
            else None
        )
        if "ssh" in args and "--" in args[:-1]:
            return Inside(texts=(" ".join(args[args.index("--") + 1 :]),))
        if command:
            return Inside(texts=(command, *re.findall(r'"([^"]*)"', command)))
        if name == "wsl" and args and not args[0].startswith("-"):
            return Inside(words=args)
    if name in ("ansible", "salt") and (command := call.value("-a", "--args")):
        return Inside(texts=(command,))
    if name == "salt" and "cmd.run" in args:
        return Inside(texts=tuple(args[args.index("cmd.run") + 1 :]))
    if name in ("nodemon", "concurrently", "watchexec", "onchange", "chokidar", "foreman", "hyperfine", "dotenv"):
        command = call.value("--exec", "-x", "-c", "--command")
        return Inside(
            texts=tuple(filter(None, [command, *[word for word in call.operands if " " in word]])), words=args[args.index("--") + 1 :] if "--" in args else None
        )
    return _by_option(call)


def _by_option(call: Call) -> Inside | None:
    name, args = call.name, call.args
    if (options := COMMAND_OPTIONS.get(name)) is not None:
        values = [value for word, value in itertools.pairwise(args) if word in options]
        values += [word.partition("=")[2] for word in args if word.startswith("--") and word.partition("=")[0] in options]
        values += [word.lstrip("+") for word in args if name == "less" and word.startswith("+!")]
        return Inside(texts=tuple(re.sub(r"^(?:exec=|shell\s|!)", "", value) for value in values))
    return None
