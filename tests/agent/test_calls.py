"""Every tool call that a model makes gets exactly one result, whatever happens to it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agentfootprint import Agent, ToolContext, tool
from agentfootprint.errors import ToolError
from agentfootprint.events import ToolEnded
from agentfootprint.messages import LLMResponse, Message, Text, ToolCall
from agentfootprint.providers import MockProvider
from tests.agent.support import Events, asks_for, call, completed, mock_of, results, scripted, whole


@tool
async def fine() -> str:
    """Works."""
    return "fine"


@tool
async def nothing() -> None:
    """Returns nothing."""


@tool
async def huge() -> str:
    """Returns ten million characters."""
    return "x" * 10_000_000


@tool
async def odd() -> object:
    """Returns what has no JSON form."""
    return object()


@tool
async def raising() -> str:
    """Fails."""
    raise ValueError("the database is closed")


@tool
def raising_plainly() -> str:
    """Fails in its thread."""
    raise ValueError("the database is closed")


@tool
async def explaining() -> str:
    """Fails and says how to go on."""
    raise ToolError("There is no such order. Ask for its number.")


@tool(timeout=0.01)
async def slow() -> str:
    """Takes too long by its own limit."""
    await asyncio.Event().wait()
    return "never"


@tool
async def timing_out() -> str:
    """Raises a TimeoutError of its own."""
    raise TimeoutError("the shop did not answer")


@tool
async def leaving() -> str:
    """Calls sys.exit."""
    raise SystemExit(2)


@tool
def leaving_plainly() -> str:
    """Calls sys.exit in its thread."""
    raise SystemExit(2)


@tool
async def cancelling() -> str:
    """Waits for work that somebody else cancelled."""
    work = asyncio.ensure_future(asyncio.sleep(10))
    work.cancel()
    await work
    return "never"


@tool(approval=lambda arguments: arguments["no such"] > 5)
async def undecided() -> str:
    """Has an approval rule that fails."""
    return "must not run"


@tool
async def counting(n: int) -> int:
    """Counts."""
    return n


@tool
async def picture() -> list[Any]:
    """Returns parts."""
    from agentfootprint.messages import Image

    return ["Look:", Image(url="https://example.org/cat.png")]


TOOLS = [
    fine,
    nothing,
    huge,
    odd,
    raising,
    raising_plainly,
    explaining,
    slow,
    timing_out,
    leaving,
    leaving_plainly,
    cancelling,
    undecided,
    counting,
    picture,
]

OUTCOMES: list[tuple[ToolCall, str, str]] = [
    (ToolCall("c", "fine"), "ok", "fine"),
    (ToolCall("c", "nothing"), "ok", "returned nothing"),
    (ToolCall("c", "huge"), "ok", "characters are left out"),
    (ToolCall("c", "picture"), "ok", "Look:"),
    (ToolCall("c", "odd"), "error", "'odd' returned a object"),
    (ToolCall("c", "raising"), "error", "raising failed with ValueError: the database is closed"),
    (ToolCall("c", "raising_plainly"), "error", "ValueError: the database is closed"),
    (ToolCall("c", "explaining"), "error", "There is no such order. Ask for its number."),
    (ToolCall("c", "slow"), "timeout", "longer than 0.01 s"),
    (ToolCall("c", "timing_out"), "error", "TimeoutError: the shop did not answer"),
    (ToolCall("c", "leaving"), "error", "SystemExit"),
    (ToolCall("c", "leaving_plainly"), "error", "SystemExit"),
    (ToolCall("c", "cancelling"), "error", "CancelledError"),
    (ToolCall("c", "undecided"), "error", "was not run: its approval rule failed with KeyError"),
    (ToolCall("c", "missing"), "unknown_tool", "no tool named 'missing'"),
    (ToolCall("c", ""), "unknown_tool", "no tool named ''"),
    (ToolCall("c", "counting"), "invalid_arguments", "n: missing"),
    (ToolCall("c", "counting", {"n": "many"}), "invalid_arguments", "n: "),
    (ToolCall("c", "counting", {"n": 1, "m": 2}), "invalid_arguments", "no such argument"),
    (ToolCall("c", "counting", raw='{"n": 1'), "invalid_arguments", "not valid JSON"),
    (ToolCall("c", "counting", raw="[1]"), "invalid_arguments", "not a JSON object"),
    (ToolCall("c", "counting", raw=""), "invalid_arguments", "send a JSON object"),
]
NAMES = [f"{one.name or 'no name'} {one.raw or dict(one.arguments) or ''}".strip() for one, _, _ in OUTCOMES]


@pytest.mark.parametrize(("asked", "outcome", "told"), OUTCOMES, ids=NAMES)
async def test_each_outcome_is_one_result_that_the_model_reads(
    asked: ToolCall, outcome: str, told: str
) -> None:
    seen = Events()
    agent = scripted(asks_for(asked), "done", tools=TOOLS, recorders=[seen])
    async with asyncio.timeout(10):
        result = completed(await agent.run("Go."))
    assert result.output == "done"
    assert whole(result.messages)
    request = mock_of(agent).requests[1]
    assert list(request.messages) == list(result.messages)[:-1]
    message = results(request.messages)["c"]
    assert told in message.text
    assert (message.name, message.is_error) == (asked.name, outcome != "ok")
    (ended,) = seen.of(ToolEnded)
    assert (ended.call_id, ended.tool, ended.outcome, ended.result) == (
        "c",
        asked.name,
        outcome,
        message.text,
    )


async def test_each_outcome_among_others_is_one_result_in_its_place() -> None:
    calls = [ToolCall(f"c{n}", one.name, one.arguments, one.raw) for n, (one, _, _) in enumerate(OUTCOMES)]
    agent = scripted(asks_for(*calls), "done", tools=TOOLS)
    async with asyncio.timeout(10):
        result = completed(await agent.run("Go."))
    assert whole(result.messages)
    told = results(result.messages)
    for n, (_, outcome, text) in enumerate(OUTCOMES):
        assert text in told[f"c{n}"].text
        assert told[f"c{n}"].is_error == (outcome != "ok")


async def test_ten_million_characters_are_cut_before_the_model_and_the_record_see_them() -> None:
    result = await scripted(call("huge"), "done", tools=[huge]).run("Go.")
    assert len(results(result.messages)["call_1"].text) <= 100_000
    assert len(result.footprint.to_jsonl()) < 1_000_000


async def test_a_tools_limit_goes_before_the_agents() -> None:
    @tool
    async def hangs() -> None:
        """Hangs."""
        await asyncio.Event().wait()

    agent = scripted([call("hangs"), call("slow")], "done", tools=[hangs, slow], tool_timeout=0.02)
    async with asyncio.timeout(10):
        result = await agent.run("Go.")
    told = results(result.messages)
    assert "longer than 0.02 s" in told["call_1"].text
    assert "longer than 0.01 s" in told["call_2"].text


async def test_a_plain_tool_that_hangs_times_out_and_the_run_goes_on() -> None:
    import threading

    let_go = threading.Event()

    @tool(timeout=0.01)
    def hangs() -> None:
        """Hangs in its thread."""
        let_go.wait(10)

    try:
        result = await scripted(call("hangs"), "done", tools=[hangs]).run("Go.")
    finally:
        let_go.set()
    assert "longer than 0.01 s" in results(result.messages)["call_1"].text
    assert completed(result).output == "done"


@pytest.mark.parametrize(
    ("given", "unique"),
    [
        (["a", "a"], ["a", "a-2"]),
        (["", ""], ["call", "call-2"]),
        (["a", "a", "a-2"], ["a", "a-3", "a-2"]),
        (["", "call"], ["call-2", "call"]),
        (["x", "", "x", "y"], ["x", "call", "x-2", "y"]),
    ],
)
async def test_repeated_and_empty_call_ids_are_made_unique(given: list[str], unique: list[str]) -> None:
    calls = [ToolCall(name, "counting", {"n": n}) for n, name in enumerate(given)]
    agent = scripted(asks_for(*calls), "done", tools=[counting])
    result = await agent.run("Count.")
    assert sorted(one.id for one in result.messages[1].tool_calls) == sorted(unique)
    assert whole(result.messages)
    # Each result stands with the call whose arguments it came from.
    told = results(mock_of(agent).requests[1].messages)
    assert {one.id: str(one.arguments["n"]) for one in result.messages[1].tool_calls} == {
        call_id: message.text for call_id, message in told.items()
    }


async def test_an_id_that_the_model_uses_at_every_turn_is_no_obstacle() -> None:
    agent = scripted(
        asks_for(ToolCall("same", "counting", {"n": 1})),
        asks_for(ToolCall("same", "counting", {"n": 2})),
        "done",
        tools=[counting],
    )
    result = await agent.run("Count.")
    assert [m.text for m in result.messages if m.role == "tool"] == ["1", "2"]
    assert whole(result.messages)


async def test_a_tool_cannot_change_what_the_model_asked() -> None:
    @tool
    async def vandal(ctx: ToolContext[Any], items: list[dict[str, int]], options: dict[str, Any]) -> str:
        """Changes everything it gets."""
        items[0]["n"] = 99
        items.append({"n": 100})
        options["added"] = True
        ctx.arguments["items"].clear()
        ctx.arguments["options"]["deep"].append(1)
        return "done"

    sent = {"items": [{"n": 1}], "options": {"deep": []}}
    agent = scripted(asks_for(ToolCall("c", "vandal", sent)), "ok", tools=[vandal])
    result = await agent.run("Go.")
    assert result.messages[1].tool_calls[0].arguments == {"items": [{"n": 1}], "options": {"deep": []}}
    assert sent == {"items": [{"n": 1}], "options": {"deep": []}}
    assert not results(result.messages)["c"].is_error


async def test_an_approval_rule_cannot_change_what_the_model_asked() -> None:
    def rule(arguments: Any) -> bool:
        arguments["n"] = 99
        return False

    @tool(approval=rule)
    async def pay(n: int) -> int:
        """Pays."""
        return n

    result = await scripted(call("pay", n=1), "ok", tools=[pay]).run("Pay.")
    assert results(result.messages)["call_1"].text == "1"
    assert result.messages[1].tool_calls[0].arguments == {"n": 1}


async def test_a_result_that_is_changed_afterwards_stays_as_it_was() -> None:
    kept: list[list[int]] = []

    @tool
    async def leaky() -> list[int]:
        """Keeps what it returns."""
        kept.append([1])
        return kept[0]

    def model(request: Any) -> Any:
        if request.messages[-1].role == "user":
            return call("leaky")
        kept[0].append(2)
        return "ok"

    result = await Agent(MockProvider(respond=model), tools=[leaky]).run("Go.")
    assert results(result.messages)["call_1"].text == "[1]"


async def test_a_run_that_is_cancelled_ends_its_tools() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def works() -> None:
        """Works until it is stopped."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    run = asyncio.create_task(scripted([call("works"), call("fine")], tools=[works, fine]).run("Go."))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended.is_set()


async def test_what_a_tool_says_to_the_model_may_be_parts() -> None:
    result = await scripted(call("picture"), "A cat.", tools=[picture]).run("Look.")
    message = results(result.messages)["call_1"]
    assert message.parts[0] == Text("Look:")
    assert message.parts[1].kind == "image"


async def test_a_last_answer_that_asks_again_has_its_calls_closed_too() -> None:
    stubborn = LLMResponse("Almost.", tool_calls=(ToolCall("again", "fine"),))
    agent = scripted(asks_for(ToolCall("first", "fine")), stubborn, tools=[fine], max_iterations=1)
    result = await agent.run("Go.")
    assert result.output == "Almost."
    assert whole(result.messages)
    assert set(results(result.messages)) == {"first", "again"}
    assert all(message.is_error for message in results(result.messages).values())


async def test_a_hostile_number_of_calls_is_a_result_each() -> None:
    calls = [ToolCall(f"c{n}", "counting", {"n": n}) for n in range(300)]
    begun = time.monotonic()
    result = await scripted(asks_for(*calls), "done", tools=[counting]).run("Go.")
    assert whole(result.messages)
    assert len(results(result.messages)) == 300
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("levels", [101, 500, 20_000])
async def test_arguments_nested_without_end_are_refused_like_any_other(levels: int) -> None:
    deep: Any = {}
    for _ in range(levels):
        deep = {"n": deep}
    agent = scripted(asks_for(ToolCall("c", "counting", deep)), "done", tools=[counting])
    result = await agent.run("Go.")
    assert results(result.messages)["c"].is_error
    assert "was not run, its arguments do not fit" in results(result.messages)["c"].text
    assert result.footprint.to_jsonl()


async def test_the_messages_of_a_run_are_its_requests_and_its_answer() -> None:
    agent = scripted(call("fine"), [call("fine"), call("raising")], "done", tools=[fine, raising])
    result = await agent.run("Go.")
    for request in mock_of(agent).requests:
        assert whole(request.messages)
        assert list(request.messages) == list(result.messages)[: len(request.messages)]
    assert result.messages[-1] == Message.assistant("done")
