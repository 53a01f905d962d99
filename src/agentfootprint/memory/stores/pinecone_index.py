"""A Pinecone index as the memory store uses it: records of one tenant's namespace, errors by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ...errors import (
    ConfigurationError,
    EmbedderMismatch,
    MissingExtra,
    StoreError,
    StoreUnavailable,
    UnsupportedValue,
)
from ...loops import PerLoop

__all__ = ["Index", "Record", "check_size"]

T = TypeVar("T")

Record = dict[str, Any]
"""`id`, `values` and `metadata`."""

MAX_METADATA = 40 * 1024
"""Bytes of metadata that Pinecone keeps with a vector."""

MAX_REQUEST = 1_500_000
"""Bytes of one upsert, which may have 2 MB."""

MAX_ADDRESS = 4_000
"""Characters of the ids of one fetch, which are part of its URL."""

MAX_DELETED, MAX_UPSERTED, MAX_FOUND, PAGE = 1000, 1000, 10_000, 100


class Index:
    """One index, with connections of its own in each event loop. What it is asked may be asked twice."""

    def __init__(self, index: Any, api_key: str | None, timeout: float) -> None:
        try:
            import httpx
            from pinecone import AsyncIndex
            from pinecone.errors import exceptions
        except ImportError:
            raise MissingExtra("PineconeStore", "pinecone") from None
        self._errors = exceptions
        self._failures = (exceptions.PineconeError, httpx.HTTPError)
        self._own = isinstance(index, str)
        if isinstance(index, str):
            try:
                # Made here once, so that what cannot work is told at once.
                host = AsyncIndex(host=index, api_key=api_key, timeout=timeout).host
            except exceptions.PineconeError:
                raise ConfigurationError(
                    "PineconeStore: index= must be the host of an index, such as "
                    "'https://name-abc123.svc.region.pinecone.io', and the key must be given as api_key= or "
                    "in PINECONE_API_KEY"
                ) from None
        else:
            host = index.host
        self.where = f"the Pinecone index at {host}"
        self._given = index
        self._make = partial(AsyncIndex, host=host, api_key=api_key, timeout=timeout)
        self._clients: PerLoop[Any] = PerLoop(self._make, lambda each: each.close())
        self._dimension: int | None = None
        self._closed = False

    async def dimension(self) -> int:
        """How many numbers a vector has. Every call asks first, for it tells of an absent index."""
        if self._dimension is None:
            self._dimension = self._dimension_of(await self._ask(self._client().describe_index_stats()))
        return self._dimension

    async def check(self) -> None:
        """Asks the index for its dimension, on a connection that is closed then."""
        self.check_open()
        client, known = self._make() if self._own else self._given, self._dimension
        self._dimension = None  # What is not there now is not there, whatever there was before.
        try:
            self._dimension_of(await self._ask(client.describe_index_stats()))
        finally:
            self._dimension = known
            if self._own:
                await client.close()

    def _dimension_of(self, told: Any) -> int:
        if told is None or told.dimension is None:
            raise StoreError(f"{self.where} does not say its dimension: it must be one of dense vectors")
        if told.metric not in (None, "cosine"):
            raise StoreError(f"{self.where} has the metric {told.metric!r}: it must be 'cosine'")
        return int(told.dimension)

    async def check_dimension(self, dimensions: int) -> None:
        if dimensions != await self.dimension():
            raise EmbedderMismatch(
                f"{self.where} holds vectors of {self._dimension} numbers, not of {dimensions}: use an "
                "embedder with as many dimensions, or another index"
            )

    async def fetch(self, space: str, ids: Sequence[str]) -> dict[str, Record]:
        batches: list[list[str]] = []
        size = MAX_ADDRESS
        for each in ids:
            size += len(each) + len("&ids=")
            if size > MAX_ADDRESS:
                batches.append([])
                size = len(each)
            batches[-1].append(each)
        client = self._client()
        asked = (self._ask(client.fetch(ids=batch, namespace=space)) for batch in batches)
        found: dict[str, Record] = {}
        for answer in await asyncio.gather(*asked):
            for name, vector in answer.vectors.items() if answer is not None else ():
                found[name] = {"id": name, "values": vector.values, "metadata": vector.metadata or {}}
        return found

    async def upsert(self, space: str, records: Sequence[Record]) -> None:
        batch: list[Record] = []
        size = 0
        for record in records:
            length = 24 * len(record["values"]) + _size(record["metadata"])
            if batch and (size + length > MAX_REQUEST or len(batch) == MAX_UPSERTED):
                await self._ask(self._client().upsert(vectors=batch, namespace=space))
                batch, size = [], 0
            batch.append(record)
            size += length
        if batch:
            await self._ask(self._client().upsert(vectors=batch, namespace=space))

    async def ids(self, space: str, prefix: str) -> AsyncIterator[str]:
        """The ids that start so, in the order of their bytes."""
        token: str | None = None
        while True:
            page = await self._ask(
                self._client().list_paginated(
                    prefix=prefix, limit=PAGE, namespace=space, pagination_token=token
                )
            )
            for each in page.vectors if page is not None else ():
                yield each.id
            token = page.pagination.next if page is not None and page.pagination is not None else None
            if token is None:
                return

    async def query(
        self, space: str, vector: Sequence[float], most: int, where: Mapping[str, Any]
    ) -> list[tuple[Record, float]]:
        answer = await self._ask(
            self._client().query(
                vector=list(vector),
                top_k=min(most, MAX_FOUND),
                namespace=space,
                filter=where,
                include_values=True,
                include_metadata=True,
            )
        )
        return [
            ({"id": each.id, "values": each.values, "metadata": each.metadata or {}}, each.score)
            for each in (answer.matches if answer is not None else ())
        ]

    async def delete(self, space: str, ids: Sequence[str]) -> None:
        for at in range(0, len(ids), MAX_DELETED):
            await self._ask(self._client().delete(ids=list(ids[at : at + MAX_DELETED]), namespace=space))

    async def delete_where(self, space: str, where: Mapping[str, Any]) -> None:
        await self._ask(self._client().delete(filter=where, namespace=space))

    async def aclose(self) -> None:
        self._closed = True
        if self._own:
            await self._clients.aclose()

    def check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the memory store in {self.where} is closed")

    def _client(self) -> Any:
        self.check_open()
        return self._clients.get() if self._own else self._given

    async def _ask(self, call: Awaitable[T]) -> T | None:
        """The answer; None when there is no such namespace, which is made by the first upsert."""
        try:
            return await call
        except self._failures as error:
            failed = self._failed(error)
        if failed is not None:
            raise failed
        return None

    def _failed(self, error: Exception) -> StoreError | None:
        # The server's and the library's own texts are left out: they can quote the request.
        status = getattr(error, "status_code", None)
        if status == 404 and self._dimension is not None:
            return None
        if status == 404:
            return StoreError(f"{self.where} does not exist: pass the host that the console shows for it")
        if status in (401, 403):
            return StoreError(f"{self.where} refused the API key ({status}): check api_key= and its roles")
        if status is None or status in (408, 429) or status >= 500:
            what = type(error).__name__ if status is None else status
            return StoreUnavailable(f"{self.where} cannot be reached or did not answer ({what})")
        return StoreError(f"{self.where} refused the request ({status})")


def check_size(entry_id: str, metadata: Mapping[str, Any]) -> None:
    """Refuses what does not fit beside a vector."""
    size = _size(metadata)
    if size > MAX_METADATA:
        raise UnsupportedValue(
            f"the entry {entry_id!r} takes {size} bytes, Pinecone keeps at most {MAX_METADATA} with a "
            "vector: store less, or the text elsewhere and here where it is"
        )


def _size(metadata: Mapping[str, Any]) -> int:
    return len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "surrogatepass"))
