"""Rules for files: deletion, overwriting and copying."""

from __future__ import annotations

import itertools
import re

from firewall.engine.shell import paths, searches
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.credentials import credentials_read, credentials_sent
from firewall.engine.shell.permissions import sets_user_id
from firewall.engine.shell.types import FED, FOUND, Category, Command, Finding, Redirect, word_set


def remove(call: Call) -> Finding | None:
    """``rm``: a tree is destructive unless it is temporary or made again by a build, a single file only if it matters."""
    targets = call.operands
    if "--no-preserve-root" in call.flags:
        return Finding(Category.DELETION, "--no-preserve-root", "asks to delete the root folder")
    if "--help" in call.flags or "--version" in call.flags:
        return None
    recursive = not call.flags.isdisjoint({"-r", "-R", "--recursive", "-Recurse"})
    for target in targets:
        if paths.harmless(target):
            continue
        if recursive:
            return Finding(Category.DELETION, target, "deletes a folder and all that is in it")
        if paths.whole(target) or target in ("$@", "$*", FED):
            return Finding(Category.DELETION, target, "deletes all files there")
        if target.endswith(FOUND):
            return Finding(Category.DELETION, call.name, "deletes every file found")
        if paths.system(target) or paths.precious(target) or paths.private(target) or paths.log(target):
            return Finding(Category.DELETION, target, "deletes a file of the system, a database or settings")
        if re.fullmatch(r"(?:\./)?\*[\w.-]*\.(?:log|out)", target):
            continue
        if "*" in target.rpartition("/")[2] and "-f" in call.flags and target.strip("./")[:1] in ("*", "~", "/"):
            return Finding(Category.DELETION, target, "deletes files by pattern without asking")
    return None


def find(call: Call) -> Finding | None:
    """``-delete`` and ``-exec``: deletion under temporary folders, or of names a build makes again, is harmless."""
    args = call.args
    for place, word in enumerate(args):
        if word == "-delete" and not searches.harmless(args):
            return Finding(Category.DELETION, word, "deletes every file found")
        if word in ("-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"):
            run = []
            for part in args[place + 1 :]:
                if part in (";", "+"):
                    break
                run.append(part)
            if found := found_by_run(call, run, args):
                return found
        if word in ("-fprint", "-fprintf", "-fls") and place + 1 < len(args) and paths.critical(args[place + 1]):
            return Finding(Category.SYSTEM_FILES, args[place + 1], "overwrites a file of the system")
    return None


def found_by_run(call: Call, run: list[str], args: list[str]) -> Finding | None:
    """What is run on each file of a search."""
    # Judged on the folder searched: whoever changes each file under it changes the folder.
    place = (searches.roots_of(args) or ["."])[0]
    if run and run[0].rsplit("/", 1)[-1] in ("rm", "unlink", "shred", "rmdir", "del", "srm", "trash"):
        if run[0].endswith("rmdir") or searches.harmless(args):
            return None
        return Finding(Category.DELETION, " ".join(run[:2]), "deletes every file found")
    if run and run[0] in ("chmod", "chown", "chgrp"):
        return call.words_again([run[0], "-R", *(word.replace("{}", place) for word in run[1:])])
    found = searches.each_found(args)
    return call.words_again([word.replace("{}", found) for word in run])


def overwritten(target: str) -> Finding | None:
    """Writing over ``target`` from its start, whatever is written."""
    if paths.disk(target):
        return Finding(Category.DISK, target, "writes over a disk")
    if paths.clean(target) in ("/proc/sysrq-trigger",):
        return Finding(Category.SERVICES, target, "stops the machine at once")
    if paths.critical(target) or (paths.clean(target).startswith("/etc/") and not paths.temporary(target) and not paths.drop_in(target)):
        return Finding(Category.SYSTEM_FILES, target, "overwrites a file of the system")
    return None


def emptied(target: str, *, made: bool = False) -> Finding | None:
    """Making ``target`` empty; ``made``: by a program that is as often told to make it."""
    if paths.temporary(target):
        return None
    if paths.log(target):
        return Finding(Category.TRACES, target, "wipes a log or a history")
    if target.endswith((FOUND, FED)):
        return Finding(Category.DELETION, target, "empties every file found")
    if paths.precious(target) or (paths.by_hand(target) and not made) or (paths.system(target) and not paths.clean(target).startswith("/dev/")):
        return Finding(Category.SYSTEM_FILES, target, "empties a file that others need")
    return overwritten(target)


def redirected(redirect: Redirect, command: Command) -> Finding | None:
    target = redirect.target
    if target.startswith(("/dev/tcp/", "/dev/udp/")) and command.words and command.words[0].rsplit("/", 1)[-1] in ("sh", "bash", "zsh", "dash", "ksh", "exec"):
        return Finding(Category.REMOTE_CONTROL, target, "gives a shell to whoever is at the other end")
    if not target or (redirect.operator in ("<", "<&", ">&") and target.lstrip("-").isdigit()):
        return None
    if redirect.operator == "<":
        return credentials_read(command, target)
    if redirect.operator == "<&":
        return None
    if redirect.operator in (">>", "&>>"):
        return appended(target)
    sources = [*command.words, *(other.target for other in command.redirects if other.operator == "<")]
    endless = any(map(paths.endless, sources)) and (command.words[:1] == ["cat"] or (command.words[:1] == ["head"] and any(map(paths.huge, sources))))
    if (command.words[:1] == ["yes"] or endless) and not target.startswith("/dev/"):
        return Finding(Category.DISK, target, "grows until the disk is full")
    prints_nothing = not command.words or (command.words[0] in (":", "true", "echo", "printf") and not "".join(command.words[1:]).strip("-ne"))
    from_nothing = command.words[:2] == ["cat", "/dev/null"]
    if (prints_nothing and not command.inner) or from_nothing:
        return emptied(target)
    return overwritten(target)


def appended(target: str) -> Finding | None:
    if paths.disk(target) or paths.clean(target) == "/proc/sysrq-trigger":
        return overwritten(target)
    if paths.critical(target) and not paths.clean(target).startswith(
        ("/etc/hosts", "/etc/resolv", "/etc/profile", "/etc/environment", "/etc/fstab", "/dev/", "~/.ssh/config")
    ):
        return Finding(Category.SYSTEM_FILES, target, "changes who may enter or what runs on the machine")
    return None


def tee(call: Call) -> Finding | None:
    judge = appended if call.flags & {"-a", "--append"} else emptied if call.fed == "" else overwritten
    return next(filter(None, map(judge, call.operands)), None)


def copy(call: Call) -> Finding | None:
    """``cp``, ``mv``, ``ln``, ``install``: what they leave, what they write over, what they take."""
    operands = call.operands
    if call.flags & {"--help", "--version"} or not operands:
        return None
    if call.name == "install" and (mode := call.value("-m", "--mode")) and sets_user_id(mode):
        return Finding(Category.PERMISSIONS, mode, "lets a program run as its owner")
    target = call.value("-t", "--target-directory") or operands[-1]
    sources = operands[:-1] or operands
    if (
        call.name == "cp"
        and len(sources) == 1
        and not paths.private(sources[0])
        and target.startswith(sources[0])
        and target[len(sources[0]) :][:1] in (".", "-", "_", "~")
    ):
        # A copy beside the file itself, kept before it is changed.
        return None
    if call.name == "mv":
        if paths.clean(target) == "/dev/null":
            return Finding(Category.DELETION, target, "moves files where nothing is kept")
        for source in sources:
            if (paths.whole(source) and source.rstrip("/").removesuffix("/*") in ("", "~", "/")) or paths.critical(source) or paths.system_folder(source):
                return Finding(Category.SYSTEM_FILES, source, "moves a part of the system away")
    if "/dev/null" in map(paths.clean, sources) and (found := emptied(target, made=True)):
        return found
    if any(map(paths.private, sources)):
        return Finding(Category.CREDENTIALS, next(filter(paths.private, sources)), "copies a file that holds credentials") if call.name != "ln" else None
    written = next((path for path in _placed(sources, target) if paths.disk(path) or paths.critical(path)), None) if call.name != "ln" else None
    if written is None and (paths.disk(target) or paths.critical(target)):
        written = target
    return overwritten(written) if written else None


def truncate(call: Call) -> Finding | None:
    size = call.value("-s", "--size")
    if size is None or size.startswith("+"):
        return None
    return next(filter(None, map(emptied, call.operands)), None)


_RSYNC_VALUED = word_set(
    "--exclude --include --filter -f -e --rsh --exclude-from --include-from --files-from --log-file --backup-dir --suffix --password-file -B -T -M"
)


def rsync(call: Call) -> Finding | None:
    for before, word in itertools.pairwise(["", *call.args]):
        # Not the value of another option.
        if (word == "--dry-run" or re.fullmatch(r"-[A-Za-z]*n[A-Za-z]*", word)) and before not in _RSYNC_VALUED:
            return None
    into = call.args[-1] if call.args and call.args[-1] in call.operands[1:] and ":" not in call.args[-1] and not call.args[-2].startswith("-") else ""
    if into and paths.harmless(into) and not {"--remove-source-files", "--remove-sent-files"} & call.flags:
        return credentials_sent(call)
    for word in call.args:
        name = word.partition("=")[0]
        if name in (
            "--del",
            "--delete",
            "--delete-before",
            "--delete-during",
            "--delete-delay",
            "--delete-after",
            "--delete-excluded",
            "--remove-source-files",
            "--remove-sent-files",
        ):
            return Finding(Category.DELETION, word, "deletes what the other side does not have")
    return credentials_sent(call)


def remote_copy(call: Call) -> Finding | None:
    *sources, target = call.operands or [""]
    host, _, place = target.rpartition(":")
    found = next((path for path in _placed(sources, place) if paths.critical(path) or paths.disk(path)), None) if host or "/" in place else None
    return overwritten(found) if found else None


def _placed(sources: list[str], target: str) -> list[str]:
    """The files that a copy writes over, where it is into a folder as well."""
    if not target.endswith("/") and not paths.system_folder(target):
        return [target]
    return [target, *(f"{target.rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}" for source in sources)]


def remove_tree(call: Call) -> Finding | None:
    """Programs that delete trees without being asked to."""
    return remove(Call(call.name, ["-r", *call.args]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("rm", "grm", "unlink"), remove),
    **dict.fromkeys(("rimraf", "del-cli", "deltree"), remove_tree),
    **dict.fromkeys(searches.FINDERS, find),
    **dict.fromkeys(("cp", "mv", "ln", "install"), copy),
    "scp": remote_copy,
    "tee": tee,
    "truncate": truncate,
    "rsync": rsync,
}
