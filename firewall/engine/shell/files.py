"""Rules for files: deletion, overwriting, permissions, disks, and files that hold credentials."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Row, table
from firewall.engine.shell.credentials import credentials_read, credentials_sent
from firewall.engine.shell.types import FED, FOUND, Category, Command, Finding, Redirect

Rule = Callable[[Call], Finding | None]


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


def shred(call: Call) -> Finding | None:
    targets = [target for target in call.operands if not paths.temporary(target)]
    if call.flags & {"--help", "--version"} or not targets:
        return None
    return Finding(Category.DISK, targets[-1], "overwrites data so that it cannot be recovered")


def find(call: Call) -> Finding | None:
    """``-delete`` and ``-exec``: deletion under temporary folders, or of names a build makes again, is harmless."""
    args = call.args
    roots = []
    for word in args:
        if word.startswith(("-", "(", "!")):
            if word in ("-L", "-H", "-P"):
                continue
            break
        roots.append(word)
    for place, word in enumerate(args):
        if word == "-delete" and not harmless_search(args, roots):
            return Finding(Category.DELETION, word, "deletes every file found")
        if word in ("-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"):
            run = []
            for part in args[place + 1 :]:
                if part in (";", "+"):
                    break
                run.append(part)
            if found := found_by_run(call, run, args, roots):
                return found
        if word in ("-fprint", "-fprintf", "-fls") and place + 1 < len(args) and paths.critical(args[place + 1]):
            return Finding(Category.SYSTEM_FILES, args[place + 1], "overwrites a file of the system")
    return None


def found_by_run(call: Call, run: list[str], args: list[str], roots: list[str]) -> Finding | None:
    """What is run on each file of a search."""
    # Judged on the folder searched: whoever changes each file under it changes the folder.
    place = roots[0] if roots else "."
    if run and run[0].rsplit("/", 1)[-1] in ("rm", "unlink", "shred", "rmdir", "del", "srm", "trash"):
        if run[0].endswith("rmdir") or harmless_search(args, roots):
            return None
        return Finding(Category.DELETION, " ".join(run[:2]), "deletes every file found")
    if run and run[0] in ("chmod", "chown", "chgrp"):
        return call.words_again([run[0], "-R", *(word.replace("{}", place) for word in run[1:])])
    name = next((after for word, after in itertools.pairwise(args) if word == "-name" and not set("*?[") & set(after)), FOUND)
    found = "/tmp/found" if harmless_search(args, roots) else f"{place.rstrip('/')}/{name}"  # noqa: S108 - a name to compare with
    return call.words_again([word.replace("{}", found) for word in run])


def harmless_search(args: list[str], roots: list[str]) -> bool:
    if roots and all(paths.harmless(root) or root.rstrip("/") in paths.TEMPORARY for root in roots):
        return True
    if "-empty" in args:
        return True
    names = [args[place + 1] for place, word in enumerate(args[:-1]) if word in ("-name", "-iname", "-path", "-wholename")]
    return bool(names) and all(paths.rebuildable(name.removeprefix("*/").removesuffix("/*")) for name in names) and "!" not in args and "-not" not in args


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
        if call.name == "chmod" and _sets_user_id(mode) and (target.startswith("/") or recursive):
            return Finding(Category.PERMISSIONS, mode, "lets a program run as its owner")
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


def _sets_user_id(mode: str) -> bool:
    return (len(mode) == 4 and mode.isdigit() and mode[0] in "4567") or mode in ("u+s", "+s", "a+s", "ug+s", "u+sx")


def dd(call: Call) -> Finding | None:
    options = dict(word.partition("=")[::2] for word in call.args)
    target, source = options.get("of", ""), options.get("if", "")
    if paths.endless(source) and not paths.disk(target):
        endless = "count" not in options or paths.huge(options["count"], options.get("bs", "512"))
        if endless and target and target != "/dev/null":
            return Finding(Category.DISK, target, "grows until the disk is full")
        return emptied(target) if paths.precious(target) else overwritten(target)
    return overwritten(target) if target else None


def rescued(call: Call) -> Finding | None:
    """``ddrescue from to``."""
    return next(filter(None, map(overwritten, call.operands[1:2])), None)


def allocated(call: Call) -> Finding | None:
    size = call.value("-l", "--length") or ""
    return Finding(Category.DISK, size, "fills the disk") if paths.huge(size) else None


def swallowed(call: Call) -> Finding | None:
    """``tail /dev/zero``: what is kept until a line ends that never does."""
    source = next(filter(paths.endless, call.operands), None)
    return Finding(Category.FORK_BOMB, source, "fills the memory") if source else None


def resized(call: Call) -> Finding | None:
    size = call.value("-L", "-l", "--size", "--extents") or ""
    return Finding(Category.DISK, size, "shrinks a volume") if size.startswith("-") else None


def make_file_system(call: Call) -> Finding | None:
    """Into a file is harmless: an image being made."""
    if call.flags & {"--help", "-n", "-V", "--version", "-N"} or not call.operands:
        return None
    targets = [
        word
        for word in call.operands
        if "/dev/" in word or word.startswith("$") or not re.fullmatch(r"[\w./-]+\.(?:img|raw|iso|ext[234]|fs|bin|dmg|qcow2)|\d+[kKMGT]?", word)
    ]
    return Finding(Category.DISK, call.name, "makes a new file system over the old") if targets else None


def partitions(call: Call) -> Finding | None:
    if call.flags & {"-l", "--list", "-p", "--print", "-x", "-J", "--json", "--dump", "-v", "--verify", "-V", "--version", "--help", "-i", "--info"}:
        return None
    target = next(filter(paths.disk, call.operands), None)
    return Finding(Category.DISK, target, "changes the partitions of a disk") if target else None


def overwritten(target: str) -> Finding | None:
    """Writing over ``target`` from its start, whatever is written."""
    if paths.disk(target):
        return Finding(Category.DISK, target, "writes over a disk")
    if paths.clean(target) in ("/proc/sysrq-trigger",):
        return Finding(Category.SERVICES, target, "stops the machine at once")
    if paths.critical(target) or (paths.clean(target).startswith("/etc/") and not paths.temporary(target) and not paths.drop_in(target)):
        return Finding(Category.SYSTEM_FILES, target, "overwrites a file of the system")
    return None


def emptied(target: str) -> Finding | None:
    """Making ``target`` empty."""
    if paths.log(target):
        return Finding(Category.TRACES, target, "wipes a log or a history")
    if target.endswith((FOUND, FED)):
        return Finding(Category.DELETION, target, "empties every file found")
    if paths.precious(target) or (paths.system(target) and not paths.clean(target).startswith("/dev/")):
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
    judge = appended if call.flags & {"-a", "--append"} else overwritten
    return next(filter(None, map(judge, call.operands)), None)


def copy(call: Call) -> Finding | None:
    """``cp``, ``mv``, ``ln``, ``install``: what they leave, what they write over, what they take."""
    operands = call.operands
    if call.flags & {"--help", "--version"} or not operands:
        return None
    if call.name == "install" and (mode := call.value("-m", "--mode")) and _sets_user_id(mode):
        return Finding(Category.PERMISSIONS, mode, "lets a program run as its owner")
    target = call.value("-t", "--target-directory") or operands[-1]
    sources = operands[:-1] or operands
    if call.name == "mv":
        if paths.clean(target) == "/dev/null":
            return Finding(Category.DELETION, target, "moves files where nothing is kept")
        for source in sources:
            if (paths.whole(source) and source.rstrip("/").removesuffix("/*") in ("", "~", "/")) or paths.critical(source) or _system_folder(source):
                return Finding(Category.SYSTEM_FILES, source, "moves a part of the system away")
    if "/dev/null" in map(paths.clean, sources) and (found := emptied(target)):
        return found
    if any(map(paths.private, sources)):
        return Finding(Category.CREDENTIALS, next(filter(paths.private, sources)), "copies a file that holds credentials") if call.name != "ln" else None
    if paths.disk(target) or paths.critical(target):
        return overwritten(target)
    return None


def _system_folder(path: str) -> bool:
    path = paths.clean(path).rstrip("/")
    return (
        path.startswith("/")
        and paths.system(path)
        and (path.count("/") == 1 or bool(re.fullmatch(r"/usr/(?:s?bin|lib\w*|share|libexec)|/var/(?:lib|log|spool)|/var/lib/[\w-]+", path)))
    )


def truncate(call: Call) -> Finding | None:
    size = call.value("-s", "--size")
    if size is None or size.startswith("+"):
        return None
    return next(filter(None, map(emptied, call.operands)), None)


def rsync(call: Call) -> Finding | None:
    if call.flags & {"--dry-run", "-n"} - ({"-n"} if "--no" in call.flags else set()):
        return None
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
    target = call.operands[-1].rpartition(":")[2] if call.operands else ""
    return overwritten(target) if paths.critical(target) or paths.disk(target) else None


def mount(call: Call) -> Finding | None:
    operands = call.operands
    if len(operands) > 1 and (
        operands[-2] == "/dev/null" or paths.critical(operands[-1]) or (_system_folder(operands[-1]) and operands[-1] not in ("/mnt", "/media", "/opt", "/srv"))
    ):
        return Finding(Category.SYSTEM_FILES, operands[-1], "covers a part of the system")
    return None


def remove_tree(call: Call) -> Finding | None:
    """Programs that delete trees without being asked to."""
    return remove(Call(call.name, ["-r", *call.args]))


_FILE_SYSTEMS = ["ext2", "ext3", "ext4", "xfs", "btrfs", "jfs", "vfat", "fat", "ntfs", "exfat", "f2fs", "minix", "reiserfs", "cramfs", "udf", "bfs"]

RULES: dict[str, Rule] = {
    "scp": remote_copy,
    "mount": mount,
    "rimraf": remove_tree,
    "del-cli": remove_tree,
    "deltree": remove_tree,
    "rm": remove,
    "srm": shred,
    "unlink": remove,
    "grm": remove,
    "shred": shred,
    "wipe": shred,
    "scrub": shred,
    "find": find,
    "gfind": find,
    "fd": find,
    "fdfind": find,
    "bfs": find,
    **dict.fromkeys(("chmod", "chflags", "setfacl"), permissions),
    "chown": permissions,
    "chgrp": permissions,
    **dict.fromkeys(("mkfs", "mke2fs", "mkdosfs", "mkntfs", "mkreiserfs", "newfs", "newfs_apfs", "newfs_hfs", "newfs_msdos", "newfs_exfat"), make_file_system),
    **dict.fromkeys((f"mkfs.{kind}" for kind in _FILE_SYSTEMS), make_file_system),
    "lvresize": resized,
    "fallocate": allocated,
    **dict.fromkeys(("ddrescue", "dd_rescue"), rescued),
    **dict.fromkeys(("tail", "tac", "sort", "rev"), swallowed),
    "dd": dd,
    "dcfldd": dd,
    "fdisk": partitions,
    "cfdisk": partitions,
    "gdisk": partitions,
    "sgdisk": partitions,
    "cgdisk": partitions,
    "sfdisk": partitions,
    "tee": tee,
    "cp": copy,
    "mv": copy,
    "ln": copy,
    "install": copy,
    "truncate": truncate,
    "rsync": rsync,
}

TABLE: dict[str, tuple[Row, ...]] = table(
    Category.DISK,
    """
    mkswap ! --help | makes a disk a swap area
    wipefs + -a --all -f --force -o --offset ! --no-act -n | erases the marks of a file system
    blkdiscard ! --help | discards all data of a disk
    badblocks + -w | writes over a disk to test it
    parted + mklabel mktable mkpart rm resizepart | changes the partitions of a disk
    pvcreate ! --test -t | makes a disk part of a group of volumes, over what it holds
    lvremove,vgremove,pvremove,lvreduce,vgreduce ! --test -t | removes or shrinks a volume
    trash-empty ! --dry-run | deletes all that was put aside
    gio trash + --empty | deletes all that was put aside
    zpool destroy | destroys a pool of disks
    zpool labelclear | erases the labels of a pool
    zpool remove | takes a disk out of a pool
    zfs destroy ! -n | destroys a file system or its snapshots
    zfs rollback | throws away what was written since a snapshot
    btrfs subvolume delete | deletes a volume
    btrfs device remove | takes a disk out of a file system
    btrfs device delete | takes a disk out of a file system
    cryptsetup luksFormat | makes a new encrypted volume over the old
    cryptsetup luksErase | erases the keys of an encrypted volume
    cryptsetup erase | erases the keys of an encrypted volume
    cryptsetup luksKillSlot | removes a key of an encrypted volume
    cryptsetup luksRemoveKey | removes a key of an encrypted volume
    cryptsetup reencrypt | writes over a volume
    mdadm + --zero-superblock --stop -S --remove --fail -f -r --create -C ! --detail | takes a disk array apart
    dmsetup remove | removes a mapped device
    dmsetup remove_all | removes every mapped device
    dmsetup wipe_table | removes every mapped device
    nvme format | formats a drive
    nvme sanitize | erases a drive
    hdparm + --security-erase --security-erase-enhanced --trim-sector-ranges --write-sector | erases a drive
    sg_format,sg_sanitize | formats a drive
    diskutil eraseDisk | erases a disk
    diskutil eraseVolume | erases a volume
    diskutil secureErase | erases a disk
    diskutil zeroDisk | erases a disk
    diskutil partitionDisk | changes the partitions of a disk
    diskutil reformat | erases a volume
    diskutil apfs deleteContainer | deletes a container of volumes
    diskutil apfs deleteVolume | deletes a volume
    tune2fs + -f | changes a file system by force
    e2fsck,fsck,xfs_repair + -L | throws away the journal of a file system
    umount + -l -f -a --all --force --lazy ! --help | takes file systems away under running programs
    swapoff + -a --all | takes away the swap area
    resize2fs + -M -f | shrinks a file system
    losetup + -D --detach-all | takes devices away
    debugfs + -w | writes into a file system behind its back
    asr restore + --erase -erase | writes over a volume
    diskutil unmountDisk + force | takes file systems away under running programs
    flashrom + -w -E --write --erase | writes over the firmware of the machine
    gpt destroy | changes the partitions of a disk
    sdelete,sdelete64,nwipe,dban | overwrites data so that it cannot be recovered
    chattr + -i -a +i | changes what may be changed at all
    """,
)
