"""Retrieval on a real corpus: Python's documentation, questions in a user's words, vectors beside keywords.

python benchmarks/retrieval.py                          fetches the documentation from Debian, indexes, asks
python benchmarks/retrieval.py --docs FOLDER            pages that are there already (it has library/)
python benchmarks/retrieval.py --size 500 --no-headings another way to cut, and to embed
python benchmarks/retrieval.py --store FILE             keeps the index; the next time little is embedded
python benchmarks/retrieval.py --misses                 also lists the questions that were missed

It needs the extra local-embedder; with snowballstemmer, keywords are also matched by their stems.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentfootprint import MemoryIdentity
from agentfootprint.embedders import LocalEmbedder
from agentfootprint.memory import SQLiteStore
from agentfootprint.retrieval import RAG, IndexProgress, Splitter, load_folder

HERE = Path(__file__).resolve().parent
QUESTIONS = HERE / "python_questions.txt"
PACKAGE = "python3.11-doc"
PARTS = ("library", "tutorial", "howto", "reference", "faq", "using", "installing")
WHO = MemoryIdentity("bench")
DEPTH = 50
"""Finds of each method that are looked at."""

Ranking = Sequence[str]
"""Ids of chunks, the best first."""


class Counting:
    """An embedder that counts what it is asked for, and may be shown the chunks without their headings."""

    def __init__(self, inner: LocalEmbedder, headings: bool) -> None:
        self.inner, self.headings, self.texts = inner, headings, 0
        self.fingerprint, self.dimensions = inner.fingerprint, inner.dimensions

    def fits(self, text: str) -> bool:
        return self.inner.fits(text)

    async def embed(self, texts: Sequence[str], *, purpose: Any = "document") -> Any:
        self.texts += len(texts)
        if purpose == "document" and not self.headings:
            texts = [text.partition("\n\n")[2] or text for text in texts]
        return await self.inner.embed(texts, purpose=purpose)


class BM25:
    """Okapi BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75, Lucene's form of the idf)."""

    def __init__(self, texts: dict[str, str], words: Callable[[str], list[str]]) -> None:
        self._words = words
        self._lengths: dict[str, int] = {}
        self._holding: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for name, text in texts.items():
            counts = Counter(words(text))
            self._lengths[name] = sum(counts.values())
            for word, count in counts.items():
                self._holding[word].append((name, count))
        self._mean = statistics.fmean(self._lengths.values())

    def ranked(self, question: str) -> list[str]:
        scores: dict[str, float] = defaultdict(float)
        total = len(self._lengths)
        for word in set(self._words(question)):
            holding = self._holding.get(word, ())
            idf = math.log(1 + (total - len(holding) + 0.5) / (len(holding) + 0.5))
            for name, count in holding:
                length = 1 - 0.75 + 0.75 * self._lengths[name] / self._mean
                scores[name] += idf * count * 2.2 / (count + 1.2 * length)
        return sorted(scores, key=lambda name: (-scores[name], name))[:DEPTH]


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


# What Lucene's English analyzer leaves out, and the words that questions begin with.
STOP = frozenset(
    plain(
        "a an and are as at be but by for if in into is it no not of on or such that the their then there "
        "these they this to was will with i my me how do does can what which who when where why should"
    )
)


def stemmed() -> Callable[[str], list[str]] | None:
    try:
        import snowballstemmer
    except ImportError:
        return None
    stemmer = snowballstemmer.stemmer("english")
    return lambda text: stemmer.stemWords([word for word in plain(text) if word not in STOP])


def fused(*rankings: Ranking) -> list[str]:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009, k = 60)."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for rank, name in enumerate(ranking, 1):
            scores[name] += 1 / (60 + rank)
    return sorted(scores, key=lambda name: (-scores[name], name))[:DEPTH]


def fetched() -> Path:
    """The documentation as Debian ships it, below benchmarks/.envs."""
    folder = HERE / ".envs" / PACKAGE
    pages = folder / "usr/share/doc" / PACKAGE.removesuffix("-doc") / "html"
    if not pages.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=folder, check=True)
        [package] = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return pages


def questions() -> list[tuple[str, frozenset[str]]]:
    lines = [line for line in QUESTIONS.read_text().splitlines() if line and not line.startswith("#")]
    halves = (line.split(" | ", 1) for line in lines)
    return [(question, frozenset(pages.split())) for pages, question in halves]


async def chunks_of(rag: RAG, store: SQLiteStore) -> tuple[dict[str, str], dict[str, str]]:
    """The pages and the texts of all chunks, with their headings, by the place of the chunk."""
    sources, texts, cursor = {}, {}, None
    while True:
        page = await store.list(MemoryIdentity("bench", None, f"corpus:{rag.id}"), limit=500, cursor=cursor)
        for entry in page.entries:
            said = entry.metadata
            name = place(said["source"], said["start"], said["end"])
            sources[name] = said["source"]
            texts[name] = " > ".join(said["headings"]) + f"\n\n{entry.value}"
        cursor = page.cursor
        if cursor is None:
            return sources, texts


def place(source: str, start: int, end: int) -> str:
    return f"{source}:{start}-{end}"


def table(
    asked: Sequence[tuple[str, frozenset[str]]], methods: dict[str, list[Ranking]], sources: dict[str, str]
) -> None:
    print("| method | hit@1 | hit@5 | MRR@10 |\n|---|---|---|---|")
    for name, rankings in methods.items():
        ranks = [
            rank_of(ranking, pages, sources) for (_, pages), ranking in zip(asked, rankings, strict=True)
        ]
        hits = [sum(rank <= most for rank in ranks) / len(ranks) for most in (1, 5)]
        mrr = statistics.fmean(1 / rank if rank <= 10 else 0.0 for rank in ranks)
        print(f"| {name} | {hits[0]:.1%} | {hits[1]:.1%} | {mrr:.3f} |")


def rank_of(ranking: Ranking, pages: frozenset[str], sources: dict[str, str]) -> float:
    """Of the first chunk that is of one of the pages."""
    return next((rank for rank, name in enumerate(ranking, 1) if sources[name] in pages), math.inf)


def progress(told: IndexProgress) -> None:
    if told.done % 20 == 0:
        print(f"... {told.done} of {told.documents} pages, {told.embedded} chunks", flush=True)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    date, load = time.strftime("%Y-%m-%d"), os.getloadavg()[0]
    return f"{os.cpu_count()} × {cpu}, Python {platform.python_version()}, {date}, load {load:.1f}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, help="the folder with library/, tutorial/, ...")
    parser.add_argument("--size", type=int, default=800, help="characters of a chunk (800)")
    parser.add_argument("--overlap", type=int, default=0)
    parser.add_argument("--no-headings", action="store_true", help="embed chunks without their headings")
    parser.add_argument("--store", type=Path, help="a file to keep the index in")
    parser.add_argument("--misses", action="store_true", help="list the questions that vectors missed")
    args = parser.parse_args()
    root = args.docs or fetched()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with SQLiteStore(args.store or Path(folder) / "kb.sqlite") as store, LocalEmbedder() as local:
            await measured(args, root, store, Counting(local, not args.no_headings))


async def measured(args: argparse.Namespace, root: Path, store: SQLiteStore, embedder: Counting) -> None:
    splitter = Splitter(args.size, overlap=args.overlap)
    rag = RAG(
        "python", store=store, embedder=embedder, splitter=splitter, k=DEPTH, min_score=-1, max_tokens=10**6
    )
    folders = [load_folder(root / part, prefix=f"{part}/") for part in PARTS]
    begun = time.perf_counter()
    report = await rag.index(folders, identity=WHO, progress=progress)
    took, embedded = time.perf_counter() - begun, embedder.texts
    print(str(report).splitlines()[0], *(f"\n{each.error}" for each in report.failed))
    begun, before = time.perf_counter(), embedder.texts
    again = await rag.index(folders, identity=WHO)
    took_again = time.perf_counter() - begun
    again_embedded = embedder.texts - before
    assert again.added == again.moved == again.removed == 0, again
    asked = questions()
    sources, texts = await chunks_of(rag, store)
    vectors, seconds = [], []
    for question, _ in asked:
        begun = time.perf_counter()
        found = await rag.search(question, identity=WHO)
        seconds.append(time.perf_counter() - begun)
        vectors.append([place(each.source, each.start, each.end) for each in found])
    methods: dict[str, list[Ranking]] = {"vectors (`RAG`)": list(vectors)}
    for name, words in (("BM25, words", plain), ("BM25, stems", stemmed())):
        if words is not None:
            index = BM25(texts, words)
            methods[name] = [index.ranked(question) for question, _ in asked]
    for name in list(methods)[1:]:
        methods[f"vectors and {name}, ranks fused"] = [
            fused(one, other) for one, other in zip(vectors, methods[name], strict=True)
        ]
    print(f"\n{machine()}")
    print(
        f"size {args.size}, overlap {args.overlap}, headings {'left out' if args.no_headings else 'embedded'}"
    )
    print(f"{report.documents} pages, {len(sources)} chunks, {len(asked)} questions")
    print(f"indexing: {took:.0f} s, {embedded} chunks embedded")
    print(f"indexing again, nothing changed: {took_again:.1f} s, {again_embedded} chunks embedded")
    middle, most = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"a query, embedded and searched: {middle:.1f} ms in the middle, {most:.0f} ms at most\n")
    table(asked, methods, sources)
    if args.misses:
        for (question, pages), ranking in zip(asked, vectors, strict=True):
            if rank_of(ranking, pages, sources) > 5:
                print(f"missed: {question} ({' '.join(pages)}), found {', '.join(ranking[:3])}")


if __name__ == "__main__":
    asyncio.run(main())
