"""A run that cannot be parked is told as one that failed: whoever watches is never left with an open run."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import tool
from agentfootprint.errors import StoreUnavailable
from agentfootprint.events import RunFailed
from agentfootprint.state import InMemoryState, Record
from agentfootprint.state.base import StateKey
from agentfootprint.tools import ToolContext

from .support import Events, call, scripted


class Gone(InMemoryState):
    """Does not take a checkpoint."""

    async def compare_and_set(
        self, key: StateKey, expected_version: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        if key.kind == "checkpoint":
            raise StoreUnavailable("the state store cannot be reached")
        return await super().compare_and_set(key, expected_version, value, ttl=ttl)


@tool
async def refund(ctx: ToolContext[Any]) -> str:
    """Pays back."""
    return str(await ctx.ask("Refund?"))


async def test_a_checkpoint_that_cannot_be_made_ends_the_run_for_whoever_watches() -> None:
    seen = Events()
    agent = scripted(call("refund"), tools=[refund], state=Gone(), recorders=[seen], allow_anonymous=True)
    with pytest.raises(StoreUnavailable):
        await agent.run("Refund")
    assert [event.error for event in seen.of(RunFailed)] == ["store_unavailable"]
