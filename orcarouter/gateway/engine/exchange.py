"""One call to a model, whatever its wire format: what is judged of it, and the bytes it came in."""

import hashlib
import json
import re
from functools import lru_cache
from typing import Any

import msgspec
import orjson

MAX_DEPTH = 64
MAX_TOOLS = 512
MAX_MESSAGES = 4_096

FINGERPRINTED_CHARS = 4_096  # of the system prompt and of the first user message each


class Refusal(msgspec.Struct, frozen=True):
    """Why a body is not forwarded: an error ``code`` of the one envelope, a sentence, and the path of the field."""

    code: str
    message: str
    param: str | None = None


class Hosted(msgspec.Struct, frozen=True):
    """An offered tool that the provider runs itself; ``max_uses`` None: it names no limit."""

    type: str
    name: str | None
    max_uses: int | None


class Exchange(msgspec.Struct, frozen=True):
    """One request, parsed once.

    ``messages`` and ``members`` (the top level, in order) are kept as the raw bytes they came in; ``in_parts`` are the places
    of the messages whose content is a list of parts, and ``task`` the beginnings of the first system and of the first user
    message, each with its role, in the order they came. ``tools`` are the names of every tool the request advertises, in every
    shape, as sent, each once; ``past_tools`` of those that only its message history calls; ``hosted`` those of the array
    ``tools`` that the provider runs itself. ``max_output_tokens`` is None where the client set no limit; ``choices`` is
    ``n``. ``wants_usage``: the client asked for a stream's usage itself.
    """

    model: str
    is_stream: bool
    wants_usage: bool
    messages: tuple[msgspec.Raw, ...]
    in_parts: tuple[int, ...]
    task: tuple[tuple[str, str], ...]
    tools: tuple[str, ...]
    past_tools: tuple[str, ...]
    hosted: tuple[Hosted, ...]
    max_output_tokens: int | None
    choices: int
    members: dict[str, msgspec.Raw]
    body: bytes


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_object(body: bytes) -> tuple[dict[str, Any], dict[str, msgspec.Raw]] | Refusal:
    """The JSON object in ``body``, as values and as raw members.

    Refused: what is not UTF-8 JSON (RFC 8259: no BOM, NaN, lone surrogate or trailing text), anything but an object,
    nesting over ``MAX_DEPTH``, and an object with a repeated name anywhere, because two readers may then see two bodies.
    """
    value = _read_value(body)
    return value if isinstance(value, Refusal) else (value, _MEMBERS.decode(body))


def read_around_tools(body: bytes, *, longest: int) -> tuple[dict[str, Any], dict[str, msgspec.Raw], bytes] | None:
    """The same without looking into the array ``tools``: null stands for it among the values; its bytes come beside them.

    Sound if ``{"tools": array}`` is for itself what ``read_object`` accepts, which the caller makes sure of. None: to be read whole, for
    this is not a body as nearly all clients write it, its array has more than ``longest`` bytes, or it is to be refused.
    """
    at = body.find(b'"tools":') + 8
    if at < 8:
        return None
    try:
        members = _MEMBERS.decode(body)
    except (ValueError, RecursionError):
        return None
    array = bytes(members.get("tools", b""))
    if body.startswith(b" ", at):
        at += 1
    if len(array) > longest or not array.startswith(b"[") or not body.startswith(array, at):
        return None
    # With a value in place of a value, the rest is as valid as the whole, and has the same names.
    value = _read_value(body[:at] + b"null" + body[at + len(array) :])
    # What has become null is the member itself, and not something that looks like it further inside.
    if isinstance(value, Refusal) or value.get("tools", array) is not None:
        return None
    return value, members, array


def _read_value(body: bytes) -> dict[str, Any] | Refusal:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Refusal("bad_request_body", f"The body is not valid JSON: {error.msg}.")
    if not isinstance(value, dict):
        return Refusal("bad_request_body", "The body must be a JSON object.")
    # An object cannot be deeper than it has brackets, and most have few.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_deeper_than(value, MAX_DEPTH):
        return Refusal("bad_request_body", f"The body is nested deeper than {MAX_DEPTH} levels.")
    # A body that survives the round trip unchanged cannot have lost a member on the way. That proof costs a tenth of
    # looking at each object; what fails it may merely have been written otherwise, and is looked at.
    again = orjson.dumps(value)
    if again != body and again != msgspec.json.format(body, indent=-1):
        try:
            _PAIRS.decode(body.decode())
        except _RepeatedName as repeated:
            return Refusal("bad_request_body", f'The name "{shown(repeated.name)}" is repeated in one object.', shown(repeated.name))
    return value


def is_deeper_than(value: dict[str, Any] | list[Any], limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            if container  # millions of empty ones fit in a body
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]
        if not level:
            return False
    return True


_CONTAINERS = frozenset({dict, list})


class _RepeatedName(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise _RepeatedName(name)
        names.add(name)


# Values are of no interest here, and as text a number of any length is harmless.
_PAIRS = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str)


def shown(text: str, limit: int = 128) -> str:
    """``text`` fit for an event, a page or an error: printable, free of NUL and surrogates, at most ``limit`` characters.

    For showing only: what is judged and sent is the text itself.
    """
    if len(text) <= limit and text.isprintable():
        return text
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:limit])
    return escaped if len(escaped) <= limit and len(text) <= limit else escaped[: limit - 1] + "…"


def message_digests(exchange: Exchange, *, secret: bytes = b"") -> list[bytes]:
    """A 16-byte digest of each prefix of the message list: item ``i`` stands for messages ``0..i``.

    A later request that repeats or extends an earlier one has the earlier one's last digest among its own.
    ``secret`` (at most 64 bytes) keeps a stored digest from confirming a guess of the text.
    """
    prefix = hashlib.blake2b(digest_size=16, key=secret)
    digests = []
    for message in exchange.messages:
        prefix.update(message)
        digests.append(prefix.digest())
    return digests


_NAMES_OF_TIME = (
    r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
    r"|Mon(?:day)?|Tue(?:s|sday)?|Wed(?:nesday)?|Thu(?:rs|rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?|[AaPp][Mm])\b"
)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_VARYING = re.compile(rf"{_UUID}|\d+(?:st|nd|rd|th)?|{_NAMES_OF_TIME}")


def fingerprint(key_id: int, exchange: Exchange, *, secret: bytes = b"") -> bytes:
    """16 bytes for "the same task of the same key": its system prompt and first user message, without digits, dates
    and UUIDs. Only the first ``FINGERPRINTED_CHARS`` of each count."""
    told = hashlib.blake2b(b"%d" % key_id, digest_size=16, key=secret)
    for role, text in exchange.task:
        told.update(f"\0{role}\0{_steady(text)}".encode())
    return told.digest()


@lru_cache(maxsize=512)  # each call of a run has the same two texts, and they take longer than all else here
def _steady(text: str) -> str:
    return _VARYING.sub("", text)
