"""Documents in chunks: each a piece of the text with its exact place in the source."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass

from ..errors import ConfigurationError
from .document import Document, Kind
from .reading import Heading, Reading, read

__all__ = ["Chunk", "Fits", "Splitter", "split_text"]

# Where a text is cut, the best first; the mark stays with what is before it.
_MARKS = (
    ("\n\n", "\r\n\r\n"),
    ("\n",),
    (". ", "? ", "! ", "。"),
    (" ",),
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document.

    `start` and `end` count characters of the document's text. Of text and Markdown, `text` is exactly
    `document.text[start:end]`; of HTML it is the words that stand there. `headings` are those above it, the
    highest first; `title` is the document's.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...] = ()
    title: str | None = None

    @property
    def path(self) -> str:
        """Where in its document it stands, such as `Returns > Deadlines`; empty if nothing says so."""
        above = self.headings
        # A page's title mostly is its first heading, and the name of the site.
        if self.title and not (above and above[0] in self.title):
            above = (self.title, *above)
        return " > ".join(above)


Fits = Callable[[Chunk], bool]
"""Whether a chunk is short enough for what will read it."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """Cuts at headings, then paragraphs, lines, sentences, words: where it is best within `size`.

    Chunks follow one another and leave out nothing but white space (and the front matter of Markdown).

    Args:
        size: characters that a chunk has at most.
        overlap: about so many characters of a chunk stand in the next one again, unless a heading parts
            them.
        least: a section is a chunk of its own only if it has so many characters; default: a quarter of
            `size`.

    Raises:
        ConfigurationError: numbers that cannot work together.
    """

    size: int = 800
    _: KW_ONLY
    overlap: int = 0
    least: int | None = None

    def __post_init__(self) -> None:
        if self.size < 20 or not 0 <= self.overlap <= self.size // 2 or not 0 <= self.shortest <= self.size:
            raise ConfigurationError(
                f"{self} cannot cut: size is at least 20 characters, overlap at most half of it, and least "
                "at most size"
            )

    @property
    def shortest(self) -> int:
        return self.size // 4 if self.least is None else self.least

    def split(self, document: Document, fits: Fits | None = None) -> tuple[Chunk, ...]:
        """The document's chunks, in order. One that does not fit is cut shorter."""
        return tuple(self._chunks(read(document), fits))

    def _chunks(self, reading: Reading, fits: Fits | None) -> Iterator[Chunk]:
        words = reading.words
        heads = [heading.at for heading in reading.headings]
        above, seen = list[Heading](), 0
        at, done = _skipped(words, reading.begin), reading.begin
        while at < len(words):
            while seen < len(heads) and heads[seen] <= at:
                heading = reading.headings[seen]
                above = [each for each in above if each.level < heading.level] + [heading]
                seen += 1
            titles = tuple(each.title for each in above)

            def chunk(end: int, begin: int = at, titles: tuple[str, ...] = titles) -> Chunk:
                end = _trimmed(words, begin, end)
                return Chunk(words[begin:end], *reading.place(begin, end), titles, reading.title)

            cut = self._cut(words, at, heads, done, None if fits is None else lambda end: fits(chunk(end)))
            if cut <= done:
                at = _skipped(words, done)  # What overlaps leaves no room for anything new.
                continue
            yield chunk(cut)
            done = cut
            begin = _skipped(words, cut)
            parted = bisect_left(heads, cut) < bisect_right(heads, begin)
            if self.overlap and not parted and begin < len(words):
                begin = max(_word(words, cut - self.overlap, cut), at + 1)
            at = begin

    def _cut(
        self, words: str, at: int, heads: list[int], done: int, fits: Callable[[int], bool] | None
    ) -> int:
        """Where the chunk that begins at `at` ends; after `done`, where the one before it ended."""
        size = len(words)
        limit = min(at + self.size, size)
        if fits is not None and not fits(limit):
            limit = _longest(at + 1, limit, fits)
        floor = max(at, min(done, limit - 1))
        head = bisect_left(heads, max(at + self.shortest, floor + 1))
        if head < len(heads) and heads[head] <= limit:
            return heads[head]
        if limit == size:
            return size
        low = max(at + (limit - at) // 2, floor)
        for marks in _MARKS:
            found = max(
                (place + len(mark) for mark in marks if (place := words.rfind(mark, low, limit)) >= 0),
                default=0,
            )
            if found > floor:
                return found
        return limit


def split_text(text: str, size: int = 800, *, overlap: int = 0, kind: Kind = "text") -> tuple[Chunk, ...]:
    """The chunks of a text; `Splitter(size, overlap=...)` does it for documents."""
    return Splitter(size, overlap=overlap).split(Document("text", text, kind))


def _longest(least: int, most: int, fits: Callable[[int], bool]) -> int:
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _trimmed(text: str, start: int, end: int) -> int:
    while end > start + 1 and text[end - 1].isspace():
        end -= 1
    return end


def _word(text: str, low: int, high: int) -> int:
    """Where the first word begins that begins at `low` or later, before `high`; else `high`, after white
    space."""
    at = low
    if low > 0 and not text[low - 1].isspace():
        while at < high and not text[at].isspace():
            at += 1
    at = _skipped(text, at)
    return at if at < high else _skipped(text, high)
