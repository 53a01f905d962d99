"""An agent that a toolset offers is held to the same as one among the agent's own tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import AnswerInvalid, IdentityRequired
from agentfootprint.flow import Footprint
from agentfootprint.providers import MockProvider
from agentfootprint.security import Verdict
from agentfootprint.state import SQLiteState
from agentfootprint.tools import Tool
from agentfootprint.tools.combined import Combinable
from tests.agent.pausing.support import go_on, must_pause
from tests.agent.support import completed, mock_of, result_of

from .support import billing, call, desk

ALICE = MemoryIdentity("acme", "alice", "t-1")


class Offers(Combinable):
    """A toolset of agents."""

    def __init__(self, *agents: Agent[Any, Any]) -> None:
        self.agents = list(agents)

    async def tools(self, ctx: Any) -> Sequence[Tool[..., Any]]:
        return [agent.as_tool(description=f"Asks {agent.name}.") for agent in self.agents]


def offering(*inner: Agent[Any, Any], **options: Any) -> Agent[Any, Any]:
    """An agent that asks those that its toolset offers, each once, in one turn."""
    asked = [call(each.name, input="Well?") for each in inner]
    return desk(replies=[asked, "That is all."], tools=[Offers(*inner)], **options)


class Till:
    """A tool that a person must approve, and how often it ran."""

    def __init__(self, **options: Any) -> None:
        self.paid = 0

        @tool(approval=True, **options)
        async def pay() -> str:
            """Pays."""
            self.paid += 1
            return "paid"

        self.pay = pay


@pytest.mark.parametrize("deep", [False, True])
async def test_a_second_person_is_wanted_where_it_wants_one(deep: bool) -> None:
    till = Till()
    inner = billing(call("pay"), "Done.", tools=[till.pay], approver_differs=True)
    agent = offering(offering(inner, name="middle")) if deep else offering(inner)
    paused = must_pause(await agent.run("Pay", identity=ALICE))
    for by in (None, "alice"):
        with pytest.raises(AnswerInvalid, match="somebody else"):
            await go_on(agent, paused, True, by=by)
    completed(await go_on(agent, paused, True, by="bob"))
    assert till.paid == 1


async def test_one_that_keeps_data_needs_a_tenant(tmp_path: Path) -> None:
    inner = billing("Never.", state=SQLiteState(tmp_path / "state.db"))
    with pytest.raises(IdentityRequired, match="'billing'"):
        await offering(inner).run("Well?")


async def test_a_model_without_a_price_is_not_asked_within_a_budget() -> None:
    prices = PriceList({"mock": Price(input=1, output=1)})
    inner = billing().replace(provider=MockProvider(reply="Never.", model="dear"))
    agent = offering(inner, pricing_table=prices, cost_budget=CostBudget(usd=1000))
    result = completed(await agent.run("Well?"))
    assert "no price for mock:dear" in result_of(result.messages).text
    assert not mock_of(inner).requests


async def test_a_policy_of_the_toolset_asks_before_it_does_and_its_tools_ask_for_themselves() -> None:
    till = Till()
    inner = billing(call("pay"), "Done.", tools=[till.pay])

    def may(request: Any) -> Verdict:
        return Verdict("ask", "careful", wording="May billing be asked?", expires_in=60.0)

    asked = [call("billing", input="Well?")]
    agent = desk(replies=[asked, "That is all."], tools=[Offers(inner).gated(may)])
    paused = must_pause(await agent.run("Pay"))
    assert [ask.question for ask in paused.asks] == ["May billing be asked?"]
    paused = must_pause(await go_on(agent, paused, True))
    assert [ask.tool for ask in paused.asks] == ["pay"]
    result = completed(await go_on(agent, paused, True))
    assert till.paid == 1
    lines = result.footprint.to_jsonl(redact=False).splitlines()
    assert (await agent.replay(Footprint.from_lines(lines, agent.flow)))["output"] == "That is all."


async def test_an_agent_may_be_offered_itself() -> None:
    offers = Offers()
    agent = desk(replies=[call("desk", input="And you?"), "Within.", "Around."], tools=[offers])
    offers.agents.append(agent)
    result = completed(await agent.run("Well?"))
    assert (result.output, result_of(result.messages).text) == ("Around.", "Within.")
