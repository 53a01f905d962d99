"""What the tests of retrieval share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentfootprint.embedders import Embedding, MockEmbedder, Purpose
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, MemoryEntry
from agentfootprint.retrieval import RAG, Document

ACME = MemoryIdentity("acme", "alice", "t-1")
GLOBEX = MemoryIdentity("globex", "bob", "t-1")

RETURNS = Document(
    "returns.md", "# Returns\n\nGoods may be returned within 30 days, unworn and with the label.\n"
)
DELIVERY = Document(
    "delivery.md", "# Delivery\n\nParcels leave the warehouse at noon and arrive the next day.\n"
)


def corpus(**options: Any) -> RAG:
    given: dict[str, Any] = {"store": InMemoryStore(), "embedder": MockEmbedder(), "min_score": 0.2}
    return RAG("handbook", **{**given, **options})


async def stored(rag: RAG, identity: MemoryIdentity = ACME) -> dict[str, list[MemoryEntry]]:
    """The corpus's entries by source, in the order of their places."""
    found: dict[str, list[MemoryEntry]] = {}
    cursor = None
    while True:
        page = await rag.store.list(MemoryIdentity(identity.tenant, None, f"corpus:{rag.id}"), cursor=cursor)
        for entry in page.entries:
            found.setdefault(entry.metadata["source"], []).append(entry)
        cursor = page.cursor
        if cursor is None:
            return {
                name: sorted(each, key=lambda entry: entry.metadata["start"])
                for name, each in sorted(found.items())
            }


class FailingEmbedder(MockEmbedder):
    """Fails from a certain text on."""

    def __init__(self, after: int, error: BaseException) -> None:
        super().__init__()
        self.after, self.error = after, error

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        if len(self.asked) + len(texts) > self.after:
            raise self.error
        return await super().embed(texts, purpose=purpose)
