"""Rules for PowerShell's cmdlets and the commands of cmd.exe. Names are compared in lower case, as Windows does."""

from __future__ import annotations

import re

import re2

from firewall.engine.shell import accounts, files, network, paths
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.types import FOUND, Category, Command, Finding, word_set

#: Signs of a text for PowerShell or cmd.exe: their paths and their variables before a backslash.
_WRITTEN = re.compile(
    r"(?i)(?:^|[\s\"'=(,;|&@])(?:[a-z]:\\|\.{1,2}\\[\w*.]|\\\\[\w.]+\\|%\w+%\\|\$(?:env:)?\w+\\[\w*.]|hk(?:lm|cu|cr|ey_\w+)\\|[\w.-]+\\[\w*])"
)
_ENDLESS = re2.compile(r"(?i)\b(?:while\s*\(\s*(?:1|\$true)\s*\)|for\s*\(\s*;\s*;\s*\))\s*\{[^}]*\b(?:start-process|saps|start-job|start)\b[^}]*\}")
#: Programs whose end is the end of the machine.
_VITAL = re.compile(r"(?i)(?:lsass|csrss|winlogon|wininit|services|smss|svchost|msmpeng|system|sqlservr|mysqld|postgres|mongod|w3wp|ntds|dns)(?:\.exe)?|\*")
_VITAL_SERVICE = re.compile(
    r"(?i)mssql.*|sqlserveragent|windefend|sense|mpssvc|eventlog|wuauserv|w32time|lanman\w+|dnscache|dns|dhcp\w*|ntds|kdc|netlogon|w3svc|bits|vss|termservice|winrm|spooler|\*"
)
_DISARMED = re.compile(
    r"(?i)windows defender|\\?disable(?:antispyware|antivirus|realtimemonitoring|\w*uac)|enablelua|image file execution options|securityhealth"
)

#: Nouns of ``Remove-`` and ``Clear-`` that undo nothing but a setting of the session.
_SESSION_NOUNS = word_set(
    """
    variable module alias psdrive pssession psbreakpoint typedata job event eventsubscriber host content item itemproperty console typenames history
    screen
    """
)
_CMDLET = re.compile(r"(remove|clear|stop|restart|format|initialize|reset|uninstall|disable|suspend|dismount|set|add|new|revoke|unregister|delete)-([a-z]+)")
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
        case (("remove" | "clear"), "itemproperty") if any(word.lower().startswith("hklm:") for word in call.args):
            return Finding(Category.SYSTEM_FILES, call.name, "deletes settings of the machine")
        case (("remove" | "clear"), noun) if noun not in _SESSION_NOUNS:
            return Finding(Category.DISK if noun in ("disk", "partition", "volume") else Category.DELETION, call.name, "deletes what it manages")
        case (("stop" | "restart"), "computer") | ("stop", ("vm" | "azvm" | "ec2instance" | "azwebapp")):
            return Finding(Category.SERVICES, call.name, "stops or restarts the machine")
        case (("format" | "initialize"), ("volume" | "disk")):
            return Finding(*_with_word("format", call.name))
        case (("reset"), ("physicaldisk" | "computermachinepassword")):
            return Finding(Category.DISK, call.name, "erases a disk")
        case (("uninstall" | "unregister" | "delete" | "revoke"), _):
            return Finding(*_with_word(action, call.name))
        case "disable", ("localuser" | "netfirewallrule" | "computerrestore" | "bitlocker" | "adaccount" | "netadapter"):
            return Finding(Category.SERVICES, call.name, "turns a protection or an account off")
        case (("clear" | "set" | "add"), ("content" | "item")):
            return _content(call, action)
        case "stop", ("service" | "process"):
            return _ended(call)
        case _:
            return _disarmed(call, action, noun)


def _content(call: Call, action: str) -> Finding | None:
    target = next(iter(call.operands), "")
    if action == "clear":
        target = next(filter(paths.log, call.operands), target)
        return files.emptied(target)
    return Finding(Category.SYSTEM_FILES, target, "changes a file that others need") if paths.system(target) else None


def _disarmed(call: Call, action: str, noun: str) -> Finding | None:
    """Settings of the protections of the machine."""
    words = [word.lower() for word in call.args]
    off = (
        (noun == "mppreference" and any(word.startswith(("-disable", "-exclusion")) and word != "-disable" for word in words))
        or (noun == "netfirewallprofile" and not {"false", "$false"}.isdisjoint(words))
        or (noun in ("itemproperty", "item") and any(map(_DISARMED.search, words)))
    )
    return Finding(Category.SERVICES, call.name, "turns a protection off") if action in ("set", "add", "new") and off else None


def _ended(call: Call) -> Finding | None:
    vital = _VITAL if call.name.endswith("process") else _VITAL_SERVICE
    names = [name for word in call.operands for name in word.split(",")]
    found = next((name for name in names if vital.fullmatch(name)), None)
    if not names and [[word.lower() for word in command.words] for command in call.before] in ([["get-process"]], [["gps"]], [["get-service"]]):
        found = call.name
    return Finding(Category.SERVICES, found, "stops what others need") if found else None


def _with_word(action: str, word: str) -> tuple[Category, str, str]:
    category, reason = _REASONS[action]
    return category, word, reason


#: Options of cmdlets followed by something else than what they work on.
_VALUED = word_set("-erroraction -ea -warningaction -wa -informationaction -filter -include -exclude -stream -credential -errorvariable -confirm -outvariable")


def remove_item(call: Call) -> Finding | None:
    """``Remove-Item`` and its aliases; options may be shortened as long as they are clear."""
    options = [word.lower() for word in call.args if word.startswith("-")]
    if "-whatif" in options:
        return None
    recursive = any("-recurse".startswith(word) and len(word) > 1 for word in options)
    targets = [
        each
        for place, word in enumerate(call.args)
        if not word.startswith(("/", "-")) and word not in ("{", "}") and call.args[place - 1].lower() not in _VALUED
        for each in word.split(",")
        if each
    ]
    for target in targets:
        if paths.harmless(target):
            continue
        if paths.log(target):
            return Finding(Category.TRACES, target, "wipes a log or a history")
        if recursive or paths.system(target) or paths.whole(target) or target == FOUND:
            return Finding(Category.DELETION, target, "deletes a folder and all that is in it")
    if targets or any(map(_lists_harmless, call.before)):
        return None
    return Finding(Category.DELETION, call.name, "deletes everything it is fed") if recursive or any(map(lists_all, call.before)) else None


def _lists_harmless(command: Command) -> bool:
    targets = Call("", command.words[1:]).operands
    return command.words[:1] != [] and command.words[0].lower() in ("get-childitem", "gci", "ls", "dir") and bool(targets) and all(map(paths.harmless, targets))


def lists_all(command: Command) -> bool:
    """``Get-ChildItem -Recurse``, or of a folder as a whole."""
    listing = Call("", command.words[1:])
    if command.words[:1] and command.words[0].lower() not in ("get-childitem", "gci", "ls", "dir"):
        return False
    targets = listing.operands
    if any("*" in target.strip("*./") or paths.harmless(target) for target in targets) or any(word.lower() in ("-filter", "-include") for word in listing.args):
        return False
    return (
        any(len(word) > 1 and "-recurse".startswith(word.lower()) for word in listing.args) or any(map(paths.whole, targets)) or any(map(paths.system, targets))
    )


def delete(call: Call) -> Finding | None:
    """``del``, ``erase``, ``rd``, ``rmdir``: with ``/s`` or ``/q`` a tree or without asking."""
    switches = {word[:2].lower() for word in call.args if re.fullmatch(r"(?:/[a-zA-Z])+", word)} | {
        "/" + part.lower() for word in call.args for part in word.split("/")[1:] if re.fullmatch(r"(?:/[a-zA-Z])+", word)
    }
    targets = [word for word in call.operands if not re.fullmatch(r"(?:/[a-zA-Z](?::\S*)?)+", word)]
    if targets and all(map(paths.harmless, targets)):
        return None
    if switches & {"/s"} and not (targets and all(map(paths.rebuildable, targets))):
        return Finding(Category.DELETION, call.name, "deletes a folder and all that is in it")
    if call.name in ("del", "erase") and any(target.endswith(FOUND) for target in targets):
        return Finding(Category.DELETION, call.name, "deletes every file found")
    unasked = switches & {"/q", "/f"} or (call.fed or "").strip().lower().startswith("y")
    if call.name in ("del", "erase") and unasked and any(paths.whole(target) or "*" in target or paths.system(target) for target in targets):
        return Finding(Category.DELETION, call.name, "deletes files without asking")
    return remove_item(call) if call.name not in ("rmdir", "unlink") or any(word.lower().startswith("-rec") for word in call.args) else None


def drive(call: Call) -> Finding | None:
    if any(re.match(r"[A-Za-z]:", word) for word in call.args):
        return Finding(Category.DISK, call.args[0], "formats a drive")
    return None


def switched(call: Call) -> Finding | None:
    """Programs of Windows whose verb is a switch or a word: ``reg delete``, ``net user x /delete``, ``vssadmin delete shadows``."""
    if "/?" in call.args:
        return None
    words = [word.lower().lstrip("/-") for word in call.args]
    verbs = _SWITCHED[call.name]
    found = next((word for word in words if word in verbs or word.partition(":")[0] in verbs), None)
    return Finding(Category.SERVICES, f"{call.name} {found}", "deletes or stops what the machine needs") if found else None


def rights(call: Call) -> Finding | None:
    """``icacls``, ``cacls``: rights for everyone, or none for anyone, and whole drives."""
    words = [word.lower() for word in call.args]
    targets = [word for word in call.args if not word.startswith("/")][:1]
    everyone = next(
        (
            word
            for word in words
            if re.match(r"(?:everyone|\*s-1-1-0|users|(?:builtin/)?users|authenticated users):(?:.*[fmw]\b|$)", word.replace("(", " ").replace(")", " "))
        ),
        None,
    )
    if everyone and not {"/grant", "/grant:r", "/g", "/p"}.isdisjoint(words):
        return Finding(Category.PERMISSIONS, everyone, "opens files to every user of the machine")
    spoilt = next((word for word in words if word in ("/deny", "/reset", "/remove", "/setowner", "/inheritance:r")), None)
    if spoilt and any(paths.system(target) or paths.whole(target) for target in targets):
        return Finding(Category.PERMISSIONS, spoilt, "changes who may use a folder of the system and all that is in it")
    return Finding(Category.PERMISSIONS, spoilt, "takes rights away") if spoilt == "/reset" and "/t" in words else None


def attributes(call: Call) -> Finding | None:
    targets = [word for word in call.args if not word.startswith(("/", "-", "+"))]
    wide = "/s" in map(str.lower, call.args) and any(paths.whole(target) or paths.system(target) for target in targets)
    return Finding(Category.PERMISSIONS, call.name, "changes every file of a drive") if wide else None


#: Whatever parts its lines: the mark of PowerShell for a new one is lost to other shells.
_DISK_ORDER = re2.compile(r"(?is)(?:^|\n|\bselect\s+(?:disk|vol\w*|part\w*)\b.*?)\s*(clean(?: all)?|delete (?:partition|volume|disk)|format)\b")


def disk_script(call: Call) -> Finding | None:
    """What it is fed, as far as it can be told; what cannot be told is more than a list of disks."""
    if call.before and call.fed is None:
        return Finding(Category.DISK, call.name, "changes disks as it is told, which cannot be read here")
    found = _DISK_ORDER.search(call.fed or "")
    return Finding(Category.DISK, found.group(1), "erases a disk") if found else switched(call)


def registry(call: Call) -> Finding | None:
    words = [word.lower() for word in call.args]
    if words[:1] in (["save"], ["export"]) and any(re.search(r"(?:hklm|hkey_local_machine)[\\/]?(?:sam|security|system)$", word) for word in words):
        return Finding(Category.CREDENTIALS, call.args[1], "copies the store of passwords")
    if words[:1] in (["add"], ["import"]) and (key := next((word for word in call.args if _DISARMED.search(word)), None)):
        return Finding(Category.SERVICES, key, "turns a protection off")
    return None


def task(call: Call) -> Finding | None:
    names = [word for word in call.args if not word.startswith("/")]
    found = next(filter(_VITAL.fullmatch, names), None)
    return Finding(Category.SERVICES, found, "ends processes that others need") if found else None


def placed(call: Call) -> Finding | None:
    """Files copied over those of the system; a mirror deletes what the source does not have."""
    words = [word.lower() for word in call.args]
    mirrors = next((word for word in words if word in ("/mir", "/purge", "/move", "/mov")), None)
    if call.name == "robocopy" and mirrors and "/l" not in words:
        return Finding(Category.DELETION, mirrors, "deletes what the other side does not have")
    targets = [word for word in call.args if not re.fullmatch(r"(?:/\w+(?::\S*)?)+|-\w+", word)]
    target = targets[-1] if len(targets) > 1 else ""
    return (
        Finding(Category.SYSTEM_FILES, target, "overwrites a file of the system")
        if re.match(r"(?i)(?:[a-z]:)?[\\/]?windows\b|%(?:systemroot|windir)%", target)
        else None
    )


def brought(call: Call) -> Finding | None:
    """Programs of Windows that fetch, or run what is elsewhere, without being asked what it is."""
    word = next((word for word in call.args if re.match(r"(?i)(?:/i:|-i:)?(?:https?|ftp)://|javascript:|vbscript:", word)), None)
    return Finding(Category.DOWNLOAD, word, "is downloaded or run from elsewhere") if word else None


def endless(text: str) -> Finding | None:
    """A loop of PowerShell that starts programs without end and without a pause."""
    found = _ENDLESS.search(text) if "{" in text else None
    if not found or any(pause in found.group(0).lower() for pause in ("sleep", "-wait", "break")):
        return None
    return Finding(Category.FORK_BOMB, found.group(0).partition("{")[0].strip(), "starts programs again and again without end")


def written(text: str) -> bool:
    """Whether ``text`` looks as if written for PowerShell or cmd.exe, where a backslash parts folders."""
    return "\\" in text and bool(_WRITTEN.search(text))


def method(call: Call, command: Command) -> Finding | None:
    """Methods of .NET: ``[IO.File]::Delete``, ``$_.Delete()``, and what is made a script after it was downloaded."""
    name = call.name
    if name.endswith(("]::delete", ".delete")) and name.startswith(("[", "$", ".")):
        return Finding(Category.DELETION, name, "deletes files")
    if re.fullmatch(r"\[.*\]::(?:writeall\w+|move|copy|setaccesscontrol)", name):
        given = [word for script in command.inner for pipeline in script for inner in pipeline for word in inner.words]
        if target := next((word for word in given if paths.system(word) or paths.critical(word)), None):
            return Finding(Category.SYSTEM_FILES, target, "overwrites a file of the system")
    if "[scriptblock]::create" in name and (fetcher := next(filter(None, map(network.fetches, command.inner)), None)):
        return Finding(Category.DOWNLOAD, fetcher, "is made a script, which runs what was downloaded")
    return None


def each(words: list[str], command: Command) -> list[str] | None:
    """The words run in ``for %x in (set) do ..``, with what the set holds; None for any other command."""
    if words[:1] != ["for"] or "do" not in words or not any(word.startswith("%") for word in words):
        return None
    variable = next(word for word in words if word.startswith("%"))
    held = [inner.words[0] for script in command.inner for pipeline in script for inner in pipeline if inner.words]
    value = held[0] if held and held[0].strip("*.") and "/f" not in words and "/F" not in words else FOUND
    return [word.replace(variable, value) for word in words[words.index("do") + 1 :]]


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
    "cipher": frozenset({"w"}),
    "wevtutil": frozenset({"cl", "clear-log"}),
    "fsutil": frozenset({"deletejournal", "setzerodata"}),
    "netsh": frozenset({"reset", "off", "delete"}),
    "takeown": frozenset({"r"}),
    "dism": frozenset({"remove-package", "disable-feature"}),
    "manage-bde": frozenset({"off", "forcerecovery"}),
    "wsl": frozenset({"unregister"}),
    "msiexec": frozenset({"x", "uninstall"}),
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(("icacls", "cacls", "xcacls"), rights),
    **dict.fromkeys(("copy", "xcopy", "robocopy", "move", "copy-item", "move-item"), placed),
    **dict.fromkeys(("mshta", "regsvr32", "rundll32", "certutil", "bitsadmin", "msiexec", "installutil", "cmstp"), brought),
    "attrib": attributes,
    "taskkill": task,
    **dict.fromkeys(("ri", "del", "erase", "rd", "rmdir", "deltree"), delete),
    **dict.fromkeys(_SWITCHED, switched),
    "diskpart": disk_script,
    "net": lambda call: accounts.net(call) or switched(call),
    "reg": lambda call: registry(call) or switched(call),
    "format": drive,
}
