"""Embeddings as PostgreSQL's `real[]`, in its binary form: quickly, and without a digit lost."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format

from ...embedders.base import Embedding

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["register"]

_FLOAT4, _FLOAT4_ARRAY = 700, 1021

# What `array_send` writes: the number of dimensions, whether there are nulls, the type of an element; length
# and lower bound of the one dimension; then each element behind its length. All of it is big endian.
_HEAD = struct.Struct("!iiIii")


class _EmbeddingDumper(Dumper):
    format = Format.BINARY
    oid = _FLOAT4_ARRAY

    def dump(self, obj: Embedding) -> Buffer:
        body = bytearray(b"\0\0\0\4\0\0\0\0" * obj.dimensions)
        for byte in range(4):
            body[4 + byte :: 8] = obj.data[3 - byte :: 4]
        return _HEAD.pack(1, 0, _FLOAT4, obj.dimensions, 1) + body


class _VectorLoader(Loader):
    """The data of an `Embedding`."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        body = bytes(data)[_HEAD.size :]
        numbers = bytearray(len(body) // 2)
        for byte in range(4):
            numbers[byte::4] = body[7 - byte :: 8]
        return bytes(numbers)


async def register(connection: AsyncConnection[Any]) -> None:
    connection.adapters.register_dumper(Embedding, _EmbeddingDumper)
    connection.adapters.register_loader(_FLOAT4_ARRAY, _VectorLoader)
