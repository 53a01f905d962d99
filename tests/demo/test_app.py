from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentfootprint import Agent, Completed, MemoryIdentity, Paused
from agentfootprint.demo import app
from agentfootprint.demo.model import respond
from agentfootprint.messages import LLMRequest, Message, ToolSpec
from agentfootprint.providers import MockProvider

ALICE = MemoryIdentity("alpine", "alice", "c-1")


@pytest.fixture
def agent(tmp_path: Path) -> Agent[None, str]:
    return app.build_agent(tmp_path)


def test_an_import_writes_nothing_and_the_named_function_builds_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not list(tmp_path.iterdir())
    assert app.agent().name == "support"
    assert (tmp_path / "demo-data" / "orders.db").exists()


async def test_a_refund_that_is_declined_pays_nothing(agent: Agent[None, str]) -> None:
    paused = await agent.run("Refund order A-2444: torn.", identity=ALICE)
    assert isinstance(paused, Paused)
    result = await agent.resume(paused.checkpoint, answer={"approved": False, "reason": "Too late"})
    assert isinstance(result, Completed)
    assert "declined" in result.output
    assert "Too late" in result.output
    later = await agent.run("Where is order A-2444?", identity=ALICE)
    assert isinstance(later, Completed)
    assert later.output.endswith("was delivered on 2026-11-14.")


async def test_an_amount_that_the_model_made_up_is_refused(agent: Agent[None, str]) -> None:
    wrong = MockProvider.call("refund_order", order_id="A-2444", amount="9999.00", reason="torn")
    agent = agent.replace(provider=MockProvider(replies=[wrong, "Sorry."]))
    paused = await agent.run("Refund order A-2444", identity=ALICE)
    assert isinstance(paused, Paused)
    result = await agent.resume(paused.checkpoint, answer=True)
    assert result.messages[-2].text == "Order A-2444 cost 249.00 EUR, not 9999.00 EUR."


def test_the_scripted_model_answers_from_the_result_it_is_shown() -> None:
    order = {
        "order_id": "Z-0001",
        "item": "Kite",
        "amount": "1.00",
        "customer": "Ada Lovelace",
        "status": "lost at sea",
    }
    messages = [
        Message.user("Where is order Z-0001?"),
        Message.assistant(""),
        Message.tool("call_1", "lookup_order", json.dumps(order)),
    ]
    tools = (ToolSpec("lookup_order", "", {}),)
    said = respond(LLMRequest(messages, tools=tools))
    assert said == "Order Z-0001 (Kite, 1.00 EUR, Ada Lovelace) is lost at sea."
