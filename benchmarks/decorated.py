"""What a decorated provider costs beyond the one it wraps, and what prices and budgets cost a run."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from measuring import Measures, timed

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message, Usage
from agentfootprint.resilience import (
    RetryBudget,
    with_circuit_breaker,
    with_fallback,
    with_rate_limit,
    with_retry,
    with_timeout,
)

REDIS = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379")
"""Where the shared half is measured; without a server there its rows stay empty."""

REQUEST = LLMRequest((Message.user("Where is order A-1?"),))
ANSWER = LLMResponse("It has shipped.", usage=Usage(8, 4), model="instant", provider="instant")


class Instant:
    """Answers in no time."""

    name = model = "instant"

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return ANSWER

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(ANSWER.text)
        yield LLMChunk(response=ANSWER)


def stack(state: Any = None, name: str | None = None) -> Any:
    """Every decorator there is, around a model and its replacement."""
    model = with_timeout(Instant(), first_token=30, idle=30, total=60)
    model = with_rate_limit(model, requests=1e9, tokens=1e12, state=state, name=name)
    model = with_circuit_breaker(model, state=state, name=name)
    budget = None if state is None else RetryBudget(state=state, name=name or "retry")
    return with_retry(with_fallback(model, Instant()), budget=budget)


async def decorators(framework: ModuleType, quick: bool) -> Measures:
    """A call through all decorators at once; the model itself takes less than a microsecond."""
    calls = 2 if quick else 1000
    model = stack()

    async def stream() -> None:
        async for _ in model.stream(REQUEST):
            pass

    out: Measures = {
        "decorated": await timed(lambda: model.complete(REQUEST), calls, quick=quick),
        "decorated_stream": await timed(stream, calls, quick=quick),
    }
    try:
        from agentfootprint.state import RedisState

        state = RedisState(REDIS, prefix=f"bench-{uuid.uuid4().hex}")
        await state.forget(MemoryIdentity())
    except Exception:
        return out
    async with state:
        shared = stack(state, "bench")
        out["decorated_redis"] = await timed(lambda: shared.complete(REQUEST), calls // 5 or 1, quick=quick)
    return out


async def costs(framework: ModuleType, quick: bool) -> Measures:
    """A turn without tools: bare, priced, and under a budget per run and per tenant in this process."""
    prices = PriceList({"instant": Price(input=3, output=15)})
    me = MemoryIdentity("acme", "alice")
    runs = 2 if quick else 200
    out: Measures = {}
    for name, options in (
        ("turn_bare", {}),
        ("turn_priced", {"pricing_table": prices}),
        (
            "turn_budgeted",
            {
                "pricing_table": prices,
                "cost_budget": CostBudget(usd=1, per_tenant_daily_usd=1_000_000),
            },
        ),
    ):
        agent: Agent[Any, str] = Agent(Instant(), **options)  # type: ignore[arg-type]
        out[name] = await timed(lambda agent=agent: agent.run("Hello.", identity=me), runs, quick=quick)  # type: ignore[misc]
    return out
