"""What a run says about itself: the story, the reasons, the picture."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.agent import Result
from agentfootprint.errors import InputInvalid, Overloaded
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import Message, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import asks_for, call, completed, scripted


@tool
async def lookup_order(order_id: str) -> str:
    """Status of an order."""
    return f"Order {order_id}: shipped, $299"


@tool
async def weather(city: str) -> str:
    """The weather."""
    return "Sunny, 31 degrees"


@tool
async def fail() -> str:
    """Fails."""
    raise ValueError("out of order")


@tool(approval="Refund it?")
async def refund(order_id: str) -> str:
    """Refunds an order."""
    return f"Refunded {order_id}"


def support(*replies: Any, **options: Any) -> Agent[Any, str]:
    return scripted(
        *replies, tools=[lookup_order, weather, fail, refund], system="You are a support agent.", **options
    )


async def order() -> Result[str]:
    agent = support(
        [call("lookup_order", order_id="A-1"), call("weather", city="Rome")], "It has shipped and cost $299."
    )
    return await agent.run("Where is order A-1?")


async def test_the_story_names_question_tools_arguments_results_and_answer() -> None:
    story = (await order()).footprint.narrative()
    lines = story.splitlines()
    assert lines[0] == "The user asked: “Where is order A-1?”"
    assert "lookup_order(order_id='A-1'), weather(city='Rome')" in lines[1]
    assert "lookup_order returned: “Order A-1: shipped, $299”" in lines[2]
    assert "weather returned: “Sunny, 31 degrees”" in lines[3]
    assert "The model answered: “It has shipped and cost $299.”" in lines[4]
    assert len(lines) == 5


async def test_the_story_tells_what_went_wrong() -> None:
    agent = support(call("fail"), call("no_such_tool"), "Sorry.")
    story = (await agent.run("Go.")).footprint.narrative()
    assert "fail refused or failed: “fail failed with ValueError: out of order”" in story
    assert "There is no tool named 'no_such_tool'" in story


async def test_the_story_of_a_broken_run_ends_with_its_error() -> None:
    agent = support(call("weather", city="Rome"), MockProvider.fail(Overloaded("busy", provider="mock")))
    with pytest.raises(Overloaded) as caught:
        await agent.run("Go.")
    assert caught.value.footprint is not None
    last = caught.value.footprint.narrative().splitlines()[-1]
    assert last == "call_model#1 failed with Overloaded: busy"


async def test_the_story_tells_of_limits_memories_conversations_and_people() -> None:
    me = MemoryIdentity("acme", "alice", "t-1")
    memory = [Memory("customer", scope="principal", store=InMemoryStore())]
    agent = support(
        "Hey.", "Hello.", call("weather", city="Rome"), "Enough.", memory=memory, state=InMemoryState()
    )
    agent = agent.replace(max_iterations=1)
    await agent.run("Hello?", identity=MemoryIdentity("acme", "alice", "t-0"))
    await agent.run("Hi.", identity=me)
    story = (await agent.run("The weather?", identity=me)).footprint.narrative()
    assert "The conversation so far has 2 messages." in story
    assert "Memory 'customer' gave 2 messages." in story
    assert "The limit max_iterations was reached" in story
    assert "The conversation was written." in story
    assert "Memory 'customer' was written." in story
    asking = support(call("refund", order_id="A-1"), "Refunded.")
    paused = await asking.run("Refund A-1.")
    assert "Refund it?” for refund(order_id='A-1'). The run waits" in paused.footprint.narrative()
    done = await asking.resume(paused.checkpoint, answer=True, by="bob")  # type: ignore[union-attr]
    assert "Answered by bob: True." in done.footprint.narrative()


async def test_why_lists_quotes_first_then_what_was_read_then_the_decisions() -> None:
    why = (await order()).footprint.why("output")
    lines = why.splitlines()
    assert lines[0] == "The answer is “It has shipped and cost $299.”."
    assert "(text match)" in lines[1]
    quotes = lines[2 : lines.index("The model had read:")]
    assert len(quotes) == 1, "the weather is no source of this answer"
    assert quotes[0].startswith("- the result of lookup_order (call_1): ")
    assert "“shipped”" in quotes[0]
    assert "“$299”" in quotes[0]
    read = lines[lines.index("The model had read:") + 1 : lines.index("The decisions that led here:")]
    assert [line.partition(":")[0] for line in read] == [
        "- the instructions",
        "- the user",
        "- the result of lookup_order (call_1)",
        "- the result of weather (call_2)",
    ]
    decisions = lines[lines.index("The decisions that led here:") + 1 :]
    assert decisions[0].startswith("- route#0 chose tools because the model asked for tools")


async def test_why_is_bounded_and_says_what_it_cut() -> None:
    rounds: list[Any] = [call("lookup_order", order_id=f"A-{n}") for n in range(40)]
    result = await support(*rounds, "Forty orders.", max_iterations=None).run("All of them.")
    why = result.footprint.why("output", limit=10).splitlines()
    assert len(why) == 11
    assert why[-1].startswith("cut: ")
    assert "raise limit=" in why[-1]
    assert not any(line.startswith("cut") for line in result.footprint.why("output", limit=500).splitlines())


async def test_why_of_a_long_text_is_short() -> None:
    @tool
    async def dump() -> str:
        """Gives a lot."""
        return "word " * 20_000

    agent = scripted(call("dump"), "Many a word.", tools=[dump])
    result = await agent.run("Dump.")
    assert len(result.footprint.why("output")) < 2_000
    assert len(result.footprint.narrative()) < 2_000


async def test_why_tells_of_people() -> None:
    agent = support(call("refund", order_id="A-1"), "Refunded.")
    paused = await agent.run("Refund A-1.")
    done = await agent.resume(paused.checkpoint, answer=True, by="bob")  # type: ignore[union-attr]
    assert "Refund it? Answered by bob: True" in done.footprint.why("output")


async def test_why_of_a_message_names_who_wrote_it() -> None:
    result = await order()
    writers = []
    for index in range(len(result.messages)):
        first = result.footprint.why("history", index).splitlines()[0]
        writers.append(first.rpartition("written by ")[2])
    assert writers == ["accept#0", "call_model#0", "call_tools#0[0]", "call_tools#0[1]", "call_model#1"]
    result_of_tool = result.footprint.why("history", 2)
    assert "shipped, $299" in result_of_tool.splitlines()[1] or "Order A-1" in result_of_tool
    assert "called lookup_order" in result_of_tool
    assert "weather" not in result_of_tool.splitlines()[0]
    assert result.footprint.why("history", -1).splitlines()[0].endswith("written by call_model#1")


async def test_why_refuses_what_is_not_there() -> None:
    result = await order()
    with pytest.raises(InputInvalid, match="'colour'"):
        result.footprint.why("colour")


async def test_who_wrote_and_impact_read_the_same_record() -> None:
    footprint = (await order()).footprint
    assert [step.id for step in footprint.who_wrote("output")] == ["answer#0"]
    touched = footprint.impact("input").ids()
    assert "answer#0:output" in touched


async def test_the_state_at_a_step_is_what_the_step_saw() -> None:
    footprint = (await order()).footprint
    assert [m.role for m in footprint.at("call_model#0")["messages"]] == ["user"]
    assert [m.role for m in footprint.at("call_model#1")["messages"]] == ["user", "assistant", "tool", "tool"]
    assert footprint.state["output"] == "It has shipped and cost $299."


async def test_the_picture_shows_the_loop() -> None:
    picture = (await order()).footprint.to_mermaid().splitlines()
    assert picture[0] == "flowchart TD"
    names = {line.split('"')[1]: line.split('"')[0].strip(" [{") for line in picture if '"' in line}
    assert {"accept", "call_model", "route", "call_tools", "answer"} <= set(names)
    ways = [line.strip() for line in picture if "-->" in line]
    assert any(way.startswith(names["route"]) and way.endswith(names["call_tools"]) for way in ways)
    assert any(way.startswith(names["route"]) and way.endswith(names["answer"]) for way in ways)
    assert f'{names["route"]}{{"route"}}' in "".join(picture)


async def test_a_quote_needs_more_than_common_words() -> None:
    agent = support(call("weather", city="Rome"), "Not a big day, no rain of any kind.")
    why = (await agent.run("Is it a big day?")).footprint.why("output")
    assert "text match" in why
    assert "the result of weather" not in why.split("The model had read:")[0]


async def test_history_that_was_given_counts_as_read() -> None:
    agent = support("It is A-77.")
    earlier = [Message.user("My order is A-77."), Message.assistant("Noted.")]
    why = (await agent.run("Which one?", messages=earlier)).footprint.why("output")
    assert "- the user: “is A-77”" in why
    assert "- the model, earlier: “Noted.”" in why


async def test_every_run_can_be_told_and_stored_whatever_it_did() -> None:
    me = MemoryIdentity("acme", "alice", "t-1")
    agent = support(
        asks_for(ToolCall("c", "lookup_order", raw="{")),
        "half a character \ud83d",
        memory=[Memory("m", scope="principal", store=InMemoryStore())],
        state=InMemoryState(),
    ).replace(system=lambda run: "Be brief.")
    result = completed(await agent.run("Hi.", identity=me))
    footprint = result.footprint
    assert footprint.narrative()
    assert footprint.why("output")
    assert footprint.to_mermaid()
    assert footprint.to_jsonl()


async def test_half_a_character_from_the_model_reaches_neither_a_file_nor_the_next_request(
    tmp_path: Any,
) -> None:
    from agentfootprint.flow import Footprint

    halved = "half \ud83d and whole \ud83d\ude00"
    broken = asks_for(
        ToolCall("c", "weather", {"city": halved}),
        ToolCall("d", "weather\ud83d", {halved: [{halved: halved}]}),
        ToolCall("e", "weather", raw='{"city": "half \ud83d'),
    )
    agent = support(broken, halved)
    result = await agent.run("Hi.")
    assert result.output == "half \ufffd and whole \U0001f600"
    for message in result.messages:
        repr(message.parts).encode()
    assert result.messages[1].tool_calls[0].arguments == {"city": result.output}
    path = tmp_path / "run.footprint.jsonl"
    result.footprint.save(path)
    assert Footprint.load(path, agent.flow).state["output"] == result.output


async def test_half_a_character_in_an_event_can_be_written_to_a_file(tmp_path: Any) -> None:
    from agentfootprint import ToolContext
    from agentfootprint.flow import Footprint

    @tool
    async def tell(ctx: ToolContext[Any]) -> str:
        """Tells half a character."""
        ctx.emit("told", "\ud83d")
        return "told"

    result = await scripted(call("tell"), "ok", tools=[tell]).run("Tell.")
    path = tmp_path / "run.footprint.jsonl"
    result.footprint.save(path)
    assert [e.data for s in Footprint.load(path).steps for e in s.events] == ["\ud83d"]
