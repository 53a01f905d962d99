"""Answers held to a schema by the vendor itself, on each wire, plain and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers.openai_parts import strict
from tests.providers.dialects import Dialect
from tests.providers.server import ScriptedServer, says, streams
from tests.providers.test_inputs import HTTP
from tests.providers.test_wires import every_dialect, read

CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Bern", "Köln"]},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Stop"}},
    },
    "required": ["city", "stops"],
    "additionalProperties": False,
    "$defs": {
        "Stop": {
            "type": "object",
            "properties": {"at": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "required": ["at"],
            "additionalProperties": False,
        }
    },
}
OPEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "more": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
    "required": ["city"],
}
ANSWER = {"city": "Köln", "stops": [{"at": "9:00"}, {"at": None}]}


def request(schema: dict[str, Any]) -> LLMRequest:
    return LLMRequest((Message.user("Where?"),), output_schema=schema)


@every_dialect
async def test_the_answer_is_that_json_plain_and_streamed(dialect: Dialect) -> None:
    text = json.dumps(ANSWER, ensure_ascii=False)
    async with (
        ScriptedServer([says(dialect.answer(text)), streams(dialect.stream(text))]) as server,
        dialect.make(server.url) as provider,
    ):
        whole = await provider.complete(request(CLOSED))
        streamed, _ = await read(provider, request(CLOSED))
    assert whole == streamed
    assert json.loads(whole.text) == ANSWER
    for exchange in server.seen:
        asked = _asked(dialect, exchange.body)
        assert asked["schema"] == CLOSED
        assert asked.get("strict", True) is True
        assert asked.get("name", "answer") == "answer"


def _asked(dialect: Dialect, body: Any) -> Any:
    if "anthropic" in dialect.name:
        assert body["output_config"]["format"]["type"] == "json_schema"
        return body["output_config"]["format"]
    if "chat" in dialect.name:
        assert body["response_format"]["type"] == "json_schema"
        return body["response_format"]["json_schema"]
    assert body["text"]["format"]["type"] == "json_schema"
    return body["text"]["format"]


@pytest.mark.parametrize("name", ["chat", "responses"])
def test_a_schema_that_openai_cannot_enforce_is_asked_for_without_strictness(name: str) -> None:
    wire = HTTP[name].make("http://127.0.0.1:1")._wire
    asked = _asked(HTTP[name], wire.body(request(OPEN), "m", stream=False))
    assert (asked["strict"], asked["schema"]) == (False, OPEN)


def test_objects_that_say_nothing_of_further_properties_are_closed_for_anthropic() -> None:
    wire = HTTP["anthropic"].make("http://127.0.0.1:1")._wire
    asked = wire.body(request(OPEN), "m", stream=False)["output_config"]["format"]["schema"]
    assert asked["additionalProperties"] is False
    assert asked["properties"]["more"]["additionalProperties"] is False
    assert "additionalProperties" not in OPEN
    said: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
    named = {"type": "object", "properties": {"type": {"const": {"type": "object"}}}}
    for schema, closed in ((said, said), (named, {**named, "additionalProperties": False})):
        body = wire.body(request(schema), "m", stream=False)
        assert body["output_config"]["format"]["schema"] == closed


STRICT: list[tuple[dict[str, Any], bool]] = [
    (CLOSED, True),
    (OPEN, False),
    ({"type": "string"}, False),
    ({**CLOSED, "anyOf": [CLOSED]}, False),
    ({**CLOSED, "required": ["city"]}, False),
    ({**CLOSED, "additionalProperties": True}, False),
    ({**CLOSED, "allOf": []}, False),
    ({**CLOSED, "$defs": {"Stop": {"type": "object"}}}, False),
    ({**CLOSED, "properties": {**CLOSED["properties"], "stops": {"type": "array", "items": OPEN}}}, False),
    # Properties whose names are words of the language of schemas.
    (
        {
            "type": "object",
            "properties": {
                "properties": {"type": "string"},
                "type": {"type": "string"},
                "not": {"type": "null"},
            },
            "required": ["type", "not", "properties"],
            "additionalProperties": False,
        },
        True,
    ),
]


@pytest.mark.parametrize(("schema", "expected"), STRICT)
def test_which_schemas_openai_can_hold_a_model_to(schema: dict[str, Any], expected: bool) -> None:
    assert strict(schema) is expected


REFUSALS: dict[str, Any] = {
    "anthropic": {"stop_reason": "refusal"},
    "chat": {
        "choices": [
            {
                "message": {"role": "assistant", "content": None, "refusal": "I cannot."},
                "finish_reason": "stop",
            }
        ]
    },
    "responses": {
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}
        ]
    },
}


@pytest.mark.parametrize("name", HTTP)
async def test_a_refusal_instead_of_the_json_is_told_as_one(name: str) -> None:
    dialect = HTTP[name]
    answer = {**dialect.answer("I cannot."), **REFUSALS[name]}
    async with ScriptedServer([says(answer)]) as server, dialect.make(server.url) as provider:
        response = await provider.complete(request(CLOSED))
    assert (response.text, response.stop_reason) == ("I cannot.", "refusal")
