"""Server-sent events out of bytes that are cut anywhere (WHATWG HTML, 9.2.6 "Interpreting an event stream")."""

import re

import msgspec

MAX_EVENT_BYTES = 1_048_576

# An event ends at the first blank line. A CR that is followed by LF is half of one line end.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELDS = (b"data", b"event", b"id", b"retry", b"")  # the last: a comment or an empty line
_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its ``raw`` bytes, blank line included, and its ``data`` lines joined; None where it has no data.

    ``is_stray``: a line of it is neither a field of the format nor a comment. The format says to pass over such a line,
    but not every client does.
    """

    raw: bytes
    data: bytes | None
    is_stray: bool = False


class Decoder:
    """Cuts a stream into events; ``b"".join(event.raw)`` over all of them, ``close`` included, is the input.

    ``overflowed`` says that an event outgrew ``MAX_EVENT_BYTES``: it and all that follows are gone.
    """

    def __init__(self) -> None:
        self.overflowed = False
        self._rest = bytearray()
        self._has_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes."""
        if self.overflowed:
            return []
        # To ``find`` in bytes takes half the time of ``in``.
        if self._has_cr or chunk.find(b"\r") >= 0 or len(self._rest) + len(chunk) > MAX_EVENT_BYTES:
            return self._feed_any(chunk)
        if not self._rest:
            texts = chunk.split(b"\n\n")
        else:
            seen = len(self._rest) - 1  # its end may be the first part of a blank line
            self._rest += chunk
            if self._rest.find(b"\n\n", seen) < 0:
                return []
            texts = bytes(self._rest).split(b"\n\n")
            self._rest.clear()
        if rest := texts.pop():
            self._rest += rest
        return [self._of_text(text) for text in texts]

    def _of_text(self, text: bytes) -> Event:
        """The event of a text without a CR and without the blank line that ended it: one line of data, nearly always."""
        raw = text + b"\n\n"
        if text.startswith(b"data: ") and text.find(b"\n") < 0:
            self._at_start = False
            return Event(raw, text[6:])
        return self._event(raw)

    def _feed_any(self, chunk: bytes) -> list[Event]:
        """The same, whatever ends the lines and however long an event is."""
        # A chunk is read where it lies; only what is left of the one before is copied to stand in front of it.
        seen = 0
        buffer: bytes | bytearray = chunk
        if self._rest:
            seen = max(len(self._rest) - 3, 0)  # as above
            self._rest += chunk
            buffer = self._rest
        self._has_cr = self._has_cr or b"\r" in chunk
        events, start = [], 0
        while (end := self._end_of_event(buffer, max(seen, start))) > 0 and end - start <= MAX_EVENT_BYTES:
            events.append(self._event(bytes(buffer[start:end])))
            start = end
        if start or buffer is chunk:
            self._rest = bytearray(buffer[start:])
        if len(self._rest) > MAX_EVENT_BYTES:
            self.overflowed = True
            self._rest.clear()
        return events

    def close(self) -> list[Event]:
        """What the stream ended with and no blank line closed: a browser drops it, other clients read it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [self._event(rest)] if rest else []

    def _end_of_event(self, buffer: bytes | bytearray, since: int) -> int:
        """Where the event in front ends, or 0 where that is not known yet."""
        if not self._has_cr:
            at = buffer.find(b"\n\n", since)
            return at + 2 if at >= 0 else 0
        found = _BLANK_LINE.search(buffer, since)
        if found is None:
            return 0
        # A CR in last place may still become CRLF; the cut must not decide to which event the LF belongs.
        ends_open = found.end() == len(buffer) and buffer.endswith(b"\r")
        return 0 if ends_open else found.end()

    def _event(self, raw: bytes) -> Event:
        text = raw.removeprefix(_BOM) if self._at_start else raw
        self._at_start = False
        lines = [line.partition(b":") for line in _LINE_END.split(text)]
        values = [value.removeprefix(b" ") for field, _, value in lines if field == b"data"]
        return Event(raw, b"\n".join(values) if values else None, any(field not in _FIELDS for field, _, _ in lines))
