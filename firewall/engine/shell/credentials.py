"""Rules for files that hold credentials: who shows them, and who sends them away."""

from __future__ import annotations

import re

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call
from firewall.engine.shell.types import Category, Command, Finding, word_set

_READERS = word_set(
    """
    cat bat less more head tail tac nl strings xxd od hexdump base64 base32 grep egrep fgrep rg ag awk gawk sed cut sort uniq tr rev paste fold jq yq view
    nano pico emacs zip tar gpg openssl python perl ruby node get-content gc type rsync scp sftp ftp nc ncat netcat socat curl wget mail mutt aws gsutil
    rclone tee dd cpio 7z xclip pbcopy clip column tree-sitter diff printf echo sqlite3
    """
)
_SENDERS = word_set(
    """
    curl wget nc ncat netcat socat scp sftp ftp rsync mail mutt sendmail http https xh telnet rclone ssh aws gsutil
    """
)


def credentials_read(call: Call | Command, *targets: str) -> Finding | None:
    for target in targets:
        if paths.private(target):
            return Finding(Category.CREDENTIALS, target, "reads a file that holds credentials")
    return None


def credentials(call: Call) -> Finding | None:
    """Reading keys and passwords with any program that shows or sends a file."""
    if call.name not in _READERS:
        return None
    # Where a copy goes is not what is copied; the key one signs in with is used, not shown.
    skipped = (
        {call.value("-i"), call.value("--key"), call.value("--cert"), call.value("-E")} if call.name in ("scp", "sftp", "rsync", "curl", "wget") else set()
    )
    if call.name in ("echo", "printf"):
        return None
    names = [
        word.rpartition("=")[2] if "=" in word and not word.startswith("/") else word
        for word in call.args
        if word not in skipped and not word.startswith("-") and not re.match(r"[\w.@-]+:", word)
    ]
    return credentials_read(call, *(name.lstrip("@<") for name in names)) or (credentials_sent(call) if call.name in _SENDERS else None)


#: Programs that print a secret they keep for somebody.
_SHOWS_SECRET = re.compile(
    "|".join(
        f"(?:{line.strip()})\\b"
        for line in """
        aws secretsmanager get-secret-value
        aws ssm get-parameters?
        aws iam create-access-key
        aws sts (?:get-session-token|assume-role)
        az (?:keyvault secret show|account get-access-token)
        gcloud (?:secrets versions access|auth print-.*)
        (?:kubectl|oc) get secrets?
        vault (?:kv get|read)
        op (?:read|item get)
        bw get
        pass show
        gh auth token
        doppler secrets
        heroku config
        security find-.*
        """.strip().splitlines()
    )
)
#: The addresses at which a cloud hands its machines their credentials.
_METADATA_SECRET = re.compile(
    r"(?:https?://)?(?:169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|metadata|100\.100\.100\.200|\[fd00:ec2::254\])(?::80)?/"
    r".*(?:security-credentials|/token\b|/identity|user-?data|service-accounts|/v2/credentials|ssh-keys|/oauth2)"
)


def credentials_sent(call: Call) -> Finding | None:
    if word := next(filter(_METADATA_SECRET.match, call.operands), None):
        return Finding(Category.CREDENTIALS, word, "asks the cloud for the credentials of the machine")
    used = {call.value(option) for option in ("-i", "--cacert", "-E", "--cert", "--key", "-o")}
    for word in call.args:
        path = word.rpartition("@")[2] if "@" in word and not word.partition("@")[2].count(":") else word
        if word not in used and paths.environment(path.removeprefix("file://")):
            return Finding(Category.CREDENTIALS, word, "sends a file that often holds credentials away")
    inside = [command for script in call.inner for pipeline in script for command in pipeline]
    for command in (*call.before, *inside):
        if command.words[:1] and command.words[0] in ("env", "printenv", "set") and len(command.words) == 1:
            return Finding(Category.CREDENTIALS, command.words[0], "sends the environment away, which often holds credentials")
    for command in call.before:
        if _SHOWS_SECRET.match(" ".join(command.words[:6])):
            return Finding(Category.CREDENTIALS, command.words[0], "shows a secret that is sent away")
        for word in command.words[1:]:
            if paths.environment(word):
                return Finding(Category.CREDENTIALS, word, "sends a file that often holds credentials away")
    return None
