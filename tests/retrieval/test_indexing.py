"""Indexing: what is embedded, what is not embedded again, what goes, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.embedders import Embedding, MockEmbedder, Purpose
from agentfootprint.errors import (
    ContextWindowExceeded,
    DocumentUnreadable,
    EmbedderMismatch,
    InputInvalid,
    StoreUnavailable,
    Unavailable,
)
from agentfootprint.flow import Footprint
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, MemoryEntry, SQLiteStore
from agentfootprint.retrieval import RAG, Document, Splitter, load_folder
from agentfootprint.retrieval.indexing import INDEX
from tests.retrieval.support import ACME, DELIVERY, RETURNS, FailingEmbedder, corpus, stored


def asked(rag: RAG) -> list[str]:
    assert isinstance(rag.embedder, MockEmbedder)
    return rag.embedder.asked


def counts(report: Any) -> tuple[int, int, int, int]:
    return report.added, report.unchanged, report.moved, report.removed


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
    return folder


async def test_a_report_says_what_was_done_and_its_footprint_how() -> None:
    rag = corpus()
    report = await rag.index([RETURNS, DELIVERY], identity=ACME)
    assert (report.documents, *counts(report), report.failed) == (2, 2, 0, 0, 0, ())
    assert str(report) == "handbook: 2 documents; chunks: 2 added, 0 unchanged, 0 moved, 0 removed"
    assert report.footprint.narrative().splitlines() == [
        "2 documents were found, 0 files left out.",
        "returns.md: 1 chunks added, 0 unchanged, 0 moved, 0 removed.",
        "delivery.md: 1 chunks added, 0 unchanged, 0 moved, 0 removed.",
    ]


async def test_no_text_of_a_document_goes_into_the_record(tmp_path: Path) -> None:
    rag = corpus()
    path = tmp_path / "index.footprint.jsonl"
    report = await rag.index([RETURNS, Document("b.md", "x" * 3000)], identity=ACME)
    report.footprint.save(path, redact=False)
    assert "Goods" not in path.read_text()
    assert "xxxx" not in path.read_text()
    assert Footprint.load(path, INDEX).narrative() == report.footprint.narrative()


async def test_entries_say_where_their_text_stands() -> None:
    rag = corpus(splitter=Splitter(50, least=0))
    document = Document(
        "a.md", "# Shop\n\nFirst words here.\n\n## Cost\n\nSecond words here.\n", metadata={"lang": "en"}
    )
    await rag.index(document, identity=ACME)
    entries = (await stored(rag))["a.md"]
    assert [entry.value for entry in entries] == [
        document.text[entry.metadata["start"] : entry.metadata["end"]] for entry in entries
    ]
    assert entries[1].metadata == {
        "corpus": "handbook",
        "source": "a.md",
        "folder": None,
        "start": 27,
        "end": 54,
        "title": "Shop",
        "headings": ["Shop", "Cost"],
        "digest": entries[1].metadata["digest"],
        "document": {"lang": "en"},
    }
    assert asked(rag) == [f"Shop\n\n{entries[0].value}", f"Shop > Cost\n\n{entries[1].value}"]


async def test_what_is_there_is_not_embedded_again() -> None:
    rag = corpus()
    await rag.index([RETURNS, DELIVERY], identity=ACME)
    before, there = len(asked(rag)), await stored(rag)
    report = await rag.index([RETURNS, DELIVERY], identity=ACME)
    assert counts(report) == (0, 2, 0, 0)
    assert len(asked(rag)) == before
    assert await stored(rag) == there


async def test_what_only_moved_gets_its_new_place_without_being_embedded() -> None:
    rag = corpus(splitter=Splitter(60, least=0))
    text = "# One\n\nThe first section says this.\n\n# Two\n\nThe second section says that.\n"
    await rag.index(Document("a.md", text), identity=ACME)
    before = len(asked(rag))
    longer = f"# Zero\n\nAn introduction.\n\n{text}"
    report = await rag.index(Document("a.md", longer, metadata={"by": "me"}), identity=ACME)
    # Its title is its first heading, and stands above what is embedded.
    assert asked(rag)[before:] == [
        "Zero\n\n# Zero\n\nAn introduction.",
        "Zero > One\n\n# One\n\nThe first section says this.",
        "Zero > Two\n\n# Two\n\nThe second section says that.",
    ]
    assert counts(report) == (3, 0, 0, 2)
    before = len(asked(rag))
    report = await rag.index(Document("a.md", f"\n\n{longer}", metadata={"by": "you"}), identity=ACME)
    assert (counts(report), len(asked(rag))) == ((0, 0, 3, 0), before)
    for entry in (await stored(rag))["a.md"]:
        assert f"\n\n{longer}"[entry.metadata["start"] : entry.metadata["end"]] == entry.value
        assert entry.metadata["document"] == {"by": "you"}


async def test_what_a_document_has_no_longer_goes() -> None:
    rag = corpus(splitter=Splitter(40, least=0))
    await rag.index(
        Document("a.txt", "first words\n\nsecond words and some more\n\nthird words"), identity=ACME
    )
    report = await rag.index(Document("a.txt", "first words"), identity=ACME)
    assert report.removed > 0
    assert [entry.value for entry in (await stored(rag))["a.txt"]] == ["first words"]


async def test_a_file_that_is_gone_from_its_folder_goes_unless_it_is_to_stay(tmp_path: Path) -> None:
    rag = corpus()
    docs, more = write(tmp_path / "docs", a="alpha", b="beta"), write(tmp_path / "more", c="gamma")
    await rag.index([docs, more, RETURNS], identity=ACME)
    (docs / "b.md").unlink()
    report = await rag.index(docs, identity=ACME, prune=False)
    assert (report.gone, list(await stored(rag))) == ((), ["a.md", "b.md", "c.md", "returns.md"])
    report = await rag.index(load_folder(docs), identity=ACME)
    assert ([each.source for each in report.gone], report.removed) == (["b.md"], 1)
    assert "gone: b.md" in str(report)
    # Neither those of another folder nor those that were given one by one.
    assert list(await stored(rag)) == ["a.md", "c.md", "returns.md"]


async def test_an_empty_folder_does_not_empty_the_corpus(tmp_path: Path) -> None:
    rag = corpus()
    docs = write(tmp_path / "docs", a="alpha")
    await rag.index(docs, identity=ACME)
    (docs / "a.md").unlink()
    with pytest.raises(InputInvalid, match="no document to index"):
        await rag.index(docs, identity=ACME)
    assert list(await stored(rag)) == ["a.md"]
    assert await rag.forget(ACME) == 1


async def test_a_file_that_fails_is_named_and_the_others_are_indexed(tmp_path: Path) -> None:
    rag = corpus()
    docs = write(tmp_path / "docs", a="alpha", b="beta", c="gamma")
    await rag.index(docs, identity=ACME)
    (docs / "b.md").write_bytes(b"beta\xff")
    (docs / "c.md").write_text("gamma and delta")
    (docs / "logo.png").write_bytes(b"\x89PNG")
    report = await rag.index(docs, identity=ACME)
    [failed] = report.failed
    assert failed.source == "b.md"
    assert failed.error is not None
    assert "byte 4" in failed.error
    assert report.documents == 2
    assert report.skipped == ("logo.png",)
    assert "failed: b.md: byte 4" in str(report)
    there = await stored(rag)
    assert [[entry.value for entry in each] for each in there.values()] == [
        ["alpha"],
        ["beta"],
        ["gamma and delta"],
    ]


async def test_files_are_named_as_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "docs", a="alpha")
    monkeypatch.chdir(tmp_path)
    rag = corpus()
    await rag.index("docs/a.md", identity=ACME)
    assert list(await stored(rag)) == ["docs/a.md"]
    with pytest.raises(DocumentUnreadable, match=r"nothing\.md"):
        await rag.index("nothing.md", identity=ACME)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    report = await rag.index([tmp_path / "a.pdf", RETURNS], identity=ACME)
    assert [each.source for each in report.failed] == [(tmp_path / "a.pdf").as_posix()]


async def test_two_documents_of_one_name_are_refused(tmp_path: Path) -> None:
    rag = corpus()
    one, two = write(tmp_path / "one", a="alpha"), write(tmp_path / "two", a="beta")
    with pytest.raises(InputInvalid, match=r"two documents are called \"a\.md\""):
        await rag.index([one, two], identity=ACME)
    await rag.index([one, load_folder(two, prefix="two/")], identity=ACME)
    assert list(await stored(rag)) == ["a.md", "two/a.md"]
    # One after the other they would take each other's place.
    report = await rag.index(two, identity=ACME)
    assert "of folder 'one'" in str(report.failed[0].error)
    assert [entry.value for entry in (await stored(rag))["a.md"]] == ["alpha"]


async def test_equal_files_are_both_there() -> None:
    rag = corpus()
    report = await rag.index(
        [Document("a.txt", "same words"), Document("b.txt", "same words")], identity=ACME
    )
    assert report.added == 2
    assert {each.source for each in await rag.search("same words", identity=ACME)} == {"a.txt", "b.txt"}


async def test_equal_chunks_of_one_file_are_both_there() -> None:
    rag = corpus(splitter=Splitter(20))
    document = Document("a.txt", "the same paragraph\n\nthe same paragraph\n\n")
    for embedded in (2, 0):
        before = len(asked(rag))
        await rag.index(document, identity=ACME)
        assert len(asked(rag)) - before == embedded
    assert [each.metadata["start"] for each in (await stored(rag))["a.txt"]] == [0, 20]


# ── another embedder ────────────────────────────────────────────────────────────────────────────


async def test_another_embedder_is_refused_until_all_is_indexed_anew() -> None:
    store = InMemoryStore()
    await corpus(store=store).index(RETURNS, identity=ACME)
    other = corpus(store=store, embedder=MockEmbedder(64))
    with pytest.raises(
        EmbedderMismatch, match=r"'handbook' was embedded by 'mock@256'.*reindex=True"
    ) as refused:
        await other.index(RETURNS, identity=ACME)
    assert refused.value.footprint is not None
    assert asked(other) == []
    with pytest.raises(EmbedderMismatch):
        await other.search("goods", identity=ACME)
    report = await other.index(RETURNS, identity=ACME, reindex=True)
    assert report.added == 1
    assert len(await other.search("When may goods be returned?", identity=ACME)) == 1


# ── failures on the way ─────────────────────────────────────────────────────────────────────────


def many(count: int) -> list[Document]:
    return [Document(f"{number:03}.txt", f"words of document {number}") for number in range(count)]


async def test_an_embedder_that_fails_leaves_what_was_done_and_indexing_goes_on_from_there() -> None:
    store = InMemoryStore()
    failing = FailingEmbedder(after=7, error=Unavailable("away"))
    with pytest.raises(Unavailable) as failed:
        await corpus(store=store, embedder=failing).index(many(20), identity=ACME)
    assert failed.value.footprint is not None
    assert "away" in failed.value.footprint.narrative()
    rag = corpus(store=store)
    assert len(await stored(rag)) == 7
    report = await rag.index(many(20), identity=ACME)
    assert (counts(report), len(asked(rag))) == ((13, 7, 0, 0), 13)


class FailingStore(InMemoryStore):
    """Takes so many batches, and then none."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        self.takes -= 1
        if self.takes < 0:
            raise StoreUnavailable("the disk is full")
        return list(await super().put_many(identity, entries))


async def test_a_store_that_fails_ends_the_indexing_and_keeps_what_it_took() -> None:
    store = FailingStore(takes=3)
    rag = corpus(store=store)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await rag.index(many(20), identity=ACME)
    assert len(await stored(rag)) == 3
    store.takes = 100
    assert counts(await rag.index(many(20), identity=ACME)) == (17, 3, 0, 0)


async def test_a_store_that_fails_within_a_document_keeps_its_old_chunks() -> None:
    store = FailingStore(takes=2)
    rag = corpus(store=store, splitter=Splitter(20))
    old = "the same paragraph\n\nthe other paragraph\n\n"
    await rag.index(Document("a.txt", old), identity=ACME)
    new = "".join(f"new paragraph {number:04}\n\n" for number in range(200))
    with pytest.raises(StoreUnavailable):
        await rag.index(Document("a.txt", new), identity=ACME)
    values = [entry.value for entry in (await stored(rag))["a.txt"]]
    assert "the same paragraph" in values
    assert len(values) == 2 + 64
    store.takes = 100
    assert counts(await rag.index(Document("a.txt", new), identity=ACME)) == (136, 64, 0, 2)


async def test_a_document_that_the_embedder_refuses_is_named() -> None:
    class Refusing(MockEmbedder):
        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            if any("Parcels" in text for text in texts):
                raise ContextWindowExceeded("too long")
            return await super().embed(texts, purpose=purpose)

    report = await corpus(embedder=Refusing()).index([RETURNS, DELIVERY], identity=ACME)
    assert [(each.source, each.error) for each in report.failed] == [("delivery.md", "delivery.md: too long")]


async def test_metadata_that_is_no_json_fails_its_document_only() -> None:
    rag = corpus()
    report = await rag.index([Document("a.txt", "words", metadata={"x": {1, 2}}), RETURNS], identity=ACME)
    assert [each.source for each in report.failed] == ["a.txt"]


async def test_hostile_metadata_stays_beside_what_is_said_of_the_chunk() -> None:
    hostile = {"corpus": "other", "source": "/etc/passwd", "start": -1, "'; --": 1, "$where": "1", "": None}
    rag = corpus()
    await rag.index(Document("a.txt", "some words", metadata=hostile), identity=ACME)
    [passage] = await rag.search("some words", identity=ACME)
    assert (passage.source, passage.start, passage.end) == ("a.txt", 0, 10)
    [entry] = (await stored(rag))["a.txt"]
    assert entry.metadata["document"] == hostile


async def test_indexing_that_is_cancelled_leaves_a_usable_corpus() -> None:
    class Waiting(MockEmbedder):
        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            if len(self.asked) >= 5:
                begun.set()
                await asyncio.Event().wait()
            return await super().embed(texts, purpose=purpose)

    begun, store = asyncio.Event(), InMemoryStore()
    task = asyncio.create_task(corpus(store=store, embedder=Waiting()).index(many(20), identity=ACME))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rag = corpus(store=store)
    done = len(await stored(rag))
    assert 5 <= done < 20
    assert len(await rag.search("words of document", identity=ACME)) == 5
    assert counts(await rag.index(many(20), identity=ACME)) == (20 - done, done, 0, 0)


async def test_two_at_once_make_one_corpus(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", **{f"d{number}": f"words of {number}\n" * 20 for number in range(12)})
    async with SQLiteStore(tmp_path / "kb.sqlite") as one, SQLiteStore(tmp_path / "kb.sqlite") as two:
        await asyncio.gather(
            *(corpus(store=store, splitter=Splitter(60)).index(docs, identity=ACME) for store in (one, two))
        )
        rag = corpus(store=one, splitter=Splitter(60))
        both = await stored(rag)
        report = await rag.index(docs, identity=ACME)
        assert counts(report) == (0, sum(map(len, both.values())), 0, 0)
        assert len(both) == 12


async def test_what_another_indexes_meanwhile_is_not_taken_for_gone(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", a="alpha")
    store = InMemoryStore()
    other = corpus(store=store)

    class Meanwhile(MockEmbedder):
        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            write(docs, b="beta")
            await other.index(docs, identity=ACME)
            return await super().embed(texts, purpose=purpose)

    await corpus(store=store, embedder=Meanwhile()).index(docs, identity=ACME)
    assert list(await stored(other)) == ["a.md", "b.md"]
