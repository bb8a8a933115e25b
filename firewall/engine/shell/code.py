"""Programs given on a command line: Python, Perl, Ruby, JavaScript, PHP, awk, and what they run or delete."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from re import Match

import re2

from firewall.engine.shell import edits, libraries
from firewall.engine.shell.call import Call, Rule
from firewall.engine.shell.credentials import credentials_read
from firewall.engine.shell.databases import deleted_objects, sql, statement
from firewall.engine.shell.evaluate import unbase64
from firewall.engine.shell.files import emptied, overwritten
from firewall.engine.shell.paths import harmless
from firewall.engine.shell.types import FED, Category, Command, Finding

#: Interpreters and the options that give them a program.
INTERPRETERS: dict[str, tuple[str, ...]] = {
    "python": ("-c",),
    "pypy": ("-c",),
    "perl": ("-e", "-E", "-ne", "-pe", "-le", "-we", "-lne"),
    "ruby": ("-e",),
    "node": ("-e", "-p", "--eval", "--print", "-pe"),
    "nodejs": ("-e", "-p", "--eval", "--print"),
    "bun": ("-e", "--eval"),
    "deno": ("eval",),
    "php": ("-r", "-R", "-E", "-B"),
    "lua": ("-e",),
    "luajit": ("-e",),
    "rscript": ("-e",),
    "julia": ("-e",),
    "groovy": ("-e",),
    "scala": ("-e",),
    "osascript": ("-e",),
    "tclsh": ("-c",),
    "elixir": ("-e",),
    "ghc": ("-e",),
    "expect": ("-c",),
    "emacs": ("--eval", "-eval", "--execute"),
    "guile": ("-c",),
    "sbcl": ("--eval",),
    "r": ("-e",),
}
_AWK = frozenset({"awk", "gawk", "mawk", "nawk"})

_STRING = re2.compile(r"""(?s)"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`""")
#: A string of several words.
_SAID = re2.compile(r"""(?s)(")[^"\\`$]*\s[^"\\`$]*"|(')[^'\\]*\s[^'\\]*'""")
_LIST = re2.compile(
    r"""(?s)(?:[\[(]|\b(?:exec|system)\s)\s*((?:"[^"\\]*"|'[^'\\]*')(?:\s*,\s*(?:\{\s*args\s*:\s*)?\[?\s*"""
    r"""(?:[fFrRbBuU]?"[^"\\]*"|[fFrRbBuU]?'[^'\\]*'|[$*]{0,2}[A-Za-z_][\w.]*(?:\([\w., ]*\))?))+)"""
)
#: One of such a list: a string, or a name that stands for a word not known.
_LISTED = re2.compile(r"""(?s)"([^"\\]*)"|'([^'\\]*)'|([A-Za-z_][\w.]*)(?:\([\w., ]*\))?""")
_DELETES_TREE = re2.compile(
    r"\brmtree\b|\bdelete-directory\b|\bremovedirs\b|\brm_rf?\b|\bremove_(?:entry_secure|dir|tree|all)\b|\brm(?:dir)?Sync\b|\bfs(?:Promises|\.promises)?\.rm(?:dir)?\s*\(|\brimraf\b|\bdeltree\b|\bDirectory\.Delete\b|\bRemoveAll\b"
    r"|unlink\s*(?:\(\s*)?(?:glob|<|[\w:]*glob)|\bdeleteDir\b|\bsh\.rm\s*\(|\bremoveSync\b|\bemptyDir(?:Sync)?\b|\['\"]rm['\"]\s*,\s*['\"]-r|\b(?:rm|unlink)\w*\s*\([^)]*\brecursive\s*[:=]\s*(?:true|TRUE|T\b)"
)
_DELETES_FILE = re2.compile(
    r"\b(?:os\.(?:remove|unlink|rmdir)|unlink(?:Sync)?|File\.delete|Path\([^)]*\)\.unlink|fs\.unlink|FileUtils\.rm|os\.truncate)\s*\(?\s*([^,;)]*)"
)
_LOOPS = re2.compile(r"\bfor\b|\bwhile\b|\bmap\b|\bforeach\b|\.each\b|\bforEach\b|\breaddir(?:Sync)?\b|\bglob\b|\bwalk\b|\blistdir\b")
_RUNS = re2.compile(
    r"\bsystem\b|\bpopen\d?\b|\bsubprocess\b|\bspawn\w*\b|\bexec\w*\b|\bshell_exec\b|\bpassthru\b|\bqx\b|`|\bchild_process\b|\bsh\.|\beval\b|\bcommand\b"
    r"|\bdo shell script\b|%x|\bShellExecute\b|\bProcess\b|\bopen3\b|\|\s*getline|\|\s*\"sh\"|\brun\b|\bRuntime\b|\$\(|\bcall\b|\bcheck_(?:call|output)\b"
)
_WRITES = re2.compile(
    r"""\bopen\s*\(\s*['"]([^'"]+)['"]\s*,\s*['"](?:r\+b?|wb?\+?|>|w)|\bopen\s*\(?\s*\w+\s*,\s*['"]\s*>+\s*([^'"]+)['"]|\b(?:writeFileSync|writeFile|truncateSync|file_put_contents)\s*\(\s*['"]([^'"]+)['"]"""
)
_LEAVES_EMPTY = re2.compile(
    r"""\bopen\s*\(\s*['"]([^'"]+)['"]\s*,\s*['"]wb?['"]\s*\)\.close\(|\bPath\s*\(\s*['"]([^'"]+)['"]\s*\)\.write_text\(\s*(?:''|"")\s*\)"""
    r"""|\bwriteFile(?:Sync)?\s*\(\s*['"]([^'"]+)['"]\s*,\s*(?:''|"")"""
)
_READS = re2.compile(r"\bopen\b|\bread\w*\b|\bFile\b|\bPath\b|\bfile_get_contents\b|\bslurp\b|<")
_FORKS = re2.compile(
    r"(?s)\b(?:while|loop|for)\b.*\bfork\b|\bfork\b\s*while\b|\bfork\b.*\bwhile\b|\bfork\s*\(\s*\)\s*for\b|\bsetInterval\b.*\b(?:spawn|fork)\b|\bspawn\w*\s*\(\s*process\.(?:argv|execPath)\b.*\bprocess\.argv\b"
)
_FETCHED_CODE = re2.compile(
    r"(?is)\b(?:exec|eval|system|Invoke-Expression|iex|instance_eval|new Function|loadstring)\b.*"
    r"\b(?:urlopen|requests\.get|urllib|http\.get|fetch|LWP|open-uri|URI\.open|file_get_contents|DownloadString|Net::HTTP)\b"
    r"|\b(?:urlopen|requests\.get|fetch)\b.*\b(?:exec|eval|os\.system)\s*[()]|\bhttps?['\"]\s*\)\.(?:get|request)\b.*\b(?:eval|exec|Function|runIn\w+)\b|\bLWP\b.*\beval\b"
)
_REMOTE = re2.compile(
    r"(?is)\b(?:socket|fsockopen|TCPSocket|net\.(?:connect|Socket)|inet_aton|IO::Socket|TCPClient)\b.*(?:/bin/(?:ba|z|da|k)?sh\b|\bcmd(?:\.exe)?['\"]|powershell|pty\.spawn|\bdup2\b)"
    r"|\b(?:TCPSocket|fsockopen|net\.connect|IO::Socket|TCPClient|create_connection|socket\.socket)\b.*(?:\.gets|fgets|\.read|\.recv|on\(['\"]data|ReadLine).*\b(?:popen\d?|system|exec\w*|spawn\w*|shell_exec|subprocess|iex|eval)\b"
    r"|\b(?:create_connection|socket\.socket)\b.*\b(?:popen|system|exec|eval|call|run|check_output)\s*\([^)]*\.recv\b"
)
_MACHINE = re2.compile(r"(?i)\bto\s+(?:shut\s+down|restart|empty\s+(?:the\s+)?trash|delete\s+every)|\bshut\s+down\b")
_MODULE = re2.compile(r"""\b(?:require|import)\s*\(\s*['"][^'"]*['"]\s*\)|\bfrom\s+['"][^'"]*['"]""")
_CHARACTERS = re2.compile(r"(?:\bchr|\bString\.fromCharCode)\s*\(\s*(\d{1,3}(?:\s*,\s*\d{1,3})*)\s*\)")
_JOINED = re2.compile(r"""('[^'\\\n]*)'\s*[+.]\s*'([^'\\\n]*)(')""")
_HEX = re2.compile(r"fromhex|unhexlify|\bpack\b|'hex'|\"hex\"|hex2bin")
_DECODES = re2.compile(r"b64|base64|atob|Buffer\.from")
_KILLS = re2.compile(r"\bos\.kill\s*\(\s*-1|\bkill\s*(?:\(\s*)?['\"]?(?:9|KILL)['\"]?\s*,\s*-1")


def program(text: str, call: Call) -> Finding | None:
    """Judge a program by what its calls are named and by its strings, since those name the commands and files it works on."""
    if (folded := _folded(text)) != text:
        return program(folded, call)
    if found := _unmistakable(text, call) or deleted_objects(text):
        return found
    strings = [found.group(0)[1:-1] for found in _STRING.finditer(_MODULE.sub("", text))]
    if (found := _DELETES_TREE.search(text)) and not (
        strings and all(harmless(string) for string in strings if "/" in string or string.isidentifier()) and any(map(harmless, strings))
    ):
        return Finding(Category.DELETION, found.group(0), "deletes a folder and all that is in it")
    if found := _DELETES_FILE.search(text):
        target = found.group(1).strip("\"' ")
        if _LOOPS.search(text) or (judged := call.words_again(["rm", "-f", target])):
            return Finding(Category.DELETION, found.group(0), "deletes files") if _LOOPS.search(text) else judged
    for found in _LEAVES_EMPTY.finditer(text):
        if judged := emptied(found.group(1) or found.group(2) or found.group(3)):
            return judged
    for found in _WRITES.finditer(text):
        if judged := overwritten(found.group(1) or found.group(2) or found.group(3)):
            return judged
    if _READS.search(text) and (found := credentials_read(call, *strings)):
        return found
    return _run_by(text, strings, call)


#: Calls that hand a text to a database.
_QUERIES = re2.compile(r"\b(?:\$?(?:query|execute)\w*|exec|run|raw|prepare|sql|do|unsafe)\s*[(`]|\bsql`")


def _unmistakable(text: str, call: Call) -> Finding | None:
    """What the names of its calls tell, whatever they are given."""
    if _FORKS.search(text):
        return Finding(Category.FORK_BOMB, "fork", "starts itself again without end")
    if _REMOTE.search(text):
        return Finding(Category.REMOTE_CONTROL, call.name, "gives a shell to whoever is at the other end")
    if found := libraries.asked(text, call):
        return found
    if call.name == "osascript" and (found := _MACHINE.search(text)):
        return Finding(Category.SERVICES, found.group(0), "stops the machine or deletes")
    if found := _KILLS.search(text):
        return Finding(Category.SERVICES, found.group(0), "ends every process there is")
    return Finding(Category.DOWNLOAD, "eval", "runs what was downloaded") if _FETCHED_CODE.search(text) else None


def _folded(text: str) -> str:
    """``'r' + 'm'`` as ``'rm'``, ``chr(114)`` as ``'r'``: strings that were taken apart only to be put together."""
    if "chr" in text or "fromCharCode" in text:
        text = _CHARACTERS.sub(_spelt, text)
    for _ in range(4):
        joined = _JOINED.sub(lambda found: found.group(1) + found.group(2) + found.group(3), text)
        if joined == text:
            break
        text = joined
    return text


def _spelt(found: Match[str]) -> str:
    letters = "".join(chr(int(number)) for number in found.group(1).replace(",", " ").split())
    return f"'{letters}'" if letters.isprintable() and "'" not in letters else found.group(0)


def _decoded(string: str, text: str) -> str | None:
    """What a string becomes where the program around it decodes it."""
    if len(string) < 8:
        return None
    if _DECODES.search(text) and (decoded := unbase64(string)):
        return decoded
    if "rot13" in text or "rot_13" in text:
        return codecs.encode(string, "rot13")
    if _HEX.search(text):
        try:
            return bytes.fromhex(string.replace("\\x", "")).decode()
        except ValueError:
            return None
    return None


def _runs(text: str) -> bool:
    """Whether it runs commands: words within what it says are no calls."""
    return bool(_RUNS.search(text)) and bool(_RUNS.search(_SAID.sub('""', text)))


def _run_by(text: str, strings: list[str], call: Call) -> Finding | None:
    runs = _runs(text)
    if runs:
        for found in _LIST.finditer(text):
            words = [piece.group(1) or piece.group(2) or (f"${piece.group(3)}" if piece.group(3) else "") for piece in _LISTED.finditer(found.group(1))]
            if judged := call.words_again(words):
                return judged
    seen = 0
    for string in strings:
        if not string or seen > 64:
            continue
        seen += 1
        # A string that ends with a blank is to be followed by something.
        if runs and (judged := call.again(string + FED if string.endswith(" ") else string)):
            return judged
        if ("execute" in text and (judged := sql(string))) or (_QUERIES.search(text) and (judged := statement(string))):
            return judged
        if (decoded := _decoded(string, text)) and (judged := program(decoded, call) or call.again(decoded)):
            return judged
    spawned = [found.group(1) for found in _SPAWNED.finditer(text)] if call.name in ("expect", "tclsh") else []
    quoted = [found.group(1) for found in _QUOTED.finditer(text)] if "qx" in text or "%x" in text or "system" in text or "exec" in text else []
    return next(filter(None, map(call.again, [*spawned, *quoted])), None)


_SUBSTITUTED = re2.compile(r"(?s)s([/|#,!@%])[^/|#,!@%]*[/|#,!@%](.*)[/|#,!@%][a-z0-9]*")
_SPAWNED = re2.compile(r"\b(?:spawn|system|exec)\s+([^;\n]+)")
_QUOTED = re2.compile(r"(?:qx|%x|\bq|\bqq|\bqw)\s*[{(\[/|!]([^})\]/|!]*(?:/[^})\]|!]*)?)[})\]/|!]")


def interpreter(call: Call) -> Finding | None:
    """The program on the command line, or the one it is fed."""
    if call.name == "perl" and (found := edits.perl(call)):
        return found
    options = INTERPRETERS[interpreter_name(call.name)]
    texts = []
    for place, word in enumerate(call.args):
        if word in options or (word.startswith("-") and not word.startswith("--") and len(word) < 8 and word[-1] in "ecErp" and f"-{word[-1]}" in options):
            texts += call.args[place + 1 : place + 2]
        elif len(word) > 2 and word[:2] in options and word[0] == "-":
            texts.append(word[2:])
    if (call.name.startswith("python") and not call.operands and call.fed) or (call.fed and (not call.operands or call.operands[0] == "-")):
        texts.append(call.fed)
    return next((found for text in texts if (found := program(text, call))), None)


def interpreter_name(name: str) -> str:
    """``python3.11`` is ``python``; what is no interpreter stays as it is."""
    return name if name in INTERPRETERS else name.rstrip("0123456789.") if name.rstrip("0123456789.") in INTERPRETERS else name


def awk(call: Call) -> Finding | None:
    """Awk and sed run commands from within their programs."""
    for text in call.args:
        if "/inet/tcp/" in text and "|&" in text:
            return Finding(Category.REMOTE_CONTROL, "/inet/tcp/", "gives a shell to whoever is at the other end")
        if "system" in text or "|" in text:
            for found in _STRING.finditer(text):
                string = found.group(0)[1:-1]
                if judged := call.again(string + FED if string.endswith(" ") else string):
                    return judged
    return edits.awk(call)


def writes_commands(commands: list[Command]) -> Iterator[str]:
    """What awk or sed make of each line for a shell to read, as far as it stands in their text."""
    for command in commands:
        name = command.words[0].rsplit("/", 1)[-1] if command.words else ""
        for word in command.words[1:]:
            if name in _AWK:
                yield from (found.group(0)[1:-1] + FED for found in _STRING.finditer(word))
            if name in ("sed", "gsed") and (found := _SUBSTITUTED.fullmatch(word)):
                yield found.group(2).replace("&", FED).replace("\\", "") + FED


_EDITOR_PROGRAM = re2.compile(r"(?:py(?:thon)?[3x]?|lua|perl|ruby|call)\s+")


def editor(call: Call) -> Finding | None:
    for word in call.args:
        text = word.lstrip("+-c").lstrip(":")
        if text.startswith("!") and (judged := call.again(text[1:])):
            return judged
        if (inner := _EDITOR_PROGRAM.match(text)) and (judged := program(text[inner.end() :], call)):
            return judged
    return edits.editor(call)


RULES: dict[str, Rule] = {
    **dict.fromkeys(INTERPRETERS, interpreter),
    **dict.fromkeys(_AWK, awk),
    **dict.fromkeys(("vim", "vi", "nvim", "ex", "ed"), editor),
}
