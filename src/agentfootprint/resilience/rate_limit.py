"""Asking no more often than was agreed: one limit for all instances, for each key or tenant."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError, ProviderError, RateLimitExceeded
from ..events import RateLimitWaited
from ..flow.current import calling
from ..identity import MemoryIdentity
from ..messages import LLMChunk, LLMRequest, LLMResponse, Usage, estimated_tokens
from ..numeric import is_number
from ..providers.base import ClosableProvider, LLMProvider, check_provider, close_stream
from ..vendors.failures import declined
from .base import Wrapper
from .bucket import Bucket, BucketRules
from .report import Hook, report
from .shared import Outage, Shared

if TYPE_CHECKING:
    from ..state.base import StateStore

__all__ = ["with_rate_limit"]

KEYS = 10_000
"""Buckets of this process that are remembered; the one unused for longest goes first."""

ANSWER_TOKENS = 256
"""What an answer is taken to measure when the request does not limit it, until it is known."""

Key = Literal["provider", "tenant"] | Callable[[LLMRequest], str]


def with_rate_limit(
    provider: LLMProvider,
    *,
    requests: float | None = None,
    tokens: float | None = None,
    per: float = 60.0,
    key: Key = "provider",
    max_wait: float = 30.0,
    state: StateStore | None = None,
    name: str | None = None,
    fail_open: bool = True,
    hook: Hook | None = None,
    clock: Callable[[], float] = time.time,
) -> ClosableProvider:
    """The provider, asked at most so often: a call waits for its turn, in the order of asking.

    Tokens are estimated before the call (four characters a token, and `max_tokens` of the answer) and
    corrected by its usage afterwards.

    Args:
        requests, tokens: per `per` seconds; unused room is kept for one such interval.
        key: what has a limit of its own: the `"provider"`, each `"tenant"` (of the identity of the run
            around the call), or what a function of the request names.
        max_wait: seconds a call may wait for its turn.
        state: one limit for all instances that share this store; default: this process alone.
        name: what instances share it by; default `provider:model`.
        fail_open: while the store is down, go on with what this process knows; otherwise refuse.

    Raises (when asked):
        RateLimitExceeded: its turn would come later than `max_wait`; `retry_after` says when.
        StoreUnavailable: the store is down and `fail_open` is off.
    """
    check_provider(provider)
    if requests is None and tokens is None:
        raise ConfigurationError("with_rate_limit needs requests=, tokens= or both")
    for what, value in (("requests", requests), ("tokens", tokens), ("per", per)):
        if value is not None and not (is_number(value) and 0 < value < math.inf):
            raise ConfigurationError(f"{what} must be a number above 0, not {value!r}")
    if not (is_number(max_wait) and 0 <= max_wait < math.inf):
        raise ConfigurationError(f"max_wait must be a number of seconds, at least 0, not {max_wait!r}")
    rules = BucketRules(requests, tokens, per)
    limiter = name or f"{provider.name}:{provider.model}"

    if key not in ("provider", "tenant") and not callable(key):
        raise ConfigurationError(
            f"key={key!r} is unknown: use 'provider', 'tenant' or a function from the request to a string"
        )

    outage = Outage()

    def bucket(of: str, whose: MemoryIdentity | None) -> Shared[Bucket]:
        return Shared(
            state,
            "rate-limit",
            f"{limiter} {of}" if of else limiter,
            identity=whose,
            outage=outage,
            empty=rules.full,
            dump=Bucket.to_json,
            load=Bucket.from_json,
            ttl=2 * per + max_wait,
            fail_open=fail_open,
            clock=clock,
            hook=hook,
        )

    return RateLimited(provider, limiter, rules, bucket, key, max_wait, hook)


class RateLimited(Wrapper):
    """What `with_rate_limit` makes. `sleep` can be replaced in tests."""

    def __init__(
        self,
        inner: LLMProvider,
        limiter: str,
        rules: BucketRules,
        bucket: Callable[[str, MemoryIdentity | None], Shared[Bucket]],
        key: Key,
        max_wait: float,
        hook: Hook | None,
    ) -> None:
        super().__init__(inner)
        self.limiter = limiter
        self.rules = rules
        self.max_wait = max_wait
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
        self._make = bucket
        self._buckets: OrderedDict[str, Shared[Bucket]] = OrderedDict()
        self._key = key
        self._hook = hook

    async def complete(self, request: LLMRequest) -> LLMResponse:
        bucket, taken = await self._take(request)
        try:
            response = await self.inner.complete(request)
        except ProviderError as error:
            await self._failed(bucket, taken, error)
            raise
        await self._settle(bucket, taken, response.usage)
        return response

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        bucket, taken = await self._take(request)
        stream = self.inner.stream(request)
        begun = False
        try:
            async for chunk in stream:
                begun = True
                if chunk.response is not None:
                    await self._settle(bucket, taken, chunk.response.usage)
                yield chunk
        except ProviderError as error:
            if not begun:  # Tokens of half an answer were used, whatever ended it.
                await self._failed(bucket, taken, error)
            raise
        finally:
            await close_stream(stream)

    async def _take(self, request: LLMRequest) -> tuple[Shared[Bucket], float]:
        bucket = self._bucket(request)
        tokens = 0.0 if self.rules.tokens is None else _estimated(request)
        take = partial(self.rules.take, tokens=tokens, max_wait=self.max_wait)
        granted, wait = await bucket.decide(take)
        if not granted:
            raise RateLimitExceeded(
                f"{self.name}: not asked, the rate limit {self.limiter!r} has room in {wait:.1f} s, which is "
                f"longer than max_wait={self.max_wait:g} s",
                provider=self.name,
                retry_after=wait,
                limiter=self.limiter,
            )
        if wait > 0:
            report(RateLimitWaited, self.limiter, wait, hook=self._hook)
            try:
                await self.sleep(wait)
            except BaseException:
                await bucket.note(partial(self.rules.give_back, requests=1.0, tokens=tokens))
                raise
        return bucket, tokens

    async def _failed(self, bucket: Shared[Bucket], taken: float, error: ProviderError) -> None:
        """The request was made and counts; tokens that were surely not used do not."""
        if taken and declined(error):
            await bucket.note(partial(self.rules.give_back, requests=0.0, tokens=taken))

    async def _settle(self, bucket: Shared[Bucket], taken: float, usage: Usage | None) -> None:
        if self.rules.tokens is None or usage is None:
            return
        over = taken - usage.total_tokens
        if over:
            await bucket.note(partial(self.rules.give_back, requests=0.0, tokens=over))

    def _bucket(self, request: LLMRequest) -> Shared[Bucket]:
        tenant = _tenant() if self._key == "tenant" else None
        of = self._name(request, tenant)
        bucket = self._buckets.get(of)
        if bucket is None:
            # Under the tenant's own identity its name may be as long as names may be.
            made = self._make(of, None) if tenant is None else self._make("", MemoryIdentity(tenant))
            bucket = self._buckets.setdefault(of, made)
            if len(self._buckets) > KEYS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(of)
        return bucket

    def _name(self, request: LLMRequest, tenant: str | None) -> str:
        if self._key == "provider":
            return ""
        if self._key == "tenant":
            # Marked, so that no tenant's name is that of nobody.
            return "no tenant" if tenant is None else f"tenant {tenant}"
        return self._key(request)


def _tenant() -> str | None:
    now = calling.get()
    if now is None or not now[0].running:
        return None
    identity: Any = getattr(now[0].run.deps, "identity", None)
    tenant: str | None = getattr(identity, "tenant", None)
    return tenant


def _estimated(request: LLMRequest) -> float:
    answer = request.max_tokens if request.max_tokens is not None else ANSWER_TOKENS
    return len(request.system or "") / 4 + sum(map(estimated_tokens, request.messages)) + answer
