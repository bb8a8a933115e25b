"""Rules for who may use which file: ``chmod``, ``chown``, ``setfacl``."""

from __future__ import annotations

import re

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.types import Category, Finding


def permissions(call: Call) -> Finding | None:
    """``chmod`` and ``chown``: trees of the system, and anything opened to everyone with all that is in it."""
    recursive = not call.flags.isdisjoint({"-R", "--recursive"})
    mode, targets = (call.operands[0], call.operands[1:]) if call.operands else ("", [])
    if call.name == "chmod" and (removed := next((word for word in call.args if re.fullmatch(r"-[rwxXst]+", word)), "")):
        mode, targets = removed, call.operands
    if "--reference" in call.flags:
        mode, targets = "", call.operands
    opens = call.name == "chmod" and (
        mode.lstrip("0") in ("777", "666", "776", "767") or mode in ("a+rwx", "ugo+rwx", "a=rwx", "o+w", "a+w", "o+rwx", "+rwx", "ugo+w")
    )
    closes = call.name == "chmod" and mode != "" and (mode.lstrip("0") == "" or mode in ("u=,g=,o=", "a=", "ugo=", "a-rwx", "ugo-rwx", "-rwx"))
    stops = call.name == "chmod" and re.fullmatch(r"[augo]*-[rwx]+", mode) and mode.strip("augo-w")
    if call.name == "setfacl":
        mode, targets = call.value("-m", "-x", "--modify", "--set") or "", call.operands
        recursive = recursive or not call.flags.isdisjoint({"-b", "--remove-all"})
        opens = bool(re.search(r"(?:^|,)(?:o|other)::?\w*w|u:(?:nobody|everyone)\w*:\w*w", mode))
    for target in targets:
        if call.name == "chmod" and sets_user_id(mode) and (target.startswith("/") or recursive):
            return Finding(Category.PERMISSIONS, mode, "lets a program run as its owner")
        if call.name == "setfacl" and mode and (paths.critical(target) or paths.private(target)):
            return Finding(Category.PERMISSIONS, target, "lets others use a file that guards the machine")
        if paths.temporary(target):
            continue
        if (
            recursive
            and (paths.system(target) or target.rstrip("/") in ("~", "", "/*", ".."))
            and not target.startswith(("/var/www/", "/opt/", "/srv/", "/mnt/", "/media/", "/home/", "/usr/local/", "/app"))
        ):
            return Finding(Category.PERMISSIONS, target, "changes who may use a folder of the system and all that is in it")
        if opens and (recursive or paths.critical(target) or paths.private(target) or paths.system(target)):
            return Finding(Category.PERMISSIONS, mode, "opens files to every user of the machine")
        if closes and (recursive or paths.system(target) or paths.whole(target)):
            return Finding(Category.PERMISSIONS, mode, "takes away everyone's access")
        if stops and paths.critical(target):
            return Finding(Category.PERMISSIONS, target, "may no longer be used")
        if call.name in ("chown", "chgrp") and (paths.critical(target) or target.rstrip("/") in ("", "/etc", "/usr", "/bin")):
            return Finding(Category.PERMISSIONS, target, "changes the owner of a file of the system")
    return None


def sets_user_id(mode: str) -> bool:
    return (len(mode) == 4 and mode.isdigit() and mode[0] in "4567") or mode in ("u+s", "+s", "a+s", "ug+s", "u+sx")


RULES: dict[str, Rule] = dict.fromkeys(("chmod", "chflags", "setfacl", "chown", "chgrp"), permissions)
