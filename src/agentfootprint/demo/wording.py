"""The scripted model decides, a real one finds the words: for a model that is too small to call tools."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message
from agentfootprint.providers import LLMProvider, complete_from_stream
from agentfootprint.providers.base import close_stream

__all__ = ["Worded", "checked"]

INSTRUCTIONS = (
    "You answer at a support desk. Tell the facts in a friendly sentence. Keep every number and name."
)

# A model of this size imitates better than it follows instructions. The last example weighs most.
EXAMPLES = (
    (
        "The newest orders: B-4410, Desk lamp, shipped; B-4120, Blue rug, delivered",
        "The newest orders are B-4410, a desk lamp, which is shipped, and B-4120, a blue rug, which is "
        "delivered.",
    ),
    ("I am sorry. There is no order B-0990.", "I am sorry, but I find no order B-0990."),
    (
        "Order B-0311 (Oak chair, 12.00 EUR, Eva Lind) is refunded.",
        "Eva Lind's order B-0311, the oak chair for 12.00 EUR, is refunded.",
    ),
    (
        "Order B-1207 (Red kettle, 39.50 EUR, Tom Berg) was delivered on 2026-03-02.",
        "Tom Berg's order B-1207, the red kettle for 39.50 EUR, was delivered on 2026-03-02.",
    ),
    (
        "Done. Refund R-9: 12.00 EUR for order B-0311, paid back to Eva Lind.",
        "It is done: refund R-9 of 12.00 EUR for order B-0311 was paid back to Eva Lind.",
    ),
)

FACT = re.compile(r"\b[A-Z]-\d+\b|\b\d{4}-\d\d-\d\d\b|\b\d+(?:\.\d+)?\b|\b[A-Z][a-z]+ [A-Z][a-z]+\b")
"""Ids, dates, numbers and people: what a wording must neither lose nor make up."""


class Worded:
    """A provider: `decides` says what to do, and what it says to the customer `words` says anew.

    Under the words stands what they were made from, with what they lost or made up: a small model gets facts
    wrong, also in ways that no check finds, and the desk goes on from what stands there.
    """

    def __init__(self, decides: LLMProvider, words: LLMProvider) -> None:
        self.name = words.name
        self.model = words.model
        self._decides = decides
        self._words = words

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await complete_from_stream(self, request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        decision = await self._decides.complete(request)
        if decision.tool_calls:
            yield LLMChunk(response=decision)
            return
        chunks = self._words.stream(told_with_examples(decision.text))
        try:
            async for chunk in chunks:
                if chunk.response is None:
                    yield chunk
                    continue
                said = chunk.response
                note = checked(said.text, decision.text)
                yield LLMChunk(note)
                yield LLMChunk(
                    response=LLMResponse(
                        said.text + note, usage=said.usage, model=said.model, provider=said.provider
                    )
                )
        finally:
            await close_stream(chunks)


def told_with_examples(facts: str) -> LLMRequest:
    messages = [
        message for given, told in EXAMPLES for message in (Message.user(given), Message.assistant(told))
    ]
    return LLMRequest((*messages, Message.user(facts)), INSTRUCTIONS, max_tokens=100, temperature=0)


def checked(words: str, facts: str) -> str:
    """What stands under the words: the facts, and which of them the words lost or made up."""
    given, told = FACT.findall(facts), FACT.findall(words)
    lost = [fact for fact in given if fact not in told]
    made_up = [fact for fact in told if fact not in given]
    found = [f"leave out {', '.join(lost)}"] * bool(lost) + [f"make up {', '.join(made_up)}"] * bool(made_up)
    if not found:
        return f"\n[The desk's record: {facts}]"
    return f"\n[These words {' and '.join(found)}. The desk's record: {facts}]"
