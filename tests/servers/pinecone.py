"""The data plane of a Pinecone index, for the official SDK: vectors, filters, limits, reads that lag.

Judged by that SDK, which checks what it sends and reads. What it imitates beyond that is in Pinecone's API
reference: ids are listed in the order of their bytes, a namespace is made by its first upsert and deleting
from one that is not there is an error, metadata is flat and at most 40 KB, `$ne` does not match what lacks
the field (the reference does not say, so a client must not rely on it).
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .json_server import JSONServer, Refused

__all__ = ["KEY", "PineconeIndex"]

KEY = "a-key"

Vectors = dict[str, dict[str, Any]]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}


@dataclass
class _Namespace:
    """Vectors as they are, and what is not seen yet: older contents, each with the reads it is still seen."""

    vectors: Vectors = field(default_factory=dict)
    older: list[tuple[int, Vectors]] = field(default_factory=list)


class PineconeIndex(JSONServer):
    """An index of vectors with `dimension` numbers. A write is seen after `lag` reads of its namespace."""

    def __init__(self, dimension: int = 8, *, lag: int = 0, metric: str = "cosine") -> None:
        super().__init__()
        self.dimension, self.lag, self.metric = dimension, lag, metric
        self.namespaces: dict[str, _Namespace] = {}

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> Any:
        if self.headers.get("api-key") != KEY:
            raise Refused(401, {"error": {"code": "UNAUTHENTICATED", "message": "Invalid API key"}})
        where = "/".join(path)
        if (method, where) == ("POST", "describe_index_stats"):
            return self._stats()
        if method == "GET":
            name = query.get("namespace", [""])[0]
            seen = self._seen(name)
            if where == "vectors/fetch":
                found = {each: seen[each] for each in query["ids"] if each in seen}
                return {"vectors": found, "namespace": name, "usage": {"readUnits": 1}}
            if where == "vectors/list":
                return self._list(seen, query, name)
        elif method == "POST":
            name = body.get("namespace", "")
            if where == "vectors/upsert":
                return self._upsert(name, body["vectors"])
            if where == "query":
                return self._query(self._seen(name), body, name)
            if where == "vectors/delete":
                return self._delete(name, body)
        raise Refused(404, {"error": {"code": "NOT_FOUND", "message": "no such path"}})

    def _stats(self) -> Any:
        counts = {name: {"vectorCount": len(each.vectors)} for name, each in self.namespaces.items()}
        total = sum(each["vectorCount"] for each in counts.values())
        sizes = {"dimension": self.dimension, "totalVectorCount": total, "indexFullness": 0}
        return {"namespaces": counts, "metric": self.metric, "vectorType": "dense", **sizes}

    def _seen(self, name: str) -> Vectors:
        space = self.namespaces.get(name, _Namespace())
        space.older = [(reads - 1, each) for reads, each in space.older if reads > 0]
        return space.older[0][1] if space.older else space.vectors

    def _change(self, name: str, vectors: Vectors) -> None:
        space = self.namespaces.setdefault(name, _Namespace())
        if self.lag:
            space.older.append((self.lag, space.vectors))
        space.vectors = vectors

    def _upsert(self, name: str, vectors: list[dict[str, Any]]) -> Any:
        _check(len(vectors) <= 1000, "at most 1000 vectors")
        _check(len(json.dumps(vectors)) <= 2 * 2**20, "at most 2 MB")
        for each in vectors:
            _check(len(each["values"]) == self.dimension, "Vector dimension does not match")
            _check(any(each["values"]), "Dense vectors must contain at least one non-zero value")
            _check(each["id"].isascii() and 0 < len(each["id"]) <= 512, "an id is ASCII, 512 at most")
            metadata = each.get("metadata", {})
            _check(len(json.dumps(metadata, ensure_ascii=False).encode()) <= 40 * 1024, "40KB of metadata")
            for key, value in metadata.items():
                flat = isinstance(value, (str, int, float)) or all(isinstance(part, str) for part in value)
                _check(not key.startswith("$") and flat, "metadata is flat")
        _check(len({each["id"] for each in vectors}) == len(vectors), "an id is there twice")
        made = {each["id"]: {**each, "values": list(array("f", each["values"]))} for each in vectors}
        self._change(name, {**self.namespaces.get(name, _Namespace()).vectors, **made})
        return {"upsertedCount": len(vectors)}

    def _list(self, seen: Vectors, query: dict[str, list[str]], name: str) -> Any:
        prefix, limit = query.get("prefix", [""])[0], int(query.get("limit", ["100"])[0])
        after = query.get("paginationToken", [""])[0]
        ids = sorted(each for each in seen if each.startswith(prefix) and each > after)
        more = {"pagination": {"next": ids[limit - 1]}} if len(ids) > limit else {}
        return {"vectors": [{"id": each} for each in ids[:limit]], "namespace": name, **more}

    def _query(self, seen: Vectors, body: Any, name: str) -> Any:
        _check(len(body["vector"]) == self.dimension, "Query vector dimension does not match")
        # Among equals the order is no one's.
        fitting = [
            each for _, each in sorted(seen.items()) if _fits(each.get("metadata", {}), body["filter"])
        ]
        scored = sorted(
            ((_cosine(body["vector"], each["values"]), each) for each in fitting), key=lambda x: -x[0]
        )
        matches = [{**each, "score": score} for score, each in scored[: body["topK"]]]
        return {"matches": matches, "namespace": name, "usage": {"readUnits": 5}}

    def _delete(self, name: str, body: Any) -> Any:
        if name not in self.namespaces:
            raise Refused(404, {"error": {"code": "NOT_FOUND", "message": "Namespace not found"}})
        _check(len(body.get("ids", [])) <= 1000, "at most 1000 ids")
        vectors = self.namespaces[name].vectors
        gone = set(vectors) if body.get("deleteAll") else set(body.get("ids", []))
        if "filter" in body:
            gone = {each for each in vectors if _fits(vectors[each].get("metadata", {}), body["filter"])}
        self._change(name, {each: vectors[each] for each in vectors if each not in gone})
        return {}


def _check(true: bool, message: str) -> None:
    if not true:
        raise Refused(400, {"error": {"code": "INVALID_ARGUMENT", "message": message}})


def _fits(metadata: dict[str, Any], where: dict[str, Any]) -> bool:
    return all(_fits_one(metadata, key, wanted) for key, wanted in where.items())


def _fits_one(metadata: dict[str, Any], key: str, wanted: Any) -> bool:
    if key == "$and":
        return all(_fits(metadata, each) for each in wanted)
    if key == "$or":
        return any(_fits(metadata, each) for each in wanted)
    _check(not key.startswith("$"), f"{key} is no operator")
    there = key in metadata
    value = metadata.get(key)
    for operator, given in (wanted if isinstance(wanted, dict) else {"$eq": wanted}).items():
        if operator == "$exists":
            true = there == given
        elif operator == "$in":
            true = there and value in given
        elif operator == "$eq":
            true = there and value == given
        elif operator == "$ne":
            true = there and value != given
        else:
            _check(operator in _ORDER, f"{operator} is no operator")
            true = there and isinstance(value, (int, float)) and _ORDER[operator](value, given)
        if not true:
            return False
    return True


def _cosine(left: list[float], right: list[float]) -> float:
    product = sum(a * b for a, b in zip(left, right, strict=True))
    return product / (math.hypot(*left) * math.hypot(*right))
