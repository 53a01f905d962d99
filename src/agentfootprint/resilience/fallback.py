"""Asking somebody else: a chain of providers is one provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from ..errors import (
    AllProvidersFailed,
    CircuitOpen,
    ConfigurationError,
    ProviderError,
    RateLimitExceeded,
    Unauthorized,
)
from ..events import ModelFellBack
from ..loops import Closing
from ..messages import LLMChunk, LLMRequest, LLMResponse
from ..providers.attempts import again
from ..providers.base import (
    Capability,
    ClosableProvider,
    LLMProvider,
    capabilities_of,
    check_provider,
    close_provider,
    close_stream,
    leaves,
)
from .base import Opened, open_stream
from .report import Hook, report

__all__ = ["fallback_provider", "others_may_answer", "with_fallback"]

T = TypeVar("T")

PAUSE_SECONDS = 0.04
"""Before a model is asked again at the same server under another name: a retry, and none comes at once."""


def others_may_answer(error: ProviderError) -> bool:
    """Whether another provider may answer what this one did not: it is down, busy, not asked at all, or
    refuses the key. A request that is wrong, too long or filtered is so everywhere."""
    return error.retryable or isinstance(error, (CircuitOpen, RateLimitExceeded, Unauthorized))


def with_fallback(
    primary: LLMProvider,
    fallback: LLMProvider,
    *,
    when: Callable[[ProviderError], bool] = others_may_answer,
    hook: Hook | None = None,
) -> ClosableProvider:
    """The primary, and the fallback when the primary fails with an error that `when` accepts.

    A stream changes over until its first chunk was handed on, never after it. What both can do is what
    the chain can do.

    Raises (when asked):
        AllProvidersFailed: both failed.
        ProviderError: the primary's own error, when it is not one to fall back on.
    """
    return Fallback((primary, fallback), when, hook)


def fallback_provider(
    *providers: LLMProvider,
    when: Callable[[ProviderError], bool] = others_may_answer,
    hook: Hook | None = None,
) -> ClosableProvider:
    """A chain of any length, tried in the order given; otherwise as `with_fallback`."""
    return Fallback(providers, when, hook)


class Fallback(Closing):
    """What `with_fallback` and `fallback_provider` make. `sleep` can be replaced in tests."""

    def __init__(
        self,
        providers: tuple[LLMProvider, ...],
        when: Callable[[ProviderError], bool] = others_may_answer,
        hook: Hook | None = None,
    ) -> None:
        if not providers:
            raise ConfigurationError("a chain of fallbacks needs at least one provider")
        for provider in providers:
            if isinstance(provider, (list, tuple)):
                raise ConfigurationError(
                    "a chain of fallbacks takes providers one by one: fallback_provider(*providers)"
                )
            check_provider(provider)
        self.providers = providers
        self._when = when
        self._hook = hook
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    @property
    def name(self) -> str:
        return self.providers[0].name

    @property
    def model(self) -> str:
        return self.providers[0].model

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What all of the chain can do: which one will answer is not known beforehand."""
        both = frozenset.intersection(*(capabilities_of(each) for each in self.providers))
        return both - {"token_counting"}  # No method of a chain: each of it counts in its own way.

    async def complete(self, request: LLMRequest) -> LLMResponse:
        async def ask(provider: LLMProvider) -> LLMResponse:
            return await provider.complete(request)

        return await self._first(request, ask)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async def ask(provider: LLMProvider) -> Opened:
            return await open_stream(provider, request)

        opened = await self._first(request, ask)
        try:
            yield opened.first
            async for chunk in opened.rest:
                yield chunk
        finally:
            await close_stream(opened.rest)

    async def _first(self, request: LLMRequest, ask: Callable[[LLMProvider], Awaitable[T]]) -> T:
        failed: list[tuple[LLMProvider, ProviderError]] = []
        waits: dict[Hashable, float] = {}
        for provider in self.providers:
            if failed:
                before, error = failed[-1]
                quotas = _quotas(provider)
                if all(waits.get(quota) for quota in quotas):
                    continue  # It was just told to wait, under another name.
                self._fell_back(before, provider, error)
                if quotas <= waits.keys():
                    await self.sleep(PAUSE_SECONDS)
                await again(provider, request, error)
            try:
                return await ask(provider)
            except ProviderError as error:
                failed.append((provider, error))
                if not self._when(error):
                    break
                if not isinstance(error, CircuitOpen):  # With one the vendor was not asked.
                    waits |= dict.fromkeys(_quotas(provider), error.retry_after or 0.0)
        errors = [error for _, error in failed]
        if len(errors) == 1:
            raise errors[0]
        raise AllProvidersFailed(errors, provider=self.name, retry_after=_wait(failed, waits)) from errors[-1]

    def _fell_back(self, failed: LLMProvider, to: LLMProvider, error: ProviderError) -> None:
        report(
            ModelFellBack,
            failed.name,
            failed.model,
            to.name,
            to.model,
            error.code,
            str(error),
            hook=self._hook,
        )

    async def aclose(self) -> None:
        """Closes what the providers of the chain hold."""
        for provider in self.providers:
            await close_provider(provider)

    def __repr__(self) -> str:
        return f"<Fallback over {', '.join(map(repr, self.providers))}>"


def _quotas(provider: LLMProvider) -> set[Hashable]:
    """What the vendors under a provider limit together; where that is not known, it is what nobody shares."""
    return {getattr(leaf, "quota", None) or id(leaf) for leaf in leaves(provider)}


def _wait(
    failed: Sequence[tuple[LLMProvider, ProviderError]], waits: Mapping[Hashable, float]
) -> float | None:
    """Seconds until one of those that may recover can be asked again; None is at any time."""
    ready = [
        min(waits.get(quota, 0.0) for quota in _quotas(provider))
        for provider, error in failed
        if error.retryable
    ]
    return min(ready, default=0.0) or None
