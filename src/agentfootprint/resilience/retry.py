"""Asking again: decorated providers survive what passes by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from ..errors import ConfigurationError, ProviderError
from ..events import ModelGaveUp, ModelRetried
from ..messages import LLMChunk, LLMRequest, LLMResponse
from ..providers.attempts import again, over
from ..providers.base import ClosableProvider, LLMProvider, close_stream
from ..retry import GiveUp, RetryPolicy
from .base import Opened, Wrapper, open_stream
from .report import Hook, report
from .retry_budget import RetryBudget

__all__ = ["with_retry"]

T = TypeVar("T")


def with_retry(
    provider: LLMProvider,
    *,
    max_attempts: int = 3,
    initial_delay: float = 0.5,
    max_delay: float = 30.0,
    max_total: float | None = 120.0,
    policy: RetryPolicy | None = None,
    budget: RetryBudget | None = None,
    hook: Hook | None = None,
) -> ClosableProvider:
    """The provider, asked again when it fails with an error that may pass (`error.retryable`).

    `complete` is retried freely, `stream` until its first chunk was handed on: from there on an error is
    the caller's, since a second answer would follow the half of the first. An open circuit breaker is
    not waited for: its refusal is raised at once.

    Args:
        max_attempts, initial_delay, max_delay, max_total: those of `RetryPolicy`, in seconds.
        policy: all of it as one value, in the place of these four.
        budget: what share of requests may be retried; default: a bucket of this provider's own in
            this process. One that several providers or instances share is made with `RetryBudget(...)`.
        hook: called with each event, in a run and outside.

    Raises:
        ConfigurationError: a number that cannot be, or a policy and one of its four numbers.
    """
    numbers = RetryPolicy(
        max_attempts=max_attempts, initial_delay=initial_delay, max_delay=max_delay, max_total=max_total
    )
    if policy is None:
        policy = numbers
    elif not isinstance(policy, RetryPolicy):
        raise ConfigurationError(f"policy= must be a RetryPolicy(...), not {type(policy).__name__}")
    elif numbers != RetryPolicy():
        raise ConfigurationError(
            "with_retry(policy=...) says all of it: set max_attempts, initial_delay, max_delay and max_total "
            "in the RetryPolicy"
        )
    if budget is not None and not isinstance(budget, RetryBudget):
        raise ConfigurationError(f"budget= must be a RetryBudget(...), not {type(budget).__name__}")
    return Retrying(provider, policy, budget if budget is not None else RetryBudget(hook=hook), hook)


class Retrying(Wrapper):
    """What `with_retry` makes. `sleep`, `clock` and `chance` can be replaced in tests."""

    def __init__(
        self, inner: LLMProvider, policy: RetryPolicy, budget: RetryBudget, hook: Hook | None = None
    ) -> None:
        super().__init__(inner)
        self.policy = policy
        self.budget = budget
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
        self.clock = time.monotonic
        self.chance = random.random
        self._hook = hook

    async def complete(self, request: LLMRequest) -> LLMResponse:
        answer, at_once = await self._attempts(request, self.inner.complete)
        if at_once:
            await self.budget.succeeded()
        return answer

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        opened, at_once = await self._attempts(request, self._open)
        try:
            if at_once:
                await self.budget.succeeded()
            yield opened.first
            async for chunk in opened.rest:
                yield chunk
        finally:
            await close_stream(opened.rest)

    async def _open(self, request: LLMRequest) -> Opened:
        return await open_stream(self.inner, request)

    async def _attempts(
        self, request: LLMRequest, ask: Callable[[LLMRequest], Awaitable[T]]
    ) -> tuple[T, bool]:
        """What was answered, and whether at once."""
        asked = 0
        failed: Exception | None = None

        async def attempt() -> T:
            nonlocal asked, failed
            asked += 1
            if failed is not None:
                await again(self.inner, request, failed)
            try:
                return await ask(request)
            except Exception as error:
                failed = error
                raise

        answer = await self.policy.run(
            attempt,
            before_retry=self._before_retry,
            gave_up=self._gave_up,
            sleep=self.sleep,
            clock=self.clock,
            chance=self.chance,
        )
        return answer, asked == 1

    async def _before_retry(self, error: BaseException, attempt: int, delay: float) -> GiveUp | None:
        assert isinstance(error, Exception)  # No other is retried.
        await over(error)
        if not await self.budget.take():
            return GiveUp("retry_budget")
        provider, model = _who(self.inner, error)
        report(ModelRetried, provider, model, attempt, delay, _code(error), str(error), hook=self._hook)
        return None

    def _gave_up(self, error: BaseException, attempts: int, why: GiveUp) -> None:
        provider, model = _who(self.inner, error)
        report(ModelGaveUp, provider, model, attempts, why.reason, _code(error), hook=self._hook)


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, ProviderError) else type(error).__name__


def _who(asked: LLMProvider, error: BaseException) -> tuple[str, str]:
    provider = error.provider if isinstance(error, ProviderError) else None
    return provider or asked.name, asked.model
