"""The wire of Chat Completions, as OpenAI defined it and many servers speak it
(https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..messages import (
    File,
    Image,
    LLMChunk,
    LLMRequest,
    LLMResponse,
    Message,
    Opaque,
    Part,
    Reasoning,
    StopKind,
    Text,
    ToolCall,
    ToolCallDelta,
)
from ..vendors.failures import failure_in
from .media import called, refusal
from .openai_parts import VENDOR, arguments_text, file_fields, image_url, strict, usage
from .wire import joined, tool_call

__all__ = ["ChatWire"]

_STOPS: Mapping[str, StopKind] = {
    "stop": "end",
    "eos": "end",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "max_tokens",
    "content_filter": "content_filter",
}


class ChatWire:
    """Requests and answers of Chat Completions. `limit` is the name of the field for the most tokens of
    an answer: OpenAI renamed it, other servers kept the old one. What only the server understands goes
    back to the same `vendor`. `extra` joins every body.

    Results of tools are text on this wire: pictures and documents of one follow the results of its turn as a
    message of the user.
    """

    path = stream_path = "/chat/completions"

    def __init__(
        self,
        name: str,
        limit: str = "max_tokens",
        extra: Mapping[str, Any] | None = None,
        vendor: str = VENDOR,
    ) -> None:
        self._name = name
        # One server may speak two wires, and does not take on one what it said on the other.
        self._vendor = f"chat:{vendor}"
        self._limit = limit
        self._extra = dict(extra or {})

    def body(self, request: LLMRequest, model: str, *, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": each.name,
                        "description": each.description,
                        "parameters": dict(each.schema),
                    },
                }
                for each in request.tools
            ]
        messages = [{"role": "system", "content": request.system}] if request.system else []
        body["messages"] = messages + list(self._messages(request.messages))
        if request.output_schema is not None:
            schema = dict(request.output_schema)
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": strict(schema)},
            }
        if request.max_tokens is not None:
            body[self._limit] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return joined(body, self._extra)

    def whole(self, data: Mapping[str, Any], request_id: str | None) -> LLMResponse:
        if data.get("error"):
            raise failure_in(self._name, data, request_id)
        choice = data["choices"][0]
        if choice.get("error"):
            raise failure_in(self._name, choice, request_id)
        message = choice["message"]
        parts = list(self._parts(message))
        finish = choice.get("finish_reason")
        stop: StopKind = _STOPS.get(finish or "", "other")
        if message.get("tool_calls") and (stop == "end" or not finish):
            stop = "tool_calls"  # Some servers say "stop" for both, others nothing.
        elif message.get("refusal") and stop == "end":
            stop = "refusal"
        return LLMResponse(
            parts=parts,
            usage=usage(data.get("usage")),
            stop_reason=stop,
            model=data.get("model"),
            request_id=request_id,
            provider=self._name,
        )

    def decoder(self) -> _Decoder:
        return _Decoder(self)

    # ── parts ───────────────────────────────────────────────────────────────────────────────────

    def _messages(self, messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
        shown: list[dict[str, Any]] = []
        for message in messages:
            if message.role == "tool":
                result, beside = self._result(message)
                yield result
                shown += beside
                continue
            if shown:
                # Nothing may stand between a call and its result.
                yield {"role": "user", "content": shown}
                shown = []
            if (out := self._message(message)) is not None:
                yield out
        if shown:
            yield {"role": "user", "content": shown}

    def _result(self, message: Message) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        beside = [self._block(part) for part in message.parts if not isinstance(part, Text)]
        told = f"Returned by {message.name or 'a tool'} ({message.call_id}):"
        text = message.text or ("(what it returned follows as a message)" if beside else "")
        result = {"role": "tool", "tool_call_id": message.call_id, "content": text}
        return result, [{"type": "text", "text": told}, *beside] if beside else []

    def _message(self, message: Message) -> dict[str, Any] | None:
        if message.role == "user":
            if all(isinstance(part, Text) for part in message.parts):
                return {"role": "user", "content": message.text}
            blocks = [self._block(part) for part in message.parts if not self._foreign(part)]
            return {"role": "user", "content": blocks} if blocks else None
        out: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        calls = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, Reasoning) and part.provider == self._vendor and part.data is not None:
                out |= json.loads(part.data)
            elif isinstance(part, (Image, File)):
                raise refusal(
                    self._name, f"{called(part)} is in a message of the assistant: only text can be"
                )
        if calls:
            out["tool_calls"] = calls
        elif not message.text:
            return None  # Only another vendor could read it, and this API wants content.
        return out

    def _call(self, call: ToolCall) -> dict[str, Any]:
        extra = call.extra
        said = extra.data if extra is not None and extra.provider == self._vendor else {}
        function = {"name": call.name, "arguments": arguments_text(call)}
        return {**said, "id": call.id, "type": "function", "function": function}

    def _foreign(self, part: Part) -> bool:
        return isinstance(part, (Reasoning, Opaque)) and part.provider != self._vendor

    def _block(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image):
            return {"type": "image_url", "image_url": {"url": image_url(part, self._name)}}
        if isinstance(part, File):
            fields = file_fields(part, self._name)
            if "file_url" in fields:
                raise refusal(
                    self._name,
                    f"{called(part)} is given by its address, and Chat Completions fetches no documents: "
                    "give its data",
                )
            return {"type": "file", "file": fields}
        if isinstance(part, Opaque):
            return dict(part.data)
        raise refusal(self._name, f"a {part.kind} part cannot be in a message of the user or of a tool")

    def _parts(self, message: Mapping[str, Any]) -> Iterator[Part]:
        if thoughts := {field: message[field] for field in _THOUGHTS if message.get(field)}:
            texts = (thought for thought in thoughts.values() if isinstance(thought, str))
            data = json.dumps(thoughts, ensure_ascii=False)
            yield Reasoning(next(texts, ""), None, data, self._vendor)
        for field in ("content", "refusal"):
            if text := _text(message.get(field)):
                yield Text(text)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            said = {k: v for k, v in call.items() if v and k not in ("id", "type", "function", "index")}
            extra = Opaque(self._vendor, said) if said else None
            yield tool_call(call.get("id"), function["name"], function.get("arguments"), extra)


# OpenRouter and Groq say "reasoning"; DeepSeek, vLLM and llama.cpp "reasoning_content".
_THOUGHTS = ("reasoning", "reasoning_content", "reasoning_details")


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(block.get("text") or "" for block in content)
    return content or ""


class _Decoder:
    """Puts the message together from its deltas; what comes out is read as a whole one is."""

    def __init__(self, wire: ChatWire) -> None:
        self._wire = wire
        self._told: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._at: dict[Any, int] = {}
        self._finish: str | None = None
        self._counted = False
        self._usage: Any = None
        self._model: str | None = None

    over = False
    """Usage follows the finish reason; only `[DONE]` says that nothing more comes, and not that all came."""

    @property
    def done(self) -> bool:
        """Whether a finish reason was seen or, from servers that give none, the count of the whole."""
        return self._finish is not None or self._counted

    def feed(self, event: Mapping[str, Any]) -> Iterator[LLMChunk]:
        if event.get("error"):
            raise failure_in(self._wire._name, event)
        self._model = event.get("model") or self._model
        self._usage = event.get("usage") or self._usage
        self._counted |= bool(event.get("usage")) and not event.get("choices")
        for choice in event.get("choices") or ():
            if choice.get("error"):
                raise failure_in(self._wire._name, choice)
            if choice.get("index"):
                continue  # One answer is read, also where the request asked for several.
            delta = choice.get("delta") or {}
            thoughts = [self._grow(field, delta.get(field)) for field in _THOUGHTS[:2]]
            if thought := next(filter(None, thoughts), ""):
                yield LLMChunk(reasoning=thought)
            for detail in delta.get("reasoning_details") or ():
                self._detail(detail)
            for field in ("content", "refusal"):
                if text := self._grow(field, _text(delta.get(field))):
                    yield LLMChunk(text)
            for call in delta.get("tool_calls") or ():
                yield self._call(call)
            self._finish = choice.get("finish_reason") or self._finish

    def _grow(self, field: str, text: Any) -> str:
        if not text or not isinstance(text, str):
            return ""
        self._told.setdefault(field, []).append(text)
        return text

    def _detail(self, piece: Mapping[str, Any]) -> None:
        """Details of one index and type that follow each other are pieces of one."""
        last = self._details[-1] if self._details else {}
        if not last or any(last.get(key) != piece.get(key) for key in ("type", "index")):
            self._details.append(dict(piece))
            return
        for key, value in piece.items():
            if key in ("text", "summary", "data") and isinstance(value, str):
                last[key] = (last.get(key) or "") + value
            elif value is not None:
                last[key] = value

    def _call(self, delta: Mapping[str, Any]) -> LLMChunk:
        function = delta.get("function") or {}
        given, name = delta.get("id"), function.get("name")
        key = delta.get("index")
        if key is None:
            # Servers without an index send a call at once, or name it by its id.
            key = given or (len(self._calls) if name or not self._calls else len(self._calls) - 1)
        at = self._at.get(key)
        # Some number all calls alike. An id alone tells nothing: others make a new one for every piece.
        if at is None or (given and name and self._calls[at]["id"] not in ("", given)):
            at = self._at[key] = len(self._calls)
            self._calls.append({"id": "", "name": "", "pieces": [], "said": {}})
        call = self._calls[at]
        # A name or an id that is repeated with every delta is not a piece of a longer one.
        new_id = given if not call["id"] else None
        new_name = name if not call["name"] else None
        call["id"], call["name"] = call["id"] or new_id or "", call["name"] or new_name or ""
        piece = function.get("arguments") or ""
        call["pieces"].append(piece)
        call["said"] |= delta
        return LLMChunk(tool_call_delta=ToolCallDelta(at, new_id, new_name, piece))

    def response(self, request_id: str | None) -> LLMResponse:
        message: dict[str, Any] = {field: "".join(pieces) for field, pieces in self._told.items()}
        message["reasoning_details"] = self._details
        message["tool_calls"] = [
            {
                **call["said"],
                "id": call["id"],
                "function": {"name": call["name"], "arguments": "".join(call["pieces"])},
            }
            for call in self._calls
        ]
        choice = {"message": message, "finish_reason": self._finish}
        return self._wire.whole({"choices": [choice], "usage": self._usage, "model": self._model}, request_id)
