"""Every rule by the program it is about, and the order in which they are asked."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import replace

from firewall.engine.shell import (
    accounts,
    clouds,
    code,
    containers,
    credentials,
    databases,
    disks,
    edits,
    files,
    git,
    managers,
    network,
    permissions,
    recipes,
    system,
    trials,
    windows,
    wrappers,
)
from firewall.engine.shell.call import Call, Row, Rule
from firewall.engine.shell.types import Category, Finding, word_set

#: A variable without a value, among the letters of a program's name.
_UNSET = re.compile(r"\$(?:\w+|[@*#?!-])")
_UNINSTALLER = re.compile(
    r"(?:.*[-_.])?(?:uninstall(?:er|-all)?|(?<=.)killall|nuke|wipe|wiper|teardown|tear-down|destroy|selfdestruct|self-destruct)(?:\.(?:sh|bash|py|pl|run|ps1|exe|bat))?"
)
#: What a program in Java is named besides its name.
_VERSIONED = re.compile(r"(?:-\d[\w.]*)?(?:-(?:all|standalone))?\.jar$")
_EXTENSION = re.compile(r"\.(?:exe|cmd|bat|com)$")

#: They show, compare or count what they are given; nothing among their arguments is run or removed.
DATA = word_set(
    """
    echo printf print : true false test [ [[ ]] cat bat less more head tail grep egrep fgrep rg ag ack zgrep ls dir ll tree stat file wc sort uniq cut
    paste join comm diff cmp cd pushd popd pwd mkdir touch basename dirname readlink realpath which whereis type man info whatis apropos help date cal
    uptime who w whoami id groups users hostname uname ps top htop df du free lsof netstat ss ping dig nslookup host traceroute ifconfig jobs fg bg wait
    sleep seq yes expr bc dc factor md5sum sha1sum sha256sum cksum tr fold fmt column nl tac rev split od xxd hexdump strings export local declare
    typeset readonly set shopt return exit break continue shift read mapfile getopts let alias unalias printenv locale tput clear stty tty say figlet
    cowsay jq yq gzip gunzip bzip2 bunzip2 xz zcat zip unzip tar cpio ln for case select in code subl open xdg-open write-host write-output write-error
    get-content get-childitem get-item get-process select-string out-file make cmake ninja cargo go javac rustc gcc g++ clang pytest jest vitest mocha
    tsc eslint mail mailx mutt sendmail logger notify-send wall write simctl prettier ruff black mypy flake8 isort rspec phpunit mvn gradle gradlew pip
    pip3 npm yarn pnpm composer gem poetry pipenv tldr coverage tox nox pre-commit hugo mkdocs sphinx-build gatsby ng nx turbo lerna storybook expo
    react-native dart cabal stack dune zig ctest scons ant bazel buck findstr defaults meson conda mamba pipx uv hatch pdm rye where
    molecule kitchen command pygmentize highlight sqlformat sqlfluff inotifywait
    """
)

_ROWS: dict[str, tuple[Row, ...]] = {}
for _each in (disks.TABLE, git.TABLE, managers.TABLE, system.TABLE, containers.COMPOSE, system.PACKAGES, databases.TABLE, accounts.TABLE, accounts.SECRETS):
    for _name, _rows in _each.items():
        _ROWS[_name] = _ROWS.get(_name, ()) + _rows
_ROWS.pop("git")

_RULES: dict[str, tuple[Rule, ...]] = {"git": (git.rule,)}
for _rules in (
    files.RULES,
    disks.RULES,
    permissions.RULES,
    system.RULES,
    containers.RULES,
    windows.RULES,
    code.RULES,
    edits.RULES,
    databases.RULES,
    network.RULES,
    accounts.RULES,
    managers.RULES,
    clouds.RULES,
    recipes.RULES,
):
    for _name, _rule in _rules.items():
        _RULES[_name] = (*_RULES.get(_name, ()), _rule)
#: Names that a shadow would be taken for something else by.
SHADOWED = DATA | wrappers.WRAPPERS.keys() | wrappers.SHELLS | managers.MANAGERS | {"git", "ssh", "docker", "vim", "vi"}
#: Not judged in a text for Windows read as if it were for a POSIX shell, where its backslashes are lost.
_WINDOWS_ONLY = frozenset(windows.RULES) - {"rmdir", "move"}
#: They read their options up to their first operand only, hand the rest on, or have none of that kind.
_HEEDLESS = frozenset(files.RULES) | code.RULES.keys() | wrappers.SHELLS | {"echo", "printf", "npm", "yarn", "pnpm", "bun"}
#: Programs looked for behind a glob: ``/bin/r?``.
_GLOBBED = ("rm", "dd", "sh", "bash", "shred", "mkfs", "chmod", "chown", "curl", "wget", "reboot", "shutdown")


def ask(call: Call, *, is_windows: bool) -> Finding | None:
    """Ask the rules, and where one finds something, whether it would be done at all."""
    found = _asked(call, is_windows=is_windows)
    if found is None or code.interpreter_name(call.name) in _HEEDLESS:
        return found
    if clouds.comes_back(call):
        return None
    return None if trials.pretends(call) else found


def _asked(call: Call, *, is_windows: bool) -> Finding | None:
    """The rule by name, the rows by name, and the grammar of programs that manage something."""
    name = call.name
    posix = is_windows or name not in _WINDOWS_ONLY
    for rule in (_RULES.get(name) or _RULES.get(code.interpreter_name(name), ())) if posix else ():
        if found := rule(call):
            return found
    if trials.on_trial(call):
        return None
    rows = _ROWS.get(name, ())
    if found := next(filter(None, (row.finding(call) for row in rows)), None):
        return found
    if "-" in name and is_windows and (found := windows.cmdlet(call)):
        return found
    if found := credentials.credentials(call) or edits.output(call) or _uninstaller(call):
        return found
    if runs := _program_run(call):
        return ask(replace(call, name=program_name(runs[0]), args=runs[1:]), is_windows=is_windows)
    if name in DATA or (name in _RULES and name not in managers.MANAGERS) or any(row.spares(call) for row in rows):
        return None
    return managers.verb(call) or accounts.granted(call) or databases.sends_sql(call) or databases.objects(call)


def _program_run(call: Call) -> list[str]:
    """The program that an interpreter is given as a file or a module: ``java -jar x.jar``, ``python manage.py``, ``python -m pytest``."""
    name, args = code.interpreter_name(call.name), call.args
    if name == "java" and "-jar" in args[:-1]:
        jar, *rest = args[args.index("-jar") + 1 :]
        return [_VERSIONED.sub("", jar), *rest]
    if name == "python" and "-m" in args[:-1]:
        return args[args.index("-m") + 1 :]
    return args if name in ("python", "php") and args and args[0].endswith((".py", "artisan", "console")) else []


def _uninstaller(call: Call) -> Finding | None:
    """Programs named for what they take away: ``k3s-uninstall.sh``, run by themselves or by a shell."""
    if call.name in DATA or (call.name in _RULES and call.name not in wrappers.SHELLS):
        return None
    names = [call.name, *(program_name(word) for word in call.operands[:1] if call.name in wrappers.SHELLS)]
    found = next(filter(_UNINSTALLER.fullmatch, names), None)
    if found is None or (call.name in wrappers.SHELLS and "-n" in call.flags) or trials.pretends(call):
        return None
    return Finding(Category.PACKAGES, found, "takes away what is installed, and its data")


def program_name(word: str) -> str:
    """The name a program goes by: no folder, no extension of Windows, no case where a glob or a caret hides it."""
    if word.isalnum():
        return word.lower()
    name = _EXTENSION.sub("", re.split(r"[/\\]", word)[-1].replace("^", "").lower())
    if "$" in name and (known := _UNSET.sub("", name)):
        name = known
    if ("?" in name or "*" in name or "[" in name) and 2 <= len(name) <= 24 and name not in ("[", "[["):
        return next((known for known in _GLOBBED if fnmatch.fnmatchcase(known, name)), name)
    return name
