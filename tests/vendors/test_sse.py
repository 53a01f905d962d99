"""Server-sent events: the same lines and events however the bytes are cut, in linear time."""

from __future__ import annotations

import itertools
import json
import time

from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.vendors.sse import Lines, ServerSentEvent, ServerSentEvents


def naive(text: str) -> list[str]:
    """Whole lines, character by character, as the standard says them."""
    lines, line, at = [], "", 0
    while at < len(text):
        if text[at] in "\r\n":
            if text[at : at + 2] == "\r\n":
                at += 1
            lines.append(line)
            line = ""
        else:
            line += text[at]
        at += 1
    return lines


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces, empty ones too."""
    places = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def lines_of(pieces: list[bytes]) -> list[str]:
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)]


# Every character that some splitter takes for the end of a line, and some of two, three and four bytes.
TEXTS = st.text(alphabet="\r\n\n\ra:\u2028\u2029\x85\x0b\x0c\x1c ä€📦", max_size=30)


@given(TEXTS, st.lists(st.integers(0, 200), max_size=12))
def test_lines_are_those_of_the_standard_however_the_bytes_are_cut(text: str, cuts: list[int]) -> None:
    assert lines_of(cut(text.encode(), cuts)) == naive(text)


@given(st.binary(max_size=40), st.lists(st.integers(0, 200), max_size=12))
def test_bytes_that_are_no_utf8_are_replaced_alike_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    data = b"x" + data + b"\n"  # A first character of its own: no byte order mark.
    assert lines_of(cut(data, cuts)) == naive(data.decode("utf-8", "replace"))


STREAM = (
    b'\xef\xbb\xbfevent: a\rdata: {"t": "\xc3\x84\xe2\x82\xac\xf0\x9f\x93\xa6"}\r\r'
    b": a comment\r\n\r\ndata:one\r\ndata: two\r\nid: 7\r\nretry: 1\r\n\r\n"
    b"event: empty\n\ndata\n\ndata: cut off\n"
)
EVENTS = [
    ServerSentEvent('{"t": "Ä€📦"}', "a"),
    ServerSentEvent("one\ntwo", ""),
    ServerSentEvent("", ""),
]


def test_events_are_the_same_cut_at_every_offset() -> None:
    for at in range(len(STREAM) + 1):
        events = ServerSentEvents()
        pieces = (STREAM[:at], b"", STREAM[at:])
        assert [event for piece in pieces for event in events.feed(piece)] == EVENTS, at


def test_events_are_the_same_byte_by_byte() -> None:
    events = ServerSentEvents()
    assert [event for byte in STREAM for event in events.feed(bytes([byte]))] == EVENTS


def test_an_empty_piece_within_a_crlf_ends_no_second_line() -> None:
    assert lines_of([b"data: a\r", b"", b"\ndata: b\r\n"]) == ["data: a", "data: b"]


def test_a_frame_of_megabytes_takes_time_in_proportion_to_its_size() -> None:
    text = "Ä" * 2_000_000
    frame = f"data: {json.dumps(text, ensure_ascii=False)}\n\n".encode()
    events = ServerSentEvents()
    begun = time.process_time()
    found = [event for at in range(0, len(frame), 256) for event in events.feed(frame[at : at + 256])]
    # Copying what came before for each of 16,000 pieces takes minutes; putting them together once, a blink.
    assert time.process_time() - begun < 5
    assert [json.loads(event.data) for event in found] == [text]
