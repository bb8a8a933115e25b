"""The stream gate: text flows, a tool call waits until it is whole and judged (spec: "Client-visible result per surface").

Frames of one choice never overtake one another: once a choice has begun a call, all its frames wait until its turn
ends. Other choices, usage and comments flow on. A frame that cannot be read never leaves.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import orjson

from orcarouter.gateway.engine import costed
from orcarouter.gateway.engine.calls import TOO_LARGE, EmittedCall, Ruling, Usage, read_usage, text_of
from orcarouter.gateway.engine.clear import is_clear, is_plain
from orcarouter.gateway.engine.held import Held, frame, index_of
from orcarouter.gateway.engine.sse import Decoder, Event

MAX_HELD_BYTES = 1_048_576
DONE = b"data: [DONE]\n\n"


def error_event(body: bytes) -> bytes:
    """An error body as an event of a stream that had already begun; ``DONE`` comes after it."""
    return b"data: " + body + b"\n\n"


class Step(msgspec.Struct, frozen=True):
    """What is to be done next: write ``send``, then judge ``calls`` (if any) and ``resume``.

    ``error`` is the provider's own in-stream error as JSON; it has not left. ``fault`` is the reason code for which the
    gate itself gave up. With either the gate is over and the caller ends the stream.
    """

    send: bytes = b""
    calls: tuple[EmittedCall, ...] = ()
    error: bytes | None = None
    fault: str | None = None


class _Called(msgspec.Struct, gc=False):
    arguments: Any = None
    input: Any = None


class _Said(msgspec.Struct, gc=False):
    """A fragment of a call: an entry of ``tool_calls``, or the legacy ``function_call``, which is its own function."""

    function: _Called | None = None
    custom: _Called | None = None
    arguments: Any = None

    def length(self) -> int:
        told = (self.function and self.function.arguments, self.custom and self.custom.input, self.arguments)
        try:
            return sum(len(text_of(text).encode()) for text in told)
        except ValueError:
            return 0  # such a call is not held but dropped


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[_Said] | None = None
    function_call: _Said | None = None

    def text_bytes(self) -> int:
        content = self.content
        told = len(content.encode()) if isinstance(content, str) else 0
        if self.reasoning_content or self.reasoning or self.refusal:
            others = (self.reasoning_content or self.reasoning, self.refusal)
            told += sum(len(text.encode()) for text in others if isinstance(text, str))
        return told


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None


_RAW = attrgetter("raw")
_NULL = msgspec.Raw(b"null")


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _NULL  # in a union with None msgspec takes nothing but null
    error: msgspec.Raw = _NULL
    model: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_NO_ERROR = (b"null", b"false", b'""', b"{}")
_NOTHING = Step()
_OUTGROWN = Ruling(refusal="it is larger than may be held for judging")


class Gate:
    """One streamed chat completion on its way to the agent.

    ``feed`` each chunk, ``close`` once at the end of the provider's body; while a step has ``calls``, judge them and
    ``resume``. Without ``judges`` calls flow as text does. With ``waits`` what only opens a turn leaves with the frame after it, so
    that nothing has left of a turn that begins with a call. ``withholds_usage`` keeps a usage chunk from a client that
    did not ask for it; ``cost_of`` says what a usage costs where the client asked for that. Readable at any time:
    ``usage`` (the provider's last), ``text_bytes`` (UTF-8 bytes of text, reasoning and arguments the model produced),
    ``finish_reasons`` by choice and ``model`` (the provider's), ``blocked`` (calls that did not leave), ``bad_frames``
    (dropped as unreadable), ``is_done`` (``[DONE]`` came), ``is_over``.
    """

    def __init__(self, *, judges: bool = True, withholds_usage: bool = False, notices: bool = True, waits: bool = False) -> None:
        self.usage: Usage | None = None
        self.cost_of: Callable[[Usage], int | None] | None = None
        self.model: str | None = None
        self.finish_reasons: dict[int, str] = {}
        self.text_bytes = self.blocked = self.bad_frames = 0
        self.is_done = self.is_over = False
        self._judges, self._withholds_usage, self._notices = judges, withholds_usage, notices
        self._decoder = Decoder()
        self._events: deque[Event] = deque()
        self._are_plain = True  # at a glance none of them says anything of a call
        self._left: dict[int, int] = {}  # by choice, the calls that have left
        self._held = Held(self._left)
        self._open: set[int] = set()  # held choices whose turn has not ended
        self._closed_early: set[int] = set()  # choices that outgrew what may be held: nothing more of them leaves
        self._with_text: set[int] = set()
        self._asks: str | None = None  # the held calls are to be judged; not empty: the fault they have anyway
        self._at_end = False
        self._waits = waits
        self._opening: list[bytes] = []  # what waits for the next frame

    def feed(self, chunk: bytes) -> Step:
        """The next bytes of the provider, cut anywhere."""
        if self.is_over:
            return _NOTHING
        self._add(self._decoder.feed(chunk))
        return self._run([])

    def _add(self, events: list[Event]) -> None:
        # One look at all of them costs a third of one at each.
        self._are_plain = (self._are_plain or not self._events) and is_plain(b"".join(map(_RAW, events)))
        self._events.extend(events)

    def close(self) -> Step:
        """The provider's body has ended. Calls still held are judged: an unfinished turn is no way around that."""
        if self.is_over:
            return _NOTHING
        self._add(self._decoder.close())
        self._at_end = True
        return self._run([])

    def resume(self, rulings: Sequence[Ruling]) -> Step:
        """Go on after the calls of the last step were judged, with a ruling for each."""
        return self._run([self._let_go(rulings)])

    def _let_go(self, rulings: Sequence[Ruling]) -> bytes:
        held, outgrown = self._held, self._asks == TOO_LARGE
        if outgrown:
            rulings = [ruling if ruling.refusal else _OUTGROWN for ruling in rulings]
            self._closed_early |= held.choices
        self.blocked += sum(not ruling.leaves for ruling in rulings)
        released = held.released(rulings, after_text=self._with_text, notices=self._notices, ends=outgrown)
        for call, ruling in zip(held.calls(), rulings, strict=True):
            if ruling.leaves:
                self._left[call.choice] = self._left.get(call.choice, 0) + 1
        self._held, self._open, self._asks = Held(self._left), set(), None
        return released

    def _run(self, sent: list[bytes]) -> Step:
        while True:
            if self._asks is not None:
                if calls := self._held.calls(self._asks or None):
                    return Step(self._leaving(sent), calls)
                sent.append(self._let_go([]))
            elif self._events:
                error = self._take(self._events.popleft(), sent)
                if error is not None:
                    return self._end(sent, error=error)
            elif self._decoder.overflowed or self._at_end:
                fault = TOO_LARGE if self._decoder.overflowed else ""
                if not self._held.choices:
                    return self._end(sent, fault=fault or None)
                self._asks = fault
            else:
                return Step(self._leaving(sent)) if sent else _NOTHING

    def _end(self, sent: list[bytes], *, error: bytes | None = None, fault: str | None = None) -> Step:
        self.is_over = True
        self._events.clear()
        self._held = Held(self._left)
        # Of a stream that failed nothing need leave that only opened it.
        return Step(self._leaving(sent if error or fault else [*sent, b""]), (), error, fault)

    def _leaving(self, sent: list[bytes]) -> bytes:
        """What leaves now: what has waited for it, then itself."""
        if not sent:
            return b""
        self._waits = False
        if self._opening:
            sent = [*self._opening, *sent]
            self._opening = []
        return b"".join(sent)

    def _take(self, event: Event, sent: list[bytes]) -> bytes | None:
        """Read one event: it is sent, held or dropped. The provider's error, if it is one."""
        if event.is_stray:
            self.bad_frames += 1
            return None
        early = self._opening if self._waits else sent
        if event.data is None:
            early.append(event.raw)
            return None
        try:
            chunk = _CHUNK.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._take_no_json(event, sent)
            return None
        if chunk.error is not _NULL and bytes(chunk.error) not in _NO_ERROR:
            return bytes(chunk.error)
        if self._judges and not self._are_plain and not is_clear(event.data, places=("delta", "message")):
            self.bad_frames += 1
            return None
        if isinstance(chunk.model, str):
            self.model = chunk.model
        if chunk.usage is _NULL and self._is_text(chunk.choices):
            sent.append(event.raw)
            return None
        has_usage = chunk.usage is not _NULL and self._book(chunk.usage)
        raw, data = self._costed(event.raw, event.data) if has_usage else (event.raw, event.data)
        if not chunk.choices:
            if not (has_usage and self._withholds_usage):
                (sent if has_usage else early).append(raw)
            return None
        choices = chunk.choices
        if self._closed_early:
            choices = [choice for choice in choices if (choice.index or 0) not in self._closed_early]
            raw = raw if len(choices) == len(chunk.choices) else self._without_closed(data)
        if self._count(choices):
            self._hold(raw, data, choices)
        elif choices:
            (early if self._waits and _only_opens(choices) else sent).append(raw)
        return None

    def _is_text(self, choices: list[_Choice] | None) -> bool:
        """Whether a frame is what nearly all are, a piece of one answer's text while nothing is held: it is booked, and leaves."""
        if not choices or len(choices) != 1 or self._held.choices or self._closed_early:
            return False
        choice = choices[0]
        delta = choice.delta
        if delta is None or type(text := delta.content) is not str or not text or choice.finish_reason or choice.message is not None:
            return False
        if delta.tool_calls or delta.function_call is not None or delta.reasoning_content or delta.reasoning or delta.refusal:
            return False
        self.text_bytes += len(text) if text.isascii() else len(text.encode())
        self._with_text.add(choice.index or 0)
        return True

    def _costed(self, raw: bytes, data: bytes) -> tuple[bytes, bytes]:
        """A frame with usage, its bytes and its JSON, as it may leave."""
        told = costed.told(data, self.cost_of(self.usage) if self.cost_of and self.usage else None)
        return (raw, data) if told is data else (b"data: " + told + b"\n\n", told)

    def _take_no_json(self, event: Event, sent: list[bytes]) -> None:
        text = (event.data or b"").strip()
        if text == b"[DONE]" and self._held.choices:
            self._events.appendleft(event)
            self._asks = ""
        elif text == b"[DONE]":
            sent.append(event.raw)
            self.is_done = self.is_over = True
            self._events.clear()
        elif not text:
            sent.append(event.raw)
        else:
            self.bad_frames += 1

    def _book(self, usage: msgspec.Raw) -> bool:
        read = read_usage(usage)
        self.usage = read or self.usage
        return read is not None

    def _count(self, choices: list[_Choice]) -> bool:
        """Book what a frame says; whether it has to wait."""
        waits = False
        for choice in choices:
            index, delta = choice.index or 0, choice.delta
            if delta is not None:
                self.text_bytes += delta.text_bytes()
                if delta.content:
                    self._with_text.add(index)
            if choice.finish_reason and isinstance(choice.finish_reason, str):
                self.finish_reasons[index] = choice.finish_reason
            if (delta is not None and (delta.tool_calls or delta.function_call is not None)) or choice.message is not None:
                for said in _calls(choice):
                    self.text_bytes += said.length()
                    waits = True
            waits = waits or index in self._held.choices
        return waits and self._judges

    def _hold(self, raw: bytes, data: bytes, choices: list[_Choice]) -> None:
        new = {choice.index or 0 for choice in choices} - self._held.choices
        try:
            self._held.add(raw, self._readable(data))
        except ValueError:
            self.bad_frames += 1
            return
        for choice in choices:
            index = choice.index or 0
            if index in new or any(True for _ in _calls(choice)):
                self._open.add(index)
            if choice.finish_reason:
                self._open.discard(index)
        if self._held.bytes > MAX_HELD_BYTES:
            self._asks = TOO_LARGE
        elif not self._open:
            self._asks = ""

    def _readable(self, data: bytes) -> dict[str, Any]:
        """The frame as values, without the choices of which nothing more may leave."""
        chunk: dict[str, Any] = orjson.loads(data)
        if self._closed_early:
            chunk["choices"] = [choice for choice in chunk["choices"] if index_of(choice) not in self._closed_early]
        return chunk

    def _without_closed(self, data: bytes) -> bytes:
        try:
            return frame(self._readable(data))
        except ValueError:
            self.bad_frames += 1
            return b""


def _only_opens(choices: list[_Choice]) -> bool:
    """Whether a frame says no more than that a turn begins."""
    return not any(choice.finish_reason or (choice.delta is not None and choice.delta.text_bytes()) for choice in choices)


def _calls(choice: _Choice) -> Iterator[_Said]:
    """What a choice says in calls, wherever it says it."""
    for delta in (choice.delta, choice.message):
        if delta is not None:
            yield from delta.tool_calls or ()
            if delta.function_call is not None:
                yield delta.function_call
