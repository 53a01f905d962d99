"""What embedders over HTTP have in common: batches, attempts, order, and answers that are checked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from ..errors import (
    AgentFootprintError,
    ConfigurationError,
    ContextWindowExceeded,
    InputInvalid,
    Unavailable,
)
from ..loops import Closing, PerLoop
from ..messages import Usage
from ..retry import RetryPolicy
from ..vendors.failures import declined
from ..vendors.http_client import Reply
from .base import Embedding, Purpose
from .texts import Limits, TooLong, average, check_too_long, checked, refusal, split
from .usage import EmbeddingUsage, tell

__all__ = ["RETRY", "EmbeddingWire", "RemoteEmbedder", "Vector", "dimensions_of"]

T = TypeVar("T")

RETRY = RetryPolicy()

Vector: TypeAlias = str | Sequence[float]
"""As vendors write it: numbers, or 32-bit floats, little endian, in base64."""


class EmbeddingWire(Protocol):
    """The requests and answers of one vendor's API, without any transport."""

    path: str
    limits: Limits

    def body(self, texts: Sequence[str], purpose: Purpose) -> Mapping[str, Any]: ...
    def vectors(self, data: Mapping[str, Any]) -> Sequence[Vector]:
        """In the order asked. Any exception says that the answer is of another form."""
        ...

    def tokens(self, reply: Reply) -> int | None: ...


class Transport(Protocol):
    async def post(self, path: str, body: Mapping[str, Any]) -> Reply: ...
    async def aclose(self) -> None: ...


class RemoteEmbedder(Closing):
    """An embedder: one wire over one transport.

    A call's texts are asked in as few requests as the vendor allows, `concurrency` of them at once in each
    event loop, whoever calls. Each request is retried alone: what is embedded is not asked again. When one
    fails for good, the others of its call are broken off and its error is raised.
    """

    def __init__(
        self,
        name: str,
        model: str,
        dimensions: int,
        wire: EmbeddingWire,
        transport: Transport,
        *,
        retry: RetryPolicy | None,
        too_long: TooLong,
        concurrency: int,
        space: str | None = None,
    ) -> None:
        check_too_long(too_long)
        if concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, not {concurrency!r}")
        self.name = name
        self.model = model
        self.dimensions = dimensions
        self.fingerprint = f"{name}:{space or model}@{dimensions}"
        self._wire = wire
        self._transport = transport
        self._retry = retry
        self._too_long = too_long
        self._room = PerLoop(lambda: asyncio.Semaphore(concurrency), _nothing)

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        """The texts' vectors, in their order; no texts, no request.

        Raises:
            InputInvalid: a text is blank; nothing was asked.
            ContextWindowExceeded: a text is longer than the model reads, and `too_long` is "refuse".
            ProviderError: of the kind that fits, after the attempts that `retry` allows.
            ConfigurationError: the vectors have other dimensions than this embedder.
        """
        cut = [self._pieces(at, text) for at, text in enumerate(checked(texts, purpose))]
        flat = [piece for pieces in cut for piece in pieces]
        asked = [self._batch(batch, purpose) for batch in self._wire.limits.batches(flat)]
        found = iter([each for batch in await _together(asked) for each in batch])
        return [average([(piece, next(found)) for piece in pieces]) for pieces in cut]

    def fits(self, text: str) -> bool:
        """Whether the model reads the whole text, by an estimate that rather says no."""
        return self._wire.limits.fits(text)

    def _pieces(self, at: int, text: str) -> list[str]:
        limits = self._wire.limits
        if self._too_long == "split":
            return split(text, limits.fits)
        if not limits.short(text):
            raise refusal(self.name, at, f"{len(text)} characters", f"{limits.characters_each} at most")
        return [text]  # How many tokens it has is for the vendor to say.

    async def _batch(self, texts: Sequence[str], purpose: Purpose) -> list[Embedding]:
        async def attempt() -> list[Embedding]:
            async with self._room.get():
                return await self._asked(texts, purpose)

        return await (attempt() if self._retry is None else self._retry.run(attempt))

    async def _asked(self, texts: Sequence[str], purpose: Purpose) -> list[Embedding]:
        try:
            reply = await self._transport.post(self._wire.path, self._wire.body(texts, purpose))
        except BaseException as error:
            if isinstance(error, ContextWindowExceeded) and self._too_long == "refuse":
                longest = max(map(len, texts))
                error.add_note(
                    f"the longest text of the request has {longest} characters; too_long='split' embeds long "
                    "texts in pieces"
                )
            if not isinstance(error, ConfigurationError) and not declined(error):
                self._tell(texts, None)
            raise
        self._tell(texts, self._wire.tokens(reply))
        return self._read(lambda: self._embeddings(reply.data, len(texts)))

    def _tell(self, texts: Sequence[str], tokens: int | None) -> None:
        usage = None if tokens is None else Usage(tokens)
        tell(EmbeddingUsage(self.name, self.model, len(texts), usage))

    def _embeddings(self, data: Mapping[str, Any], count: int) -> list[Embedding]:
        vectors = self._wire.vectors(data)
        if len(vectors) != count:
            raise Unavailable(
                f"{self.name}: was asked for {count} vectors and answered with {len(vectors)}",
                provider=self.name,
            )
        return [self._embedding(vector) for vector in vectors]

    def _embedding(self, vector: Vector) -> Embedding:
        packed = base64.b64decode(vector, validate=True) if isinstance(vector, str) else None
        length: float = len(vector) if packed is None else len(packed) / 4
        if length != self.dimensions:
            raise ConfigurationError(
                f"{self.name}: {self.model} answers with vectors of {length:g} dimensions, and this embedder "
                f"is made for {self.dimensions}: say so with dimensions="
            )
        try:
            if packed is not None:
                return Embedding(self.fingerprint, packed)
            return Embedding.of(vector, self.fingerprint)  # type: ignore[arg-type]
        except InputInvalid as error:
            told = str(error)
        raise Unavailable(f"{self.name}: answered with what is no vector: {told}", provider=self.name)

    def _read(self, read: Callable[[], T]) -> T:
        """What was read, or an error that stands alone: that of the reading would quote the vendor."""
        try:
            return read()
        except AgentFootprintError:
            raise
        except Exception as error:
            kind = type(error).__name__
        raise Unavailable(
            f"{self.name}: the answer is not of the form of this API ({kind}): is base_url that of another "
            "one?",
            provider=self.name,
        )

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        await self._transport.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.fingerprint}>"


def dimensions_of(what: str, model: str, given: int | None, known: Sequence[int] | range) -> int:
    """The dimensions asked for; default: the first of those that the model has.

    Raises:
        ConfigurationError: the model has no vectors of that size.
    """
    if given is None:
        return known[0]
    if given not in known:
        has = f"{known[-1]} to {known[0]}" if isinstance(known, range) else " or ".join(map(str, known))
        raise ConfigurationError(f"{what}: {model} has {has} dimensions, not {given!r}")
    return given


async def _together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What the calls give, in their order. The first that fails ends the others; its error stands alone."""
    if len(calls) == 1:
        return [await calls[0]]
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise first


async def _nothing(_: object) -> None:
    pass
