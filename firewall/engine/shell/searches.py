"""What ``find`` and its cousins find: where they look, and whether it may be lost without harm."""

from __future__ import annotations

import itertools

from firewall.engine.shell import paths
from firewall.engine.shell.types import FOUND

FINDERS = frozenset({"find", "gfind", "bfs", "fd", "fdfind"})
HARMLESS = "/tmp/found"  # noqa: S108 - a name to compare with
"""Stands for files found that may be lost without harm."""

_ACTS = frozenset({"-exec", "-execdir", "-ok", "-okdir", "-delete", "-printf", "-ls", "-x", "-X", "--exec", "--exec-batch", "-l", "--list-details"})


def roots_of(args: list[str]) -> list[str]:
    """The folders searched, which stand before the first test."""
    options = ("-L", "-H", "-P")
    return [word for word in itertools.takewhile(lambda word: word in options or not word.startswith(("-", "(", "!")), args) if word not in options]


#: What a search does with what it has found, and what may turn its tests into others.
_ACTIONS = frozenset({"-delete", "-exec", "-execdir", "-ok", "-okdir", "-print", "-print0", "-printf", "-ls", "-fprint", "-fprint0"})
_NAMES = frozenset({"-name", "-iname", "-path", "-wholename"})


def harmless(args: list[str]) -> bool:
    """A search under temporary folders, for what is empty, or for names that a build makes again."""
    roots = roots_of(args)
    if roots and all(paths.harmless(root) or root.rstrip("/") in paths.TEMPORARY for root in roots):
        return True
    tests = args[: next((place for place, word in enumerate(args) if word in _ACTIONS), len(args))]
    depth, is_narrowed, told, acts = 0, False, [], len(tests) < len(args)
    for before, word, after in zip(["", *tests], tests, [*tests[1:], ""], strict=False):
        depth += (word in ("(", "\\(")) - (word in (")", "\\)"))
        if word == "," or (word in ("-o", "-or") and acts and not depth) or (word in ("!", "-not") and (after not in _NAMES or depth)):
            # What fails its tests is found as well.
            return False
        is_narrowed = is_narrowed or (word == "-empty" and not depth)
        if word in _NAMES and before not in ("!", "-not"):
            told.append(after)
    return is_narrowed or (bool(told) and all(paths.rebuildable(name.removeprefix("*/").removesuffix("/*")) for name in told))


def each_found(args: list[str]) -> str:
    """A path that stands for each file found: by its name where that is asked for exactly."""
    if harmless(args):
        return HARMLESS
    name = next((after for word, after in itertools.pairwise(args) if word == "-name" and not set("*?[") & set(after)), FOUND)
    return f"{(roots_of(args) or ['.'])[0].rstrip('/')}/{name}"


def listed(words: list[str]) -> str | None:
    """What a search prints; None for any other command, or if it prints something else than names."""
    name, args = words[0].rsplit("/", 1)[-1], words[1:]
    if name == "git" and args[:1] == ["ls-files"]:
        names = [word for word in args[1:] if not word.startswith("-")]
        return HARMLESS if names and all(map(paths.rebuildable, names)) else f"./{FOUND}"
    if name == "ls" and all("*" in word for word in args):
        return "\n".join(args) or None
    if name not in FINDERS or not _ACTS.isdisjoint(args):
        return None
    if name in ("fd", "fdfind"):
        # Its first operand is a pattern, not a folder.
        args = [".", *(part for word, after in itertools.pairwise(words) if word in ("-e", "--extension") for part in ("-name", f"*.{after}"))]
    return each_found(args)
