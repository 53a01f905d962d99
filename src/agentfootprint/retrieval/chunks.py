"""The chunks of a corpus in a store: which are there, and how a chunk becomes an entry."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..embedders.base import Embedder, Embedding
from ..errors import EmbedderMismatch, StoreCorrupt
from ..flow.codec import canonical
from ..identity import MemoryIdentity
from ..memory.base import MemoryEntry, SearchableStore
from .document import Document
from .splitting import Chunk

__all__ = ["Held", "Planned", "entry_of", "held", "planned", "text_to_embed"]

PAGE = 500


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk that is in the store: a digest of what is said beside its text, empty if it has no vector, and
    the folder it belongs to."""

    about: bytes
    folder: str | None


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk on its way into the store."""

    id: str
    chunk: Chunk
    metadata: Mapping[str, Any]
    about: bytes


def text_to_embed(chunk: Chunk) -> str:
    """A chunk below its headings: what a paragraph is about often stands above it only."""
    return f"{chunk.path}\n\n{chunk.text}" if chunk.path else chunk.text


def planned(corpus: str, document: Document, chunks: Sequence[Chunk]) -> Iterator[Planned]:
    """The chunks with their ids: made of the corpus, the source and what is embedded, so that a chunk that
    only moved keeps its own. Of equal ones in one document each has another."""
    seen = Counter[str]()
    for chunk in chunks:
        digest = _sha(text_to_embed(chunk)).hex()
        nth = seen[digest]
        seen[digest] += 1
        metadata = {
            "corpus": corpus,
            "source": document.source,
            "folder": document.folder,
            "start": chunk.start,
            "end": chunk.end,
            "title": chunk.title,
            "headings": list(chunk.headings),
            "digest": digest,
            "document": dict(document.metadata),
        }
        # Texts of their lengths, one after the other: no two lists have one joined form.
        key = canonical([corpus, document.source, digest, nth])
        yield Planned(f"{corpus}/{_sha(key).hex()}", chunk, metadata, _about(metadata))


def entry_of(plan: Planned, embedding: Embedding) -> MemoryEntry:
    return MemoryEntry(plan.id, plan.chunk.text, plan.metadata, embedding=embedding)


async def held(
    store: SearchableStore, space: MemoryIdentity, corpus: str, embedder: Embedder
) -> dict[str, dict[str, Held]]:
    """The chunks that are there, by source and id.

    Raises:
        EmbedderMismatch: they were embedded by another embedder.
    """
    found: dict[str, dict[str, Held]] = {}
    cursor: str | None = None
    while True:
        page = await store.list(space, limit=PAGE, cursor=cursor)
        for entry in page.entries:
            if not is_chunk(entry, corpus):
                continue
            vector = entry.embedding
            if vector is not None and vector.fingerprint != embedder.fingerprint:
                raise EmbedderMismatch(
                    f"corpus {corpus!r} was embedded by {vector.fingerprint!r}, and {embedder.fingerprint!r} "
                    "makes vectors that cannot be compared with those: go on with that one, or index all "
                    "documents anew with index(..., reindex=True), which forgets what is there"
                )
            about = _about(entry.metadata) if vector is not None else b""
            source, folder = str(entry.metadata.get("source")), entry.metadata.get("folder")
            found.setdefault(source, {})[entry.id] = Held(about, folder)
        cursor = page.cursor
        if cursor is None:
            return found


def is_chunk(entry: MemoryEntry, corpus: str) -> bool:
    return entry.id.startswith(f"{corpus}/") and entry.metadata.get("corpus") == corpus


def place_of(entry: MemoryEntry) -> tuple[str, int, int, str]:
    """The source, the offsets and the headings that an entry says.

    Raises:
        StoreCorrupt: it is no chunk.
    """
    said = entry.metadata
    source, start, end = said.get("source"), said.get("start"), said.get("end")
    headings, title = said.get("headings"), said.get("title")
    numbers = type(start) is int and type(end) is int
    if not (
        isinstance(source, str) and numbers and isinstance(headings, list) and isinstance(entry.value, str)
    ):
        raise StoreCorrupt(f"entry {entry.id!r} is no chunk of a document: delete it from the store")
    assert isinstance(start, int)
    assert isinstance(end, int)
    path = Chunk("", start, end, tuple(map(str, headings)), title if isinstance(title, str) else None).path
    return source, start, end, path


def _sha(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _about(metadata: Mapping[str, Any]) -> bytes:
    return _sha(canonical(metadata))[:16]
