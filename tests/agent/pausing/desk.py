"""A desk with one guarded tool, for what must not go on: nothing runs, and the right text still does."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, tool
from agentfootprint.errors import CheckpointUsed
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, call, must_pause, output_of


class Desk:
    """One guarded tool, one agent, and a run that waits for its approval."""

    def __init__(self, **options: Any) -> None:
        self.paid: list[int] = []
        self.state = InMemoryState()
        self.options = options
        self.agent = self.another()

    @property
    def refund(self) -> Any:
        @tool(approval=True)
        async def refund(amount: int, note: str = "") -> str:
            self.paid.append(amount)
            return f"refunded {amount}"

        return refund

    def another(self, **options: Any) -> Agent[Any, Any]:
        """An agent like the one that paused, perhaps with something changed."""
        given: dict[str, Any] = {"state": self.state, "tools": [self.refund], "name": "desk"}
        provider = MockProvider(
            respond=lambda asked: (
                call("refund", amount=5000, note="keep") if asked.messages[-1].role == "user" else "done"
            )
        )
        return Agent(provider, **{**given, **self.options, **options})

    async def paused(self) -> str:
        return must_pause(await self.agent.run("Refund", identity=ALICE)).checkpoint.to_json()

    async def still_works(self, text: str) -> None:
        """Nothing ran, and the text as it was made goes on, once."""
        assert self.paid == []
        result = await self.agent.resume(Checkpoint.from_json(text), answer=True, identity=ALICE)
        assert (output_of(result), self.paid) == ("done", [5000])
        with pytest.raises(CheckpointUsed):
            await self.agent.resume(Checkpoint.from_json(text), answer=True)
        assert self.paid == [5000]


async def resume_text(agent: Agent[Any, Any], text: str | bytes, **options: Any) -> Any:
    return await agent.resume(Checkpoint.from_json(text), **{"answer": True, **options})
