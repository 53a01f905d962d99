"""Estimates of a request's input: high, never recounting what the vendor measured."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.cost.estimate import InputEstimate, tokens_of_text
from agentfootprint.messages import (
    File,
    Image,
    LLMRequest,
    Message,
    Opaque,
    Reasoning,
    ToolCall,
    ToolSpec,
    Usage,
)


def request(*messages: Message, **more: Any) -> LLMRequest:
    return LLMRequest(messages, **more)


def fresh(asked: LLMRequest) -> int:
    return InputEstimate().of(asked)


@given(st.text(), st.text())
def test_more_text_is_never_estimated_at_less(one: str, more: str) -> None:
    assert tokens_of_text(one) <= tokens_of_text(one + more)
    assert len(one.encode("utf-8", "surrogatepass")) <= 3 * tokens_of_text(one)


def test_a_script_with_three_bytes_a_character_counts_a_token_for_each() -> None:
    assert tokens_of_text("你好世界") == 4


def test_instructions_tools_and_every_kind_of_part_count() -> None:
    hello = Message.user("hello")
    bare = fresh(request(hello))
    assert fresh(request(hello, system="Be kind to everybody.")) > bare
    assert fresh(request(hello, tools=(ToolSpec("look", "Looks.", {"type": "object"}),))) > bare
    parts: list[Any] = [
        Image(data="aGk=", media_type="image/png"),
        File(data="aGk=" * 10_000, media_type="application/pdf"),
        Reasoning("I think", signature="x" * 300),
        ToolCall("c", "look", {"at": "the order"}),
        Opaque("openai", {"encrypted": "x" * 300}),
    ]
    for part in parts:
        assert fresh(request(hello, Message("assistant", (part,)))) > bare + 8


def test_long_documents_count_for_more_than_short_ones() -> None:
    short, long = (Message.user([File(data="aGk=" * size)]) for size in (1, 100_000))
    assert fresh(request(long)) > 10 * fresh(request(short))


def test_later_requests_count_only_what_is_new_on_top_of_what_was_measured() -> None:
    estimate = InputEstimate()
    first, reply, new = Message.user("x" * 3000), Message.assistant("sure"), Message.user("and now?")
    assert estimate.of(request(first)) > 1000
    estimate.correct(Usage(700, 5))
    assert estimate.of(request(first, reply, new)) == 700 + fresh(request(reply)) + fresh(request(new))


class Counting(tuple[Message, ...]):
    """Messages that count how often one is looked at."""

    looked = 0

    def __getitem__(self, at: Any) -> Any:
        Counting.looked += 1
        return super().__getitem__(at)


def test_a_growing_history_is_not_gone_through_again() -> None:
    estimate = InputEstimate()
    messages = [Message.user("hi")] * 1000
    estimate.of(LLMRequest(Counting(messages)))
    Counting.looked = 0
    estimate.of(LLMRequest(Counting([*messages, Message.assistant("ho")])))
    assert Counting.looked == 2  # The last one that was known, and the new one.


def test_a_shorter_history_is_another_one_and_counted_afresh() -> None:
    estimate = InputEstimate()
    estimate.of(request(Message.user("x" * 3000), Message.assistant("sure")))
    assert estimate.of(request(Message.user("hi"))) == fresh(request(Message.user("hi")))


def test_a_message_that_was_joined_with_its_end_is_a_new_one() -> None:
    estimate = InputEstimate()
    begun = [Message.user("hi"), Message.assistant("sea")]
    estimate.of(request(*begun))
    estimate.correct(Usage(5, 1))
    joined = request(begun[0], Message.assistant("search" + "x" * 3000), Message.user("and?"))
    assert estimate.of(joined) == fresh(joined)


def test_what_a_vendor_did_not_report_corrects_nothing() -> None:
    for silent in (Usage(), Usage(unreported=1)):
        estimate, asked = InputEstimate(), request(Message.user("x" * 3000))
        estimated = estimate.of(asked)
        estimate.correct(silent)
        assert estimate.of(asked) == estimated


def test_the_schema_of_the_answer_is_read_too() -> None:
    schema = {"type": "object", "description": "x" * 3000}
    assert fresh(request(Message.user("hi"), output_schema=schema)) > 1000
