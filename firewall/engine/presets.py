"""Rules to begin with: what most policies want, each with a label and the reason it stands there.

A preset is a seed and no lock: its rules are ordinary ones once they are in a policy. Every rule here but the caps denies, so
that a preset opens nothing wherever it is put. Source: spec/firewall.md 8.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Fields = Mapping[str, object]
"""A rule's fields as a request would send them, without ``priority``."""

#: Where tools take a command: a text, or a list of words. The last is that of the hosted local shell.
COMMAND_PATHS = ("$.command", "$.cmd", "$.script", "$.action.command")
#: The same where words are looked for: of a list, that is the script of ["bash", "-lc", script].
COMMAND_TEXTS = (*COMMAND_PATHS, "$.command[2]", "$.action.command[2]")
TEXT_PATHS = ("$.command", "$.content", "$.text", "$.body", "$.message", "$.query", "$.url")
FILE_PATHS = ("$.path", "$.file_path", "$.filename")
ADDRESS_PATHS = ("$.url", "$.uri")
SHELL_TOOLS = (
    *("shell.*", "bash", "Bash", "cmd.*", "powershell.*", "exec.*"),
    *("*.shell.*", "*.cmd.*", "*.powershell.*", "*.exec.*", "*.shell", "*.bash", "*.cmd", "*.powershell", "*.exec"),
)

# Repetitions are written out: what a pattern's author counts must stay small (see ``patterns``), and these start with words of their own.
KEYS = "|".join(
    (
        r"\b(?:AKIA|ASIA)" + r"\w" * 16,
        r"\bsk-" + r"\w" * 20,
        r"\bsk-(?:ant|proj|svcacct|orca)-" + r"[\w-]" * 16,
        r"\b(?:gh[pousr]|github_pat)_" + r"\w" * 24,
        r"\b(?:xox[abeprs]|glpat)-" + r"[\w-]" * 10,
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    )
)
#: Social security numbers of the US, and cards by their four groups (American Express: three).
_PERSONAL = "|".join(
    (
        r"\b\d\d\d-\d\d-\d\d\d\d\b",
        r"\b[3-6]\d\d\d[ -]?\d\d\d\d[ -]?\d\d\d\d[ -]?\d\d\d\d\b",
        r"\b3[47]\d\d[ -]?\d\d\d\d\d\d[ -]?\d\d\d\d\d\b",
    )
)
# All kinds of .env but those that are copied to begin with: .env.dist, .env.example, .env.sample, .env.template.
_KEY_FILES = (
    r"(?i)(?:^|[/\\])(?:\.ssh|\.aws|\.gnupg|\.kube|\.docker|\.azure)(?:[/\\]|$)"
    r"|(?:^|[/\\])\.env(?:rc|\.(?:[^dest]|d(?:[^i]|$)|e(?:[^x]|$)|s(?:[^a]|$)|t(?:[^e]|es|$)).*)?$"
    r"|(?:^|[/\\])(?:\.netrc|\.pgpass|\.npmrc|\.pypirc|\.git-credentials|id_(?:rsa|dsa|ecdsa|ed25519)|shadow)$|\.(?:pem|p12|pfx|keystore)$"
)
#: Where no call from outside should lead: this machine, private networks, link-local addresses, and what is no unicast address at all.
INSIDE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "fc00::/7", "fe00::/9", "fe80::/10", "fec0::/10", "ff00::/8"),
    # Nobody is there to be called: kept for examples, for discarding and for tunnels.
    *("192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24", "64:ff9b:1::/48"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    # All of IPv6 that was never given out, but for the translators at its beginning: mapped addresses are IPv4, and 64::/16 has NAT64.
    *("::/10", "40::/11", "60::/14", "65::/16", "66::/15", "68::/13", "70::/12", "80::/9"),
    *("100::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "4000::/2", "8000::/2", "c000::/3", "e000::/4", "f000::/5", "f800::/6"),
)
#: The metadata services of the clouds, which hand credentials to whoever asks.
METADATA = (
    *("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fe80::/10"),
    *("fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:a9fe:a9fe::1/128", "fd00:42::42/128"),
)
_NOT_WEB = r"(?i)^\s*(?:file|gopher|dict|ldaps?|tftp|s?ftp|smb|jar|javascript|data|view-source|chrome|about):"


@dataclass(frozen=True, slots=True)
class Preset:
    """Rules for one purpose, in their order."""

    id: str
    name: str
    description: str
    rules: tuple[Fields, ...]


def rule(verdict: str, label: str, notes: str, *, tool: str = "", stage: str = "", where: Iterable[tuple[str, str, object]] = (), **fields: object) -> Fields:
    """One rule; ``where`` has the path, the operator and the value of each clause."""
    clause = {"args_match": {"clauses": [{"path": path, "op": op, "value": value} for path, op, value in where]}} if where else {}
    return MappingProxyType({"verdict": verdict, "label": label, "notes": notes, "tool_name_glob": tool, "stage": stage, **clause, **fields})


def at_each(paths: Iterable[str], verdict: str, label: str, notes: str, op: str, value: object) -> tuple[Fields, ...]:
    """The same rule for each place where the argument may stand: the clauses of one rule must all hold, so each place has its own."""
    return tuple(rule(verdict, f"{label} ({path})", notes, where=[(path, op, value)]) for path in paths)


def cap(cents: int, why: str) -> Fields:
    """The first line of every template: judged first, and no opinion while the run fits under it."""
    notes = f"A run that would cost more than ${cents / 100:.2f} is stopped, whatever it calls: a loop ends here. {why} Under the cap the rules below decide."
    return rule("cap_cost", f"A run costs at most ${cents / 100:.2f}", notes, tool="*", cap_cost_cents=cents)


DESTRUCTIVE_COMMANDS = at_each(
    COMMAND_PATHS,
    "deny",
    "No destructive command",
    "Reads the command as a shell would, through sudo, xargs, sh -c, substitutions and encodings, and stops what deletes, overwrites, rewrites "
    "history, destroys cloud or database state, or runs a download. Other commands go on. It holds for every tool, whatever it is called.",
    "shell_destructive",
    True,
)
SHELL_BY_NAME = tuple(
    rule("deny", f"No shell ({tool})", "Stops a shell by its name, so that it cannot even be offered. Names are case-sensitive.", tool=tool)
    for tool in SHELL_TOOLS
)
SECRETS_IN_ARGUMENTS = at_each(
    TEXT_PATHS,
    "deny",
    "No credential in arguments",
    "Stops a call that carries what looks like a key of AWS, OpenAI, Anthropic, GitHub, GitLab or Slack, or a private key: it would leave "
    "with the call. Let the tool read its own secret instead of passing one.",
    "regex",
    KEYS,
)
PERSONAL_IN_ARGUMENTS = at_each(
    TEXT_PATHS,
    "deny",
    "No personal number in arguments",
    "Stops a call that carries what looks like a social security or a card number, as when a tool's result is handed on. Its check digit is not looked at. "
    "Where such a call shall go on without the number, sanitize it instead.",
    "regex",
    _PERSONAL,
)
CREDENTIAL_FILES = at_each(
    FILE_PATHS,
    "deny",
    "No credential file",
    "Stops reading or writing files that hold keys: .ssh, .aws, .kube, .env, .netrc, private keys. Commands that read them are for the rules about commands.",
    "regex",
    _KEY_FILES,
)
ONLY_THE_WEB = at_each(
    ADDRESS_PATHS,
    "deny",
    "Only the web",
    "Schemes that read files or speak to other services: file, ftp, gopher, ldap, data and the like.",
    "regex",
    _NOT_WEB,
)
INSIDE_ADDRESSES = (
    rule(
        "deny",
        "No inside address",
        "Stops a call that leads to this machine, a private network or a metadata service, under whatever argument and however it is spelt: decimal, "
        "octal, hex, IPv6 around IPv4, inside names. Where a call goes that cannot be told is stopped too. A command may talk to its own machine.",
        egress={"allow": [], "deny": [*INSIDE]},
    ),
    *ONLY_THE_WEB,
)
NO_METADATA = rule(
    "deny",
    "No metadata service",
    "Stops a call, or a command, that leads to the metadata service of a cloud by its address or its name: it hands out the machine's credentials.",
    egress={"allow": [], "deny": [*METADATA]},
)

SECRETS_THEN_OUT = tuple(
    rule(
        "deny",
        f"No way out after a secret ({tool})",
        "Stops a call that goes to some address within ten minutes after the run has read a secret by this tool. Let the tool that needs the secret read it.",
        sequence={"window_seconds": 600, "steps": [{"match": tool}, {"match": "*", "egress": True}], "enforce": "inline"},
    )
    for tool in ("secrets.*", "vault.*")
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        each.id: each
        for each in (
            Preset("block_destructive_shell", "Block shells", "Denies shells by the usual names of their tools, also behind an MCP namespace.", SHELL_BY_NAME),
            Preset(
                "block_destructive_commands",
                "Block destructive commands",
                "Denies a command that would destroy something and lets other commands be, whatever the tool is called.",
                DESTRUCTIVE_COMMANDS,
            ),
            Preset(
                "block_ssrf_egress",
                "Block inside addresses",
                "Denies calls that lead to a metadata service, a private network or this machine, or to what is no web address at all. Names are "
                "resolved for whoever asks before a call; on answers of a model they are judged by their spelling.",
                INSIDE_ADDRESSES,
            ),
            Preset(
                "block_secrets_in_args", "Block credentials in arguments", "Denies calls whose usual text arguments carry a credential.", SECRETS_IN_ARGUMENTS
            ),
            Preset(
                "block_pii_in_tool_results",
                "Block personal data of tool results",
                "Denies calls whose usual text arguments carry a social security or a card number. No rule sees what a tool answers; this stops the model "
                "from handing it on.",
                PERSONAL_IN_ARGUMENTS,
            ),
            Preset("block_credential_files", "Block credential files", "Denies access to files that hold keys.", CREDENTIAL_FILES),
        )
    }
)
