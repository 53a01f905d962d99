"""A corpus of real pages: this project's documentation, asked through an agent."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.embedders import MockEmbedder
from agentfootprint.memory import SQLiteStore
from agentfootprint.providers import MockProvider
from agentfootprint.retrieval import RAG, Splitter, citations, load_folder

DOCS = Path(__file__).parents[2] / "docs"
WHO = MemoryIdentity("acme", "alice", "t-1")

# There is no onnxruntime for newer interpreters yet.
EMBEDDERS = ["mock"] if sys.version_info >= (3, 15) else ["mock", "local"]


@pytest.fixture(params=EMBEDDERS)
async def manual(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RAG]:
    embedder: Any = MockEmbedder()
    if request.param == "local":
        from agentfootprint.embedders import LocalEmbedder

        embedder = LocalEmbedder()
    async with SQLiteStore(tmp_path / "kb.sqlite") as store:
        rag = RAG("manual", store=store, embedder=embedder, k=8, min_score=0.1, splitter=Splitter(700))
        # A few pages are enough, and leave the model of this machine little to do.
        pages = [page for page in load_folder(DOCS) if page.source in ("memory.md", "pausing.md", "cost.md")]
        report = await rag.index(pages, identity=WHO)
        assert report.failed == ()
        yield rag


QUESTIONS = [
    ("How do I delete everything that is kept of a person?", "memory.md", "every remembered turn"),
    ("Which store can several processes of one machine share?", "memory.md", "processes of one machine"),
    ("What happens to a checkpoint that was resumed before?", "pausing.md", "CheckpointUsed"),
]


async def test_why_cites_a_page_and_the_offsets_where_its_words_stand(manual: RAG) -> None:
    for question, page, words in QUESTIONS:
        agent = Agent(MockProvider(reply=f"It says: {words}."), memory=[manual])
        footprint = (await agent.run(question, identity=WHO)).footprint
        cited = [
            each
            for each in citations(footprint)
            if each.source == page and any(words in quoted for quoted in each.quoted)
        ]
        assert cited, (question, citations(footprint))
        for citation in cited:
            with (DOCS / citation.source).open(encoding="utf-8", newline="") as file:
                passage = file.read()[citation.start : citation.end]
            assert words in passage
            place = f"- manual, {page} {citation.start}-{citation.end} (similarity {citation.score:.2f}): "
            assert footprint.why("output").count(place) == 2
