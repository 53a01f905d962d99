"""The conformance kit of `Embedder`: what every adapter must do, a user's own included.

    import pytest
    from agentfootprint.testing import embedder

    @pytest.mark.parametrize("check", embedder.CHECKS)
    async def test_my_embedder(check):
        async with MyEmbedder(...) as mine:
            await check(mine)

About 500 short texts are embedded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from ..embedders.base import Embedder, Embedding
from ..errors import InputInvalid

__all__ = ["CHECKS", "Check"]

Check: TypeAlias = Callable[[Embedder], Awaitable[None]]

MANY = 201
"""More texts than some vendors take at once."""

STRANGE: Sequence[str] = (
    *("Ärger e\u0301 \u00e9", "中文 日本語 한국어", "🦊👩\u200d💻", "\u202eright to left", "a\x00b", "?!"),
    *("half \ud83d of one", "\udd8a\ud83e", '"quoted" \\ \n\t', "a\u2028b", "<|endoftext|>", "[CLS] [MASK]"),
)


def _near(one: Embedding, other: Embedding) -> bool:
    """Whether two vectors are the same but for rounding: the last bits may depend on a text's company."""
    a, b = one.vector, other.vector
    length = sum(x * x for x in a) ** 0.5
    return one.fingerprint == other.fingerprint and all(
        abs(x - y) <= 1e-3 * length for x, y in zip(a, b, strict=True)
    )


async def _one(embedder: Embedder, text: str) -> Embedding:
    [embedding] = await embedder.embed([text])
    return embedding


async def it_is_an_embedder(embedder: Embedder) -> None:
    assert isinstance(embedder, Embedder), "have fingerprint, dimensions and embed"
    name, at, dimensions = embedder.fingerprint.rpartition("@")
    assert name, "a fingerprint is name@dimensions"
    assert at
    assert dimensions == str(embedder.dimensions), "the fingerprint must name the dimensions there are"


async def vectors_are_of_the_fingerprint(embedder: Embedder) -> None:
    embedding = await _one(embedder, "Where is my order?")
    assert embedding.fingerprint == embedder.fingerprint
    assert len(embedding.vector) == embedder.dimensions


async def no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert list(await embedder.embed([])) == []


async def each_text_has_its_vector_in_its_place(embedder: Embedder) -> None:
    texts = ("one fox", "two foxes and a hound that is far away", "three", "one fox", "four?")
    together = await embedder.embed(texts)
    assert len(together) == len(texts), "one vector for each text, also for one that comes twice"
    for text, embedding in zip(texts, together, strict=True):
        assert _near(embedding, await _one(embedder, text)), "a vector does not depend on the other texts"
    assert not _near(together[0], together[1]), "different texts have different vectors"


async def more_texts_than_fit_in_one_request_keep_their_order(embedder: Embedder) -> None:
    texts = [f"order {number} is late" for number in range(MANY)]
    found = await embedder.embed(texts)
    assert len(found) == MANY
    for at in (0, 1, 95, 96, 97, MANY - 1):
        assert _near(found[at], await _one(embedder, texts[at])), f"text {at} has the vector of another"


async def the_same_text_has_the_same_vector(embedder: Embedder) -> None:
    text = "The parcel has left the depot."
    assert _near(await _one(embedder, text), await _one(embedder, text))


async def both_purposes_are_known(embedder: Embedder) -> None:
    documents = await embedder.embed(["a", "b"], purpose="document")
    queries = await embedder.embed(["a", "b"], purpose="query")
    assert len(documents) == len(queries) == 2
    assert {each.fingerprint for each in (*documents, *queries)} == {embedder.fingerprint}, (
        "documents and queries are compared with each other: they are of one fingerprint"
    )
    default = await embedder.embed(["a", "b"])
    assert all(map(_near, default, documents)), "without a purpose texts are documents"


async def every_text_that_python_can_hold_has_a_vector(embedder: Embedder) -> None:
    assert len(await embedder.embed(STRANGE)) == len(STRANGE)
    for text in STRANGE:
        await _one(embedder, text)


async def an_empty_text_has_a_vector_or_is_refused_by_name(embedder: Embedder) -> None:
    for texts in ([""], ["one", "", "three"]):
        try:
            found = await embedder.embed(texts)
        except InputInvalid:
            continue
        assert len(found) == len(texts), "an empty text is not left out: the others would lose their places"


async def the_texts_given_stay_as_they_are(embedder: Embedder) -> None:
    texts = ["b", "a", "c" * 50, "a"]
    given = list(texts)
    await embedder.embed(given)
    assert given == texts


async def callers_at_the_same_time_get_their_own(embedder: Embedder) -> None:
    texts = [f"caller {number}" for number in range(24)]
    found = await asyncio.gather(*(_one(embedder, text) for text in texts))
    for embedding, expected in zip(found, await embedder.embed(texts), strict=True):
        assert _near(embedding, expected)


async def it_serves_another_event_loop_too(embedder: Embedder) -> None:
    here = await _one(embedder, "one for both loops")
    there = await asyncio.to_thread(asyncio.run, _one(embedder, "one for both loops"))
    assert _near(here, there)
    await _one(embedder, "and the first loop again")


CHECKS: Sequence[Check] = (
    it_is_an_embedder,
    vectors_are_of_the_fingerprint,
    no_texts_have_no_vectors,
    each_text_has_its_vector_in_its_place,
    more_texts_than_fit_in_one_request_keep_their_order,
    the_same_text_has_the_same_vector,
    both_purposes_are_known,
    every_text_that_python_can_hold_has_a_vector,
    an_empty_text_has_a_vector_or_is_refused_by_name,
    the_texts_given_stay_as_they_are,
    callers_at_the_same_time_get_their_own,
    it_serves_another_event_loop_too,
)
