"""Rules for git: what rewrites history or throws away work that was never committed."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from firewall.engine.shell.call import Call, Row, table
from firewall.engine.shell.types import Category, Finding

_VALUES = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env", "--super-prefix"})

TABLE: dict[str, tuple[Row, ...]] = table(
    Category.HISTORY,
    """
    git push + --force -f --mirror --delete -d --prune ! -n | overwrites or deletes what others have
    git send-pack + --force --mirror | overwrites what others have
    git reset + --hard --merge | throws away changes that were not committed
    git clean + -f --force -x -X -d ! -n --interactive -i | deletes files that were never committed
    git branch + -D ! --help | deletes a branch with commits that are nowhere else
    git branch + -f --force | moves a branch off the commits it held
    git rebase + --root | rewrites the history from its first commit
    git stash drop | deletes changes that were put aside
    git stash clear | deletes all changes that were put aside
    git filter-branch | rewrites the history
    git filter-repo ! --analyze | rewrites the history
    git reflog expire ! -n | deletes the way back to lost commits
    git reflog delete ! -n | deletes the way back to lost commits
    git gc + --prune | deletes objects that nothing refers to
    git prune ! -n | deletes objects that nothing refers to
    git update-ref + -d --delete | deletes a reference
    git symbolic-ref + -d --delete | deletes a reference
    git worktree remove + --force -f | deletes a working tree with its changes
    git submodule deinit + --force -f --all | deletes a working tree with its changes
    git checkout + --force -f ! -b | throws away changes that were not committed
    git checkout-index + -f | throws away changes that were not committed
    git switch + --force -f --discard-changes | throws away changes that were not committed
    git read-tree + --reset | throws away changes that were not committed
    git rm + -f --force -rf ! --cached -n | deletes files with their changes
    git lfs prune + --force | deletes large files kept locally
    git replace + -d --delete -f | changes what the history says
    git notes prune | deletes notes
    bfg | rewrites the history
    svn delete | deletes from the repository
    svn rm | deletes from the repository
    svn remove | deletes from the repository
    svn revert + -R --recursive | throws away changes that were not committed
    svn cleanup + --remove-unversioned --remove-ignored | deletes files that were never committed
    hg purge | deletes files that were never committed
    hg strip | removes commits from the history
    hg update + -C --clean | throws away changes that were not committed
    hg revert + --all -a | throws away changes that were not committed
    jj abandon | removes commits from the history
    """,
)


def rule(call: Call) -> Finding | None:
    call = _without_global_options(call)
    if call.flags & {"--help", "-h", "--version"} or not call.operands:
        return None
    command = call.operands[0]
    if command == "push" and (found := _pushed(call)):
        return found
    if command in ("checkout", "restore") and (found := _working_tree(call, command)):
        return found
    if command == "branch" and {"-d", "--delete"} & call.flags and {"-f", "--force"} & call.flags:
        return Finding(Category.HISTORY, "branch -d -f", "deletes a branch with commits that are nowhere else")
    if command == "update-ref" and "--stdin" in call.flags and any("delete" in word for word in _fed_words(call)):
        return Finding(Category.HISTORY, "--stdin", "deletes references by the list it is fed")
    if found := _run(call, command) or _configured(call, command):
        return found
    for row in TABLE["git"]:
        # -n, -f and -d in a cluster of letters are options of their own, in a word of one dash as well.
        if tuple(call.operands[: len(row.path)]) == row.path and (found := row.finding(call)):
            return found
    return None


def _fed_words(call: Call) -> list[str]:
    return [call.fed or "", *(word for command in call.before for word in command.words)]


def _pushed(call: Call) -> Finding | None:
    for ref in call.operands[1:] if "-n" not in call.flags else ():
        if ref.startswith("+") and len(ref) > 1:
            return Finding(Category.HISTORY, ref, "overwrites what others have pushed")
        if ref.startswith(":") and len(ref) > 1:
            return Finding(Category.HISTORY, ref, "deletes a branch others have")
    return None


def _run(call: Call, command: str) -> Finding | None:
    """Commands that git runs on many commits or in many repositories."""
    if command == "rebase" and (script := call.value("--exec", "-x")):
        return call.again(script)
    for outer, inner in (("submodule", "foreach"), ("bisect", "run")):
        if command == outer and inner in call.args:
            words = call.args[call.args.index(inner) + 1 :]
            while words and words[0].startswith("-"):
                words = words[1:]
            return call.again(words[0]) if len(words) == 1 else call.words_again(words)
    return None


def _configured(call: Call, command: str) -> Finding | None:
    """``git config core.pager 'rm -rf ~'``: settings whose value is a command, kept for later."""
    if command not in ("config", "clone"):
        return None
    cloned = [word.partition("=") for option, word in itertools.pairwise(call.args) if option in ("-c", "--config")]
    for name, value in [*itertools.pairwise(call.operands), *((name, value) for name, _, value in cloned)]:
        if _RUN_SETTING.fullmatch(name) and (found := call.again(value.removeprefix("!") if not name.startswith("alias.") else _alias(value))):
            return found
    return None


def _alias(body: str) -> str:
    return body[1:] if body.startswith("!") else f"git {body}"


_RUN_SETTING = re.compile(
    r"(?i)alias\.[\w-]+|core\.(?:sshcommand|pager|editor|fsmonitor|gitproxy|askpass)|credential(?:\..*)?\.helper|diff\.(?:external|.*\.(?:command|textconv))|(?:diff|merge)tool\..*\.cmd"
    r"|merge\..*\.driver|filter\..*\.(?:clean|smudge|process)|sequence\.editor|gpg\.program|pager\.\w+|uploadpack\.packobjectshook"
)


def _without_global_options(call: Call) -> Call:
    """``git -C folder push`` as ``git push``; an alias given by ``-c alias.x='!...'`` is judged where it is used."""
    args, place = call.args, 0
    settings: dict[str, str] = {}
    while place < len(args) and args[place].startswith("-"):
        option = args[place]
        if option in _VALUES:
            value = args[place + 1] if place + 1 < len(args) else ""
            if option == "-c" and (setting := re.fullmatch(r"([\w.-]+)=(.*)", value, re.DOTALL)) and _RUN_SETTING.fullmatch(setting[1]):
                settings[setting[1]] = setting[2]
            place += 1
        place += 1
    rest = args[place:]
    if rest and (body := settings.pop(f"alias.{rest[0]}", None)):
        rest = ["submodule", "foreach", body[1:]] if body.startswith("!") else [*body.split(), *rest[1:]]
    elif settings:
        rest = ["config", *(word for setting in settings.items() for word in setting), *rest]
    return replace(call, args=rest)


def _working_tree(call: Call, command: str) -> Finding | None:
    if command == "restore":
        if {"--staged", "-S"} & call.flags and not {"--worktree", "-W"} & call.flags:
            return None
        return Finding(Category.HISTORY, "restore", "throws away changes that were not committed")
    if "--" in call.args[:-1] and not {"-b", "-B", "--orphan"} & call.flags:
        return Finding(Category.HISTORY, "checkout --", "throws away changes that were not committed")
    if call.operands[1:2] and call.operands[-1] in (".", "./", "*", ":/", "*.*"):
        return Finding(Category.HISTORY, f"checkout {call.operands[-1]}", "throws away changes that were not committed")
    return None
