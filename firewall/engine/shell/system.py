"""Rules for the machine itself: processes, services, accounts, firewall, packages, containers, and traces of what was done."""

from __future__ import annotations

import re

from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.evaluate import says
from firewall.engine.shell.files import emptied
from firewall.engine.shell.types import FED, UNKNOWN, Category, Command, Finding, Script

#: Services whose end locks people out, loses data or takes what others use.
CRITICAL_SERVICE = re.compile(
    r"(?:systemd-.*|sshd?|dbus.*|network(?:ing|-manager)?|NetworkManager|networkd|wpa_supplicant|dockerd?|containerd|crio|kubelet|k3s|etcd|firewalld|ufw|iptables|ip6tables|nftables|fail2ban|apparmor"
    r"|auditd|r?syslogd?|syslog-ng|journald|crond?|anacron|polkit|udev|lvm2.*|multipathd|iscsid|nfs-.*|postmaster|postgres(?:ql)?(?:[@-].*)?|mysqld?|mariadb|mongod|mongodb|redis(?:-server)?|valkey|memcached"
    r"|rabbitmq-server|kafka|zookeeper|elasticsearch|opensearch|cassandra|influxdb|clickhouse-server|nginx|apache2|httpd|haproxy|traefik|caddy|envoy|keepalived|consul|vault|nomad|bind9|named|dnsmasq|chronyd|ntpd?"
    r"|display-manager|gdm3?|lightdm|getty.*|init|launchd|libvirtd|clamav.*|crowdstrike.*|falcon-sensor|osqueryd|multi-user\.target|graphical\.target|default\.target|\*)(?:\.service|\.socket|\.target)?"
)
_TAKES_DOWN = frozenset({"stop", "down", "disable", "mask", "kill", "revert", "remove", "unload", "bootout"})


def service(call: Call) -> Finding | None:
    """``systemctl``, ``service``, ``rc-service``, ``launchctl``: stopping what others need."""
    operands = call.operands
    if not operands:
        return None
    words = [operands[-1], *operands[:-1]] if call.name in ("service", "rc-service", "invoke-rc.d") and len(operands) == 2 else operands
    action, names = words[0], words[1:]
    if action in ("poweroff", "reboot", "halt", "kexec", "emergency", "rescue", "suspend", "hibernate", "exit", "soft-reboot"):
        return Finding(Category.SERVICES, action, "stops or restarts the machine")
    if action in ("mask",) and names:
        return Finding(Category.SERVICES, action, "makes a service impossible to start")
    if action == "isolate" and (name := next((name for name in names if re.match(r"(?:rescue|emergency|poweroff|reboot|halt|kexec)\b", name)), None)):
        return Finding(Category.SERVICES, name, "stops or restarts the machine")
    if action in _TAKES_DOWN:
        name = next((name for name in names if CRITICAL_SERVICE.fullmatch(name)), None)
        if name or (call.name == "launchctl" and action in ("bootout", "unload", "remove")):
            return Finding(Category.SERVICES, name or action, "stops a service that others need")
    return None


def kill(call: Call) -> Finding | None:
    args = [word for word in call.args if word != "--"]
    targets = args[1:] if args and re.fullmatch(r"-(?:\d+|[A-Z]+\d?)", args[0]) and len(args) > 1 else args
    if call.args[:1] in (["-s"], ["-n"]):
        targets = args[2:]
    if call.args[:1] and call.args[0] in ("-l", "-L"):
        return None
    unknown = any(target.startswith((UNKNOWN, FED)) for target in targets)
    if found := next(filter(None, (_listed(script, args[:1]) for script in call.inner if unknown)), None):
        return found
    for target in targets:
        if target == "-1" and (len(args) > 1 or "--" in call.args):
            return Finding(Category.SERVICES, target, "ends every process there is")
        if target == "1":
            return Finding(Category.SERVICES, target, "ends the first process, and with it the machine")
    return None


#: They keep some of the lines or processes they are given.
_NARROWS = frozenset({"head", "tail", "fzf", "pidof", "lsof", "jobs", "fuser", "ss", "netstat"})
_CONDITION = re.compile(r"/.+/|[=!]=|~|\$\d+\s*[<>]|index\(|match\(")


def _listed(script: Script, signal: list[str]) -> Finding | None:
    """``kill $(ps ..)``: every process there is, where nothing picks some of them; ``kill $(pidof ..)``: as if killed by that name."""
    for pipeline in script:
        calls = [Call(command.words[0].rsplit("/", 1)[-1], command.words[1:]) for command in pipeline if command.words]
        if calls and calls[0].name in ("pgrep", "pidof") and (found := kill_by_name(Call("pkill", [*signal, *calls[0].args]))):
            return found
        if calls and calls[0].name == "ps" and not any(map(_narrows, calls)):
            return Finding(Category.SERVICES, "ps", "names every process there is, or every one of a user")
    return None


def _narrows(call: Call) -> bool:
    match call.name:
        case "ps":
            return not call.flags.isdisjoint({"-p", "-C", "-q", "-g", "-t", "-s", "--pid", "--ppid", "--sid"})
        case "grep" | "egrep" | "fgrep" | "rg" | "ag":
            return call.flags.isdisjoint({"-v", "--invert-match"})
        case "awk" | "gawk" | "mawk" | "sed" | "perl":
            return any(map(_CONDITION.search, call.args))
    return call.name in _NARROWS


def kill_by_name(call: Call) -> Finding | None:
    if call.name == "killall5":
        return Finding(Category.SERVICES, call.name, "ends every process there is")
    if call.flags & {"-l", "--list", "--help", "-V", "--version"} or {"-0"} & call.flags:
        return None
    if not {"-HUP", "-SIGHUP", "-USR1", "-USR2", "-WINCH", "-CONT", "-1"}.isdisjoint(call.args):
        return None
    user = call.value("-u", "-U", "--user", "--euid")
    if user and not any(word not in (user, ".", ".*", "") for word in call.operands):
        return Finding(Category.SERVICES, user, "ends every process of a user")
    for name in call.operands:
        if CRITICAL_SERVICE.fullmatch(name) or name in (".", ".*", "", "systemd", "bash", "sh", "zsh"):
            return Finding(Category.SERVICES, name, "ends processes that others need")
    return None


def init(call: Call) -> Finding | None:
    level = call.operands[0] if call.operands else ""
    return Finding(Category.SERVICES, level, "stops or restarts the machine") if level in ("0", "1", "6", "S", "s") else None


def stop_machine(call: Call) -> Finding | None:
    if call.flags & {"-c", "--help", "-k", "--version", "-w", "--wtmp-only", "--show"} or "/a" in call.args or "/?" in call.args:
        return None
    return Finding(Category.SERVICES, call.name, "stops or restarts the machine")


#: When a job runs: five fields, or a word.
_JOB = re.compile(r"\s*(?:@[a-z]+|(?:\S+\s+){4}\S+)\s+")


def _takes_lines(command: Command) -> bool:
    words = command.words
    return (words[:1] == ["grep"] and bool(Call("grep", words[1:]).flags & {"-v", "--invert-match"})) or (words[:1] == ["sed"] and words[-1].endswith("d"))


def crontab(call: Call) -> Finding | None:
    if "-r" in call.flags:
        return Finding(Category.SERVICES, "-r", "deletes every scheduled job")
    if call.fed is not None and call.operands in ([], ["-"]) and not call.fed.strip():
        return Finding(Category.SERVICES, call.name, "deletes every scheduled job")
    if call.operands in ([], ["-"]) and (call.operands or call.before or call.fed) and not call.flags & {"-l", "-e"}:
        group = call.before[0].inner[:1] if call.before and not call.before[0].words else []
        feeds = [*call.before, *(command for script in group if len(script) == 1 for command in script[0])]
        if any("crontab" in command.words[:3] and "-l" in command.words for command in feeds) and any(map(_takes_lines, feeds)):
            return Finding(Category.SERVICES, call.name, "takes scheduled jobs away")
        scheduled = [call.fed] if call.fed else [text for command in call.before[-1:] for script in command.inner for text in says(script)]
        for line in (line for text in scheduled for line in text.splitlines()):
            if (job := _JOB.match(line)) and (found := call.again(line[job.end() :])):
                return found
    return emptied("/etc/crontab") if call.operands == ["/dev/null"] else None


def shell_option(call: Call) -> Finding | None:
    """``set +o history``."""
    if call.args[:2] == ["+o", "history"]:
        return Finding(Category.TRACES, "history", "stops the history of commands")
    return None


def history(call: Call) -> Finding | None:
    if call.flags & {"-c", "-w"} - ({"-w"} if "-c" not in call.flags else set()) or "clear" in call.operands:
        return Finding(Category.TRACES, call.name, "wipes the history of commands")
    return None


#: What is left of the logs is less than anybody would keep.
_LITTLE_KEPT = re.compile(r"-time=(?:0\w*|\d+(?:s|sec|seconds?|m|min|minutes?)|[1-9](?:h|hours?)|1(?:d|days?))$|-(?:size|files)=(?:0\w*|1|\d+(?:B|K)|\d(?:M))$")


def traces(call: Call) -> Finding | None:
    if call.name == "unset" and {"HISTFILE", "HISTSIZE"} & set(call.operands):
        return Finding(Category.TRACES, "HISTFILE", "stops the history of commands")
    if call.name == "journalctl" and (word := next((word for word in call.args if word.startswith(("--vacuum", "--flush-all", "--rotate-and-"))), None)):
        return Finding(Category.TRACES, word, "deletes logs") if _LITTLE_KEPT.search(word) else None
    return None


def sysctl(call: Call) -> Finding | None:
    dangerous = next(
        (word for word in call.args if re.match(r"kernel\.(?:sysrq|panic|randomize_va_space|yama)|vm\.(?:overcommit_memory=2|panic)", word) and "=" in word),
        None,
    )
    return Finding(Category.SERVICES, dangerous, "changes how the kernel protects itself") if dangerous else None


def apk(call: Call) -> Finding | None:
    """A name that begins with a dot is a set of packages put together for one build."""
    named = [word for word in call.operands[1:] if not word.startswith(".")]
    removes = call.operands[:1] == ["del"] and named and not call.flags & {"-s", "--simulate"}
    return Finding(Category.PACKAGES, "del", "removes packages from the machine") if removes else None


TABLE: dict[str, tuple[Row, ...]] = table(
    Category.SERVICES,
    """
    iptables,ip6tables + -F --flush -X --delete-chain -Z --zero | removes every rule of the firewall
    iptables,ip6tables -P + DROP ACCEPT | changes what the firewall does by default
    nft flush | removes every rule of the firewall
    nft delete | removes rules of the firewall
    ufw disable | turns the firewall off
    ufw reset | removes every rule of the firewall
    firewall-cmd + --panic-on --complete-reload --remove-service | takes the firewall away
    pfctl + -d -F | takes the firewall away
    setenforce 0 | turns a protection off
    setenforce Permissive | turns a protection off
    csrutil disable | turns a protection off
    spctl + --master-disable --global-disable | turns a protection off
    aa-teardown | turns a protection off
    aa-disable | turns a protection off
    auditctl + -D -e | stops the audit
    dmesg + -C -c --clear --read-clear | wipes the log of the kernel
    log erase | wipes the logs
    userdel,deluser | deletes a user
    groupdel,delgroup | deletes a group
    sysadminctl + -deleteUser | deletes a user
    usermod + -L --lock -e --expiredate | locks a user out
    passwd + -d --delete -l --lock -e | takes a password away
    chpasswd,pwconv,vipw,visudo,vigr ! -c --check -V | changes who may enter
    chage + -E | locks a user out
    rmmod | takes a driver out of the kernel
    modprobe + -r --remove | takes a driver out of the kernel
    atrm ! -V | deletes a scheduled job
    ip link set + down | takes a network interface away
    ifconfig + down | takes a network interface away
    ip route del | takes a route away
    ip route delete | takes a route away
    nmcli radio + off | turns the network off
    networksetup + off Off | turns the network off
    ip link delete | takes a network interface away
    ip route flush | removes every route
    ip addr flush | removes every address
    route + flush | removes every route
    nmcli networking off | turns the network off
    nmcli connection delete | deletes a network connection
    ifdown ! -n | takes a network interface away
    route del | takes a route away
    route delete | takes a route away
    grub-install,update-initramfs,dracut + -d /dev/sda | changes how the machine starts
    efibootmgr + -B --delete-bootnum | changes how the machine starts
    tmutil deletelocalsnapshots | deletes backups
    tmutil delete | deletes backups
    tmutil disable | turns backups off
    nvram + -c -d | changes how the machine starts
    loginctl terminate-user | ends every process of a user
    loginctl kill-user | ends every process of a user
    logrotate + -f --force | rotates logs away
    nginx + stop quit | stops a service that others need
    apachectl,apache2ctl stop | stops a service that others need
    apachectl,apache2ctl graceful-stop | stops a service that others need
    pg_ctl stop | stops a database
    fastboot + -w erase format flash | writes over a device
    idevicerestore ! -h | writes over a device
    adb reboot + bootloader recovery fastboot | restarts a device
    pm uninstall | removes what is installed on a device
    ipmitool chassis power + off cycle reset soft | stops or restarts a machine
    ipmitool power + off cycle reset soft | stops or restarts a machine
    racadm serveraction + powerdown powercycle hardreset | stops or restarts a machine
    racadm systemerase | erases a machine
    esxcli vm process kill | stops a machine
    esxcli system shutdown | stops a machine
    vim-cmd vmsvc/destroy | deletes a machine
    vim-cmd vmsvc/unregister | deletes a machine
    vim-cmd vmsvc/power.off | stops a machine
    mysqladmin shutdown | stops a database
    """,
)

PACKAGES: dict[str, tuple[Row, ...]] = table(
    Category.PACKAGES,
    """
    pip,pip3 uninstall + -r --requirement $fed | removes packages by the list
    apt,apt-get,aptitude remove ! -s | removes packages from the machine
    apt,apt-get,aptitude purge ! -s | removes packages and their settings
    apt,apt-get autoremove + --purge ! -s | removes packages and their settings
    apt,apt-get autopurge ! -s | removes packages and their settings
    dpkg + -r --remove -P --purge --force-all --force-remove-essential | removes packages from the machine
    yum,dnf,microdnf,zypper remove ! --assumeno | removes packages from the machine
    yum,dnf,microdnf erase ! --assumeno | removes packages from the machine
    yum,dnf autoremove ! --assumeno | removes packages from the machine
    zypper rm | removes packages from the machine
    rpm + -e --erase ! --test | removes packages from the machine
    pacman,yay,paru + -R -Rs -Rns -Rdd -Rsc -Rscn --remove ! -Q -S | removes packages from the machine
    pkg,pkg_delete delete ! -n | removes packages from the machine
    pkg remove | removes packages from the machine
    snap remove | removes packages from the machine
    flatpak uninstall | removes packages from the machine
    brew uninstall + -f --force --ignore-dependencies --zap $fed $(...) ! -n | removes packages from the machine
    brew remove + -f --force --ignore-dependencies --zap $fed $(...) ! -n | removes packages from the machine
    brew autoremove ! -n | removes packages from the machine
    port uninstall | removes packages from the machine
    nix-collect-garbage + -d --delete-old | deletes the way back to former systems
    nix-env + --uninstall -e --delete-generations | removes packages from the machine
    emerge + --unmerge -C --depclean -c ! -p | removes packages from the machine
    winget,choco,scoop uninstall | removes packages from the machine
    npm,pnpm unpublish ! --dry-run | takes back what others depend on
    npm deprecate | takes back what others depend on
    npm owner rm | takes rights away
    npm,pnpm access revoke | takes rights away
    cargo yank | takes back what others depend on
    gem yank | takes back what others depend on
    twine yank | takes back what others depend on
    """,
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("systemctl", "service", "rc-service", "invoke-rc.d", "launchctl", "sv"), service),
    **dict.fromkeys(("shutdown", "reboot", "halt", "poweroff"), stop_machine),
    **dict.fromkeys(("killall", "pkill", "killall5", "skill"), kill_by_name),
    **dict.fromkeys(("init", "telinit"), init),
    **dict.fromkeys(("unset", "journalctl"), traces),
    "apk": apk,
    "kill": kill,
    "crontab": crontab,
    "history": history,
    "set": shell_option,
    "sysctl": sysctl,
}
