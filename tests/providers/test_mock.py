from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError, MockExhausted, Overloaded, ProviderError
from agentfootprint.messages import (
    LLMChunk,
    LLMRequest,
    LLMResponse,
    Message,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from agentfootprint.providers import MockProvider


def ask(text: str = "hi") -> LLMRequest:
    return LLMRequest((Message.user(text),))


async def chunks_of(provider: MockProvider, request: LLMRequest) -> list[LLMChunk]:
    return [chunk async for chunk in provider.stream(request)]


class TestReplies:
    async def test_reply_answers_every_request(self) -> None:
        provider = MockProvider(reply="same")
        assert [(await provider.complete(ask())).text for _ in range(3)] == ["same"] * 3

    async def test_replies_are_given_in_order_of_the_requests(self) -> None:
        provider = MockProvider(replies=["one", MockProvider.call("find", city="Bern"), "three"])
        assert (await provider.complete(ask())).text == "one"
        second = await provider.complete(ask())
        assert second.stop_reason == "tool_calls"
        assert second.tool_calls == (ToolCall("call_1", "find", {"city": "Bern"}),)
        assert (await provider.complete(ask())).stop_reason == "end"

    async def test_several_calls_at_once_may_have_text_before_them(self) -> None:
        call = MockProvider.call
        provider = MockProvider(reply=["let me see", call("a", x=1), call("b")])
        response = await provider.complete(ask())
        assert response.parts == (
            Text("let me see"),
            ToolCall("call_1", "a", {"x": 1}),
            ToolCall("call_2", "b", {}),
        )
        assert response.stop_reason == "tool_calls"

    async def test_respond_is_asked_with_the_request(self) -> None:
        provider = MockProvider(respond=lambda request: request.messages[-1].text.upper())
        assert (await provider.complete(ask("hello"))).text == "HELLO"

    async def test_respond_may_be_async_and_give_any_reply(self) -> None:
        async def respond(request: LLMRequest) -> Any:
            await asyncio.sleep(0)
            return [MockProvider.call("find", text=request.messages[0].text)]

        response = await MockProvider(respond=respond).complete(ask("hello"))
        assert response.tool_calls[0].arguments == {"text": "hello"}

    async def test_one_of_the_replies_may_be_a_function(self) -> None:
        provider = MockProvider(replies=["one", lambda request: f"saw {len(request.messages)}"])
        await provider.complete(ask())
        assert (await provider.complete(ask())).text == "saw 1"

    async def test_a_whole_response_comes_out_as_it_is(self) -> None:
        response = LLMResponse("cut", usage=None, stop_reason="max_tokens", model="other")
        assert await MockProvider(reply=response).complete(ask()) is response

    async def test_arguments_are_data_of_each_response_alone(self) -> None:
        given = {"when": ["now"]}
        provider = MockProvider(reply=MockProvider.call("find", name="x", given=given))
        given["when"].append("later")
        first = (await provider.complete(ask())).tool_calls[0]
        assert first.arguments == {"name": "x", "given": {"when": ["now"]}}
        assert (await provider.complete(ask())).tool_calls[0].arguments is not first.arguments

    async def test_an_empty_reply_is_an_empty_answer(self) -> None:
        response = await MockProvider(reply="").complete(ask())
        assert (response.parts, response.stop_reason) == ((), "end")


class TestFailures:
    async def test_complete_raises_it(self) -> None:
        provider = MockProvider(replies=[MockProvider.fail(Overloaded("busy", retry_after=2)), "fine"])
        with pytest.raises(Overloaded, match="busy") as caught:
            await provider.complete(ask())
        assert caught.value.retry_after == 2
        assert (await provider.complete(ask())).text == "fine"

    async def test_a_class_will_do(self) -> None:
        with pytest.raises(Overloaded):
            await MockProvider(reply=MockProvider.fail(Overloaded)).complete(ask())

    async def test_a_stream_fails_after_so_many_chunks(self) -> None:
        provider = MockProvider(reply=MockProvider.fail(ConnectionError("cut"), after_chunks=2))
        stream = provider.stream(ask())
        for _ in range(2):
            chunk = await anext(stream)
            assert chunk.text
            assert chunk.response is None
        with pytest.raises(ConnectionError, match="cut"):
            await anext(stream)

    async def test_raised_again_and_again_its_traceback_does_not_grow(self) -> None:
        error = Overloaded("busy")
        provider = MockProvider(reply=MockProvider.fail(error))
        lengths = set()
        for _ in range(5):
            with pytest.raises(Overloaded):
                await provider.complete(ask())
            count, at = 0, error.__traceback__
            while at is not None:
                count, at = count + 1, at.tb_next
            lengths.add(count)
        assert len(lengths) == 1

    async def test_exhaustion_is_loud_and_says_what_was_asked(self) -> None:
        provider = MockProvider(replies=["one"], name="double")
        await provider.complete(ask())
        question = ask("Where is it? " + "x" * 500)
        with pytest.raises(
            MockExhausted, match=r"1 reply and was asked 2 times.*user: 'Where is it"
        ) as caught:
            await provider.complete(question)
        assert len(str(caught.value)) < 300
        assert caught.value.provider == "double"
        assert isinstance(caught.value, ProviderError)
        with pytest.raises(MockExhausted, match="asked 3 times"):
            await chunks_of(provider, question)


class TestStreaming:
    async def test_text_arrives_in_pieces_of_the_chunk_size(self) -> None:
        chunks = await chunks_of(MockProvider(reply="abcdefgh", chunk_size=3), ask())
        assert [chunk.text for chunk in chunks] == ["abc", "def", "gh", ""]
        assert chunks[-1].response is not None
        assert [chunk.response for chunk in chunks[:-1]] == [None] * 3

    async def test_tool_calls_arrive_as_deltas(self) -> None:
        provider = MockProvider(
            reply=[MockProvider.call("find", city="Bern", note="é" * 30), MockProvider.call("b")],
            chunk_size=7,
        )
        chunks = await chunks_of(provider, ask())
        deltas = [chunk.tool_call_delta for chunk in chunks if chunk.tool_call_delta]
        heads = [(delta.index, delta.id, delta.name) for delta in deltas if delta.id]
        assert heads == [(0, "call_1", "find"), (1, "call_2", "b")]
        joined = "".join(delta.arguments for delta in deltas if delta.index == 0)
        assert json.loads(joined) == {"city": "Bern", "note": "é" * 30}
        assert max(len(delta.arguments) for delta in deltas) == 7

    async def test_reasoning_and_broken_arguments_stream_as_they_are(self) -> None:
        response = LLMResponse(
            parts=(Reasoning("thinking hard"), Text("ok"), ToolCall("c", "find", {}, raw='{"a": '))
        )
        chunks = await chunks_of(MockProvider(reply=response, chunk_size=4), ask())
        assert "".join(chunk.reasoning for chunk in chunks) == "thinking hard"
        assert "".join(c.tool_call_delta.arguments for c in chunks if c.tool_call_delta) == '{"a": '
        assert chunks[-1].response is response

    async def test_stream_and_complete_choose_from_the_same_script(self) -> None:
        provider = MockProvider(replies=["one", "two", "three"])
        assert (await provider.complete(ask("a"))).text == "one"
        assert (await chunks_of(provider, ask("b")))[-1].response == LLMResponse(
            "two", usage=Usage(1, 1), model="mock", provider="mock"
        )
        assert (await provider.complete(ask("c"))).text == "three"
        assert [request.messages[0].text for request in provider.requests] == ["a", "b", "c"]

    @given(text=st.text(), size=st.integers(1, 50))
    def test_the_pieces_joined_are_the_text(self, text: str, size: int) -> None:
        chunks = asyncio.run(chunks_of(MockProvider(reply=text, chunk_size=size), ask()))
        assert "".join(chunk.text for chunk in chunks) == text
        assert all(len(chunk.text) <= size for chunk in chunks)
        assert chunks[-1].response is not None
        assert chunks[-1].response.text == text


class TestRequestsIdsAndUsage:
    async def test_call_ids_are_unique_over_concurrent_runs(self) -> None:
        provider = MockProvider(reply=[MockProvider.call("a"), MockProvider.call("b")], latency=0.001)
        responses = await asyncio.gather(*(provider.complete(ask()) for _ in range(50)))
        ids = [call.id for response in responses for call in response.tool_calls]
        assert sorted(ids) == sorted(f"call_{n}" for n in range(1, 101))
        assert len(provider.requests) == 50

    async def test_ids_are_the_same_for_the_same_script(self) -> None:
        async def ids() -> list[str]:
            provider = MockProvider(reply=MockProvider.call("a"))
            return [(await provider.complete(ask())).tool_calls[0].id for _ in range(3)]

        assert await ids() == await ids() == ["call_1", "call_2", "call_3"]

    async def test_usage_is_an_estimate_of_the_last_message_and_the_answer(self) -> None:
        provider = MockProvider(reply="x" * 9)
        request = LLMRequest((Message.user("y" * 4000), Message.user("y" * 41)))
        assert (await provider.complete(request)).usage == Usage(11, 3)
        nothing = await provider.complete(LLMRequest(()))
        assert nothing.usage == Usage(0, 3)

    async def test_a_tool_call_counts_too(self) -> None:
        response = await MockProvider(reply=MockProvider.call("find", city="Bern")).complete(ask(""))
        assert response.usage == Usage(0, 5)  # find + {"city":"Bern"} are 19 characters

    async def test_name_and_model(self) -> None:
        provider = MockProvider(reply="x", name="primary", model="large")
        assert (provider.name, provider.model) == ("primary", "large")
        assert (await provider.complete(ask())).model == "large"


class TestLatency:
    async def test_without_latency_nothing_is_suspended(self) -> None:
        coroutine = MockProvider(reply="x").complete(ask())
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        assert done.value.value.text == "x"

    async def test_latency_passes_before_the_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        provider = MockProvider(replies=["a", MockProvider.fail(Overloaded)], latency=1.5)
        await provider.complete(ask())
        assert slept == [1.5]
        with pytest.raises(Overloaded):
            await provider.complete(ask())
        assert slept == [1.5, 1.5]

    async def test_replies_go_out_by_order_of_asking_not_of_answering(self) -> None:
        provider = MockProvider(replies=["first", "second"], latency=0.001)
        one = asyncio.ensure_future(provider.complete(ask()))
        two = asyncio.ensure_future(provider.complete(ask()))
        assert [(await two).text, (await one).text] == ["second", "first"]


class TestRefusals:
    def test_exactly_one_source_of_replies(self) -> None:
        for options in ({}, {"reply": "a", "replies": ["b"]}, {"reply": "a", "respond": lambda request: "b"}):
            with pytest.raises(ConfigurationError, match="exactly one of reply="):
                MockProvider(**options)

    def test_a_script_that_is_one_string(self) -> None:
        with pytest.raises(ConfigurationError, match="takes a list"):
            MockProvider(replies="hello")

    def test_what_is_no_reply(self) -> None:
        for wrong in (3, [3], {"a": 1}, b"x"):
            with pytest.raises(ConfigurationError, match=f"cannot reply with a {type(wrong).__name__}"):
                MockProvider(reply=wrong)  # type: ignore[arg-type]

    async def test_a_function_that_gives_no_reply(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot reply with a NoneType"):
            await MockProvider(respond=lambda request: None).complete(ask())  # type: ignore[arg-type,return-value]

    def test_numbers_that_make_no_sense(self) -> None:
        with pytest.raises(ConfigurationError, match="chunk_size"):
            MockProvider(reply="", chunk_size=0)
        with pytest.raises(ConfigurationError, match="latency"):
            MockProvider(reply="", latency=-1)
