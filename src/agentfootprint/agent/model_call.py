"""One question to the model: streamed when somebody reads along, plain otherwise, told either way."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from ..errors import AgentFootprintError, CostBudgetExceeded, StreamTruncated
from ..events import (
    ModelEnded,
    ModelFailed,
    ModelStarted,
    ReasoningDelta,
    TextDelta,
    ToolCallDrafted,
)
from ..flow import Step
from ..messages import LLMRequest, LLMResponse
from ..providers.base import LLMProvider
from .history import usable
from .session import Session
from .spending import Spending

__all__ = ["ModelCall"]


_TURNS = 20
"""How often a turn is asked for that its vendor breaks off again and again."""


class ModelCall:
    """Asks a model with one request, and tells whoever watches.

    Args:
        step: in which it is asked; None after the end of the run.
        aside: for a memory, not for the user: nobody reads along. `provider` is then the model that is
            asked, None that of the agent.
    """

    __slots__ = ("_aside", "_own", "_provider", "_spending", "_step")

    def __init__(
        self,
        step: Step[Any] | None,
        own: Session,
        spending: Spending | None,
        *,
        aside: bool = False,
        provider: LLMProvider | None = None,
    ) -> None:
        self._step = step
        self._own = own
        self._spending = spending
        self._aside = aside
        self._provider = provider or own.settings.provider

    async def __call__(self, request: LLMRequest) -> LLMResponse:
        reply = await self._paid(request)
        turns = 1
        while reply.stop_reason == "paused" and reply.parts and not reply.tool_calls and turns < _TURNS:
            # The vendor broke off a long turn of its own tools: sent back as it is, it goes on.
            further = replace(request, messages=(*request.messages, reply.message))
            try:
                reply = _one(reply, await self._paid(further))
            except CostBudgetExceeded:
                assert self._spending is not None
                self._spending.cut_short()  # What there is of the turn was paid for.
                break
            turns += 1
        return usable(reply)

    def _paid(self, request: LLMRequest) -> Awaitable[LLMResponse]:
        if self._spending is None:
            return self._ask(request)
        return self._spending.pay_for(self._ask, request, self._provider)

    async def _ask(self, request: LLMRequest) -> LLMResponse:
        step, own, provider = self._step, self._own, self._provider
        streamed = own.streaming and not self._aside
        own.tell(
            ModelStarted,
            step,
            provider.name,
            provider.model,
            len(request.messages),
            len(request.tools),
            streamed,
        )
        begun = time.monotonic()
        first: float | None = None
        chunks = 0
        try:
            if streamed:
                reply, chunks, first = await self._streamed(request, begun)
            else:
                reply = await provider.complete(request)
        except Exception as error:
            code = error.code if isinstance(error, AgentFootprintError) else type(error).__name__
            own.tell(ModelFailed, step, provider.name, provider.model, code, str(error))
            raise
        if own.wants(ModelEnded):
            own.tell(
                ModelEnded,
                step,
                reply.provider or provider.name,
                reply.model or provider.model,
                reply.usage,
                reply.stop_reason,
                len(reply.tool_calls),
                chunks,
                first,
                time.monotonic() - begun,
            )
        return reply

    async def _streamed(self, request: LLMRequest, begun: float) -> tuple[LLMResponse, int, float | None]:
        step, own = self._step, self._own
        assert step is not None
        reply: LLMResponse | None = None
        first: float | None = None
        chunks = 0
        text = own.teller(TextDelta, step)
        reasoning = own.teller(ReasoningDelta, step)
        drafted = own.teller(ToolCallDrafted, step)
        buffer = own.buffer
        stream = self._provider.stream(request)
        try:
            async for chunk in stream:
                if chunk.response is not None:
                    reply = chunk.response
                    if not chunk.text:
                        continue
                if first is None:
                    first = time.monotonic() - begun
                    if self._spending is not None:
                        self._spending.begun()
                chunks += 1
                if chunk.text and text is not None:
                    text(chunk.text)
                if chunk.reasoning and reasoning is not None:
                    reasoning(chunk.reasoning)
                if (draft := chunk.tool_call_delta) is not None and drafted is not None:
                    drafted(draft.index, draft.id, draft.name, draft.arguments)
                if buffer is not None and buffer.full:
                    await buffer.room()
        finally:
            # A generator left half-way is closed here, in the task that ran it.
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        if reply is None:
            raise StreamTruncated(
                f"{self._provider.name}: the stream ended without its final chunk; "
                "what arrived is not a whole answer",
                provider=self._provider.name,
            )
        return reply, chunks, first


def _one(begun: LLMResponse, rest: LLMResponse) -> LLMResponse:
    """A turn and what it went on with, as one answer."""
    known = None if begun.usage is None or rest.usage is None else begun.usage + rest.usage
    return LLMResponse(
        parts=(*begun.parts, *rest.parts),
        usage=known,
        stop_reason=rest.stop_reason,
        model=rest.model,
        request_id=rest.request_id,
        provider=rest.provider,
    )
