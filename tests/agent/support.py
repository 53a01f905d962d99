"""What the tests of the agent share: scripted agents, and what must hold for every history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

from agentfootprint import Agent, Completed, ToolContext, tool
from agentfootprint.agent import Result
from agentfootprint.events import Event
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message, ToolCall
from agentfootprint.providers import MockProvider

call = MockProvider.call

Output = TypeVar("Output")


def scripted(*replies: Any, tools: Iterable[Any] = (), **options: Any) -> Agent[Any, str]:
    """An agent whose model says these things, one after the other."""
    return Agent(MockProvider(replies=list(replies)), tools=tools, **options)


def mock_of(agent: Agent[Any, str]) -> MockProvider:
    assert isinstance(agent.provider, MockProvider)
    return agent.provider


def completed(result: Result[Output]) -> Completed[Output]:
    assert isinstance(result, Completed), result
    return result


def results(messages: Sequence[Message]) -> dict[str, Message]:
    """The tool messages by the id of their call."""
    return {str(message.call_id): message for message in messages if message.role == "tool"}


def result_of(messages: Sequence[Message], call_id: str = "call_1") -> Message:
    return results(messages)[call_id]


def whole(messages: Sequence[Message]) -> bool:
    """Whether each call has exactly one result, right behind the message that asked, in its order,
    and each result its call: what every vendor demands."""
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        if message.role == "tool" or not message.parts:
            return False
        for asked in message.tool_calls if message.role == "assistant" else ():
            if at == len(messages) or (messages[at].role, messages[at].call_id) != ("tool", asked.id):
                return False
            at += 1
    return True


class Events:
    """A recorder that keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.seen.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.seen]

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kinds)]


class Model:
    """A provider made of one function, for what a mock refuses to do."""

    name = "test"
    model = "test-1"

    def __init__(
        self,
        complete: Callable[[LLMRequest], Any] | None = None,
        stream: Callable[[LLMRequest], AsyncIterator[LLMChunk]] | None = None,
    ) -> None:
        self._complete = complete
        self._stream = stream

    async def complete(self, request: LLMRequest) -> LLMResponse:
        assert self._complete is not None
        reply = self._complete(request)
        answer: LLMResponse = await reply if asyncio.iscoroutine(reply) else reply
        return answer

    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        assert self._stream is not None
        return self._stream(request)


def asks_for(*calls: ToolCall) -> LLMResponse:
    return LLMResponse(tool_calls=calls)


async def ticks(n: int = 5) -> None:
    """Lets what is ready run: callbacks and tasks that need no more than a turn of the loop."""
    for _ in range(n):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task[Any]]:
    """Every task but the one that asks."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


@tool
async def look(ctx: ToolContext[Any]) -> str:
    """Looks, and says so."""
    ctx.progress("half way", 0.5)
    ctx.emit("looked", {"at": "order"})
    return "seen"
