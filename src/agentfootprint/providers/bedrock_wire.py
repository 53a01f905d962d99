"""The wire of Amazon Bedrock's Converse API
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html)."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..errors import Unavailable
from ..flow.codec import dumps, encode
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
    Usage,
)
from ..vendors.failures import failure_in
from ..vendors.parsing import parsed
from .media import called, refusal, source
from .turns import CallIds, turns
from .wire import joined, tool_call

__all__ = ["BedrockWire"]

VENDOR = "bedrock"
"""Marks what only this vendor understands; it travels back to it and to nobody else."""

_STOPS: Mapping[str, StopKind] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tool_calls",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}

_CACHE_POINT = {"cachePoint": {"type": "default"}}

_IMAGES = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}

_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}


class BedrockWire:
    """Requests and answers of Converse for one model. Blobs are base64, as in the API's JSON.

    With `cache`, tools and system prompt are marked for the vendor's prompt cache. `extra` joins every body.
    """

    def __init__(self, name: str, model: str, cache: bool, extra: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._model = model
        self.caches = cache
        self._extra = dict(extra or {})
        base = f"/model/{quote(model, safe='')}"
        self.path = f"{base}/converse"
        self.stream_path = f"{base}/converse-stream"
        self.count_path = f"{base}/count-tokens"

    def body(self, request: LLMRequest, model: str, *, stream: bool) -> dict[str, Any]:
        body = self._prompt(request)
        limits = {"maxTokens": request.max_tokens, "temperature": request.temperature}
        if given := {name: value for name, value in limits.items() if value is not None}:
            body["inferenceConfig"] = given
        if request.output_schema is not None:
            schema = {"name": "answer", "schema": dumps(encode(dict(request.output_schema)))}
            body["outputConfig"] = {
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}
            }
        return joined(body, self._extra)

    def counted(self, request: LLMRequest) -> dict[str, Any]:
        """What token counting is asked for."""
        return {"input": {"converse": self._prompt(request)}}

    def _prompt(self, request: LLMRequest) -> dict[str, Any]:
        prompt: dict[str, Any] = {}
        if request.tools:
            prompt["toolConfig"] = {"tools": [{"toolSpec": _spec(each)} for each in request.tools]}
        if request.system:
            prompt["system"] = [{"text": request.system}, *([_CACHE_POINT] if self.caches else ())]
        blocks = _Blocks(self._name, offered=bool(request.tools))
        prompt["messages"] = blocks.of(request.messages)
        return prompt

    def whole(self, data: Mapping[str, Any], request_id: str | None) -> LLMResponse:
        reason = data["stopReason"]
        if reason.startswith("malformed_"):
            raise Unavailable(
                f"{self._name}: what the model wrote could not be read ({reason})",
                provider=self._name,
                request_id=request_id,
                vendor_code=reason,
            )
        router = (data.get("trace") or {}).get("promptRouter") or {}
        content = data["output"]["message"]["content"]
        return LLMResponse(
            parts=[part for block in content if (part := _part(block)) is not None],
            usage=_usage(data.get("usage")),
            stop_reason=_STOPS.get(reason, "other"),
            model=router.get("invokedModelId") or self._model,
            request_id=request_id,
            provider=self._name,
        )

    def decoder(self) -> _Decoder:
        return _Decoder(self)


class _Decoder:
    """Puts an answer together from its events; what comes out is read as a whole one is."""

    def __init__(self, wire: BedrockWire) -> None:
        self._wire = wire
        self._blocks: dict[int, dict[str, Any]] = {}
        self._input: dict[int, list[str]] = {}
        self._calls: dict[int, int] = {}
        self._end: dict[str, Any] = {}
        self.done = self.over = False

    def feed(self, event: Mapping[str, Any]) -> Iterator[LLMChunk]:
        ((kind, data),) = event.items()
        if kind == "contentBlockDelta":
            yield from self._delta(data["contentBlockIndex"], data["delta"])
        elif kind == "contentBlockStart":
            index, start = data["contentBlockIndex"], data["start"]
            self._blocks[index] = {name: dict(value) for name, value in start.items()}
            if (call := start.get("toolUse")) is not None:
                self._input[index] = []
                if "type" not in call:
                    number = self._calls[index] = len(self._calls)
                    yield LLMChunk(tool_call_delta=ToolCallDelta(number, call["toolUseId"], call["name"]))
        elif kind == "messageStop":
            self._end["stopReason"] = data["stopReason"]
            self.done = True
        elif kind == "metadata":
            self._end |= {name: data[name] for name in ("usage", "trace") if name in data}
            self.over = self.done
        elif kind.endswith("Exception"):
            raise failure_in(self._wire._name, {"error": {"type": kind, **data}})

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[LLMChunk]:
        block = self._blocks.setdefault(index, {})
        if (text := delta.get("text")) is not None:
            block["text"] = block.get("text", "") + text
            yield LLMChunk(text)
        elif (call := delta.get("toolUse")) is not None:
            self._input[index].append(call["input"])
            if (number := self._calls.get(index)) is not None:
                yield LLMChunk(tool_call_delta=ToolCallDelta(number, arguments=call["input"]))
        elif (thought := delta.get("reasoningContent")) is not None:
            kept = block.setdefault("reasoningContent", {})
            if "redactedContent" in thought:
                kept["redactedContent"] = kept.get("redactedContent", "") + thought["redactedContent"]
                return
            told = kept.setdefault("reasoningText", {"text": ""})
            for name in ("text", "signature"):
                if name in thought:
                    told[name] = told.get(name, "") + thought[name]
            if thought.get("text"):
                yield LLMChunk(reasoning=thought["text"])
        elif (result := delta.get("toolResult")) is not None:
            block["toolResult"].setdefault("content", []).extend(result)

    def response(self, request_id: str | None) -> LLMResponse:
        for index, pieces in self._input.items():
            self._blocks[index]["toolUse"]["input"] = "".join(pieces)
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return self._wire.whole({**self._end, "output": {"message": {"content": content}}}, request_id)


# ── parts ───────────────────────────────────────────────────────────────────────────────────────


class _Blocks:
    """The blocks of one request's messages. Where no tools are offered the API refuses blocks of tools: there
    they are told in words."""

    def __init__(self, provider: str, *, offered: bool) -> None:
        self._provider = provider
        self._offered = offered
        self._ids = CallIds()

    def of(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return list(turns(messages, self._block, self._result))

    def _block(self, part: Part) -> dict[str, Any] | None:
        if isinstance(part, Text):
            # Blank text is refused.
            return {"text": part.text} if part.text.strip() else None
        if isinstance(part, ToolCall):
            given = encode(part.arguments)
            if not self._offered:
                return {"text": f"(Tool {part.name} was called with {dumps(given)}.)"}
            return {"toolUse": {"toolUseId": self._ids.of_call(part.id), "name": part.name, "input": given}}
        if isinstance(part, (Image, File)):
            return self._medium(part)
        if part.provider != VENDOR:
            return None
        if isinstance(part, Opaque):
            return dict(part.data)
        if part.data is not None:
            return {"reasoningContent": {"redactedContent": part.data}}
        text = {"text": part.text} | ({"signature": part.signature} if part.signature else {})
        return {"reasoningContent": {"reasoningText": text}}

    def _medium(self, part: Image | File) -> dict[str, Any]:
        found = source(part, self._provider)
        if isinstance(found, str):
            if not found.startswith("s3://"):
                raise refusal(
                    self._provider,
                    f"{called(part)} lies in the web, and Bedrock fetches nothing from there: give it as "
                    "data= in base64, or as an s3:// address",
                )
            kind = part.media_type or mimetypes.guess_type(found)[0] or ""
            place: dict[str, Any] = {"s3Location": {"uri": found}}
        else:
            kind, place = found.media_type, {"bytes": found.data}
        form = (_IMAGES if isinstance(part, Image) else _DOCUMENTS).get(kind)
        if form is None:
            raise refusal(
                self._provider,
                f"{called(part)} is {kind or 'of no known kind'}, which Converse does not take",
            )
        if isinstance(part, Image):
            return {"image": {"format": form, "source": place}}
        name = re.sub(r"[^A-Za-z0-9()\[\]-]+", " ", part.name or "").strip() or "document"
        return {"document": {"format": form, "name": name, "source": place}}

    def _result(self, message: Message) -> dict[str, Any]:
        if not self._offered:
            how = "failed" if message.is_error else "gave"
            return {"text": f"(Tool {message.name} {how}: {message.text})"}
        content = [block for part in message.parts if (block := self._block(part)) is not None]
        result: dict[str, Any] = {
            "toolUseId": self._ids.of_result(message.call_id),
            "content": content or [{"text": "(no output)"}],
        }
        return {"toolResult": {**result, "status": "error"} if message.is_error else result}


def _spec(tool: Any) -> dict[str, Any]:
    spec = {"name": tool.name, "inputSchema": {"json": dict(tool.schema)}}
    return {**spec, "description": tool.description} if tool.description else spec


def _part(block: Mapping[str, Any]) -> Part | None:
    if "text" in block:
        return Text(block["text"]) if block["text"] else None
    if (call := block.get("toolUse")) is not None:
        given = call.get("input")
        text = given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)
        if "type" not in call:
            return tool_call(call["toolUseId"], call["name"], text)
        return Opaque(VENDOR, {"toolUse": {**call, "input": parsed(text or "{}")}})
    if (thought := block.get("reasoningContent")) is not None:
        if "redactedContent" in thought:
            return Reasoning("", None, thought["redactedContent"], VENDOR)
        told = thought["reasoningText"]
        return Reasoning(told.get("text", ""), told.get("signature"), None, VENDOR)
    if (cited := block.get("citationsContent")) is not None:
        return Text("".join(each["text"] for each in cited["content"]))
    return Opaque(VENDOR, dict(block))


def _usage(data: Mapping[str, Any] | None) -> Usage | None:
    if not data:
        return None
    read, written = data.get("cacheReadInputTokens") or 0, data.get("cacheWriteInputTokens") or 0
    # The vendor counts what it read from and wrote to the cache apart from the rest.
    return Usage(data["inputTokens"] + read + written, data["outputTokens"], read, written)
