"""Rules for clouds and clusters: what stops machines, every copy of a service, or the guards of stored data."""

from __future__ import annotations

import re

from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.managers import LOOKS, parts_of
from firewall.engine.shell.types import FED, UNKNOWN, Category, Finding, word_set

_CLOUDS = word_set(
    """
    aws awslocal gcloud az doctl hcloud linode-cli oci ibmcloud openstack nova scw exo civo vultr-cli fly flyctl govc virsh qm pct yc aliyun tccli upctl
    """
)
_STOPS = word_set("stop softstop poweroff powerdown shutdown deallocate halt suspend hibernate shelve off")
_SERVES = word_set(
    """
    instance instances server servers vm vms vmss droplet linode linodes db dbs cluster clusters machine machines node nodes task tasks fleet app apps
    webapp functionapp containerapp service services aks versions database databases
    """
)
#: Their operands are machines and nothing else.
_MACHINES_ONLY = frozenset({"virsh", "qm", "pct", "govc"})


def stopped(call: Call) -> Finding | None:
    """``aws ec2 stop-instances``, ``gcloud compute instances stop``, ``az vm deallocate``, ``oci compute instance action --action STOP``."""
    seen: set[str] = set()
    power = [word for word in call.args if word in ("-off", "-s")] if call.name == "govc" and call.operands[:1] == ["vm.power"] else []
    for word in [*call.operands[:5], *filter(None, [call.value("--action")]), *power]:
        parts = parts_of(word.replace("power-off", "poweroff"))
        if parts and parts[0] in LOOKS and not seen & _STOPS:
            return None
        seen.update(parts)
        if (_STOPS & {*parts[:1], *parts[-1:]} or power) and (call.name in _MACHINES_ONLY or seen & _SERVES):
            return Finding(Category.CLOUD, word, "stops machines, or what runs on them")
    return None


def scaled(call: Call) -> Finding | None:
    """``--replicas=0``, ``--desired-count 0``: every copy of a service stopped."""
    for option in ("--replicas", "--desired-count", "--num-nodes", "--node-count", "--min-size"):
        if call.value(option) == "0" and not {"get", "describe", "create", "run"} & set(call.operands[:2]):
            return Finding(Category.CLOUD, option, "stops every copy")
    none = next((word for word in call.operands[1:] if re.fullmatch(r"(?:[\w.-]+=)?0", word)), None)
    if none and not {"scale", "ps:scale"}.isdisjoint(call.operands[:2]):
        return Finding(Category.CLOUD, none, "stops every copy")
    if call.operands[:1] == ["taint"] and (effect := next((word for word in call.operands if word.endswith(":NoExecute")), None)):
        return Finding(Category.CLOUD, effect, "drives everything from a node")
    if call.operands[:1] == ["patch"] and (found := next(filter(None, map(_HOLDS_NOTHING.search, call.args)), None)):
        return Finding(Category.CLOUD, found.group(0), "stops every copy, or takes the last guard away")
    return None


_HOLDS_NOTHING = re.compile(r"[\"']?(?:finalizers[\"']?\s*:\s*(?:null|\[\])|replicas[\"']?\s*:\s*0\b)")

#: What protects stored data from mistakes, turned off.
_GUARD_OFF = re.compile(
    r"--no-(?:disable-api-termination|(?:deletion|termination)-protection\S*|enable-termination-protection|versioning|backup)|--backup-retention-period[ =]0\b"
    r"|--(?:deletion|termination)-protection[= ](?:false|disabled|off)\b|\b(?:Block|Ignore|Restrict)Public\w+=false|PointInTimeRecoveryEnabled=false"
    r"|put-bucket-lifecycle\S* .*['\"]?Expiration|stop-configuration-recorder|--reserved-concurrent-executions[ =]0\b|--versioning[ =](?:off|suspended)"
    r"|\bdeployment \w+ create\b.*--mode[ =]complete\b|--activation-policy[ =]never\b",
    re.IGNORECASE,
)


def comes_back(call: Call) -> bool:
    """A pod or some by name, which what owns them starts again: how one restarts what hangs."""
    if call.name not in ("kubectl", "oc") or not call.flags.isdisjoint(
        {"--all", "-A", "-l", "--selector", "--force", "-f", "--field-selector", "--now", "--grace-period"}
    ):
        return False
    if (call.value("-n", "--namespace") or "").startswith("kube-"):
        return False
    named = call.operands[call.operands.index("delete") + 1 :] if "delete" in call.operands[:3] else []
    pods = named[:1] in (["pod"], ["pods"], ["po"]) or (bool(named) and all(word.startswith(("pod/", "pods/", "po/")) for word in named))
    return pods and not any(word.startswith((FED, UNKNOWN)) for word in named)


def unguarded(call: Call) -> Finding | None:
    found = _GUARD_OFF.search(" ".join(call.args))
    return Finding(Category.CLOUD, found[0][:60], "takes away what guards stored data") if found else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("kubectl", "oc", "eksctl", "docker", "heroku"), scaled),
    **dict.fromkeys(_CLOUDS, lambda call: stopped(call) or scaled(call) or unguarded(call)),
}
