"""Chunks: exact places, nothing left out, cut where it is best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError
from agentfootprint.retrieval import Chunk, Document, Splitter, split_text

_TEXT = st.text(
    st.sampled_from("ab .\n\r\t#-=`~*>1é好\u2028\xa0")
    | st.characters(exclude_characters="\x00", exclude_categories=["Cs"]),
    max_size=400,
)
_SPLITTER = st.builds(
    Splitter, st.integers(20, 120), overlap=st.integers(0, 10), least=st.sampled_from([None, 0, 20])
)


@given(_TEXT, st.sampled_from(["text", "markdown"]), _SPLITTER)
def test_every_chunk_is_what_stands_at_its_place_and_nothing_is_left_out(
    text: str, kind: str, splitter: Splitter
) -> None:
    document = Document("a", text, kind)  # type: ignore[arg-type]
    chunks = splitter.split(document)
    covered = [False] * len(text)
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert 0 < len(chunk.text) <= splitter.size
        assert chunk.text == chunk.text.strip()
        covered[chunk.start : chunk.end] = [True] * (chunk.end - chunk.start)
    front = text.startswith("---") and kind == "markdown"
    left = [at for at, letter in enumerate(text) if not covered[at] and not letter.isspace()]
    assert not left or (front and all(at < chunks[0].start if chunks else True for at in left))
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))
    assert [chunk.end for chunk in chunks] == sorted(chunk.end for chunk in chunks)


@given(_TEXT, _SPLITTER, st.integers(1, 30))
def test_what_does_not_fit_is_cut_shorter(text: str, splitter: Splitter, most: int) -> None:
    chunks = splitter.split(Document("a", text), lambda chunk: len(chunk.text) <= most)
    assert all(len(chunk.text) <= most for chunk in chunks)
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    words = "".join(text.split())
    if not splitter.overlap:
        assert "".join("".join(chunk.text.split()) for chunk in chunks) == words


def test_a_text_is_cut_after_a_paragraph_a_line_a_sentence_a_word() -> None:
    assert texts(split_text("one two three.\n\nfour five six", 20)) == ["one two three.", "four five six"]
    assert texts(split_text("one two three,\nfour five six", 20)) == ["one two three,", "four five six"]
    assert texts(split_text("one two three. four five six", 20)) == ["one two three.", "four five six"]
    assert texts(split_text("one two three four five", 20)) == ["one two three four", "five"]
    assert texts(split_text("x" * 45, 20)) == ["x" * 20, "x" * 20, "x" * 5]


def test_an_overlap_begins_at_a_word() -> None:
    chunks = split_text("one two three four five six seven eight", 20, overlap=8)
    assert texts(chunks) == ["one two three four", "four five six seven", "seven eight"]


SECTIONS = """\
---
title: "The shop"
---
# Returns

Goods may be returned.

## Deadlines ##

Within 30 days.

```python
# no heading
```

Refunds
=======

By card.
"""


def test_markdown_is_cut_at_headings_and_chunks_say_what_they_stand_under() -> None:
    chunks = Splitter(200, least=0).split(Document("a.md", SECTIONS))
    assert [(chunk.headings, chunk.text.splitlines()[0]) for chunk in chunks] == [
        (("Returns",), "# Returns"),
        (("Returns", "Deadlines"), "## Deadlines ##"),
        (("Refunds",), "Refunds"),
    ]
    assert chunks[1].path == "The shop > Returns > Deadlines"
    assert "# no heading" in chunks[1].text
    assert all(chunk.text == SECTIONS[chunk.start : chunk.end] for chunk in chunks)


def test_front_matter_is_set_aside_and_its_title_kept() -> None:
    [chunk] = Splitter(500, least=500).split(Document("a.md", SECTIONS))
    assert chunk.text.startswith("# Returns")
    assert chunk.title == "The shop"


def test_short_sections_stay_together() -> None:
    text = "".join(f"# H{n}\n\nshort\n\n" for n in range(4))
    assert len(Splitter(100, least=20).split(Document("a.md", text))) == 2


@pytest.mark.parametrize("text", ["", " \n\t ", "---\ntitle: x\n---\n"])
def test_a_document_without_words_has_no_chunks(text: str) -> None:
    assert Splitter().split(Document("a.md", text)) == ()


@pytest.mark.parametrize(
    "text", ["---\nnever closed\n", "```\nnever closed\n# x\n", "# \n#\n####### seven\n"]
)
def test_markdown_that_is_broken_keeps_its_words(text: str) -> None:
    assert "".join("".join(texts(Splitter().split(Document("a.md", text)))).split()) == "".join(text.split())


def test_ten_megabytes_are_split() -> None:
    text = "word and word. " * 700_000
    chunks = Splitter(1000).split(Document("a.txt", text))
    assert sum(len("".join(chunk.text.split())) for chunk in chunks) == len("".join(text.split()))


@pytest.mark.parametrize(
    "options", [{"size": 19}, {"overlap": 501}, {"overlap": -1}, {"least": 1001}, {"least": -1}]
)
def test_numbers_that_cannot_work_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="Splitter"):
        Splitter(**options)


def texts(chunks: tuple[Chunk, ...]) -> list[str]:
    return [chunk.text for chunk in chunks]
