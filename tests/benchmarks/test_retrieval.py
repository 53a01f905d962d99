"""The benchmark of retrieval asks what can be answered, and its baseline is a real one."""

from __future__ import annotations

from benchmarks.retrieval import BM25, fused, plain, questions, rank_of


def test_every_question_is_asked_once_and_names_its_pages() -> None:
    asked = questions()
    assert len(asked) >= 80
    assert len({question for question, _ in asked}) == len(asked)
    assert all(pages and all(page.endswith(".html") for page in pages) for _, pages in asked)


def test_keywords_rank_by_how_rare_and_how_dense_they_are() -> None:
    texts = {
        "long": "goods goods goods " + "and many other words " * 50,
        "short": "goods may be returned",
        "other": "parcels leave at noon",
    }
    index = BM25(texts, plain)
    assert index.ranked("Goods?") == ["short", "long"]
    assert index.ranked("returned parcels")[0] in ("short", "other")
    assert index.ranked("bananas") == []


def test_ranks_are_fused_and_the_first_of_a_right_page_counts() -> None:
    assert fused(["a", "b"], ["b", "c"])[0] == "b"
    sources = {"a": "x.html", "b": "y.html"}
    assert rank_of(["a", "b"], frozenset({"y.html"}), sources) == 2
    assert rank_of(["a"], frozenset({"y.html"}), sources) == float("inf")
