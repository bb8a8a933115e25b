"""Programs that change files where they stand, and sed, whose scripts write files and run commands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.files import appended, emptied, overwritten
from firewall.engine.shell.types import Category, Finding

_SED_VALUED = frozenset({"-e", "-f", "-l", "--expression", "--file", "--line-length"})
_SED_IN_PLACE = re.compile(r"-[nErsuz]*i.*|--in-place.*")
_PERL_IN_PLACE = re.compile(r"-[a-zA-Z0]*i[^=]*")
#: An address of sed, then its negation: a line, its last, a pattern, a range of these.
_SED_ADDRESS = re.compile(r"(?:\d+(?:~\d+)?|\$|/(?:[^/\\\n]|\\.)*/[IM]*)(?:\s*,\s*(?:[~+]?\d+|\$|/(?:[^/\\\n]|\\.)*/[IM]*))?\s*!?\s*")
_SED_SUBSTITUTE = re.compile(r"([sy])([^\\\n])((?:(?!\2)[^\\]|\\.)*)\2((?:(?!\2)[^\\]|\\.)*)\2([0-9a-zA-Z]*)([^\n;}]*)", re.DOTALL)
#: An option whose value is a file to be written.
_WRITTEN_BY = ("-o", "-O", "--output", "--output-document", "-OutFile", "-out", "--output-file")
_EXTRACTED = ("-C", "--directory", "-d", "--cd")


def sed(call: Call) -> Finding | None:
    """What its scripts run and write, and the files it edits in place."""
    scripts, files = _sed_arguments(call)
    for script in scripts:
        for kind, text in sed_effects(script, call.fed):
            if found := (appended(text) if kind == "w" else call.again(text)):
                return found
    if any(_SED_IN_PLACE.fullmatch(word) for word in call.args):
        return edited(files, leaves_nothing=any(_DELETES_ALL.fullmatch(script.strip()) for script in scripts))
    return None


def _sed_arguments(call: Call) -> tuple[list[str], list[str]]:
    scripts, files, place = [], [], 0
    while place < len(call.args):
        word = call.args[place]
        if word in _SED_VALUED:
            scripts += call.args[place + 1 : place + 2] if word in ("-e", "--expression") else []
            place += 1
        elif re.fullmatch(r"-[nErsz]+e", word):
            scripts += call.args[place + 1 : place + 2]
            place += 1
        elif word.startswith("--expression="):
            scripts.append(word.partition("=")[2])
        elif not word.startswith("-"):
            files.append(word)
        place += 1
    return (scripts, files) if scripts else (files[:1], files[1:])


def sed_effects(script: str, fed: str | None) -> Iterator[tuple[str, str]]:
    """What a script of sed runs, as ``("e", command)``, and writes, as ``("w", file)``. Source: the manual of GNU sed, "Commands Requiring a newline"."""
    at = 0
    while at < len(script):
        if script[at] in " \t\n;{}":
            at += 1
            continue
        if address := _SED_ADDRESS.match(script, at):
            at = address.end()
            continue
        if found := _SED_SUBSTITUTE.match(script, at):
            at = found.end()
            kind, _, old, new, flags, rest = found.groups()
            if kind == "s" and "e" in flags:
                yield from (("e", text) for text in _substituted(old, new, fed))
            if kind == "s" and flags.endswith("w"):
                yield "w", rest.strip()
            continue
        letter, end = script[at], script.find("\n", at)
        end = len(script) if end < 0 else end
        if letter in "/sy":
            return  # An address or a substitution that never closes: sed refuses the rest.
        if letter in "ewWaicrR":
            if letter in "eWw":
                yield letter.lower(), script[at + 1 : end].strip()
            at = end
        else:
            at += 1


def _substituted(old: str, new: str, fed: str | None) -> Iterator[str]:
    """What ``s/old/new/e`` runs: the line as it is after the substitution; of a line not known, the new part."""
    new = re.sub(r"\\(.)", r"\1", new)
    yield new.replace("&", "$fed")
    if fed is not None:
        yield fed.replace(old, new, 1) if old in fed else fed


#: A script of sed, ex or ed that leaves no line: ``d``, ``1,$d``, ``%d``.
_DELETES_ALL = re.compile(r"(?:(?:%|,|[01]\s*,\s*\$|/\.\*/|/\^/)\s*)?d(?:el(?:ete)?)?;?")
_SAVES = re.compile(r"\+?:?(?:w|x|wq|wqa|xa)q?!?")


def edited(files: list[str], *, leaves_nothing: bool = False) -> Finding | None:
    if leaves_nothing and (target := next((file for file in files if not paths.harmless(file)), None)):
        return Finding(Category.DELETION, target, "is left without a line")
    return next(filter(None, map(appended, files)), None)


#: A program of perl that makes every line empty.
_DROPS_LINES = re.compile(r"""(?:\$_\s*=\s*(?:""|''|undef)|undef\s+\$_)\s*;?""")


def perl(call: Call) -> Finding | None:
    """``perl -pi -e`` on files of the system."""
    if any(_PERL_IN_PLACE.fullmatch(word) for word in call.args) and not call.flags & {"-x"}:
        told = next((after for word, after in itertools.pairwise(call.args) if re.fullmatch(r"-\w*[eE]", word)), "")
        silent = ("-n" in call.flags and not re.search(r"print|say|write|eof", told)) or bool(_DROPS_LINES.fullmatch(told.strip()))
        return edited([word for word in call.operands if "/" in word or (silent and word != told)], leaves_nothing=silent)
    return None


def awk(call: Call) -> Finding | None:
    return edited(call.operands) if "inplace" in call.args else None


def editor(call: Call) -> Finding | None:
    """An editor told what to do, with nobody before the screen."""
    told = call.fed is not None or any(word.startswith(("-c", "+", "-s", "-es", "-Es", "--cmd")) for word in call.args)
    if not told:
        return None
    lines = [line.strip() for text in [*call.args, call.fed or ""] for line in re.split(r"[\n|]", text)]
    empties = any(_DELETES_ALL.fullmatch(line.lstrip("+:")) for line in lines) and any(map(_SAVES.fullmatch, lines))
    return edited([word for word in call.operands if not re.search(r"[|%\s]", word)], leaves_nothing=empties)


def patch(call: Call) -> Finding | None:
    return edited(call.operands[:1])


def sponge(call: Call) -> Finding | None:
    return next(filter(None, map(emptied if call.fed == "" else overwritten, call.operands)), None)


def output(call: Call) -> Finding | None:
    """Any program told to write its output over a file of the system."""
    target = call.value(*_WRITTEN_BY)
    return appended(target) if target and "/" in target else None


def extracted(call: Call) -> Finding | None:
    """Archives unpacked over the programs or the settings of the machine."""
    target = call.value(*_EXTRACTED) or ""
    reads = call.name in ("unzip", "bsdtar", "7z") or any("x" in word for word in call.args[:1]) or call.flags & {"-x", "--extract", "--get"}
    if target and reads and re.fullmatch(r"/(?:etc|boot|bin|sbin|lib|lib64|usr/(?:bin|sbin|lib))/?", paths.clean(target)):
        return Finding(Category.SYSTEM_FILES, target, "unpacks an archive over the machine's own files")
    return None


def archived(call: Call) -> Finding | None:
    """Archives that take the files with them."""
    moves = {"tar": {"--remove-files"}, "zip": {"-m", "--move"}, "7z": {"-sdel"}, "7za": {"-sdel"}, "gtar": {"--remove-files"}}[call.name]
    options = call.flags if call.name == "zip" else set(call.args)
    if found := next(iter(moves & options), None):
        return Finding(Category.DELETION, found, "deletes what it packs")
    return extracted(call)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("sed", "gsed"), sed),
    **dict.fromkeys(("tar", "gtar", "zip", "7z", "7za"), archived),
    **dict.fromkeys(("unzip", "bsdtar", "cpio"), extracted),
    "patch": patch,
    "sponge": sponge,
}
