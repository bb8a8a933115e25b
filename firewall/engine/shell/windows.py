"""Rules for PowerShell's cmdlets and the commands of cmd.exe. Names are compared in lower case, as Windows does."""

from __future__ import annotations

import re

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call
from firewall.engine.shell.files import Rule
from firewall.engine.shell.types import Category, Finding, word_set

#: Nouns of ``Remove-`` and ``Clear-`` that undo nothing but a setting of the session.
_SESSION_NOUNS = word_set(
    """
    variable module alias psdrive pssession psbreakpoint typedata job event eventsubscriber host content item itemproperty console typenames history
    screen
    """
)
_CMDLET = re.compile(r"(remove|clear|stop|restart|format|initialize|reset|uninstall|disable|suspend|dismount|set|revoke|unregister|delete)-([a-z]+)")
_REASONS = {
    "format": (Category.DISK, "makes a new file system over the old"),
    "initialize": (Category.DISK, "makes a new table of partitions over the old"),
    "uninstall": (Category.PACKAGES, "removes packages from the machine"),
    "unregister": (Category.SERVICES, "takes away what runs on the machine"),
    "delete": (Category.DELETION, "deletes what it manages"),
    "revoke": (Category.PERMISSIONS, "takes rights away"),
}


def cmdlet(call: Call) -> Finding | None:  # noqa: PLR0911 - one answer a kind of cmdlet
    """A cmdlet of a verb that takes something away; None for any other name."""
    found = _CMDLET.fullmatch(call.name)
    if not found or any(word.lower() in ("-whatif", "-whatif:$true") for word in call.args):
        return None
    action, noun = found.groups()
    match action, noun:
        case "remove", "item":
            return remove_item(call)
        case (("remove" | "clear"), noun) if noun not in _SESSION_NOUNS:
            return Finding(Category.DISK if noun in ("disk", "partition", "volume") else Category.DELETION, call.name, "deletes what it manages")
        case (("stop" | "restart"), "computer"):
            return Finding(Category.SERVICES, call.name, "stops or restarts the machine")
        case (("format" | "initialize"), ("volume" | "disk")):
            return Finding(*_with_word("format", call.name))
        case (("reset"), ("physicaldisk" | "computermachinepassword")):
            return Finding(Category.DISK, call.name, "erases a disk")
        case (("uninstall" | "unregister" | "delete" | "revoke"), _):
            return Finding(*_with_word(action, call.name))
        case "disable", ("localuser" | "netfirewallrule" | "computerrestore" | "bitlocker" | "adaccount" | "netadapter"):
            return Finding(Category.SERVICES, call.name, "turns a protection or an account off")
        case "clear", ("content" | "item"):
            target = next(iter(call.operands), "")
            return Finding(Category.SYSTEM_FILES, target, "empties a file that others need") if paths.system(target) or paths.precious(target) else None
        case "set", "mppreference" if "-DisableRealtimeMonitoring" in call.args:
            return Finding(Category.SERVICES, call.name, "turns a protection off")
    return None


def _with_word(action: str, word: str) -> tuple[Category, str, str]:
    category, reason = _REASONS[action]
    return category, word, reason


def remove_item(call: Call) -> Finding | None:
    """``Remove-Item`` and its aliases; options may be shortened as long as they are clear."""
    options = [word.lower() for word in call.args if word.startswith("-")]
    if "-whatif" in options:
        return None
    recursive = any("-recurse".startswith(word) and len(word) > 1 for word in options)
    targets = [word for word in call.operands if not word.startswith("/")]
    for target in targets:
        if paths.harmless(target.replace("\\", "/").removeprefix(".\\")):
            continue
        if recursive or paths.system(target) or paths.whole(target):
            return Finding(Category.DELETION, target, "deletes a folder and all that is in it")
    return Finding(Category.DELETION, call.name, "deletes everything it is fed") if recursive and not targets else None


def delete(call: Call) -> Finding | None:
    """``del``, ``erase``, ``rd``, ``rmdir``: with ``/s`` or ``/q`` a tree or without asking."""
    switches = {word[:2].lower() for word in call.args if re.fullmatch(r"(?:/[a-zA-Z])+", word)} | {
        "/" + part.lower() for word in call.args for part in word.split("/")[1:] if re.fullmatch(r"(?:/[a-zA-Z])+", word)
    }
    targets = [word for word in call.operands if not re.fullmatch(r"(?:/[a-zA-Z](?::\S*)?)+", word)]
    if switches & {"/s"} and not (targets and all(map(paths.rebuildable, targets))):
        return Finding(Category.DELETION, call.name, "deletes a folder and all that is in it")
    if call.name in ("del", "erase") and switches & {"/q", "/f"} and any(paths.whole(target) or "*" in target or paths.system(target) for target in targets):
        return Finding(Category.DELETION, call.name, "deletes files without asking")
    return remove_item(call) if call.name not in ("rmdir", "unlink") or any(word.lower().startswith("-rec") for word in call.args) else None


def drive(call: Call) -> Finding | None:
    if any(re.match(r"[A-Za-z]:", word) for word in call.args):
        return Finding(Category.DISK, call.args[0], "formats a drive")
    return None


def switched(call: Call) -> Finding | None:
    """Programs of Windows whose verb is a switch or a word: ``reg delete``, ``net user x /delete``, ``vssadmin delete shadows``."""
    words = [word.lower().lstrip("/-") for word in call.args]
    verbs = _SWITCHED[call.name]
    found = next((word for word in words if word in verbs), None)
    return Finding(Category.SERVICES, f"{call.name} {found}", "deletes or stops what the machine needs") if found else None


_SWITCHED: dict[str, frozenset[str]] = {
    "reg": frozenset({"delete", "unload", "restore"}),
    "net": frozenset({"delete", "stop", "del"}),
    "sc": frozenset({"delete", "stop"}),
    "schtasks": frozenset({"delete"}),
    "vssadmin": frozenset({"delete", "resize"}),
    "wbadmin": frozenset({"delete"}),
    "wmic": frozenset({"delete", "uninstall", "terminate"}),
    "bcdedit": frozenset({"delete", "deletevalue", "set"}),
    "diskpart": frozenset({"s", "clean"}),
    "cipher": frozenset({"w", "w:c"}),
    "wevtutil": frozenset({"cl", "clear-log"}),
    "fsutil": frozenset({"deletejournal", "setzerodata"}),
    "netsh": frozenset({"reset", "off", "delete"}),
    "icacls": frozenset({"reset", "everyone:f", "everyone:(oi)(ci)f"}),
    "takeown": frozenset({"r"}),
    "dism": frozenset({"remove-package", "disable-feature"}),
    "manage-bde": frozenset({"off", "forcerecovery"}),
    "wsl": frozenset({"unregister"}),
    "msiexec": frozenset({"x", "uninstall"}),
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(("ri", "del", "erase", "rd", "rmdir", "deltree"), delete),
    **dict.fromkeys(_SWITCHED, switched),
    "format": drive,
}
