"""The wire of OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidRequest
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
from .openai_parts import VENDOR, arguments_text, file_fields, image_url, strict, usage
from .wire import joined, tool_call

__all__ = ["ResponsesWire"]

_COUNTED = frozenset(
    (
        "model",
        "tools",
        "instructions",
        "input",
        "text",
        "tool_choice",
        "reasoning",
        "truncation",
        "parallel_tool_calls",
    )
)
"""What counting tokens takes of a body."""


class ResponsesWire:
    """Requests and answers of the Responses API. Nothing is stored at the vendor: reasoning comes
    encrypted and travels back as it came, to the same `vendor`. `extra` joins every body."""

    path = stream_path = "/responses"

    def __init__(self, name: str, extra: Mapping[str, Any] | None = None, vendor: str = VENDOR) -> None:
        self._name = name
        self._extra = dict(extra or {})
        self._vendor = vendor

    def body(self, request: LLMRequest, model: str, *, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": each.name,
                    "description": each.description,
                    "parameters": dict(each.schema),
                    "strict": False,
                }
                for each in request.tools
            ]
        if request.system:
            body["instructions"] = request.system
        body["input"] = [item for message in request.messages for item in self._items(message)]
        if request.output_schema is not None:
            schema = dict(request.output_schema)
            answer = {"type": "json_schema", "name": "answer", "schema": schema, "strict": strict(schema)}
            body["text"] = {"format": answer}
        if request.max_tokens is not None:
            body["max_output_tokens"] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if stream:
            body["stream"] = True
        return joined(body, self._extra)

    def counted(self, request: LLMRequest, model: str) -> dict[str, Any]:
        """What token counting is asked for."""
        body = self.body(request, model, stream=False)
        return {key: value for key, value in body.items() if key in _COUNTED}

    def whole(self, data: Mapping[str, Any], request_id: str | None) -> LLMResponse:
        if data.get("error") or data.get("status") == "failed":
            raise failure_in(self._name, data, request_id)
        if (status := data.get("status")) in ("queued", "in_progress", "cancelled"):
            raise InvalidRequest(
                f"{self._name}: the answer is {status}: one that is made in the background is not "
                "waited for; leave out background=True",
                provider=self._name,
            )
        parts = [part for item in data["output"] for part in self._parts(item)]
        return LLMResponse(
            parts=parts,
            usage=usage(data.get("usage")),
            stop_reason=_stop(data, parts),
            model=data.get("model"),
            request_id=request_id,
            provider=self._name,
        )

    def decoder(self) -> _Decoder:
        return _Decoder(self)

    # ── parts ───────────────────────────────────────────────────────────────────────────────────

    def _items(self, message: Message) -> Iterator[dict[str, Any]]:
        """The input items of one message."""
        if message.role == "tool":
            output: Any = message.text
            if any(not isinstance(part, Text) for part in message.parts):
                output = [block for part in message.parts if (block := self._content(part)) is not None]
            yield {"type": "function_call_output", "call_id": message.call_id, "output": output}
            return
        head, content = dict[str, Any](), list[dict[str, Any]]()
        for part in message.parts:
            item = self._item(part)
            block = self._content(part, message.role) if item is None else None
            # Texts that the vendor wrote as items of their own go back as such.
            around = {"type": "message", "role": message.role, **self._said(part).get("item", {})}
            if content and (item is not None or (block is not None and around != head)):
                yield {**head, "content": content}
                content = []
            if item is not None:
                yield item
            elif block is not None:
                head = around
                content.append(block)
        if content:
            yield {**head, "content": content}

    def _content(self, part: Part, role: str = "tool") -> dict[str, Any] | None:
        if isinstance(part, Text):
            if role == "assistant" and not part.text:
                return None
            block = self._said(part).get("block", {})
            if block.get("type") == "refusal":
                return {**block, "refusal": part.text}
            return {
                "type": "output_text" if role == "assistant" else "input_text",
                **block,
                "text": part.text,
            }
        if isinstance(part, Image):
            return {"type": "input_image", "image_url": image_url(part, self._name)}
        if isinstance(part, File):
            return {"type": "input_file", **file_fields(part, self._name)}
        return None

    def _said(self, part: Part) -> Mapping[str, Any]:
        """What the vendor said beside a text or a call."""
        extra = part.extra if isinstance(part, (Text, ToolCall)) else None
        data: Mapping[str, Any] = extra.data if extra is not None and extra.provider == self._vendor else {}
        return data

    def _item(self, part: Part) -> dict[str, Any] | None:
        if isinstance(part, ToolCall):
            call = {"call_id": part.id, "name": part.name, "arguments": arguments_text(part)}
            return {"type": "function_call", **self._said(part), **call}
        if isinstance(part, Reasoning) and part.provider == self._vendor and part.data is not None:
            item: dict[str, Any] = json.loads(part.data)
            return item
        if isinstance(part, Opaque) and part.provider == self._vendor:
            return dict(part.data)
        return None

    def _parts(self, item: Mapping[str, Any]) -> Iterator[Part]:
        kind = item.get("type")
        if kind == "message":
            around = _beside(item, "type", "role", "content")
            for block in item.get("content") or ():
                refused = block.get("type") == "refusal"
                text = block.get("refusal" if refused else "text")
                if not text:
                    continue
                within = _beside(block, "refusal") if refused else _beside(block, "type", "text")
                said = {key: value for key, value in (("item", around), ("block", within)) if value}
                yield Text(text, extra=Opaque(self._vendor, said) if said else None)
        elif kind == "function_call":
            said = _beside(item, "type", "call_id", "name", "arguments")
            extra = Opaque(self._vendor, said) if said else None
            yield tool_call(item.get("call_id"), item["name"], item.get("arguments"), extra)
        elif kind == "reasoning":
            told = [block["text"] for block in (item.get("summary") or item.get("content") or ())]
            yield Reasoning("\n\n".join(told), None, json.dumps(item, ensure_ascii=False), self._vendor)
        else:
            yield Opaque(self._vendor, dict(item))


def _beside(data: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """What the vendor says beyond what is known of such an item. Its id names nothing: nothing is stored."""
    return {key: value for key, value in data.items() if value and key not in ("id", "status", *known)}


class _Decoder:
    """The terminal event carries the whole answer; what comes before is for whoever reads along."""

    def __init__(self, wire: ResponsesWire) -> None:
        self._wire = wire
        self._final: Mapping[str, Any] = {}
        self._items: dict[int, Any] = {}
        self._calls: dict[int, int] = {}
        self.done = self.over = False

    def feed(self, event: Mapping[str, Any]) -> Iterator[LLMChunk]:
        kind = event.get("type", "")
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            yield LLMChunk(event["delta"])
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            yield LLMChunk(reasoning=event["delta"])
        elif kind == "response.output_item.added":
            item = event["item"]
            if item.get("type") == "function_call":
                number = self._calls[event["output_index"]] = len(self._calls)
                yield LLMChunk(tool_call_delta=ToolCallDelta(number, item.get("call_id"), item.get("name")))
        elif kind == "response.function_call_arguments.delta":
            number = self._calls[event["output_index"]]
            yield LLMChunk(tool_call_delta=ToolCallDelta(number, arguments=event["delta"]))
        elif kind == "response.output_item.done":
            self._items[event["output_index"]] = event["item"]
        elif kind in ("response.completed", "response.incomplete"):
            self._final = event["response"]
            self.done = self.over = True
        elif kind == "response.failed":
            raise failure_in(self._wire._name, event["response"])
        elif kind == "error" or event.get("error"):
            raise failure_in(self._wire._name, event)

    def response(self, request_id: str | None) -> LLMResponse:
        output = self._final.get("output") or [self._items[index] for index in sorted(self._items)]
        return self._wire.whole({**self._final, "output": output}, request_id)


def _stop(data: Mapping[str, Any], parts: list[Part]) -> StopKind:
    if data.get("status") == "incomplete":
        reason = (data.get("incomplete_details") or {}).get("reason")
        stops: Mapping[Any, StopKind] = {
            "max_output_tokens": "max_tokens",
            "content_filter": "content_filter",
        }
        return stops.get(reason, "other")
    if any(isinstance(part, ToolCall) for part in parts):
        return "tool_calls"
    said = [item for item in data["output"] if item.get("type") == "message"]
    blocks = [block for item in said for block in item.get("content") or ()]
    return "refusal" if any(block.get("type") == "refusal" for block in blocks) else "end"
