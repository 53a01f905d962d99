"""Why a model stopped, in our words; a turn that the vendor paused goes on."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import InvalidRequest, StreamTruncated
from agentfootprint.messages import StopKind, Usage
from tests.agent.support import Events, completed
from tests.providers.dialects import DIALECTS, Call, Dialect
from tests.providers.server import ScriptedServer, says, streams
from tests.providers.test_inputs import HTTP
from tests.providers.test_reasoning import both_ways, run
from tests.providers.test_wires import REQUEST, every_dialect, read

REASONS: list[tuple[str, str | None, StopKind]] = [
    ("anthropic", "end_turn", "end"),
    ("anthropic", "stop_sequence", "end"),
    ("anthropic", "max_tokens", "max_tokens"),
    ("anthropic", "model_context_window_exceeded", "max_tokens"),
    ("anthropic", "refusal", "refusal"),
    ("anthropic", "pause_turn", "paused"),
    ("anthropic", "of_tomorrow", "other"),
    ("anthropic", None, "other"),
    ("chat", "stop", "end"),
    ("chat", "eos", "end"),
    ("chat", "length", "max_tokens"),
    ("chat", "content_filter", "content_filter"),
    ("chat", "of_tomorrow", "other"),
    ("responses", "max_output_tokens", "max_tokens"),
    ("responses", "content_filter", "content_filter"),
    ("responses", "of_tomorrow", "other"),
    ("responses", None, "end"),
]


def stopped(name: str, reason: str | None, text: str = "Half an") -> tuple[dict[str, Any], list[Any]]:
    """The answer that stops for a reason, whole and as events."""
    dialect = HTTP[name]
    whole, events = dialect.answer(text), dialect.stream(text)
    if name == "anthropic":
        events[-2] = {**events[-2], "delta": {"stop_reason": reason}}
        return {**whole, "stop_reason": reason}, events
    if name == "chat":
        choice = {**whole["choices"][0], "finish_reason": reason}
        events[-3]["choices"][0]["finish_reason"] = reason
        return {**whole, "choices": [choice]}, events
    if reason is not None:
        whole |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
        events[-1] = {"type": "response.incomplete", "response": whole}
    return whole, events


@pytest.mark.parametrize(("name", "reason", "kind"), REASONS)
async def test_a_reason_is_told_in_our_words_plain_and_streamed(
    name: str, reason: str | None, kind: StopKind
) -> None:
    whole, events = stopped(name, reason)
    scripts = [says(whole, request_id="req-1"), streams(events, x_request_id="req-1")]
    async with ScriptedServer(scripts) as server, HTTP[name].make(server.url) as provider:
        answers = [await provider.complete(REQUEST), (await read(provider))[0]]
    assert answers[0] == answers[1]
    assert (answers[0].stop_reason, answers[0].text, answers[0].request_id) == (kind, "Half an", "req-1")


@every_dialect
async def test_the_id_of_the_request_and_the_model_that_answered_are_told(dialect: Dialect) -> None:
    header = "request_id" if "anthropic" in dialect.name else "x_request_id"
    given: dict[str, Any] = {header: "req-7"}
    scripts = [says(dialect.answer("Hi."), **given), streams(dialect.stream("Hi."), **given)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        answers = [await provider.complete(REQUEST), (await read(provider))[0]]
    model = "claude-test" if "anthropic" in dialect.name else "gpt-test"
    assert [(each.request_id, each.model) for each in answers] == [("req-7", model)] * 2


@pytest.mark.parametrize("calls", [[], [("c1", "look", {"order": "A-1"})]], ids=["text", "calls"])
async def test_a_server_that_gives_no_reason_has_counted_what_was_whole(calls: list[Call]) -> None:
    dialect = HTTP["chat"]
    events = dialect.stream("All of it.", calls)
    for event in events[:-1]:
        for choice in event["choices"]:
            choice["finish_reason"] = None
    uncounted = [*events[:-2], events[-1]]
    scripts = [streams(events), streams(uncounted)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        response, _ = await read(provider)
        with pytest.raises(StreamTruncated):
            await read(provider)
    assert (response.text, response.stop_reason) == ("All of it.", "tool_calls" if calls else "other")


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
async def test_what_is_still_to_be_answered_is_no_answer(status: str) -> None:
    dialect = HTTP["responses"]
    answer = {**dialect.answer(), "status": status, "output": []}
    async with ScriptedServer([says(answer)]) as server, dialect.make(server.url) as provider:
        with pytest.raises(InvalidRequest, match=f"{status}.*background"):
            await provider.complete(REQUEST)


# ── a paused turn ───────────────────────────────────────────────────────────────────────────────

SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
ANTHROPIC = [dialect for dialect in DIALECTS if "anthropic" in dialect.name]


def paused(dialect: Dialect, streamed: bool) -> Any:
    whole = {**dialect.answer("Searching."), "stop_reason": "pause_turn"}
    whole["content"] = [*whole["content"], SEARCH]
    if not streamed:
        return says(whole)
    events = dialect.stream("Searching.")
    begun = {"type": "content_block_start", "index": 1, "content_block": SEARCH}
    ended = [{**events[-2], "delta": {"stop_reason": "pause_turn"}}, events[-1]]
    return streams([*events[:-2], begun, *ended])


def found(dialect: Dialect, streamed: bool) -> Any:
    if not streamed:
        whole = dialect.answer("Found it.")
        return says({**whole, "content": [FOUND, *whole["content"]]})
    first, ping, *events = dialect.stream("Found it.")
    events = [{**event, "index": event["index"] + 1} if "index" in event else event for event in events]
    return streams(
        [first, ping, {"type": "content_block_start", "index": 0, "content_block": FOUND}, *events]
    )


@pytest.mark.parametrize("dialect", ANTHROPIC, ids=lambda each: each.name)
@both_ways
async def test_a_paused_turn_goes_back_as_it_is_and_becomes_one_answer(
    dialect: Dialect, streamed: bool
) -> None:
    seen = Events()
    scripts = [paused(dialect, streamed), paused(dialect, streamed), found(dialect, streamed)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        agent = Agent(provider, max_iterations=1, recorders=[seen])
        result = completed(await run(agent, streamed))
    assert result.output == "Searching.Searching.Found it."
    said = {"type": "text", "text": "Searching."}
    assert server.seen[1].body["messages"][1:] == [{"role": "assistant", "content": [said, SEARCH]}]
    assert server.seen[2].body["messages"][1:] == [{"role": "assistant", "content": [said, SEARCH] * 2}]
    # Each of the three was paid for and is told.
    assert result.usage == Usage(390, 15, 300, 60)
    assert seen.types.count("model.ended") == 3
    assert [message.role for message in result.messages] == ["user", "assistant"]


async def test_calls_of_a_paused_turn_run_before_it_goes_on() -> None:
    @tool
    async def look(order: str) -> str:
        """Where an order is."""
        return "shipped"

    dialect = HTTP["anthropic"]
    asks = {**dialect.answer("", [("c1", "look", {"order": "A"})]), "stop_reason": "pause_turn"}
    async with (
        ScriptedServer([says(asks), says(dialect.answer("Done."))]) as server,
        dialect.make(server.url) as provider,
    ):
        assert completed(await Agent(provider, tools=[look]).run("Go.")).output == "Done."
    assert server.seen[1].body["messages"][-1]["content"][0]["type"] == "tool_result"


async def test_a_vendor_that_pauses_for_ever_is_not_asked_for_ever() -> None:
    dialect = HTTP["anthropic"]
    async with ScriptedServer([paused(dialect, False)]) as server, dialect.make(server.url) as provider:
        result = completed(await Agent(provider).run("Go."))
    assert len(server.seen) == 20
    assert result.output is not None
    assert result.output.count("Searching.") == 20
