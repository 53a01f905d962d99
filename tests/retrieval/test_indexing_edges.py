"""Indexing at its edges: progress, sizes, hostile names, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.embedders import Embedding, MockEmbedder, Purpose
from agentfootprint.errors import (
    ConfigurationError,
    IdentityRequired,
    InputInvalid,
    StepFailed,
)
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, SearchableStore, SQLiteStore
from agentfootprint.retrieval import RAG, Document, IndexProgress, Splitter
from tests.retrieval.support import ACME, RETURNS, corpus, stored


def asked(rag: RAG) -> list[str]:
    assert isinstance(rag.embedder, MockEmbedder)
    return rag.embedder.asked


def many(count: int) -> list[Document]:
    return [Document(f"{number:03}.txt", f"words of document {number}") for number in range(count)]


async def test_progress_is_told_after_each_batch_and_document() -> None:
    told: list[IndexProgress] = []
    await corpus(splitter=Splitter(20)).index(
        Document("a.txt", "words in a row are\n\n" * 100), identity=ACME, progress=told.append
    )
    assert [(each.done, each.documents, each.embedded) for each in told] == [
        (0, 1, 64),
        (0, 1, 100),
        (1, 1, 100),
    ]


async def test_whoever_watches_does_not_break_it(caplog: pytest.LogCaptureFixture) -> None:
    def watch(told: IndexProgress) -> None:
        raise ValueError("no")

    assert (await corpus().index(many(5), identity=ACME, progress=watch)).added == 5
    assert len(caplog.records) == 1


async def test_chunks_are_as_long_as_the_embedder_reads() -> None:
    class Short(MockEmbedder):
        def fits(self, text: str) -> bool:
            return len(text) <= 30

    rag = corpus(embedder=Short())
    await rag.index(Document("a.md", "# Title\n\n" + "words in a row " * 50), identity=ACME)
    assert max(map(len, asked(rag))) <= 30
    await rag.search("word " * 100, identity=ACME)
    assert len(asked(rag)[-1]) <= 30


async def test_empty_documents_are_no_failure() -> None:
    report = await corpus().index([Document("a.md", ""), Document("b.html", "<p> </p>")], identity=ACME)
    assert (report.documents, report.added, report.failed) == (2, 0, ())


async def test_ten_megabytes_in_one_file_are_indexed_in_batches(tmp_path: Path) -> None:
    class Counting(MockEmbedder):
        largest = 0

        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            self.largest = max(self.largest, len(texts))
            return [Embedding.of([1.0] * 256, self.fingerprint)] * len(texts)

    (tmp_path / "a.txt").write_text("words and words\n" * 655_360)
    embedder = Counting()
    report = await corpus(embedder=embedder, splitter=Splitter(10_000)).index(tmp_path, identity=ACME)
    assert report.added > 1000
    assert embedder.largest == 64


async def test_hostile_names_are_sources_like_others_and_told_on_one_line(tmp_path: Path) -> None:
    rag = corpus()
    names = ["../../etc/passwd", 'a"b.md', "line\nbreak.md", "x" * 5000, "\x1b[2J.md", "'; DROP TABLE x; --"]
    report = await rag.index(
        [Document(name, f"words of {at}") for at, name in enumerate(names)], identity=ACME
    )
    assert report.failed == ()
    assert set(await stored(rag)) == set(names)
    assert len(report.footprint.narrative().splitlines()) == 1 + len(names)
    assert "\x1b" not in report.footprint.narrative()


@pytest.mark.parametrize("given", [None, 7, [7], [None], b"docs"])
async def test_what_is_no_document_is_refused(given: Any) -> None:
    with pytest.raises(InputInvalid, match="takes paths"):
        await corpus().index(given, identity=ACME)


async def test_a_durable_store_refuses_a_corpus_of_nobody(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "kb.sqlite") as store:
        for identity in (None, MemoryIdentity(), MemoryIdentity(None, "alice")):
            with pytest.raises(IdentityRequired, match="tenant"):
                await corpus(store=store).index(RETURNS, identity=identity)
        await corpus(store=store, allow_anonymous=True).index(RETURNS)
        await corpus(store=store, tenant="vendor").index(RETURNS)
    await corpus().index(RETURNS)  # What does not outlive the process needs nobody.


class Listing:
    """A store that cannot search."""

    durable = False
    profile = "full"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"store": Listing()}, "Listing does not search"),
        ({"embedder": object()}, "does not embed"),
        ({"splitter": 500}, "Splitter"),
        ({"k": 0}, "k=0"),
        ({"min_score": 2}, "min_score=2"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"tenant": "a\x00b"}, "NUL"),
    ],
)
def test_parts_that_cannot_work_are_refused_when_it_is_built(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        corpus(**options)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 65])
def test_an_id_is_part_of_keys(name: str) -> None:
    with pytest.raises(ConfigurationError, match="corpus id"):
        RAG(name, store=InMemoryStore(), embedder=MockEmbedder())


async def test_a_fault_of_ours_in_a_step_ends_it_with_the_footprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Splitter, "split", broken)
    with pytest.raises(StepFailed) as failed:
        await corpus().index(RETURNS, identity=ACME)
    assert failed.value.footprint is not None


def test_stores_that_search_are_known_by_their_methods() -> None:
    assert isinstance(InMemoryStore(), SearchableStore)
