"""The local model: what it means, what it refuses, and that its files are what they should be."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path

import pytest

from agentfootprint.embedders import EmbeddingUsage, LocalEmbedder, metered
from agentfootprint.embedders.local import TOKENS, VOCABULARY
from agentfootprint.errors import ConfigurationError, ContextWindowExceeded, InputInvalid, MissingExtra
from agentfootprint.messages import Usage
from agentfootprint.testing import embedder as kit
from tests.embedders.apis import cosine

NEAR = [
    ("Where is my parcel?", "My delivery has not arrived yet."),
    ("I want my money back.", "How do I get a refund?"),
    ("The customer is allergic to peanuts.", "She must not eat nuts."),
]


@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
async def test_it_passes_the_kit(check: kit.Check) -> None:
    async with LocalEmbedder() as embedder:
        await check(embedder)


async def test_what_means_the_same_is_near_and_what_does_not_is_far() -> None:
    texts = [text for pair in NEAR for text in pair]
    async with LocalEmbedder() as embedder:
        vectors = [each.vector for each in await embedder.embed(texts)]
    for at in range(0, len(texts), 2):
        near = cosine(vectors[at], vectors[at + 1])
        far = max(cosine(vectors[at], vectors[n]) for n in range(len(texts)) if n not in (at, at + 1))
        assert near > 0.4 > far, (texts[at], near, far)


async def test_the_best_match_of_a_question_is_its_answer() -> None:
    entries = [
        "Ann prefers to be called in the evening.",
        "The invoice of March is open.",
        "He has two dogs.",
    ]
    async with LocalEmbedder() as embedder:
        documents = await embedder.embed(entries)
        for at, question in enumerate(["When can I phone her?", "What was not paid?", "Any pets?"]):
            [query] = await embedder.embed([question], purpose="query")
            scores = [cosine(query.vector, each.vector) for each in documents]
            assert scores.index(max(scores)) == at, question


async def test_vectors_are_of_length_one_and_the_same_in_any_company() -> None:
    texts = ["one", "a longer one of several words", "word " * 100]
    async with LocalEmbedder() as embedder:
        together = await embedder.embed(texts)
        for text, embedding in zip(texts, together, strict=True):
            [alone] = await embedder.embed([text])
            assert math.hypot(*embedding.vector) == pytest.approx(1, abs=1e-5)
            assert cosine(alone.vector, embedding.vector) == pytest.approx(1, abs=1e-5)


async def test_a_long_text_is_refused_by_its_place_or_split() -> None:
    limit = "word " * (TOKENS - 2)
    async with LocalEmbedder() as embedder:
        await embedder.embed([limit])
        with pytest.raises(ContextWindowExceeded, match=r"texts\[1\] has 255 tokens.*254 at most"):
            await embedder.embed(["a", limit + "word"])
        with pytest.raises(InputInvalid, match=r"texts\[0\] is empty"):
            await embedder.embed([""])
    about = "Cats purr when they are stroked. They sleep most of the day. "
    async with LocalEmbedder(too_long="split") as embedder:
        long, cats, banks = await embedder.embed([about * 60, about, "Banks raised their rates."])
    assert cosine(long.vector, cats.vector) > 0.5 > 0.2 > cosine(long.vector, banks.vector)
    assert math.hypot(*long.vector) == pytest.approx(1, abs=1e-5)


async def test_tokens_are_told_to_who_counts() -> None:
    told: list[EmbeddingUsage] = []
    async with LocalEmbedder() as embedder:
        with metered(told.append):
            await embedder.embed(["hello world", "hello"])
    assert told == [EmbeddingUsage("local", "all-MiniLM-L6-v2-int8", 2, Usage(7), charged=False)]


async def test_a_call_can_be_cancelled_and_others_go_on() -> None:
    async with LocalEmbedder() as embedder:
        await embedder.embed(["loaded"])
        many = asyncio.create_task(embedder.embed([f"text {number}" for number in range(20_000)]))
        await embedder.embed(["meanwhile"])
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        async with asyncio.timeout(20):
            await embedder.embed(["afterwards"])


async def test_it_can_be_used_after_it_was_closed() -> None:
    embedder = LocalEmbedder()
    await embedder.aclose()
    before = await embedder.embed(["a"])
    await embedder.aclose()
    assert await embedder.embed(["a"]) == before
    await embedder.aclose()


async def test_a_file_that_is_not_the_model_is_not_loaded(tmp_path: Path) -> None:
    (other := tmp_path / "model.onnx").write_bytes(b"something else")
    async with LocalEmbedder(model_path=other) as embedder:
        with pytest.raises(ConfigurationError, match="SHA-256"):
            await embedder.embed(["a"])
    async with LocalEmbedder(model_path=tmp_path / "none") as embedder:
        with pytest.raises(ConfigurationError, match="FileNotFoundError"):
            await embedder.embed(["a"])


def test_a_vocabulary_that_was_changed_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (other := tmp_path / "vocabulary.txt").write_bytes(VOCABULARY.read_bytes() + b"evil\n")
    monkeypatch.setattr("agentfootprint.embedders.local.VOCABULARY", other)
    with pytest.raises(ConfigurationError, match="vocabulary"):
        LocalEmbedder()


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers", "numpy"])
def test_without_its_packages_it_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"agentfootprint\[local-embedder\]"):
        LocalEmbedder()


def test_without_the_weights_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"model_path=.*agentfootprint\[local-embedder\]"):
        LocalEmbedder()


@pytest.mark.parametrize("word", ["word ", "好", "½ ", "한 ", "x1y2z3 "])
async def test_what_fits_is_embedded_and_what_does_not_is_refused(word: str) -> None:
    async with LocalEmbedder() as embedder:
        longest = max(count for count in range(1, 260) if embedder.fits(word * count))
        await embedder.embed([word * longest])
        with pytest.raises(ContextWindowExceeded):
            await embedder.embed([word * (longest + 1)])
