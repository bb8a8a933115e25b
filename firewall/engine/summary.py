"""What an event keeps of a call's arguments: a hash of all of them, and a short text without secrets.

The hash is SHA-256 over the canonical form (RFC 8785: names sorted, no white space), so equal arguments in another
spelling are equal. What is not one JSON object is hashed as it was written.
"""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal

import re2

from firewall.engine.sanitize import PRESETS, Sanitizer, Sanitizers

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
    )
]


@dataclass(frozen=True, slots=True)
class Summary:
    """``text`` is at most ``MAX_SUMMARY_BYTES`` of UTF-8; ``digest`` is 64 hex digits."""

    text: str
    digest: str


def summarise(arguments: str) -> Summary:
    """The summary and the hash of a call's arguments, as the model wrote them."""
    raw = arguments.encode(errors="replace")
    canonical = _canonical(arguments) if len(raw) <= MAX_CANONICAL_BYTES else None
    # Redact before cutting: half a secret is still a secret. What lies far beyond the cut is never kept.
    text = _SECRETS.text(raw[: 4 * MAX_SUMMARY_BYTES].decode(errors="ignore").replace("\x00", "�")).text
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    kept = text.encode()[:MAX_SUMMARY_BYTES].decode(errors="ignore")
    return Summary(kept, hashlib.sha256(canonical if canonical is not None else raw).hexdigest())


def _canonical(arguments: str) -> bytes | None:
    """Canonical JSON of one object, or None where it is not one."""
    try:
        value = json.loads(arguments, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_Number, parse_int=_Number)
        if not isinstance(value, dict):
            return None
        return _written(value).encode()
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A number's digits: canonical where they are exactly a double, else kept as written (spec/decisions.md 7.3)."""

    __slots__ = ()


def _unique(pairs: list) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)


def _written(value: object) -> str:
    match value:
        case _Number():
            return _number(value)
        case dict():
            # RFC 8785 3.2.3: names are ordered by their UTF-16 code units.
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_written(value[name])}" for name in names) + "}"
        case list():
            return "[" + ",".join(map(_written, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _number(digits: str) -> str:
    """ECMAScript's shortest form of a double (RFC 8785 3.2.2.3); digits that no double holds exactly stay as they are."""
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    if number == int(number) and abs(number) < 1e21:
        return str(int(number)) if "." in digits or "e" in digits.lower() or int(digits) == int(number) else digits
    shortest = repr(number)
    mantissa, _, exponent = shortest.partition("e")
    if not exponent:
        return shortest
    return f"{mantissa.removesuffix('.0')}e{'+' if int(exponent) > 0 else '-'}{abs(int(exponent))}" if _is_exponential(number) else f"{Decimal(shortest):f}"


def _is_exponential(number: float) -> bool:
    return abs(number) >= 1e21 or abs(number) < 1e-6
