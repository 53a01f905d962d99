"""Indexing as a flow: survey → document (each) → prune. Its footprint is the report and holds no texts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from ..embedders.base import MeasuringEmbedder
from ..embedders.telling import embed
from ..errors import (
    ContentFiltered,
    ContextWindowExceeded,
    DocumentUnreadable,
    InputInvalid,
    InvalidRequest,
    ReplayRefused,
    UnsupportedValue,
)
from ..flow import Flow, Footprint, Seq, Step
from ..flow.again import Stored
from ..flow.codec import decode
from ..identity import MemoryIdentity
from ..memory.base import MemoryEntry
from .chunks import Held, Planned, entry_of, held, planned, text_to_embed
from .document import Document, printable, quoted
from .loading import File, Folder, Unknown, file_of, load_folder
from .report import FileReport, IndexProgress
from .splitting import Chunk, Fits

if TYPE_CHECKING:
    from .rag import RAG

__all__ = ["INDEX", "Given", "IndexState", "Indexing"]

Given: TypeAlias = Path | Document | Folder
Unit: TypeAlias = Document | File

AT_ONCE = 4
"""Documents that are worked on at the same time."""

BATCH = 64
"""Chunks that are embedded and written together: what was paid for is in the store soon."""

_OF_THE_DOCUMENT = (
    ContentFiltered,
    ContextWindowExceeded,
    DocumentUnreadable,
    InputInvalid,
    InvalidRequest,
    UnsupportedValue,
)
"""Errors that say something about one document; all others end the indexing."""

_log = logging.getLogger("agentfootprint.retrieval")


@dataclass(frozen=True, slots=True)
class Survey:
    """The documents by name, and what was left out."""

    sources: tuple[str, ...]
    folders: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class IndexState(TypedDict, total=False):
    input: str
    sources: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: tuple[str, ...]
    files: Seq[FileReport]
    gone: tuple[FileReport, ...]


C = Step[IndexState]


class Indexing:
    """One indexing of one corpus: what its steps reach, and no record keeps."""

    def __init__(
        self,
        rag: RAG,
        space: MemoryIdentity,
        given: Sequence[Given],
        *,
        unknown: Unknown,
        prune: bool,
        reindex: bool,
        progress: Callable[[IndexProgress], object] | None,
    ) -> None:
        self._rag = rag
        self._space = space
        self._given = given
        self._unknown = unknown
        self.prune = prune
        self._reindex = reindex
        self._progress = progress
        self._units: dict[str, Unit] = {}
        self._held: dict[str, dict[str, Held]] = {}
        self._done = 0
        self._embedded = 0

    # ── survey ──────────────────────────────────────────────────────────────────────────────────

    async def survey(self) -> Survey:
        """What there is in the store, and then what there is to index: what somebody else indexes meanwhile
        is in neither or in both, and is not taken for gone."""
        rag = self._rag
        if self._reindex:
            await rag.store.forget(self._space)
        self._held = await held(rag.store, self._space, rag.id, rag.embedder)
        found = await asyncio.to_thread(self._listed)
        if not found.sources:
            raise InputInvalid(
                f"corpus {rag.id!r}: there is no document to index. To empty the corpus, forget it: "
                "await rag.forget(identity)"
            )
        return found

    def _listed(self) -> Survey:
        folders, skipped = list[str](), list[str]()
        for given in self._given:
            each: Document | File | Folder = given if not isinstance(given, Path) else self._at(given)
            units: Iterable[Unit]
            if isinstance(each, Folder):
                units, left_out = each.files()
                folders.append(each.name)
                skipped += left_out
            else:
                units = (each,)
            for unit in units:
                self._take(unit)
                if unit.folder is not None and unit.folder not in folders:
                    folders.append(unit.folder)
        return Survey(tuple(self._units), tuple(folders), tuple(skipped))

    def _at(self, path: Path) -> File | Folder:
        if path.is_dir():
            return load_folder(path, unknown=self._unknown)
        if not path.exists():
            name = printable(path.as_posix())
            raise DocumentUnreadable(f"{name}: there is no such file or folder", source=path.as_posix())
        return file_of(path)

    def _take(self, unit: Unit) -> None:
        if unit.source in self._units:
            raise InputInvalid(
                f"corpus {self._rag.id!r}: two documents are called {quoted(unit.source)}: give one folder "
                "a prefix, load_folder(path, prefix='guide/'), or name them apart"
            )
        self._units[unit.source] = unit

    # ── one document ────────────────────────────────────────────────────────────────────────────

    async def document(self, source: str) -> FileReport:
        try:
            report = await self._indexed(source)
        except _OF_THE_DOCUMENT as error:
            told = str(error)
            report = FileReport(source, error=told if source in told else f"{printable(source)}: {told}")
        self._done += 1
        self._tell(source)
        return report

    async def _indexed(self, source: str) -> FileReport:
        there, unit = self._held.get(source, {}), self._units[source]
        self._check_folder(unit, there)
        plans = await asyncio.to_thread(self._plans, unit)
        new = [each for each in plans if each.id not in there or not there[each.id].about]
        moved = [each for each in plans if each.id in there and there[each.id].about not in (b"", each.about)]
        for at in range(0, len(moved), BATCH):
            new += await self._move(moved[at : at + BATCH])
        for at in range(0, len(new), BATCH):
            await self._add(source, new[at : at + BATCH])
        # Last: until all that is new is there, what is old is better than nothing.
        stale = there.keys() - {each.id for each in plans}
        removed = await self._delete(stale)
        again = {each.id for each in new}
        kept = sum(each.id not in again for each in moved)
        return FileReport(source, len(new), len(plans) - len(new) - kept, kept, removed)

    def _check_folder(self, unit: Unit, there: Mapping[str, Held]) -> None:
        for chunk in there.values():
            if None not in (chunk.folder, unit.folder) and chunk.folder != unit.folder:
                raise InputInvalid(
                    f"{printable(unit.source)} is there already, of folder {chunk.folder!r}: give this one "
                    "a prefix, load_folder(path, prefix='guide/'); forget the corpus if that one is renamed"
                )

    def _plans(self, unit: Unit) -> list[Planned]:
        document = unit.load() if isinstance(unit, File) else unit
        rag = self._rag
        fits: Fits | None = None
        if isinstance(embedder := rag.embedder, MeasuringEmbedder):
            fits = partial(_short_enough, embedder)
        return list(planned(rag.id, document, rag.splitter.split(document, fits)))

    async def _add(self, source: str, batch: Sequence[Planned]) -> None:
        texts = [text_to_embed(each.chunk) for each in batch]
        vectors = await embed(self._rag.embedder, texts)
        pairs = zip(batch, vectors, strict=True)
        await self._rag.store.put_many(self._space, [entry_of(plan, vector) for plan, vector in pairs])
        self._embedded += len(batch)
        self._tell(source)

    async def _move(self, batch: Sequence[Planned]) -> list[Planned]:
        """Writes where chunks are now, and gives back those that are there no longer."""
        entries, lost = list[MemoryEntry](), list[Planned]()
        for plan in batch:
            entry = await self._rag.store.get(self._space, plan.id)
            if entry is None or entry.embedding is None:
                lost.append(plan)
            else:
                entries.append(replace(entry, metadata=plan.metadata, version=None))
        if entries:
            await self._rag.store.put_many(self._space, entries)
        return lost

    # ── what is gone ────────────────────────────────────────────────────────────────────────────

    async def gone(self, folders: Sequence[str]) -> tuple[FileReport, ...]:
        """Removes the documents of these folders that were not among those given."""
        reports = []
        for source, there in self._held.items():
            if source not in self._units and any(each.folder in folders for each in there.values()):
                reports.append(FileReport(source, removed=await self._delete(there)))
        return tuple(reports)

    async def _delete(self, ids: Iterable[str]) -> int:
        return sum([await self._rag.store.delete(self._space, each) for each in ids])

    def _tell(self, source: str) -> None:
        if self._progress is None:
            return
        try:
            self._progress(IndexProgress(self._done, len(self._units), source, self._embedded))
        except Exception:
            # Whoever watches does not break what is watched.
            _log.exception("progress= of indexing %r failed and is not called again", self._rag.id)
            self._progress = None


def _short_enough(embedder: MeasuringEmbedder, chunk: Chunk) -> bool:
    return embedder.fits(text_to_embed(chunk))


# ── the flow ────────────────────────────────────────────────────────────────────────────────────

INDEX: Flow[IndexState] = Flow("index", state=IndexState)


def _indexing(c: C) -> Indexing:
    found: Indexing | None = c.deps
    if found is None:
        raise ReplayRefused("indexing is not run again from its record: call index() again")
    return found


@INDEX.step(to="document")
async def survey(c: C) -> None:
    """What there is to index."""
    found: Survey = await c.call("survey", _indexing(c).survey, returns=Survey)
    c["sources"], c["folders"], c["skipped"] = found.sources, found.folders, found.skipped
    c["files"], c["gone"] = Seq(), ()


@INDEX.map(over="sources", limit=AT_ONCE, to="prune")
async def document(c: C, source: str) -> None:
    """A document is read, split, and compared with what is there; what is new is embedded."""
    c.append("files", await c.call("index", _indexing(c).document, source, key=source, returns=FileReport))


@INDEX.step
async def prune(c: C) -> None:
    """What is gone from the folders is removed."""
    own = _indexing(c)
    if own.prune and c["folders"]:
        c["gone"] = await c.call("prune", own.gone, c["folders"], returns=tuple[FileReport, ...])


def _narrate(footprint: Footprint) -> str:
    lines = []
    for step in footprint.steps:
        for call in step.calls:
            if call.error is not None:
                lines.append(f"{step.id} failed with {call.error[0]}: {call.error[1]}")
            elif call.name == "survey":
                found = _read(Survey, call.result)
                lines.append(
                    f"{len(found.sources)} documents were found, {len(found.skipped)} files left out."
                )
            elif call.name == "index":
                lines.append(_told(_read(FileReport, call.result)))
            elif call.name == "prune":
                gone = _read(tuple[FileReport, ...], call.result)
                lines += [f"{printable(one.source)} is gone: {one.removed} chunks removed." for one in gone]
    return "\n".join(lines)


def _read(kind: Any, result: Any) -> Any:
    return decode(kind, result.data) if type(result) is Stored else result


def _told(file: FileReport) -> str:
    if file.error is not None:
        return f"{printable(file.source)} failed: {' '.join(file.error.split())}"
    return (
        f"{printable(file.source)}: {file.added} chunks added, {file.unchanged} unchanged, "
        f"{file.moved} moved, {file.removed} removed."
    )


INDEX.narrator = _narrate
