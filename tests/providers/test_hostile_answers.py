"""Answers that no vendor should give, and servers give: read as far as they can be, or refused by name."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import ProviderError, StreamTruncated, Unavailable
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall
from tests.agent.support import completed
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.native import native, native_events
from tests.providers.server import ScriptedServer, frames, says, streams
from tests.providers.test_wires import CALLS, REQUEST, every_dialect, read

HTTP = [dialect for dialect in DIALECTS if dialect.name.startswith("http-")]
every_wire = pytest.mark.parametrize("dialect", HTTP, ids=lambda each: each.name.removeprefix("http-"))


async def whole(dialect: Dialect, answer: Any) -> LLMResponse:
    async with ScriptedServer([says(answer)]) as server, dialect.make(server.url) as provider:
        response: LLMResponse = await provider.complete(REQUEST)
        return response


async def streamed(dialect: Dialect, events: list[Any], size: int = 1000) -> LLMResponse:
    async with ScriptedServer([streams(events, size)]) as server, dialect.make(server.url) as provider:
        return (await read(provider))[0]


def of(name: str) -> Dialect:
    return next(each for each in HTTP if each.name == f"http-{name}")


@every_wire
def test_a_stream_is_the_same_answer_cut_at_every_byte(dialect: Dialect) -> None:
    from agentfootprint.vendors.sse import ServerSentEvents

    wire = dialect.make("http://127.0.0.1:1")._wire
    data = frames(dialect.stream("Ä 📦", CALLS[:1]))

    def decoded(pieces: list[bytes]) -> LLMResponse:
        events, decoder = ServerSentEvents(), wire.decoder()
        for piece in pieces:
            for event in events.feed(piece):
                if event.data != "[DONE]":
                    list(decoder.feed(json.loads(event.data)))
        assert decoder.done
        response: LLMResponse = decoder.response(None)
        return response

    expected = decoded([data])
    assert expected.text == "Ä 📦"
    for at in range(len(data)):
        assert decoded([data[:at], data[at:]]) == expected, at


@every_wire
@pytest.mark.parametrize("text", ["", "\ud83d", "\x00", "\u2028\u2029\x85", "a" * 5_000, '"\\'])
async def test_texts_of_every_kind_come_as_they_were_written(dialect: Dialect, text: str) -> None:
    # As escapes: half of a character has no UTF-8 form, and servers do send it.
    escaped = [
        f"data: {json.dumps(event)}\n\n".encode() if isinstance(event, dict) else event
        for event in dialect.stream(text)
    ]
    answers = [await whole(dialect, dialect.answer(text)), await streamed(dialect, escaped)]
    assert [answer.text for answer in answers] == [text, text]


@every_wire
async def test_an_agent_goes_on_after_half_a_character(dialect: Dialect) -> None:
    @tool
    async def look(order: str) -> str:
        """Where an order is."""
        return order

    scripts = [
        says(dialect.answer("Half \ud83d", [("c1", "look", {"order": "x\udca6"})])),
        says(dialect.answer("Done.")),
    ]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        assert completed(await Agent(provider, tools=[look]).run("Go.")).output == "Done."
    server.seen[1].raw.decode()
    assert "Half \ufffd" in json.dumps(server.seen[1].body, ensure_ascii=False)


@every_wire
async def test_usage_that_is_null_or_half_is_not_reported_rather_than_zero(dialect: Dialect) -> None:
    broken: list[Any] = [None, {}, {"output_tokens": None}, {"prompt_tokens": 3}, {"output_tokens": 3}]
    for usage in broken:
        assert (await whole(dialect, {**dialect.answer("Hi."), "usage": usage})).usage is None
    events = [_without_usage(event) for event in dialect.stream("Hi.")]
    response = await streamed(dialect, events)
    assert (response.text, response.usage) == ("Hi.", None)


def _without_usage(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_usage(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: None if key == "usage" else _without_usage(each) for key, each in value.items()}


@every_wire
async def test_unknown_events_and_errors_that_are_null_change_nothing(dialect: Dialect) -> None:
    strange = [
        {"type": "content_block_future", "index": 99, "error": None, "object": "chat.completion.chunk"},
        {"type": "response.future.delta", "output_index": 7, "delta": "?"},
        {"type": None, "choices": None},
        b"event: ping\ndata: {}\n\n",
        b": heartbeat\n\n",
        b"retry: 3\nid: 4\n\n",
    ]
    events: list[Any] = []
    for event in dialect.stream("A whole answer.", CALLS):
        events += [*strange, event]
    response = await streamed(dialect, events)
    assert response == await streamed(dialect, dialect.stream("A whole answer.", CALLS))


@every_wire
async def test_a_field_of_null_where_nothing_is_said_changes_nothing(dialect: Dialect) -> None:
    answer = {**dialect.answer("Hi."), "error": None, "stop_details": None, "service_tier": None}
    assert (await whole(dialect, answer)).text == "Hi."


@every_wire
@pytest.mark.parametrize(
    "data", [{}, {"content": None}, {"choices": []}, {"output": None}, {"choices": [{}]}]
)
async def test_an_answer_of_another_form_is_refused_by_name(dialect: Dialect, data: Any) -> None:
    with pytest.raises(Unavailable, match="not of the form"):
        await whole(dialect, data)


@every_wire
async def test_pieces_of_what_was_never_begun_are_no_answer(dialect: Dialect) -> None:
    lost = {
        "http-anthropic": {
            "type": "content_block_delta",
            "index": 9,
            "delta": {"type": "text_delta", "text": "?"},
        },
        "http-responses": {"type": "response.function_call_arguments.delta", "output_index": 9, "delta": "?"},
        "http-chat": {"choices": [{"delta": {"tool_calls": [7]}}]},
    }[dialect.name]
    with pytest.raises(ProviderError, match="not of the form"):
        await streamed(dialect, [lost, *dialect.stream("Hi.")])


@every_wire
async def test_json_nested_too_deep_is_no_answer(dialect: Dialect) -> None:
    deep = b'{"error":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(Unavailable):
        await whole(dialect, deep)
    with pytest.raises(StreamTruncated):
        await streamed(dialect, [b"data: " + deep + b"\n\n"], 100_000)


@every_wire
async def test_arguments_nested_too_deep_come_as_they_were_written(dialect: Dialect) -> None:
    wire = dialect.make("http://127.0.0.1:1")._wire
    text = '{"a":' * 100_000 + "1" + "}" * 100_000
    events = json.loads(
        json.dumps(dialect.stream("", [("c1", "look", {})])).replace('"{}"', json.dumps(text))
    )
    decoder = wire.decoder()
    for event in events:
        if event != "[DONE]":
            list(decoder.feed(event))
    [call] = decoder.response(None).tool_calls
    assert (call.arguments, call.raw) == ({}, text)


@every_dialect
async def test_a_frame_of_a_megabyte_is_read_like_any_other(dialect: Dialect) -> None:
    text = "Ä" * 600_000
    answer = dialect.answer(text)
    events: list[Any]
    if "responses" in dialect.name:
        events = [{"type": "response.completed", "response": answer}]
    elif "chat" in dialect.name:
        delta = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
        events = [delta, "[DONE]"]
    else:
        begun = {"type": "text", "text": text}
        events = [
            {"type": "message_start", "message": {**answer, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": begun},
            {"type": "message_stop"},
        ]
    begun_at = time.process_time()
    async with (
        ScriptedServer([streams(events, 64_000)]) as server,
        dialect.make(server.url) as provider,
    ):
        response, _ = await read(provider)
    assert response.text == text
    assert time.process_time() - begun_at < 10


# ── calls ───────────────────────────────────────────────────────────────────────────────────────


def chat_events(*deltas: dict[str, Any]) -> list[Any]:
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]} for each in deltas]
    return [*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}, "[DONE]"]


def call(order: str, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": "look", "arguments": json.dumps({"order": order})}, **fields}


@pytest.mark.parametrize(
    "deltas",
    [
        [call("A", index=0, id="a"), call("B", index=0, id="b")],
        [call("A", id="a"), call("B", id="b")],
        [call("A"), call("B")],
        [call("A", id="", index=None), call("B", id="", index=None)],
        [call("A", index=1, id="a"), call("B", index=5, id="b")],
    ],
    ids=["one index for all", "no index", "no index and no id", "null and empty", "gaps"],
)
async def test_parallel_calls_of_sloppy_servers_keep_apart(deltas: list[Any]) -> None:
    response = await streamed(of("chat"), chat_events(*deltas))
    assert [each.arguments for each in response.tool_calls] == [{"order": "A"}, {"order": "B"}]
    assert len({each.id for each in response.tool_calls}) == 2
    assert all(each.id for each in response.tool_calls)


async def test_an_id_or_a_name_repeated_with_every_piece_is_one_call() -> None:
    begin = {"index": 0, "id": "a", "function": {"name": "look", "arguments": '{"order'}}
    same = {"index": 0, "id": "a", "function": {"name": "look", "arguments": '": "A'}}
    other_id = {"index": 0, "id": "made anew", "function": {"arguments": '"}'}}
    response = await streamed(of("chat"), chat_events(begin, same, other_id))
    assert response.tool_calls == (ToolCall("a", "look", {"order": "A"}),)


@every_wire
async def test_calls_without_ids_run_and_get_their_results(dialect: Dialect) -> None:
    @tool
    async def look(order: str) -> str:
        """Where an order is."""
        return f"{order} has shipped"

    answer = json.loads(
        json.dumps(dialect.answer("", [("c1", "look", {"order": "A"}), ("c2", "look", {"order": "B"})]))
    )
    for each in _dicts(answer):
        for key in ("id", "call_id"):
            if each.get(key) in ("c1", "c2", "fc1", "fc2"):
                each[key] = None
    scripts = [says(answer), says(answer), says(dialect.answer("Done."))]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        assert completed(await Agent(provider, tools=[look]).run("Go.")).output == "Done."
    asked, answered = _ids(server.seen[2].body)
    assert asked == answered
    assert len(asked) == 4
    assert all(asked)
    assert len(set(asked)) == 4


def _dicts(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for each in value.values() for found in _dicts(each))]
    return [found for each in value for found in _dicts(each)] if isinstance(value, list) else []


def _ids(body: Any) -> tuple[list[str], list[str]]:
    every = _dicts(body)
    asked = [
        each.get("call_id") or each["id"]
        for each in every
        if each.get("type") in ("tool_use", "function_call") or "arguments" in each.get("function", ())
    ]
    answered = [
        each.get("tool_use_id") or each.get("tool_call_id") or each["call_id"]
        for each in every
        if each.get("type") in ("tool_result", "function_call_output") or each.get("role") == "tool"
    ]
    return asked, answered


async def test_ids_of_other_models_become_such_as_anthropic_takes_the_same_every_time() -> None:
    said = Message.assistant([ToolCall("functions.look:0", "look", {"order": "A"})])
    result = Message.tool("functions.look:0", "look", "shipped")
    dialect = of("anthropic")
    wire = dialect.make("http://127.0.0.1:1")._wire
    bodies = [
        wire.body(LLMRequest([Message.user("Go."), *[said, result] * turns]), "m", stream=False)
        for turns in (1, 2)
    ]
    asked, answered = _ids({"messages": bodies[1]["messages"]})
    assert asked == answered == ["functions_look_0", "functions_look_0-2"]
    assert bodies[1]["messages"][:3] == bodies[0]["messages"]


async def test_of_several_answers_the_first_is_read() -> None:
    events = [
        {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]}
        for index, text in ((1, "other"), (0, "first"))
    ]
    assert (await streamed(of("chat"), events)).text == "first"


async def test_content_in_blocks_is_read_as_text() -> None:
    blocks = [
        {"type": "text", "text": "Hel"},
        {"type": "text", "text": "lo"},
        {"type": "thinking", "thinking": []},
    ]
    dialect = of("chat")
    answer = dialect.answer("x")
    answer["choices"][0]["message"]["content"] = blocks
    events = [{"choices": [{"index": 0, "delta": {"content": blocks}, "finish_reason": "stop"}]}, "[DONE]"]
    assert [(await whole(dialect, answer)).text, (await streamed(dialect, events)).text] == ["Hello", "Hello"]


@every_wire
async def test_a_turn_of_many_blocks_streams_in_any_piece_size(dialect: Dialect) -> None:
    for size in (1, 5, 64_000):
        assert await streamed(dialect, native_events(dialect), size) == await whole(dialect, native(dialect))
