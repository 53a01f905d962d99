"""One corpus on every store that searches: indexed, found, indexed again, forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import EmbedderMismatch
from agentfootprint.retrieval import Document, Splitter
from tests.memory.stores.test_agent_on_every_store import DIMENSIONS, a_store
from tests.retrieval.support import ACME, GLOBEX, corpus, stored

TEXT = "Goods may be returned.\n\nParcels leave at noon.\n\nWe sell no bananas.\n"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "pgvector", "pinecone"])
async def test_a_corpus_is_the_same_on_every_store_that_searches(kind: str, tmp_path: Path) -> None:
    async with a_store(kind, tmp_path) as store:
        embedder = MockEmbedder(DIMENSIONS)
        rag = corpus(store=store, embedder=embedder, splitter=Splitter(30), min_score=-1, k=10)
        document = Document("a.txt", TEXT, metadata={"lang": "en"})
        assert (await rag.index(document, identity=ACME)).added == 3
        assert (await rag.index(Document("b.txt", "Of the other."), identity=GLOBEX)).added == 1
        before = len(embedder.asked)
        assert (await rag.index(document, identity=ACME)).unchanged == 3
        moved = Document("a.txt", f"\n\n{TEXT}", metadata={"lang": "en"})
        assert (await rag.index(moved, identity=ACME)).moved == 3
        assert len(embedder.asked) == before
        found = await rag.search("Parcels leave at noon.", identity=ACME)
        assert (found[0].text, len(found)) == ("Parcels leave at noon.", 3)
        assert all(moved.text[each.start : each.end] == each.text for each in found)
        with pytest.raises(EmbedderMismatch):
            await corpus(store=store, embedder=Renamed(DIMENSIONS)).index(moved, identity=ACME)
        report = await rag.index(Document("a.txt", "Goods may be returned.\n"), identity=ACME)
        assert (report.moved + report.unchanged, report.removed) == (1, 2)
        assert await rag.forget(ACME) == 1
        assert await stored(rag) == {}
        assert [each.text for each in await rag.search("other", identity=GLOBEX)] == ["Of the other."]


class Renamed(MockEmbedder):
    """Vectors of the same size that mean something else."""

    def __init__(self, dimensions: int) -> None:
        super().__init__(dimensions)
        self.fingerprint = f"other@{dimensions}"
