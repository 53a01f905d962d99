"""Leaving a provider alone that fails: one breaker for all instances."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import AllProvidersFailed, CircuitOpen, ConfigurationError, ProviderError
from ..events import CircuitClosed, CircuitOpened, CircuitProbed
from ..messages import LLMChunk, LLMRequest, LLMResponse
from ..numeric import is_number
from ..providers.base import ClosableProvider, LLMProvider, check_provider, close_stream
from .base import Wrapper
from .circuit import CLOSED, Admitted, Circuit, CircuitRules, Outcome, Refused
from .report import Hook, report
from .shared import Shared

if TYPE_CHECKING:
    from ..state.base import StateStore

__all__ = ["blames_the_provider", "with_circuit_breaker"]

RECORDING_SECONDS = 1.0
"""How long a cancelled call may take to say how it ended."""


def blames_the_provider(error: BaseException) -> bool:
    """Whether an error says that the provider itself is not well. A wrong request or key does not, and
    neither does what our own limits, budgets and breakers refused."""
    return isinstance(error, ProviderError) and error.retryable and not isinstance(error, AllProvidersFailed)


def with_circuit_breaker(
    provider: LLMProvider,
    *,
    failure_threshold: int = 5,
    cooldown: float = 30.0,
    half_open_probes: int = 1,
    probe_timeout: float | None = None,
    failure_rate: float | None = None,
    window: float = 60.0,
    minimum_calls: int = 10,
    state: StateStore | None = None,
    name: str | None = None,
    counts: Callable[[BaseException], bool] = blames_the_provider,
    fail_open: bool = True,
    hook: Hook | None = None,
    clock: Callable[[], float] = time.time,
) -> ClosableProvider:
    """The provider, left alone for `cooldown` seconds after it failed too often.

    Then `half_open_probes` calls at a time find out whether it is back (M. Nygard, "Release It!", 2nd
    ed., ch. 5); the others are refused at once. A stream succeeds with its last chunk, or when its
    reader leaves after the first one.

    Args:
        failure_threshold: failures in a row that open it.
        failure_rate: instead: the share of failures among at least `minimum_calls` within `window` seconds.
        probe_timeout: seconds after which a probe is taken for lost, with its process (default: the
            cooldown, at least 30).
        state: one breaker for all instances that share this store; default: this process alone.
        name: what instances share it by; default `provider:model`.
        counts: whether an error is the provider's fault. That a whole chain of fallbacks failed is not
            counted: its providers have breakers of their own.
        fail_open: while the store is down, go on with what this process knows; otherwise refuse.
        hook: called with each event, in a run and outside.

    Raises (when asked):
        CircuitOpen: it was not asked; `retry_after` says for how long.
        StoreUnavailable: the store is down and `fail_open` is off.
    """
    check_provider(provider)
    for what, count in (
        ("failure_threshold", failure_threshold),
        ("half_open_probes", half_open_probes),
        ("minimum_calls", minimum_calls),
    ):
        if type(count) is not int or count < 1:
            raise ConfigurationError(f"{what} must be a whole number of at least 1, not {count!r}")
    for what, seconds in (("cooldown", cooldown), ("window", window), ("probe_timeout", probe_timeout)):
        if seconds is not None and not (is_number(seconds) and 0 < seconds < math.inf):
            raise ConfigurationError(f"{what} must be a number of seconds above 0, not {seconds!r}")
    if failure_rate is not None and not (is_number(failure_rate) and 0 < failure_rate <= 1):
        raise ConfigurationError(f"failure_rate must be above 0 and at most 1, not {failure_rate!r}")
    rules = CircuitRules(
        failure_threshold,
        cooldown,
        half_open_probes,
        probe_timeout if probe_timeout is not None else max(cooldown, 30.0),
        failure_rate,
        window,
        minimum_calls,
    )
    circuit = name or f"{provider.name}:{provider.model}"
    shared: Shared[Circuit] = Shared(
        state,
        "circuit",
        circuit,
        empty=CLOSED,
        dump=Circuit.to_json,
        load=Circuit.from_json,
        ttl=10 * (rules.cooldown + rules.probe_timeout + rules.window),
        fail_open=fail_open,
        clock=clock,
        hook=hook,
    )
    return CircuitBreaker(provider, circuit, rules, shared, counts, hook)


class CircuitBreaker(Wrapper):
    """What `with_circuit_breaker` makes."""

    def __init__(
        self,
        inner: LLMProvider,
        circuit: str,
        rules: CircuitRules,
        shared: Shared[Circuit],
        counts: Callable[[BaseException], bool],
        hook: Hook | None,
    ) -> None:
        super().__init__(inner)
        self.circuit = circuit
        self.rules = rules
        self._shared = shared
        self._counts = counts
        self._hook = hook
        # Successes of a rate that are not written yet, and since when: they go along with the next failure.
        self._successes, self._since = 0, 0.0

    async def complete(self, request: LLMRequest) -> LLMResponse:
        call = await self._admit()
        try:
            response = await self.inner.complete(request)
        except BaseException as error:
            await self._ended(call, error)
            raise
        await self._succeeded(call)
        return response

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        call: Admitted | None = await self._admit()
        stream = self.inner.stream(request)
        answers = False
        try:
            async for chunk in stream:
                if call is not None and chunk.response is not None:
                    # Before it is handed on: whoever has the last chunk does not come back.
                    done, call = call, None
                    await self._succeeded(done)
                answers = True
                yield chunk
        except GeneratorExit:
            raise  # The reader left: see below.
        except BaseException as error:
            if call is not None:
                failed, call = call, None
                await self._ended(failed, error)
            raise
        finally:
            if call is not None:
                recording = self._succeeded(call) if answers else self._released(call)
                try:
                    await self._finish(recording)
                finally:
                    await close_stream(stream)
            else:
                await close_stream(stream)

    async def _admit(self) -> Admitted:
        decided: Admitted | Refused
        decide = partial(self.rules.admit, token=secrets.token_hex(8))
        # A record of this process alone need not be waited for.
        decided = self._shared.decide_now(decide) if self._shared.local else await self._shared.decide(decide)
        if isinstance(decided, Refused):
            raise CircuitOpen(
                f"{self.name}: not asked, its circuit breaker {self.circuit!r} is open for another "
                f"{decided.retry_after:.1f} s",
                provider=self.name,
                retry_after=decided.retry_after,
                circuit=self.circuit,
            )
        if decided.token is not None:
            report(CircuitProbed, self.circuit, hook=self._hook)
        return decided

    async def _succeeded(self, call: Admitted) -> None:
        self._begin_window()
        self._successes += 1
        if call.token is None and not call.dirty:
            return  # A closed circuit's success writes nothing.
        self._tell(await self._shared.note(partial(self.rules.succeeded, call=call)))

    def _begin_window(self) -> None:
        """Forgets the successes of a window that is over: they would outweigh the failures of this one."""
        if self.rules.failure_rate is None:
            return
        now = self._shared.now()
        if not 0 <= now - self._since < self.rules.window:
            self._successes, self._since = 0, now

    async def _ended(self, call: Admitted, error: BaseException) -> None:
        # Whoever is asked what counts knows errors of calls, not of tasks.
        if isinstance(error, Exception) and self._counts(error):
            self._begin_window()
            successes, self._successes = self._successes, 0
            await self._finish(self._failed(call, successes))
        else:
            await self._finish(self._released(call))

    async def _failed(self, call: Admitted, successes: int) -> None:
        self._tell(await self._shared.note(partial(self.rules.failed, call=call, successes=successes)))

    async def _released(self, call: Admitted) -> None:
        if call.token is not None:
            await self._shared.note(partial(self.rules.released, call=call))

    async def _finish(self, recording: Coroutine[Any, Any, None]) -> None:
        """Says how a call ended, for a bounded time also when the caller is being cancelled."""
        if self._shared.local:
            await recording
            return
        task = asyncio.ensure_future(recording)
        try:
            await asyncio.wait_for(asyncio.shield(task), RECORDING_SECONDS)
        except TimeoutError:
            task.cancel()
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=RECORDING_SECONDS)
            raise

    def _tell(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        if outcome.opened:
            cooldown = self.rules.cooldown
            report(CircuitOpened, self.circuit, outcome.failures, cooldown, outcome.probe, hook=self._hook)
        elif outcome.closed:
            report(CircuitClosed, self.circuit, hook=self._hook)
