"""What does not pass by itself is told at once: a request that cannot be answered, and an answer that was
filtered."""

from __future__ import annotations

import pytest

from agentfootprint import Stopped, StopReason
from agentfootprint.errors import (
    ContentFiltered,
    ContextWindowExceeded,
    InvalidRequest,
    ProviderError,
    Unauthorized,
)
from agentfootprint.events import ModelEnded, ModelFellBack, RunEnded
from tests.providers.dialects import Dialect
from tests.providers.server import Script, either, says, streams
from tests.resilience.outages.faults import fails
from tests.resilience.outages.site import (
    ANTHROPIC,
    BY_NAME,
    CHAT,
    FIRST,
    SECOND,
    alone,
    answers,
    ask,
    both_ways,
    both_wires,
    outage,
)

_TOO_LONG = {
    "type": "error",
    "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"},
}
_FILTERED = {"error": {"code": "content_filter", "message": "The prompt was filtered."}}

REFUSALS: list[tuple[str, Script, type[ProviderError]]] = [
    ("400", fails(400, "invalid_request_error"), InvalidRequest),
    ("404", fails(404, "not_found_error"), InvalidRequest),
    ("422", fails(422), InvalidRequest),
    ("a conversation that is too long", says(_TOO_LONG, 400), ContextWindowExceeded),
    ("a request that is too large", fails(413, "request_too_large"), ContextWindowExceeded),
    ("too long, with status 200", either(says(_TOO_LONG), streams([_TOO_LONG])), ContextWindowExceeded),
    ("a prompt that is filtered", says(_FILTERED, 400), ContentFiltered),
]


@both_wires
@both_ways
@pytest.mark.parametrize(("name", "script", "kind"), REFUSALS, ids=[name for name, *_ in REFUSALS])
async def test_a_request_that_is_wrong_is_wrong_everywhere(
    dialect: Dialect, streamed: bool, name: str, script: Script, kind: type[ProviderError]
) -> None:
    # A breaker that opens at the first failure shows that these are none.
    async with outage(dialect, script, script, failure_threshold=1) as site:
        for n in (1, 2):
            told = await ask(site.agent, streamed)
            told.failed(kind)
            assert (site.asked, told.facts) == ((n, 0), [])
        assert (await ask(site.agent, streamed)).answer == FIRST


@both_wires
@both_ways
@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_not_tried_again(
    dialect: Dialect, streamed: bool, status: int
) -> None:
    async with outage(dialect, fails(status, "authentication_error"), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert told.failed(Unauthorized).status == status
        assert (site.asked, told.facts) == ((1, 0), [])


@both_wires
@both_ways
async def test_another_vendor_answers_where_a_key_is_refused(dialect: Dialect, streamed: bool) -> None:
    refused = fails(401, "authentication_error")
    async with outage(dialect, refused, refused, failure_threshold=1) as site:
        for n in (1, 2):
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked, told.facts) == (SECOND, (n, n), ["model.fell_back"])
            assert told.of(ModelFellBack)[0].error == "unauthorized"


@pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC, BY_NAME["http-responses"]], ids=lambda each: each.name)
@both_ways
@pytest.mark.parametrize("text", ["To do this, first", ""])
async def test_an_answer_that_was_filtered_is_not_passed_off_as_whole(
    dialect: Dialect, streamed: bool, text: str
) -> None:
    async with outage(dialect, answers(dialect, text, "filter"), failure_threshold=1) as site:
        told = await ask(site.agent, streamed)
        assert isinstance(told.result, Stopped)
        reason = StopReason.REFUSAL if dialect is ANTHROPIC else StopReason.CONTENT_FILTER
        assert (told.result.reason, told.result.output) == (reason, text or None)
        # It is an answer that was paid for, not a failure: nothing is asked again, and nothing opens.
        assert (site.asked, told.facts) == ((1, 0), [])
        assert told.result.usage.total_tokens == 135
        [ended] = told.of(RunEnded)
        assert (ended.status, ended.reason) == ("stopped", str(reason))
        assert told.of(ModelEnded)[0].stop_reason == str(reason)
        assert (await ask(site.agent, streamed)).answer == FIRST
