"""Rules for who may do what: accounts, powerful groups, capabilities, and rights given to everyone in a cloud."""

from __future__ import annotations

import re

from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.types import Category, Finding, word_set

#: Whoever is in one of these owns the machine.
_POWERFUL = word_set("root sudo wheel admin administrators administrator disk shadow kmem sudoers systemd-journal-gateway")
_CAPABILITY = re.compile(
    r"cap_(?:setuid|setgid|sys_admin|sys_ptrace|sys_module|sys_rawio|dac_override|dac_read_search|chown|fowner|setfcap|mac_\w+)|all[=+-]|=\w*ep$"
)
#: Rights over everything, or for everyone.
_TOTAL = re.compile(
    r"\bAdministratorAccess\b|\bIAMFullAccess\b|--clusterrole=(?:cluster-admin|admin)\b|\bcluster-admin\b|\broles/(?:owner|iam\.securityAdmin)\b|\ballUsers\b|\ballAuthenticatedUsers\b"
    r"|['\"]Principal['\"]\s*:\s*(?:['\"]\*['\"]|\{\s*['\"]AWS['\"]\s*:\s*['\"]\*)|['\"]Action['\"]\s*:\s*\[?\s*['\"]\*['\"]|\bsystem:(?:masters|anonymous|unauthenticated)\b|^public-read-write$"
)
_GIVES = word_set("attach put add create bind set grant ch assign update authorize")
_OPEN = ("0.0.0.0/0", "::/0")
_PUBLIC_PORTS = frozenset({"80", "443"})


def joined(call: Call) -> Finding | None:
    """``usermod -aG sudo eve``, ``adduser eve sudo``, ``net localgroup administrators eve /add``; an account with the number of root."""
    names = [part.lower() for word in call.args for part in word.split(",") if not word.startswith("-")]
    powerful = next((name for name in names if name in _POWERFUL), None)
    if call.name in ("usermod", "useradd") and not (call.value("-G", "--groups", "-g", "--gid") or any(re.fullmatch(r"-\w*G", word) for word in call.args)):
        powerful = None
    if powerful and len(names) > 1 and not call.flags & {"-d", "--help"}:
        return Finding(Category.PERMISSIONS, powerful, "makes an account an owner of the machine")
    if any(re.fullmatch(r"-o?u|--uid", word) and number == "0" for word, number in zip(call.args, call.args[1:], strict=False)):
        return Finding(Category.PERMISSIONS, "0", "makes an account an owner of the machine")
    shell = call.value("-s", "--shell")
    if call.name in ("usermod", "chsh") and shell and shell.endswith(("/nologin", "/false")):
        return Finding(Category.SERVICES, shell, "locks a user out")
    return None


def net(call: Call) -> Finding | None:
    """``net`` of Windows, for accounts and groups."""
    words = [word.lower() for word in call.args]
    if "/active:no" in words:
        return Finding(Category.SERVICES, "/active:no", "locks a user out")
    return joined(call) if "/add" in words and words[:1] in (["localgroup"], ["group"]) else None


def capability(call: Call) -> Finding | None:
    word = next((word for word in call.args if _CAPABILITY.search(word)), None)
    return Finding(Category.PERMISSIONS, word, "lets a program do what only the owner of the machine may") if word and "-r" not in call.flags else None


def granted(call: Call) -> Finding | None:
    """Rights over all there is, or for everyone, given by a program that manages a cloud or a cluster."""
    verbs = {part for word in call.operands[:4] for part in word.split("-")}
    if verbs.isdisjoint(_GIVES):
        return None
    if word := next((word for word in call.args if _TOTAL.search(word)), None):
        return Finding(Category.PERMISSIONS, word, "gives rights over everything, or to everyone")
    if {"put-bucket-acl", "put-object-acl"} & set(call.operands) and "public-read" in call.args:
        return Finding(Category.PERMISSIONS, "public-read", "opens stored data to everyone")
    if call.name == "az" and call.value("--role") == "Owner":
        return Finding(Category.PERMISSIONS, "Owner", "gives rights over everything, or to everyone")
    opened = next((word for word in call.args if word in _OPEN), None)
    if opened and "ingress" in verbs and call.value("--port") not in _PUBLIC_PORTS:
        return Finding(Category.PERMISSIONS, opened, "opens a port to everyone")
    return None


def secrets_shown(call: Call) -> Finding | None:
    """``kubectl get secrets -A -o yaml``."""
    everywhere = next((word for word in call.args if word in ("-A", "--all-namespaces")), None)
    shown = call.value("-o", "--output") not in (None, "", "wide", "name")
    if everywhere and shown and call.operands[:1] == ["get"] and {"secret", "secrets"} & set(call.operands):
        return Finding(Category.CREDENTIALS, everywhere, "shows every secret of the cluster")
    return None


#: In a manifest: everyone is the owner of the cluster, or a container has the whole machine.
_OPENS = re.compile(
    r"(?s)\bcluster-admin\b.*\bsystem:(?:unauthenticated|anonymous|authenticated|serviceaccounts)\b|\bsystem:(?:unauthenticated|anonymous)\b.*\bcluster-admin\b"
    r"|\bhostPath\b['\"]?\s*:\s*\{?\s*['\"]?path['\"]?\s*:\s*['\"]?/['\"]?\s*(?:[,}\n]|$)"
)


def applied(call: Call) -> Finding | None:
    """What a manifest that is fed gives to whoever asks."""
    if not call.fed or {"apply", "create", "replace"}.isdisjoint(call.operands[:3]):
        return None
    found = _OPENS.search(call.fed)
    return Finding(Category.PERMISSIONS, found[0].split()[0], "gives rights over everything, or to everyone") if found else None


def dumped(call: Call) -> Finding | None:
    """The memory of the program that checks passwords on Windows."""
    word = next((word for word in call.args if re.search(r"(?i)\blsass\b|\bminidump\b", word)), None)
    return Finding(Category.CREDENTIALS, word, "copies the memory that passwords are kept in") if word else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("kubectl", "oc"), lambda call: secrets_shown(call) or applied(call)),
    **dict.fromkeys(("procdump", "procdump64", "rundll32", "dumpert", "nanodump"), dumped),
    **dict.fromkeys(("usermod", "useradd", "adduser", "addgroup", "gpasswd", "dseditgroup", "chsh", "add-localgroupmember", "add-adgroupmember", "pw"), joined),
    "setcap": capability,
}

TABLE: dict[str, tuple[Row, ...]] = table(
    Category.SERVICES,
    """
    insmod | loads a driver into the kernel
    kextload,kextunload,kldload,kldunload ! -n | changes the drivers of the kernel
    dscl + -delete delete | deletes an account
    ldapdelete ! -n | deletes entries of the directory
    """,
)

SECRETS: dict[str, tuple[Row, ...]] = table(
    Category.CREDENTIALS,
    """
    mimikatz,secretsdump,secretsdump.py,lazagne,lsassy,pypykatz,pwdump | reads the store of passwords
    security find-generic-password + -w -g | shows a password
    security find-internet-password + -w -g | shows a password
    security dump-keychain | shows every password
    security export | copies keys
    gpg,gpg2 + --export-secret-keys --export-secret-key --export-secret-subkeys | copies secret keys
    """,
)
