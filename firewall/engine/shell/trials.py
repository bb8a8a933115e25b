"""What only shows what would be done: dry runs by whatever spelling, programs that act only when told so, and the data of tests."""

from __future__ import annotations

import re

from firewall.engine.shell.call import Call
from firewall.engine.shell.types import word_set

#: Options by their letters alone: ``--dry-run``, ``--dryRun``, ``--dry_run``, ``-dry-run`` and ``-WhatIf`` are spellings of one thing.
_PRETENDS = word_set(
    """
    dry dryrun whatif simulate simulation preview previewonly justprint help noop noact noaction checkonly pretend recon whyrun planonly printonly
    validateonly fake generatecliskeleton outputpolicy outputcurlstring listhosts listtasks listtags syntaxcheck
    """
)
#: They have none but the one that explains them, and options that take whatever follows for their value.
_ALWAYS_ACT = frozenset({"curl", "wget", "http", "https", "xh"})
_TAKES_ANY = word_set(
    "-H --header -o --push-option -l --selector --field-selector -d --data -m --message -e --as --as-group -A --user-agent -c -u --user --tag --tags"
)
#: Values that take such an option back.
_REFUSES = word_set("none false 0 no off disabled never $false")
#: The same, told in data or by a setting: ``{"dry_run": true}``, ``-f dry_run=true``, ``?dryRun=All``.
_SAID = re.compile(r"(?i)\bdry[-_ ]?run[\"']?\s*[:=]\s*[\"']?(?:true|1|yes|y|on|all|client|server)\b")
_SETTINGS = ("DRY_RUN", "DRYRUN", "dry_run", "WHATIF", "NOOP", "SIMULATE")

#: Programs that only tell what they would do unless one of these options is there, and the word that asks for it (none: whatever they are asked).
_ACTS_ONLY_WITH: dict[str, tuple[str, frozenset[str]]] = {
    "wal-g": ("delete", frozenset({"--confirm"})),
    "kopia": ("snapshot", frozenset({"--delete"})),
    "duplicity": ("", frozenset({"--force"})),
    "gh-ost": ("", frozenset({"--execute"})),
    **dict.fromkeys(("pt-online-schema-change", "pt-table-sync"), ("", frozenset({"--execute"}))),
    **dict.fromkeys(("kafka-consumer-groups", "kafka-consumer-groups.sh"), ("--reset-offsets", frozenset({"--execute"}))),
    **dict.fromkeys(("aws-nuke", "gcp-nuke", "azure-nuke"), ("", frozenset({"--no-dry-run"}))),
    "bleachbit": ("", frozenset({"-c", "--clean", "-s", "--shred", "--gui"})),
    "console": ("doctrine:schema:drop", frozenset({"-f", "--force"})),
}


#: The same by a letter, in the tools that have one.
_BY_LETTER = {
    **dict.fromkeys(("borg", "restic", "rclone", "s3cmd", "pg_archivecleanup", "stow", "hg", "make", "gmake"), "-n"),
    **dict.fromkeys(("tmpreaper", "tmpwatch"), "-t"),
    "logrotate": "-d",
}


def pretends(call: Call) -> bool:
    """Asked by an option, or left by the lack of one, to show what it would do and no more."""
    asked = _asked(call)
    return _left_out(call) if asked is None else asked


#: Programs that answer so with how they are used, whatever stands before: ``-h`` of all that share one reader of options, ``help`` of one.
_HELPS = dict.fromkeys(
    word_set("kubectl oc helm consul vault nomad terraform tofu gh glab flux argocd velero restic rclone kind k3d pulumi"), "-h"
) | dict.fromkeys(("aws", "awslocal"), "help")


def _asked(call: Call) -> bool | None:
    """What its options say; None if they say nothing of it."""
    asked = True if call.args[-1:] == [_HELPS.get(call.name)] else None
    for place, word in enumerate(call.args):
        if word == "--":
            break
        if not word.startswith("-") or len(word) < 4 or (place and call.args[place - 1] in _TAKES_ANY):
            continue
        name, _, value = word.replace(":", "=").partition("=")
        letters = name.replace("-", "").replace("_", "").lower()
        if letters in _PRETENDS and (letters == "help" or call.name not in _ALWAYS_ACT):
            if (value or "".join(call.args[place + 1 : place + 2])).lower() in _REFUSES:
                return False
            asked = True
        elif letters == "nodryrun":
            return False
    return asked


def _left_out(call: Call) -> bool:
    if (acts := _ACTS_ONLY_WITH.get(call.name)) is None:
        letter = _BY_LETTER.get(call.name)
        return letter in call.flags and not any(word.startswith(f"{letter}=") for word in call.args)
    word, options = acts
    return (not word or word in call.args) and call.flags.isdisjoint(options)


def is_dry_run(call: Call) -> bool:
    """The same of a program of which nobody knows more than its name, or one that starts such: it may be told so by a setting, or in data."""
    if (asked := _asked(call)) is not None:
        return asked
    if _left_out(call):
        return True
    if any(call.variables.get(name, "0").lower() not in ("", "0", "no", "false", "off") for name in _SETTINGS):
        return True
    return any(_SAID.search(word) for word in call.args if "ry" in word or "RY" in word)


_FRAMEWORKS = word_set("rails rake artisan console manage.py django-admin mix prisma sequelize knex typeorm flask")
_ENVIRONMENTS = ("RAILS_ENV", "RACK_ENV", "APP_ENV", "NODE_ENV", "MIX_ENV", "FLASK_ENV")


def on_trial(call: Call) -> bool:
    """A framework told that its database is the one of the tests, which each run makes again."""
    if call.name not in _FRAMEWORKS:
        return False
    named = {call.value("--env"), *(call.variables.get(name) for name in _ENVIRONMENTS)}
    return not named.isdisjoint({"test", "testing"})
