"""HTML: the words that a reader sees, each at its place in the source."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.retrieval import Chunk, Document, Splitter

PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Returns &amp; refunds</title>
<style>p { color: red }</style><script>if (1 < 2) { alert("</p>") }</script></head>
<body><nav><a href="/">Home</a></nav>
<div role="navigation"><div>Side <b>bar</b></div></div>
<h1>Returns<a class="headerlink" href="#r">¶</a></h1>
<p>Goods may be <b>re</b>turned within&nbsp;30&#160;days,
   if they are &lt;unworn&gt;.</p>
<!-- secret <p>comment</p> -->
<h2>Cost</h2><ul><li>one<li>two</ul>
<pre>  x = 1
  y</pre>
</body></html>"""


def chunks(page: str, size: int = 1000, **options: int) -> tuple[Chunk, ...]:
    return Splitter(size, **options).split(Document("a.html", page))


def words(page: str) -> str:
    return " ".join(" ".join(chunk.text for chunk in chunks(page)).split())


def test_words_are_those_that_a_reader_sees() -> None:
    first, second = chunks(PAGE, 80, least=0)
    assert first.text == "Returns\n\nGoods may be returned within 30 days, if they are <unworn>."
    assert second.text == "Cost\n\none\ntwo\n\n  x = 1\n  y"
    assert (first.title, first.headings) == ("Returns & refunds", ("Returns",))
    assert second.path == "Returns > Cost"


def test_the_place_encloses_the_words_in_the_source() -> None:
    first, second = chunks(PAGE, 80, least=0)
    assert PAGE[first.start :].startswith("Returns<a")
    assert PAGE[: first.end].endswith("&lt;unworn&gt;.")
    assert PAGE[second.start : second.end].startswith("Cost</h2>")
    assert PAGE[: second.end].endswith("  y")


_PIECES = st.sampled_from(
    [
        *(
            "<p>",
            "</p>",
            "<b>",
            "</b>",
            "<div>",
            "</div>",
            "<h1>",
            "</h1>",
            "<pre>",
            "</pre>",
            "<br>",
            "<li>",
        ),
        *("&amp;", "&#65;", "&nbsp;", "&bogus;", "<", ">", "&", '"', "'", "=", "<!--", "-->", "<a b='x>'>"),
        *("alpha ", "beta", " gamma\n", "¶", "1 < 2 ", "</", "<!x>", "<a ", "é好"),
    ]
)


@given(st.lists(_PIECES, max_size=40).map("".join), st.integers(20, 60))
def test_any_markup_gives_words_at_their_places(page: str, size: int) -> None:
    found = chunks(page, size)
    for chunk in found:
        assert 0 <= chunk.start < chunk.end <= len(page)
        source = page[chunk.start : chunk.end]
        for word in re.findall(r"alpha|beta|gamma|é好", chunk.text):
            assert word in source
        # The first and the last character stand there as they are, or as a reference.
        assert chunk.text[0] == source[0] or html.unescape(source).startswith(chunk.text[0])
        assert chunk.text[-1] == source[-1] or html.unescape(source).endswith(chunk.text[-1])
    assert [chunk.start for chunk in found] == sorted(chunk.start for chunk in found)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<p>one<p>two", "one two"),
        ("<b>never closed", "never closed"),
        ("text <b", "text"),
        ("a < b and c > d", "a < b and c > d"),
        ("<p title='a > b'>x</p>", "x"),
        ('<p title="never closed>x</p>', "x"),
        ("x<!-- never closed <p>y", "x"),
        ("<title>never closed <p>words", "never closed words"),
        ("words<script>never closed", "words"),
        ("<nav>never closed <p>words", "never closed words"),
        ("<script>1</script><SCRIPT>2</SCRIPT >words", "words"),
        ("<textarea><p>typed</textarea>", "<p>typed"),
        ("a&#0;b&#xD800;c", "a\ufffdb\ufffdc"),
        ("caf&eacute; &notareference; &amp;amp;", "café ¬areference; &amp;"),
        ("<svg><text>drawn</text></svg>words", "words"),
        ("<td>a</td><td>b</td>", "a b"),
        ("", ""),
        ("<>", "<>"),
    ],
)
def test_broken_pages_keep_their_words(page: str, said: str) -> None:
    assert words(page) == said


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "</div>",
        "<a ",
        "<!--",
        "<![",
        '<a b="',
        "<a '",
        "</",
        "&#",
        "<title>",
        "<nav>",
        "< ",
        "=\"' ",
        "<h1>",
    ],
)
def test_a_hundred_thousand_of_anything_is_read_in_one_pass(piece: str) -> None:
    # A parser that recurses, or that looks through the rest of the text for each, does not come back here.
    chunks("word " + piece * 100_000)


def test_words_deep_in_a_hundred_thousand_tags_are_found() -> None:
    deep = "<div>" * 100_000 + "here" + "</div>" * 100_000
    [chunk] = chunks(deep)
    assert (chunk.text, deep[chunk.start : chunk.end]) == ("here", "here")
