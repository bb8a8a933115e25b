import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway.engine.sse import MAX_EVENT_BYTES, Decoder, Event

STREAM = (
    "\ufeffdata: first\n\n: a comment\n\ndata:no space\r\n\r\nevent: x\rdata: a\rdata: b\r\rid: 7\ndata\n\n"
    "data: tête\n\r\ndata: mixed\r\n\ndata:  two spaces\n\n\n\ndatax: no\n\ndata: last".encode()
)


def decoded(chunks: list[bytes]) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


def test_an_event_is_its_data_lines_whatever_ends_its_lines():
    said = [event.data.decode() for event in decoded([STREAM]) if event.data is not None]
    assert said == ["first", "no space", "a\nb", "", "tête", "mixed", " two spaces", "last"]


def test_the_events_are_the_same_however_the_stream_is_cut():
    whole = decoded([STREAM])
    for cut in range(len(STREAM) + 1):
        assert decoded([STREAM[:cut], STREAM[cut:]]) == whole, cut
    assert decoded([STREAM[at : at + 1] for at in range(len(STREAM))]) == whole


PIECES = st.sampled_from([b"data", b": ", b":", b"x", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"event", b"\xef\xbb\xbf", b"\xc3\xa9", b"data: y\n\n"])


@given(st.lists(PIECES).map(b"".join), st.data())
def test_no_byte_is_lost_or_moved_by_any_cut(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    events = decoded([stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    assert b"".join(event.raw for event in events) == stream
    assert events == decoded([stream])


LINES = st.sampled_from([b"data: x", b"data: ", b"data:y", b"event: z", b": said", b"stray", b"\n", b"\n", b"\n\n", b"\xef\xbb\xbf"])
END = b"\n\n\r\n\r\n"


@given(st.lists(LINES).map(b"".join), st.data())
def test_a_cr_somewhere_changes_nothing_in_the_events_without_one(stream, data):
    cut = data.draw(st.integers(0, len(stream)))
    assert decoded([stream[:cut], stream[cut:], END]) == decoded([stream, END]) == decoded([stream + END])


@pytest.mark.parametrize("piece", [1 << 10, 1 << 16, 1 << 22])
def test_an_event_over_the_limit_ends_the_stream_and_what_came_before_stands(piece):
    stream = b"data: before\n\ndata: " + b"x" * MAX_EVENT_BYTES + b"\n\ndata: after\n\n"
    decoder = Decoder()
    events = [event for at in range(0, len(stream), piece) for event in decoder.feed(stream[at : at + piece])]
    assert [event.data for event in events] == [b"before"]
    assert decoder.overflowed
    assert decoder.close() == []


def test_an_event_of_exactly_the_limit_passes():
    event = b"data: " + b"x" * (MAX_EVENT_BYTES - 8) + b"\n\n"
    assert [found.raw for found in decoded([event])] == [event]
