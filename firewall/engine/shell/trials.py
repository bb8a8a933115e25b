"""What only shows what would be done: dry runs by whatever spelling, programs that act only when told so, and the data of tests."""

from __future__ import annotations

import itertools
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
#: They have none but the one that explains them.
_ALWAYS_ACT = frozenset({"curl", "wget", "http", "https", "xh"})
#: Options that take no value, after which the next word is an option of its own. After another it may be its value.
_BARE = word_set(
    """
    -f --force -y --yes -v --verbose -q --quiet -a --all -A --all-namespaces -r -R --recursive -rf -fr -fd -fdx -fx -xdf -ffdx -d -x --delete --del
    --dangerous --ignore-daemonsets --delete-emptydir-data
    --prune --now --confirm --cascade --wait --mirror --tags --follow-tags --purge --keep --list --stats --progress -p --auto-approve -auto-approve
    --if-exists --ignore-not-found --cached --hard -m --volumes --remove-orphans -av -avz -az --archive --compress --json --debug --batch --destroy -destroy
    """
)
#: Values by which such an option stands.
_STANDS = word_set("true 1 yes on all client server")
#: Values that take it back, where they may be the next word.
_REFUSES = word_set("none false f 0 no off disabled never $false")

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
    if call.args[-1:] == [_HELPS.get(call.name)] and not any(word.startswith("-") for word in call.args[:-1]):
        return True
    asked = None
    for before, word, after in zip(["", *call.args], call.args, [*call.args[1:], ""], strict=False):
        if word == "--":
            break
        if not word.startswith("-") or len(word) < 4:
            continue
        name, _, value = word.replace(":", "=").partition("=")
        letters = name.replace("-", "").replace("_", "").lower()
        if letters.startswith("nod"):
            # --no-dry-run, and what is short for it.
            return False
        if letters in _PRETENDS and (letters == "help" or call.name not in _ALWAYS_ACT):
            if (value and value.lower() not in _STANDS) or after.lower() in _REFUSES:
                return False
            asked = asked or not before.startswith("-") or "=" in before or before in _BARE
    return asked or None


def _left_out(call: Call) -> bool:
    if (acts := _ACTS_ONLY_WITH.get(call.name)) is None:
        letter = _BY_LETTER.get(call.name)
        clear = [word for before, word in itertools.pairwise(["", *call.args]) if not before.startswith("-") or "=" in before or before in _BARE]
        return letter in clear and not any(re.fullmatch(r"-[A-Za-z]*=.*", word) for word in call.args)
    word, options = acts
    return (not word or word in call.args) and call.flags.isdisjoint(options)


#: Frameworks, and the variables by which each is told that its database is the one of the tests.
_ENVIRONMENTS = {**dict.fromkeys(("rails", "rake"), ("RAILS_ENV",)), "mix": ("MIX_ENV",), "artisan": ("APP_ENV",), "console": ("APP_ENV",)}


def on_trial(call: Call) -> bool:
    """A framework told that its database is the one of the tests, which each run makes again."""
    if call.name not in _ENVIRONMENTS or any(name.endswith("DATABASE_URL") for name in call.variables):
        return False
    named = {call.value("--env"), *(call.variables.get(name) for name in _ENVIRONMENTS[call.name])}
    return not named.isdisjoint({"test", "testing"})
