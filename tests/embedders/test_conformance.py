"""The kit over every embedder: mock, each vendor's wire, servers that others wrote, the local model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentfootprint.embedders import CohereEmbedder, Embedding, MockEmbedder, OpenAIEmbedder
from agentfootprint.embedders.base import Purpose
from agentfootprint.testing import embedder as kit
from tests.providers.server import ScriptedServer
from tests.servers.aimock import aimock

from .apis import Api, every_api

every_check = pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)


@every_check
async def test_the_mock(check: kit.Check) -> None:
    await check(MockEmbedder())


@every_check
@every_api
async def test_a_vendor(api: Api, check: kit.Check) -> None:
    async with ScriptedServer([api.serves]) as server, api.make(server.url) as embedder:
        await check(embedder)


@every_check
async def test_openai_as_others_read_its_documentation(check: kit.Check) -> None:
    (server := aimock()).reset()
    async with OpenAIEmbedder(dimensions=64, base_url=f"{server.url}/v1", api_key="sk-x") as embedder:
        await check(embedder)


@every_check
async def test_cohere_as_others_read_its_documentation(check: kit.Check) -> None:
    (server := aimock()).reset()
    async with CohereEmbedder("embed-english-v3.0", base_url=server.url, api_key="x") as embedder:
        await check(embedder)


# ── the kit has teeth ───────────────────────────────────────────────────────────────────────────


class Backwards(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        return (await super().embed(texts))[::-1]


class Skips(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        return await super().embed([text for text in texts if text])


class Sorts(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        if isinstance(texts, list):
            texts.sort()
        return await super().embed(texts)


class FirstHundred(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        return await super().embed(texts[:100])


class AnotherSpaceForQueries(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        made = await super().embed(texts)
        return made if purpose == "document" else [Embedding(f"q{e.fingerprint}", e.data) for e in made]


class LiesAboutItself(MockEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.dimensions = 8


class OnlyUTF8(MockEmbedder):
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        return await super().embed([text.encode().decode() for text in texts])


@pytest.mark.parametrize(
    "faulty", [Backwards, Skips, Sorts, FirstHundred, AnotherSpaceForQueries, LiesAboutItself, OnlyUTF8]
)
async def test_the_kit_finds_a_fault(faulty: type[MockEmbedder]) -> None:
    found = []
    for check in kit.CHECKS:
        try:
            await check(faulty())
        except (AssertionError, UnicodeError, ValueError, IndexError):
            found.append(check)
    assert found
