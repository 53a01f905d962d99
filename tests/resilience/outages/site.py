"""Two vendors' servers, an agent on the stack that the guide recommends, and what a user sees of a run."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from agentfootprint import Agent, Completed
from agentfootprint.agent import Result
from agentfootprint.events import Event, TextDelta
from agentfootprint.providers import LLMProvider
from agentfootprint.resilience import with_circuit_breaker, with_fallback, with_retry, with_timeout
from tests.agent.support import Events
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import Exchange, Script, ScriptedServer, either, says, streams

E = TypeVar("E", bound=Exception)

QUESTION = "Where is order A-1?"
FIRST, SECOND = "Order A-1 has shipped.", "It is on its way."
"""What the primary says when it is well, and the secondary."""

GENEROUS = 8.0
"""Seconds that nothing here takes, however busy the machine; limits that a test is not about are longer."""

BY_NAME = {each.name: each for each in DIALECTS}
CHAT, ANTHROPIC = BY_NAME["http-chat"], BY_NAME["http-anthropic"]

both_wires = pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=lambda each: each.name)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def other(dialect: Dialect) -> Dialect:
    """The wire of the secondary: another vendor's."""
    return ANTHROPIC if "anthropic" not in dialect.name else CHAT


# ── the stack ───────────────────────────────────────────────────────────────────────────────────


def guide(
    primary: LLMProvider,
    secondary: LLMProvider,
    *,
    max_attempts: int = 3,
    initial_delay: float = 0.02,
    failure_threshold: int = 3,
    cooldown: float = 60.0,
    first_token: float = GENEROUS,
    idle: float = GENEROUS,
    total: float = 2 * GENEROUS,
) -> LLMProvider:
    """The whole stack, in the order of the guide."""
    timed = with_timeout(primary, first_token=first_token, idle=idle, total=total)
    guarded = with_circuit_breaker(timed, failure_threshold=failure_threshold, cooldown=cooldown)
    return with_retry(
        with_fallback(guarded, secondary), max_attempts=max_attempts, initial_delay=initial_delay
    )


def alone(
    primary: LLMProvider,
    secondary: LLMProvider,
    *,
    max_attempts: int = 3,
    initial_delay: float = 0.02,
    first_token: float = GENEROUS,
    idle: float = GENEROUS,
    total: float = 2 * GENEROUS,
    **policy: Any,
) -> LLMProvider:
    """The primary with retries only."""
    timed = with_timeout(primary, first_token=first_token, idle=idle, total=total)
    return with_retry(timed, max_attempts=max_attempts, initial_delay=initial_delay, **policy)


# ── what a user sees ────────────────────────────────────────────────────────────────────────────

_TOLD = ("model.retried", "model.gave_up", "model.fell_back", "circuit.")


@dataclass
class Told:
    """One run: its result or its error, and the events in the order they came."""

    events: list[Event] = field(default_factory=list)
    result: Result[str] | None = None
    error: Exception | None = None
    begun: float = 0.0
    took: float = 0.0

    @property
    def answer(self) -> str:
        """The answer of a run that is complete."""
        if self.error is not None:
            raise AssertionError("the run failed") from self.error
        assert isinstance(self.result, Completed), self.result
        return self.result.output

    def failed(self, kind: type[E]) -> E:
        """The error of a run that failed with exactly this kind of error."""
        assert type(self.error) is kind, self.error or self.result
        return self.error

    @property
    def text(self) -> str:
        """What was shown while the answer was written."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def facts(self) -> list[str]:
        """What retries, fallbacks and breakers did."""
        return [event.type for event in self.events if event.type.startswith(_TOLD)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def ask(agent: Agent[Any, str], streamed: bool, **options: Any) -> Told:
    """One question, as `agent.run` with a recorder or read along with `agent.stream`."""
    clock = asyncio.get_running_loop().time  # The servers' own.
    told = Told(begun=clock())
    try:
        if streamed:
            async with agent.stream(QUESTION, **options) as run:
                async for event in run:
                    told.events.append(event)
            told.result = run.result
        else:
            seen = Events()
            told.events = seen.seen
            told.result = await agent.run(QUESTION, recorders=[seen], **options)
    except Exception as error:
        told.error = error
    told.took = clock() - told.begun
    if streamed and told.result is not None:
        # Nobody was shown a text twice, or another one than the answer.
        assert told.text == (told.result.output or "")
    return told


# ── the servers ─────────────────────────────────────────────────────────────────────────────────


def answers(dialect: Dialect, text: str, stop: str = "", **headers: Any) -> Script:
    """An answer that is whole, plain or streamed as it was asked for."""
    return either(
        says(dialect.answer(text, [], stop), **headers),
        streams(dialect.stream(text, [], stop), 100_000, **headers),
    )


@dataclass
class Site:
    """Both servers, and an agent that asks them."""

    primary: ScriptedServer
    secondary: ScriptedServer
    provider: LLMProvider
    agent: Agent[Any, str]

    @property
    def asked(self) -> tuple[int, int]:
        """How many requests each server saw."""
        return len(self.primary.seen), len(self.secondary.seen)

    @property
    def gaps(self) -> list[float]:
        """Seconds between the requests that the primary saw."""
        at = [exchange.at for exchange in self.primary.seen]
        return [later - earlier for earlier, later in itertools.pairwise(at)]


async def left(exchange: Exchange) -> float:
    """When the client closed the connection; fails when it does not."""
    await exchange.closed(GENEROUS)
    assert exchange.closed_at is not None
    return exchange.closed_at


@asynccontextmanager
async def outage(
    dialect: Dialect,
    *scripts: Script,
    secondary: list[Script] | None = None,
    stack: Callable[..., LLMProvider] = guide,
    provider: Callable[[str], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Site]:
    """The primary's server answers by `scripts`, and is well when they are through.

    `provider` makes the primary otherwise than the dialect does; `options` are those of the stack.
    """
    backup = other(dialect)
    async with AsyncExitStack() as open_:
        first = await open_.enter_async_context(ScriptedServer([*scripts, answers(dialect, FIRST)]))
        second = await open_.enter_async_context(
            ScriptedServer(secondary if secondary is not None else [answers(backup, SECOND)])
        )
        primary = await open_.enter_async_context((provider or dialect.make)(first.url))
        spare = await open_.enter_async_context(backup.make(second.url))
        built = stack(primary, spare, **options)
        yield Site(first, second, built, Agent(built, system="Be brief."))
