"""Rules for disks, what stands on them and what fills them: file systems, partitions, volumes, drives."""

from __future__ import annotations

import re

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.files import emptied, overwritten
from firewall.engine.shell.types import Category, Finding


def shred(call: Call) -> Finding | None:
    targets = [target for target in call.operands if not paths.temporary(target)]
    if call.flags & {"--help", "--version"} or not targets:
        return None
    return Finding(Category.DISK, targets[-1], "overwrites data so that it cannot be recovered")


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
        if not paths.temporary(word)
        and ("/dev/" in word or word.startswith("$") or not re.fullmatch(r"[\w./-]+\.(?:img|raw|iso|ext[234]|fs|bin|dmg|qcow2)|\d+[kKMGT]?", word))
    ]
    return Finding(Category.DISK, call.name, "makes a new file system over the old") if targets else None


def make_swap(call: Call) -> Finding | None:
    """Into a file it is part of making that file."""
    target = next((word for word in call.operands if word.startswith(("/dev/", "$"))), None)
    return Finding(Category.DISK, target, "makes a disk a swap area") if target else None


def partitions(call: Call) -> Finding | None:
    if call.flags & {"-l", "--list", "-p", "--print", "-x", "-J", "--json", "--dump", "-v", "--verify", "-V", "--version", "--help", "-i", "--info"}:
        return None
    if call.flags & _PARTITIONS_READ.get(call.name, frozenset()):
        return None
    target = next(filter(paths.disk, call.operands), None)
    return Finding(Category.DISK, target, "changes the partitions of a disk") if target else None


#: Options that copy the table of partitions elsewhere, or try a change only.
_PARTITIONS_READ = {
    "sfdisk": frozenset({"-d", "-n", "--dump", "--backup-pt-sectors"}),
    "sgdisk": frozenset({"-b", "--backup", "-P", "--pretend", "-O", "--print-mbr", "-F", "-E", "-f", "--first-in-largest", "--end-of-largest"}),
}


def mount(call: Call) -> Finding | None:
    operands = call.operands
    source, place = operands[-2:] if len(operands) > 1 else ("", "")
    covers = paths.critical(place) or (paths.system_folder(place) and place not in ("/mnt", "/media", "/opt", "/srv"))
    return Finding(Category.SYSTEM_FILES, place, "covers a part of the system") if covers or source == "/dev/null" else None


_FILE_SYSTEMS = ["ext2", "ext3", "ext4", "xfs", "btrfs", "jfs", "vfat", "fat", "ntfs", "exfat", "f2fs", "minix", "reiserfs", "cramfs", "udf", "bfs"]

RULES: dict[str, Rule] = {
    **dict.fromkeys(("shred", "srm", "wipe", "scrub"), shred),
    **dict.fromkeys(("mkfs", "mke2fs", "mkdosfs", "mkntfs", "mkreiserfs", "newfs", "newfs_apfs", "newfs_hfs", "newfs_msdos", "newfs_exfat"), make_file_system),
    **dict.fromkeys((f"mkfs.{kind}" for kind in _FILE_SYSTEMS), make_file_system),
    **dict.fromkeys(("fdisk", "cfdisk", "gdisk", "sgdisk", "cgdisk", "sfdisk"), partitions),
    **dict.fromkeys(("ddrescue", "dd_rescue"), rescued),
    **dict.fromkeys(("tail", "tac", "sort", "rev"), swallowed),
    **dict.fromkeys(("dd", "dcfldd"), dd),
    "mkswap": make_swap,
    "lvresize": resized,
    "fallocate": allocated,
    "mount": mount,
}

TABLE: dict[str, tuple[Row, ...]] = table(
    Category.DISK,
    """
    wipefs + -a --all -f --force -o --offset ! -n | erases the marks of a file system
    blkdiscard | discards all data of a disk
    badblocks + -w | writes over a disk to test it
    parted + mklabel mktable mkpart rm resizepart | changes the partitions of a disk
    pvcreate ! --test -t | makes a disk part of a group of volumes, over what it holds
    lvremove,vgremove,pvremove,lvreduce,vgreduce ! --test -t | removes or shrinks a volume
    trash-empty | deletes all that was put aside
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
    umount + -l -f -a --all --force --lazy | takes file systems away under running programs
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
