"""The frames of a stream that wait for a verdict on their tool calls, and how they leave after it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from orcarouter.gateway.engine.calls import LEGACY, SPELLINGS, EmittedCall, Ruling, notice, read_call, read_function_call, rewritten


def frame(chunk: Mapping[str, Any]) -> bytes:
    """One event of a chat completion stream."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


class _Growing:
    """One call, growing by its fragments."""

    def __init__(self, choice: int, kind: str) -> None:
        self.choice, self.kind = choice, kind
        self.id: str | None = None
        self.is_named = False  # a fragment has come that can carry the name
        self.names: list[str] = []
        self.arguments: list[str] = []
        self.parts: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Some providers cut a name in pieces, others repeat it whole in each fragment."""
        return self.names[0] if len(set(self.names)) == 1 else "".join(self.names)


class _Fragment:
    """A part of a call inside a held frame."""

    def __init__(self, part: dict[str, Any], call: _Growing, arguments: str) -> None:
        self.part, self.call, self.arguments = part, call, arguments
        can_name = call.kind == LEGACY or any(part.get(shape) is not None for shape in ("function", "custom"))
        self.names_call = can_name and not call.is_named
        call.is_named = call.is_named or can_name


class _Frame:
    """A held frame, and by choice the fragments in it."""

    def __init__(self, raw: bytes, chunk: dict[str, Any]) -> None:
        self.raw, self.chunk = raw, chunk
        self.fragments: dict[int, list[_Fragment]] = {}


class Held:
    """The queue of held frames, in the order they came, and the calls they spell.

    Fragments belong together by their ``index``; by their ``id`` where one index has two. Clients differ in how they
    join the irregular ones (no index, an index used twice, a name in pieces, a call after its turn had ended), so
    frames with such leave rewritten to what was judged, and all others leave as they came. ``left`` counts by choice
    the calls that left earlier in the stream: none of these may be grown by a later fragment of the same index.
    """

    def __init__(self, left: Mapping[int, int]) -> None:
        self._left = left
        self.bytes = 0
        self.choices: set[int] = set()
        self._frames: list[_Frame] = []
        self._calls: list[_Growing] = []
        self._at: dict[tuple[int, Any], _Growing] = {}  # (choice, index) -> the call last seen there
        self._is_irregular = False

    def add(self, raw: bytes, chunk: dict[str, Any]) -> None:
        """Hold one frame. Raises ``ValueError`` for a fragment that cannot be read; nothing has changed then."""
        held = _Frame(raw, chunk)
        read = [(index_of(choice), *fragment) for choice in chunk["choices"] for fragment in _parts(choice)]
        if any(kind == LEGACY and choice in self._left for choice, _, _, kind, _ in read):
            raise ValueError("a choice makes one function_call, and this one's has left")
        for choice, position, part, kind, (name, arguments) in read:
            call = self._call_of(choice, position, part, kind)
            if name:
                call.names.append(name)
                self._is_irregular = self._is_irregular or len(call.names) > 1
            held.fragments.setdefault(choice, []).append(_Fragment(part, call, arguments))
            call.arguments.append(arguments)
            call.parts.append(part)
            call.id = call.id or _string(part.get("id"))
        if any("message" in choice for choice in chunk["choices"]):
            # A whole message in a stream repeats what its deltas said, calls included.
            for choice in chunk["choices"]:
                choice.pop("message", None)
            held.raw = frame(chunk)
        self.choices.update(index_of(choice) for choice in chunk["choices"])
        self.bytes += len(raw)
        self._frames.append(held)

    def _call_of(self, choice: int, position: int, part: Mapping[str, Any], kind: str | None) -> _Growing:
        index, called_as = part.get("index"), _string(part.get("id"))
        if kind == LEGACY:
            index = LEGACY
        elif not isinstance(index, int):
            index, self._is_irregular = position, True
        known = self._at.get((choice, index))
        if known is not None and (kind not in (None, known.kind) or (called_as and known.id not in (None, called_as))):
            known, self._is_irregular = None, True
        if known is None:
            known = self._at[(choice, index)] = _Growing(choice, kind or "function")
            self._is_irregular = self._is_irregular or choice in self._left
            self._calls.append(known)
        return known

    def calls(self, fault: str | None = None) -> tuple[EmittedCall, ...]:
        """The calls as far as they have come, in the order they began."""
        positions: dict[int, int] = {}
        calls = []
        for call in self._calls:
            position = positions[call.choice] = positions.get(call.choice, -1) + 1
            calls.append(EmittedCall(call.choice, position, call.id, call.name, "".join(call.arguments), call.kind, fault))
        return tuple(calls)

    def grown(self) -> list[tuple[EmittedCall, list[dict[str, Any]]]]:
        """The calls as far as they have come, each with the fragments that it was joined of."""
        return [(call, growing.parts) for call, growing in zip(self.calls(), self._calls, strict=True)]

    def released(self, rulings: Sequence[Ruling], *, after_text: set[int], notices: bool, ends: bool) -> bytes:
        """The bytes that may leave, with a ruling for each call.

        Where every call leaves as it came they are the held frames as they came. Else, per choice: its text, the notice
        (on a line of its own if the choice is in ``after_text`` or has text here), the surviving calls re-indexed from
        zero, a rewritten one whole where it began, the finish frame. ``ends``: choices the provider has not finished are
        finished here.
        """
        calls = self.calls()
        is_untouched = not any(ruling.changes(call) for call, ruling in zip(calls, rulings, strict=True))
        if is_untouched and not ends and not self._is_irregular:
            return b"".join(held.raw for held in self._frames)
        return b"".join(_Release(self._frames, self._calls, calls, rulings, self._left).frames(after_text, notices=notices, ends=ends))


def index_of(choice: Mapping[str, Any]) -> int:
    """A choice without an index is the first."""
    return choice.get("index") or 0


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _parts(choice: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any], str | None, tuple[str, str]]]:
    """``(position, part, kind or None, (name, arguments))`` of each fragment in a choice's delta."""
    delta = choice.get("delta") or {}
    for position, part in enumerate(delta.get("tool_calls") or ()):
        kind, name, arguments = read_call(part)
        says_kind = part.get("type") is not None or part.get(kind) is not None
        yield position, part, kind if says_kind else None, (name, arguments)
    if delta.get(LEGACY) is not None:
        yield 0, delta[LEGACY], LEGACY, read_function_call(delta[LEGACY])


class _Release:
    """One rewriting of held frames to what survived."""

    def __init__(self, held: list[_Frame], growing: list[_Growing], calls: Sequence[EmittedCall], rulings: Sequence[Ruling], left: Mapping[int, int]) -> None:
        self._held = held
        self._blocked: dict[int, list[tuple[EmittedCall, str]]] = {}
        self._new_index: dict[int, int] = {}  # id() of a surviving call -> its index among the survivors of its choice
        self._rewritten: dict[int, dict[str, Any]] = {}  # id() of a call that leaves with other arguments -> the call, whole
        survivors: dict[int, int] = {}
        for call, judged, ruling in zip(growing, calls, rulings, strict=True):
            if ruling.refusal is not None:
                self._blocked.setdefault(call.choice, []).append((judged, ruling.refusal))
                continue
            self._new_index[id(call)] = survivors.get(call.choice, left.get(call.choice, 0))
            survivors[call.choice] = self._new_index[id(call)] + 1
            if (arguments := ruling.instead(judged)) is not None:
                self._rewritten[id(call)] = rewritten(judged, call.parts, arguments)
        self._emptied = {choice for choice in self._blocked if choice not in survivors}
        self._changed = {call.choice for call, ruling in zip(calls, rulings, strict=True) if ruling.changes(call)}
        self._with_text: set[int] = set()
        self._finished: set[int] = set()

    def frames(self, after_text: set[int], *, notices: bool, ends: bool) -> Iterator[bytes]:
        split = [self._split(held) for held in self._held]
        yield from (text for text, _ in split if text)
        envelope = {name: value for name, value in self._held[0].chunk.items() if name not in ("choices", "usage")}
        for choice, blocked in self._blocked.items() if notices else ():
            gap = "\n" if choice in after_text or choice in self._with_text else ""
            yield frame({**envelope, "choices": [{"index": choice, "delta": {"content": gap + notice(blocked)}, "finish_reason": None}]})
        yield from (rest for _, rest in split if rest)
        if ends:
            opened = {index_of(choice) for held in self._held for choice in held.chunk["choices"]}
            for choice in sorted(opened - self._finished):
                yield frame({**envelope, "choices": [{"index": choice, "delta": {}, "finish_reason": "stop"}]})

    def _split(self, held: _Frame) -> tuple[bytes, bytes]:
        """The text of a frame, and its surviving calls with its finish."""
        texts, rests = [], []
        choices = [self._without_spellings(choice) for choice in held.chunk["choices"]]
        for choice in choices:
            index, finish = index_of(choice), choice.get("finish_reason")
            said = {name: value for name, value in (choice.get("delta") or {}).items() if name not in ("tool_calls", LEGACY)}
            called = self._surviving(held.fragments.get(index, ()))
            if any(value not in (None, "", []) for value in said.values()):
                texts.append({**choice, "delta": said, "finish_reason": None})
                if said.get("content"):
                    self._with_text.add(index)
            if finish:
                self._finished.add(index)
                finish = "stop" if index in self._emptied else finish
            if called or finish:
                rests.append({"index": index, "delta": called, "finish_reason": finish})
        is_as_it_came = not held.fragments and choices == held.chunk["choices"] and not self._changes_finish(rests)
        if is_as_it_came and not (texts and rests):
            return (held.raw, b"") if texts else (b"", held.raw)
        usage = held.chunk.get("usage")
        text = frame({**held.chunk, "choices": texts, **({"usage": None} if usage else {})}) if texts else b""
        return text, frame({**held.chunk, "choices": rests}) if rests or usage else b""

    def _without_spellings(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in choice.items() if name not in SPELLINGS} if index_of(choice) in self._changed else choice

    def _changes_finish(self, rests: list[dict[str, Any]]) -> bool:
        return any(choice["index"] in self._emptied for choice in rests)

    def _surviving(self, fragments: Sequence[_Fragment]) -> dict[str, Any]:
        """A delta of the fragments whose calls survive, saying what was ruled and nothing else."""
        delta: dict[str, Any] = {}
        for fragment in fragments:
            new_index = self._new_index.get(id(fragment.call))
            part = self._as_ruled(fragment)
            if new_index is None or part is None:
                continue
            if fragment.call.kind == LEGACY:
                delta[LEGACY] = part
            else:
                delta.setdefault("tool_calls", []).append({**part, "index": new_index})
        return delta

    def _as_ruled(self, fragment: _Fragment) -> dict[str, Any] | None:
        """What a fragment says of its call; None where its call is rewritten and has left whole before it."""
        part, call = fragment.part, fragment.call
        if (whole := self._rewritten.get(id(call))) is not None:
            return whole if part is call.parts[0] else None
        if call.kind == LEGACY:
            return _as_judged(part, fragment, "arguments")
        named = {
            shape: _as_judged(part[shape], fragment, text) for shape, text in (("function", "arguments"), ("custom", "input")) if part.get(shape) is not None
        }
        return {**part, **named}


def _as_judged(called: Mapping[str, Any], fragment: _Fragment, text_name: str) -> dict[str, Any]:
    rest = {name: value for name, value in called.items() if name not in ("name", "arguments", "input")}
    return {**({"name": fragment.call.name} if fragment.names_call else {}), **rest, text_name: fragment.arguments}
