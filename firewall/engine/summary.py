"""What an event keeps of a call's arguments: a hash of all of them, and a short text without secrets.

The hash is SHA-256 over the canonical form (``workspaces.engine.canonical``), so equal arguments in another
spelling are equal. What is not one JSON object is hashed as it was written.
"""

import hashlib
import re
from dataclasses import dataclass

import orjson
import re2

from firewall.engine.sanitize import PRESETS, Sanitizer, Sanitizers
from workspaces.engine import canonical

#: Bytes of UTF-8 that an event keeps.
MAX_SUMMARY_BYTES = 2048
#: Longer arguments are hashed as written: no agent repeats a call of this size in another spelling.
MAX_CANONICAL_BYTES = 256 * 1024

# Secrets and numbers of persons. Not e-mail: whom a call writes to is what a reader, and a replay, needs to know.
_SECRETS = Sanitizer(Sanitizers(tuple(name for name in PRESETS if name != "email")))
#: More kinds of secret than rules have presets for, and whatever a field's name says is one.
_REDACTIONS = [
    (re2.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{30,}", "[redacted:token]"),
        (r"\borca-pat-[A-Za-z0-9]{20,}", "[redacted:token]"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?", "[redacted:private_key]"),
        (r'(?i)("[a-z0-9_.-]*(?:password|passwd|secret|token|api_?key|authorization)[a-z0-9_.-]*"\s*:\s*")[^"\\]+(?:\\.[^"\\]*)*', r"\1[redacted]"),
        (r'(://[^\s/:@"]*:)[^\s/@"]+@', r"\1[redacted]@"),
        (r'(?i)([?&][a-z0-9_.-]*(?:password|secret|token|api_?key|signature)=)[^\s&#"\\]+', r"\1[redacted]"),
    )
]
#: Of a printable ASCII character by its number, or any other.
_ESCAPE = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|(.))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Summary:
    """``text`` is at most ``MAX_SUMMARY_BYTES`` of UTF-8; ``digest`` is 64 hex digits."""

    text: str
    digest: str


def summarise(arguments: str) -> Summary:
    """The summary and the hash of a call's arguments, as the model wrote them."""
    # Half a surrogate pair cannot be kept: then the hash tells that the summary is not all.
    raw = _raw(arguments)
    spelled = _canonical(arguments) if len(raw) <= MAX_CANONICAL_BYTES else None
    # Redact before cutting: half a secret is still a secret. What lies far beyond the cut is never kept.
    text = redacted(raw[: 4 * MAX_SUMMARY_BYTES].decode(errors="ignore").replace("\x00", "�"))
    kept = text.encode()[:MAX_SUMMARY_BYTES].decode(errors="ignore")
    return Summary(kept, hashlib.sha256(raw if spelled is None else spelled).hexdigest())


def redacted(text: str) -> str:
    """Any text without secrets and numbers of persons. Escapes that JSON does not need, and that would hide some, are undone."""
    if "\\u00" in text or "\\/" in text:
        text = _ESCAPE.sub(_undone, text)
    text = _SECRETS.text(text).text
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def _undone(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16)) if escape[1] else escape[2]
    return char if char == "/" or (escape[1] and char not in '"\\\x7f') else escape[0]


def is_whole(summary: str, digest: str) -> bool:
    """Whether a summary is all of the arguments that had this hash: nothing was cut off or redacted."""
    # The hash is what proves it: a spelling that is cheap to make and mostly the canonical one is tried before that.
    for spell in (_sorted, _raw, _canonical):
        spelled = spell(summary)
        if spelled is not None and hashlib.sha256(spelled).hexdigest() == digest:
            return True
    return False


def _raw(arguments: str) -> bytes:
    return arguments.encode(errors="surrogatepass")


def _sorted(arguments: str) -> bytes | None:
    try:
        return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS)
    except ValueError:
        return None


def _canonical(arguments: str) -> bytes | None:
    """Canonical JSON of one object, or None where it is not one."""
    try:
        value = canonical.parse(arguments)
        return canonical.canonical(value).encode() if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None
