"""The mock embedder is meaningful enough for tests, and an embedding is what it says."""

from __future__ import annotations

import math

import pytest

from agentfootprint.embedders import Embedder, Embedding, MockEmbedder
from agentfootprint.errors import ConfigurationError, InputInvalid


async def cosine(one: str, other: str) -> float:
    a, b = (each.vector for each in await MockEmbedder().embed([one, other]))
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_texts_that_share_words_are_near_each_other() -> None:
    near = await cosine("Where is my order?", "My orders: where are they?")
    far = await cosine("Where is my order?", "Bananas grow in bunches.")
    assert near > 0.4 > 0.2 > far
    assert await cosine("ÄRGER", "ärger") == pytest.approx(1)


async def test_the_same_text_gets_the_same_vector_and_what_was_asked_is_kept() -> None:
    one, other = MockEmbedder(64), MockEmbedder(64)
    assert await one.embed(["a", "b"]) == await other.embed(["a", "b"], purpose="query")
    assert (one.asked, one.fingerprint, one.dimensions) == (["a", "b"], "mock@64", 64)
    assert isinstance(one, Embedder)
    assert list(await one.embed([])) == []


@pytest.mark.parametrize("text", ["", "  ", "?!", "\ud83d", "🦊", "a\x00b"])
async def test_every_text_has_a_vector(text: str) -> None:
    [embedding] = await MockEmbedder().embed([text])
    assert math.hypot(*embedding.vector) == pytest.approx(1)


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="8 are the fewest"):
        MockEmbedder(4)


def test_an_embedding_keeps_what_32_bits_hold() -> None:
    embedding = Embedding.of([0.1, -2, 3], "x@3")
    assert embedding.vector.tolist() == [pytest.approx(0.1, abs=1e-7), -2, 3]
    assert embedding == Embedding("x@3", embedding.data)
    assert (embedding.dimensions, repr(embedding)) == (3, "<Embedding of x@3>")


@pytest.mark.parametrize(
    ("vector", "fingerprint"),
    [
        ([1.0], "x"),
        ([1.0], "@1"),
        ([1.0], "x@"),
        ([1.0], "x@one"),
        ([1.0], "x@²"),
        ([1.0, 2.0], "x@1"),
        ([], "x@0"),
        ([0.0], "x@1"),
        ([math.nan], "x@1"),
        ([math.inf], "x@1"),
        ([1e300], "x@1"),
        (["a"], "x@1"),
    ],
)
def test_what_is_no_vector_of_an_embedder_is_refused(vector: list[float], fingerprint: str) -> None:
    with pytest.raises(InputInvalid):
        Embedding.of(vector, fingerprint)
