"""Rules for the net: deletion by HTTP, and what is downloaded only to be run."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote_plus

import re2

from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.databases import statement
from firewall.engine.shell.types import Category, Command, Finding, Script, word_set

FETCHERS = word_set(
    """
    curl wget http https xh aria2c fetch lynx links w3m httpie iwr irm invoke-webrequest invoke-restmethod nc ncat netcat ftp tftp scp ipfs gh gsutil aws
    axel
    """
)
DECODERS = word_set(
    """
    base64 base32 xxd openssl gpg gunzip zcat bzcat xzcat bunzip2 unxz uudecode rev tr gzip rot13 basenc hexdump od age
    """
)

_DOWNLOADS = re.compile(r"net\.webclient|download(?:string|file|data)\b|start-bitstransfer", re.IGNORECASE)
_METHOD_OPTIONS = ("-X", "--request", "--method", "-Method", "--http-method")
_DELETING_URL = re2.compile(
    r"(?i)(?:/|[?&]action=)_?(?:close|do[-_]?delete|delete(?:[-_]?(?:all|by[-_]query|batch|objects?|documents?))?|destroy|purge(?:_cache|_queue)?|terminate|wipe|truncate|drop|clear|flush(?:all|db)?|kill|shutdown"
    r"|hard[-_]?delete|bulk[-_]?delete|factory[-_]?reset|removeall|disconnectall|quickdown|quietdown|disable|clean_tombstones|exit|safeexit|quitquitquit|(?:delete|destroy|purge|drop|wipe)[-_]\w+|(?:\w+[-_])?erase|(?:batch|bulk|mass|force|multi)[-_]?(?:delete|destroy|purge|remove))/?(?:[?#].*)?$|/scriptText"
)
_STORE = re2.compile(
    r"(?i)^\s*(?:disable|shutdown|del|clear)\s+(?:server|frontend|backend|sessions?|map|acl|table|ssl|counters)\b|\bflush(?:all|db|_all)\b|\bshutdown(?:\s+(?:nosave|save))?\b|\*\d\r?\\r\\n\$\d+\\r\\nFLUSH"
)
_DELETING_BODY = re2.compile(
    r"(?i)mutation[^{]*\{\s*(?:\w+\s*:\s*)?(?:delete|destroy|remove|purge|archive|[a-z]\w*?(?:delete|destroy|purge))\w*|\"(?:action|op|operation|method|requests?)\"\s*:\s*\[?\s*\{?\s*\"?(?:delete|destroy|drop|purge|clear)\w*(?:\"|\s*[:,}\]]|$)|destructive_requires_name\"\s*:\s*\"?false|\"purge_everything\"\s*:\s*true"
)
_BODY_OPTIONS = ("-d", "--data", "--data-raw", "--data-binary", "--json", "--post-data", "--body-data", "-Body", "--data-ascii", "--data-urlencode")


#: Addresses that only look for what their body describes.
_LOOKS = re.compile(r"(?i)/(?:_\w*search|_count|_explain|_validate|_analyze|_mget|_render|_simulate|search|_field_caps|_pit)\b(?!/scroll)")
#: What a search holds open for the one who asks.
_CURSOR = re.compile(r"/_search/(?:scroll|point_in_time)\b|/_pit\b|/_async_search/")
#: What a script for Jenkins does besides looking; one that is not known may do anything.
_GROOVY_ACTS = re2.compile(
    r"(?i)\b(?:delete|do[A-Z]|remove|kill|execute|save|reset|restart|exit|wipe|clear|cancel|stop|disable|set|add|new|create|write|update|reload|quiet|term|evaluate|eval|shell)\w*\s*(?:\(|\{|[\"'])|\.\w+\s*=[^=]"
)
#: Where a store is told a statement: as the whole body, as a parameter, or by one of these names.
_STATEMENTS = re2.compile(r"(?is)\"(?:statements?|stmt|sql|query|q|command)\"\s*:\s*\[?\s*\"((?:[^\"\\]|\\.)*)\"|^\s*\[\s*\[?\s*\"((?:[^\"\\]|\\.)*)\"")
_PARAMETER = re2.compile(r"(?i)(?:^|[?&])(?:query|q|sql|stmt|db_query|command)=([^&]*)")


def _stated(call: Call, body: str) -> Finding | None:
    """A statement for a database that is asked over HTTP."""
    texts = [body, *(group for found in _STATEMENTS.finditer(body) for group in found.groups() if group)]
    asked = [word for word in (*call.operands, body) if "=" in word and not _LOOKS.search(word)]
    texts += [unquote_plus(found.group(1)) for word in asked for found in _PARAMETER.finditer(word)]
    return next(filter(None, map(statement, texts)), None)


#: Options whose value is no address.
_BESIDE = frozenset(
    {*_BODY_OPTIONS, "-H", "--header", "-o", "--output", "-w", "--write-out", "-u", "--user", "-A", "-e", "-X", "--cacert", "--cert", "--key", "-b"}
)


def _all_are(path: re.Pattern[str], call: Call) -> bool:
    """Whether each address that it asks has such a path, whatever its query says."""
    addresses = [
        word.partition("?")[0].partition("#")[0]
        for before, word in itertools.pairwise(["", *call.args])
        if before not in _BESIDE and word[:1] != "-" and ("/" in word or ":" in word)
    ]
    return bool(addresses) and all(map(path.search, addresses)) and call.flags.isdisjoint({"-K", "--config", "--next", "-:"})


def http(call: Call) -> Finding | None:
    """A DELETE, a POST to an address that says so, or a body that asks for it."""
    if call.flags & {"--help", "--version"}:
        return None
    method = _method(call)
    if call.name in ("http", "https", "xh", "httpie") and call.operands[:1] and call.operands[0].isalpha():
        method = call.operands[0].upper()
    if (told := call.value("-Q", "--quote")) and re.match(r"[-+*]?(?:DELE|RMD|rm|rmdir)\b", told):
        return Finding(Category.DELETION, told, "deletes files on the server")
    if method in _DELETES and not _all_are(_CURSOR, call):
        return Finding(Category.CLOUD, method, "deletes what the address names")
    body = next(filter(None, (call.value(option) for option in _BODY_OPTIONS)), "")
    posts = method in ("POST", "PUT", "PATCH") or (not method and bool(body))
    if posts:
        for word in call.operands:
            if "/scriptText" in word and re.match(r"\s*script=\s*(?:print|return|out\.print)", body or "") and not _GROOVY_ACTS.search(body or ""):
                return None
            if ("/" in word or ":" in word) and _DELETING_URL.search(word):
                return Finding(Category.CLOUD, word, "asks an address to delete")
        if _all_are(_LOOKS, call):
            return None
        if body and (found := _DELETING_BODY.search(body)):
            return Finding(Category.CLOUD, found.group(0), "asks for a deletion")
    if found := _stated(call, body or ""):
        return found
    header = call.value("-H", "--header") or ""
    if "method-override" in header.lower() and "delete" in header.lower():
        return Finding(Category.CLOUD, header, "deletes what the address names")
    return None


def _method(call: Call) -> str:
    """``-X DELETE``, ``curl -sXDELETE``; of several the one that deletes, as which of them rules is up to the program."""
    methods = [(call.value(*_METHOD_OPTIONS) or "").upper()]
    for word, after in itertools.pairwise([*call.args, ""]):
        if call.name == "curl" and (found := re.fullmatch(r"-[a-zA-Z#]*X([A-Za-z]*)", word)):
            methods.append((found[1] or after).upper())
        elif word in _METHOD_OPTIONS:
            methods.append(after.upper())
    return next((each for each in methods if each in _DELETES), next(filter(None, methods), ""))


_DELETES = ("DELETE", "PURGE")


_RUNS_ADDRESSES = frozenset({"deno", "npx", "bunx", "bun", "pnpx", "uvx", "pipx", "go"})


def run_from_elsewhere(call: Call) -> Finding | None:
    """Programs that take an address for a program: ``deno run https://...``, ``npx https://...``."""
    if call.name not in _RUNS_ADDRESSES:
        return None
    named = call.value("-p", "--package", "--from", "--spec")
    address = next(
        (
            word
            for word in [*call.operands[: 2 if call.name in ("deno", "go", "bun", "pipx") else 1], *([named] if named else [])]
            if re.match(r"(?:git\+)?(?:https?|ssh)://", word)
        ),
        None,
    )
    return (
        Finding(Category.DOWNLOAD, address, "is downloaded and run") if address and call.operands[:1] not in (["install"], ["i"], ["add"], ["tool"]) else None
    )


def fetches(script: Script) -> str | None:
    """The first program of a script that brings text from elsewhere, None if there is none."""
    return next((name for pipeline in script for command in pipeline if (name := fetching(command))), None)


def fetching(command: Command) -> str | None:
    for word in command.words:
        if _DOWNLOADS.search(word):
            return word[:40]
    for word in command.words:
        name = word.rsplit("/", 1)[-1].lower()
        if name in FETCHERS:
            return name
        if not word.startswith("-") and "=" not in word and name not in ("sudo", "env", "timeout", "nohup", "nice", "command"):
            break
    return next(filter(None, map(fetches, command.inner)), None)


_ADDRESS = re.compile(r"(?:https?|ftps?|s3|gs)://")
_SAYS = frozenset({"echo", "printf", "print", "grep", "egrep", "rg"})


def _addressed(command: Command) -> str | None:
    """Any program that is given an address, and is not known to do something else with it."""
    name = command.words[0].rsplit("/", 1)[-1] if command.words else ""
    return name if name not in _SAYS and any(map(_ADDRESS.match, command.words[1:])) else None


def decoding(command: Command) -> str | None:
    name = command.words[0].rsplit("/", 1)[-1] if command.words else ""
    hidden = name in DECODERS and (name not in ("rev", "tr", "hexdump", "od") or bool(command.words))
    return name if hidden else next((found for script in command.inner for pipeline in script for inner in pipeline if (found := decoding(inner))), None)


def piped_to_interpreter(before: list[Command], name: str) -> Finding | None:
    """``before`` feeds an interpreter that runs whatever it reads."""
    for command in before:
        if fetcher := fetching(command) or _addressed(command):
            return Finding(Category.DOWNLOAD, fetcher, f"is fed to {name}, which runs what was downloaded")
    for command in before:
        if decoder := decoding(command):
            return Finding(Category.UNREADABLE, decoder, f"is fed to {name}, which runs what cannot be read here")
    return None


def netcat(call: Call) -> Finding | None:
    """A shell tied to a connection, or a command for a store that listens there."""
    if call.fed and (found := _STORE.search(call.fed)):
        return Finding(Category.DATABASE, found.group(0), "empties or stops what others use")
    if call.flags & {"-e", "-c", "--exec", "--sh-exec"} or any(word.lower().startswith(("exec:", "system:")) for word in call.args):
        return Finding(Category.REMOTE_CONTROL, call.name, "gives a shell to whoever is at the other end")
    return None


def saved_as(command: Command) -> list[str]:
    """The files a download is written to; their last parts, since the folder may change in between."""
    if not fetching(command) or not command.words:
        return []
    call = Call("", command.words[1:])
    clustered = next((after for word, after in itertools.pairwise(call.args) if re.fullmatch(r"-[a-zA-Z#]+[oO]", word)), None)
    named = clustered or call.value("-o", "-O", "--output", "--output-document", "-OutFile")
    files = [redirect.target for redirect in command.redirects if redirect.operator.startswith(">")]
    files += [named] if named else []
    copies = command.words[0].rsplit("/", 1)[-1] in ("scp", "sftp", "rsync")
    files += [word for word in call.operands if "://" in word or (copies and ":" in word)]
    return [name for file in files if (name := file.partition("?")[0].rsplit("/", 1)[-1])]


_TRANSFER = re2.compile(r"(?im)(?:^|[;\"'])\s*(?:mdelete|mdel|delete|mrm|rm|rmdir|deltree|del|mirror\b[^;]*--delete)\b[^;\n]*")


def transfer(call: Call) -> Finding | None:
    """What clients of file servers are told to delete there."""
    told = [call.fed or "", call.value("-e", "-c") or ""]
    found = next(filter(None, map(_TRANSFER.search, told)), None)
    return Finding(Category.DELETION, found.group(0).strip(" ;\"'"), "deletes files on the server") if found else None


def name_server(call: Call) -> Finding | None:
    found = re.search(r"(?i)\bupdate\s+delete\b[^\n]*", call.fed or "")
    return Finding(Category.CLOUD, found.group(0), "deletes names") if found else None


RULES: dict[str, Rule] = {
    "nsupdate": name_server,
    **dict.fromkeys(("ftp", "sftp", "lftp", "smbclient", "ncftp", "tnftp"), transfer),
    **dict.fromkeys(("curl", "wget", "http", "https", "xh", "httpie", "curlie"), http),
    **dict.fromkeys(("nc", "ncat", "netcat", "socat"), netcat),
}
