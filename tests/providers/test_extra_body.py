"""What callers add to every request: it goes first, but for limits, of which the lowest holds."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint.providers.wire import joined


@pytest.mark.parametrize(
    ("body", "extra", "sent"),
    [
        ({"model": "m", "n": 1}, {"n": 2, "top_k": 4}, {"model": "m", "n": 2, "top_k": 4}),
        ({"tools": ["a"]}, {"tools": ["b"]}, {"tools": ["a", "b"]}),
        ({}, {"tools": ["b"]}, {"tools": ["b"]}),
        ({"max_tokens": 50}, {"max_tokens": 4_000}, {"max_tokens": 50}),
        ({"max_tokens": 5_000}, {"max_tokens": 4_000}, {"max_tokens": 4_000}),
        ({"max_completion_tokens": 50}, {"max_tokens": 4_000}, {"max_tokens": 50}),
        ({}, {"max_tokens": 4_000}, {"max_tokens": 4_000}),
        (
            {"inferenceConfig": {"maxTokens": 50, "temperature": 0}},
            {"inferenceConfig": {"maxTokens": 90, "topP": 1}},
            {"inferenceConfig": {"maxTokens": 50, "temperature": 0, "topP": 1}},
        ),
    ],
)
def test_a_body_joined_with_a_callers_fields(
    body: dict[str, Any], extra: dict[str, Any], sent: dict[str, Any]
) -> None:
    before = repr(body)
    assert joined(body, extra) == sent
    assert repr(body) == before
