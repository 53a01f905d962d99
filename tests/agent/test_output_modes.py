"""How a model is held to a type where its vendor cannot: by a tool, or by words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentfootprint import (
    Agent,
    Stopped,
    tool,
)
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import ConfigurationError
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from tests.agent.support import completed, whole
from tests.agent.typed import (
    GOOD,
    NOTHING,
    TOOLS_ONLY,
    Held,
    Refund,
    look,
)


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    async def go(agent: Agent[Any, Any], question: str = "How much?", **options: Any) -> Any:
        if request.param == "plain":
            return await agent.run(question, **options)
        async with agent.stream(question, **options) as stream:
            async for _ in stream:
                pass
        return stream.result

    return go


def final(**arguments: Any) -> Any:
    return MockProvider.call("final_answer", **arguments)


async def test_where_the_vendor_cannot_a_tool_takes_the_answer(run: Any) -> None:
    provider = Held(
        MockProvider.call("look"), final(amount="x"), final(amount="1", reason="torn"), can=TOOLS_ONLY
    )
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, tools=[look])
    result = completed(await run(agent))
    assert result.output == Refund(amount=Decimal(1), reason="torn")
    assert [spec.name for spec in provider.requests[0].tools] == ["look", "final_answer"]
    assert provider.requests[0].output_schema is None
    assert "final_answer" in str(provider.requests[0].system)
    answers = [message for message in result.messages if message.name == "final_answer"]
    assert [message.is_error for message in answers] == [True, False]
    assert "reason: missing" in answers[0].text
    assert whole(result.messages)


async def test_a_tool_beside_the_final_answer_is_not_run() -> None:
    calls = [ToolCall("1", "look", {}), ToolCall("2", "final_answer", {"amount": "1", "reason": "x"})]
    provider = Held(LLMResponse(tool_calls=calls), can=TOOLS_ONLY)
    result = completed(await Agent(provider, output=Refund, tools=[look]).run("?"))
    assert result.output.amount == 1
    assert [message.is_error for message in result.messages if message.role == "tool"] == [True, False]
    assert whole(result.messages)


@pytest.mark.parametrize("why", ["filtered", "refused"])
async def test_an_answer_by_the_tool_has_one_result_whatever_becomes_of_it(why: str) -> None:
    def final(**arguments: Any) -> LLMResponse:
        return LLMResponse(
            tool_calls=[ToolCall("f-1", "final_answer", arguments)],
            usage=Usage(1000, 1),
            model="mock",
            stop_reason="content_filter" if why == "filtered" else "tool_calls",
        )

    # The budget has room for one answer, which does not fit.
    agent: Agent[Any, Any] = Agent(
        Held(final(amount="x"), final(amount="1"), can=TOOLS_ONLY),
        output=Refund,
        pricing_table=PriceList({"mock": Price(input=1_000_000, output=1_000_000)}),
        cost_budget=CostBudget(usd=1_002, max_output_tokens=1),
    )
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.output is None
    assert whole(result.messages)


async def test_a_toolset_cannot_take_the_place_of_the_final_answer() -> None:
    class Theirs:
        async def tools(self, context: Any) -> list[Any]:
            return [tool(name="final_answer")(lambda: "theirs")]

    agent: Agent[Any, Any] = Agent(Held("x", can=TOOLS_ONLY), output=Refund, tools=[Theirs()])
    with pytest.raises(ConfigurationError, match="rename it"):
        await agent.run("?")


async def test_an_answer_in_words_is_read_also_where_a_tool_was_wanted() -> None:
    provider = Held("I cannot say.", GOOD, can=TOOLS_ONLY)
    result = completed(await Agent(provider, output=Refund).run("?"))
    assert result.output.reason == "torn"


async def test_where_the_vendor_can_do_nothing_words_ask_for_it(run: Any) -> None:
    provider = Held(GOOD, can=NOTHING)
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, system="Be kind.")
    assert completed(await run(agent)).output.reason == "torn"
    [request] = provider.requests
    assert str(request.system).startswith("Be kind.\n\nGive the final answer as JSON")
    assert '"reason"' in str(request.system)
    assert request.tools == ()


async def test_at_a_limit_the_last_answer_may_still_be_given_by_the_tool() -> None:
    provider = Held(*[MockProvider.call("look")] * 2, final(amount="1", reason="enough"), can=TOOLS_ONLY)
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, tools=[look], max_iterations=2)
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.output == Refund(amount=Decimal(1), reason="enough")
    assert [spec.name for spec in provider.requests[-1].tools] == ["final_answer"]
