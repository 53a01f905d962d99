"""Documents that a model can look things up in: indexed once, recalled by likeness, cited by place."""

from __future__ import annotations

import os
import string
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ..cost.prices import PricingTable
from ..embedders.base import Embedder, MeasuringEmbedder
from ..embedders.telling import embed, error_code, usage_of
from ..embedders.usage import EmbeddingUsage, metered
from ..errors import ConfigurationError, IdentityRequired, InputInvalid, ToolError
from ..events import RetrievalEnded
from ..flow import Run
from ..flow.current import tell_run
from ..identity import MemoryIdentity
from ..memory.base import SearchableStore
from ..memory.memory import Recalled
from ..messages import Usage
from ..tools.context import ToolContext
from ..tools.tool import Tool, make_tool
from . import chunks
from .document import Document
from .indexing import INDEX, Given, Indexing
from .loading import Folder, Unknown
from .passages import RETRIEVE, Found, Passage, message, within
from .report import IndexProgress, IndexReport, cost_of
from .splitting import Splitter

__all__ = ["RAG", "Documents", "Retrieved"]

Documents: TypeAlias = (
    "str | os.PathLike[str] | Document | Folder | Iterable[str | os.PathLike[str] | Document | Folder]"
)
"""What is indexed: files, folders, documents, or several of these. Text goes into a `Document`."""

_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_.")
_LONGEST_QUERY = 2_000


@dataclass(frozen=True, slots=True)
class Retrieved(Recalled):
    """What a corpus shows for a question: one message that quotes the passages, the most alike first."""

    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class RAG:
    """A corpus of documents, beside an agent's memories or as a tool of it.

    Args:
        id: names the corpus in its store and in citations: letters, digits, `-`, `_` and `.`, at most 64.
        store: where the chunks live, one that searches.
        embedder: makes the vectors; always the same one, until the corpus is indexed anew.
        k: passages that a question is shown at most.
        min_score: the least cosine similarity, from -1 to 1: nothing is shown rather than what is weak. What
            is strong enough depends on the embedder.
        max_tokens: of all that is shown at once, estimated; what is less alike is left out.
        splitter: how documents are cut.
        tenant: whose corpus it is that every tenant reads; None: each tenant has its own.
        allow_anonymous: let a store that outlives the process keep a corpus of no tenant.

    Raises:
        ConfigurationError: one of these cannot work; the message says which and what to do.
    """

    id: str
    _: KW_ONLY
    store: SearchableStore
    embedder: Embedder
    k: int = 5
    min_score: float = 0.3
    max_tokens: int = 4_000
    splitter: Splitter = field(default_factory=Splitter)
    tenant: str | None = None
    allow_anonymous: bool = False

    def __post_init__(self) -> None:
        if not (self.id and len(self.id) <= 64 and _ID_CHARACTERS.issuperset(self.id)):
            raise ConfigurationError(
                f"the corpus id {self.id!r} must be 1 to 64 letters, digits, '-', '_' or '.': it becomes "
                "part of keys"
            )
        if not isinstance(self.store, SearchableStore):
            raise ConfigurationError(
                f"corpus {self.id!r} is searched, and {type(self.store).__qualname__} does not search: use "
                "InMemoryStore(), SQLiteStore(path), PostgresStore(dsn) or PineconeStore(index=...)"
            )
        if not isinstance(self.embedder, Embedder):
            raise ConfigurationError(
                f"corpus {self.id!r}: embedder is a {type(self.embedder).__name__}, which does not embed: "
                "use LocalEmbedder(), OpenAIEmbedder(...), or MockEmbedder() in tests"
            )
        if not isinstance(self.splitter, Splitter):
            raise ConfigurationError(
                f"corpus {self.id!r}: splitter is a {type(self.splitter).__name__}: use Splitter(size)"
            )
        if self.k < 1 or self.max_tokens < 1 or not -1 <= self.min_score <= 1:
            raise ConfigurationError(
                f"corpus {self.id!r}: k={self.k!r} and max_tokens={self.max_tokens!r} are at least 1, and "
                f"min_score={self.min_score!r} is a cosine similarity, -1 to 1"
            )
        self._space(None)  # A tenant that cannot be one is refused here.

    # ── indexing ────────────────────────────────────────────────────────────────────────────────

    async def index(
        self,
        documents: Documents,
        *,
        identity: MemoryIdentity | None = None,
        unknown: Unknown = "skip",
        prune: bool = True,
        reindex: bool = False,
        progress: Callable[[IndexProgress], object] | None = None,
        pricing_table: PricingTable | None = None,
    ) -> IndexReport:
        """Brings the corpus to what the documents say now.

        Only what is new is embedded: not what is there already, nor what only stands elsewhere in its file.
        Broken off, it leaves what was written, and goes on from there when it is called again. Several may
        index the same corpus at once.

        Args:
            documents: paths of files and folders, `Document`s, `load_folder(...)`.
            identity: whose corpus: its tenant counts.
            unknown: files of unknown suffixes in folders are left out ("skip") or refused ("refuse").
            prune: what was indexed of a folder that is given, and is no longer in it, is removed.
            reindex: forget the corpus first, such as for another embedder.
            progress: called after each document and each batch of chunks.
            pricing_table: what the embedder's model costs, for `report.cost`.

        Returns:
            What was done, and which documents failed; `report.footprint` has it step by step.

        Raises:
            IdentityRequired: the store outlives the process, and there is no tenant.
            InputInvalid: there is nothing to index, or two documents have one name.
            DocumentUnreadable: a folder cannot be read.
            EmbedderMismatch: the corpus was embedded by another embedder.
            StoreError, ProviderError: the store or the embedder failed; what was written stays.
        """
        space = self._space_to_write(identity)
        given = _given(documents)
        work = Indexing(self, space, given, unknown=unknown, prune=prune, reindex=reindex, progress=progress)
        run = Run(INDEX, deps=work)
        run.begin(self.id)
        used: list[EmbeddingUsage] = []
        with metered(used.append):
            await run.go()
        cost = None if pricing_table is None else cost_of(used, pricing_table)
        files, gone, skipped = tuple(run["files"]), run["gone"], run["skipped"]
        return IndexReport(self.id, files, gone, skipped, usage_of(used) or Usage(), cost, run.footprint)

    async def forget(self, identity: MemoryIdentity | None = None) -> int:
        """Deletes the corpus of a tenant; how many chunks."""
        return await self.store.forget(self._space_to_write(identity))

    # ── searching ───────────────────────────────────────────────────────────────────────────────

    async def recall(self, identity: MemoryIdentity, query: str, *, beside: bool = False) -> Retrieved:
        """The passages that are most like a question, as one message that quotes them; none if all are weaker
        than `min_score`. `beside` is for memories, and changes nothing here.

        Raises:
            StoreError, ProviderError: the store or the embedder failed.
        """
        passages = await self.search(query, identity=identity)
        return Retrieved((), message(self.id, passages), (), passages)

    async def search(
        self, query: str, *, identity: MemoryIdentity | None = None, k: int | None = None
    ) -> tuple[Passage, ...]:
        """The passages that are most like a question, the most alike first, at most `k` and `max_tokens`.

        Of a question that is longer than the embedder reads, its beginning counts.
        """
        if not query.strip():
            return ()
        most = self.k if k is None else k
        passages: tuple[Passage, ...] = ()
        error = None
        begun = time.monotonic()
        try:
            passages = await self._found(self._space(identity), query, most)
        except BaseException as failed:
            error = error_code(failed)
            raise
        finally:
            tell_run(RetrievalEnded, self.id, len(passages), most, time.monotonic() - begun, error)
        return passages

    async def _found(self, space: MemoryIdentity, query: str, k: int) -> tuple[Passage, ...]:
        [vector] = await embed(self.embedder, [self._short(query)], purpose="query")
        found = await self.store.search(
            space, vector, k=k, min_score=self.min_score, where={"corpus": self.id}
        )
        passages = []
        for match in found:
            source, start, end, path = chunks.place_of(match.entry)
            score = round(float(match.score), 4)
            passages.append(Passage(self.id, source, start, end, score, path, match.entry.value))
        return within(passages, self.max_tokens)

    def as_tool(self, *, name: str | None = None, description: str | None = None) -> Tool[..., Any]:
        """The corpus as a tool, for a model that searches it when it wants to.

        Args:
            name: what the model calls it; `search_` and the corpus's id unless given.
            description: what the model is told it finds there.
        """

        async def search(query: str, identity: MemoryIdentity | None) -> Found:
            return Found.of(self.id, await self.search(query, identity=identity))

        async def look_up(ctx: ToolContext[Any], query: str) -> str:
            if not query.strip():
                raise ToolError("The query is empty: say what to look for.")
            if self._lacks_tenant(ctx.identity):
                raise self._no_tenant()
            found: Found = await ctx.call(RETRIEVE, search, query, ctx.identity, returns=Found)
            return found.text

        told = f"Finds passages in the documents of {self.id!r} that are like a query in plain words."
        return make_tool(
            look_up,
            name=name or f"search_{self.id.replace('.', '_')}"[:64],
            description=told if description is None else description,
            idempotent=True,
        )

    # ── whose it is ─────────────────────────────────────────────────────────────────────────────

    @property
    def providers(self) -> Sequence[Any]:
        """Models that it asks: none."""
        return ()

    def _space(self, identity: MemoryIdentity | None) -> MemoryIdentity:
        tenant = self.tenant
        if tenant is None and identity is not None:
            tenant = identity.tenant
        return MemoryIdentity(tenant, None, f"corpus:{self.id}")

    def _space_to_write(self, identity: MemoryIdentity | None) -> MemoryIdentity:
        if self._lacks_tenant(identity):
            raise self._no_tenant()
        if self.tenant is not None and identity is not None and identity.tenant not in (None, self.tenant):
            raise InputInvalid(
                f"corpus {self.id!r} is that of tenant {self.tenant!r}, for all to read: leave out "
                "identity=, or use a RAG without tenant="
            )
        return self._space(identity)

    def _lacks_tenant(self, identity: MemoryIdentity | None) -> bool:
        return self.store.durable and not self.allow_anonymous and self._space(identity).tenant is None

    def _no_tenant(self) -> IdentityRequired:
        return IdentityRequired(
            f"corpus {self.id!r} outlives this process: pass identity=MemoryIdentity(tenant=...), give the "
            "RAG tenant=... for one corpus that all read, or allow_anonymous=True"
        )

    def _short(self, query: str) -> str:
        query = query[:_LONGEST_QUERY]
        embedder = self.embedder
        if not isinstance(embedder, MeasuringEmbedder) or embedder.fits(query):
            return query
        least, most = 1, len(query)
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if embedder.fits(query[:middle]) else (least, middle)
        return query[:least]


def _given(documents: Any) -> list[Given]:
    one = isinstance(documents, (str, os.PathLike, Document, Folder))
    if one or not isinstance(documents, Iterable):
        documents = (documents,)
    return [_checked(each) for each in documents]


def _checked(given: Any) -> Given:
    if isinstance(given, (Document, Folder)):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    raise InputInvalid(f"index() takes paths, Documents and load_folder(...), not {type(given).__name__}")
