"""What goes to a language model and comes back: plain, frozen data, the same for every vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

__all__ = [
    "File",
    "Image",
    "LLMChunk",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "Opaque",
    "Part",
    "Reasoning",
    "Role",
    "StopKind",
    "Text",
    "ToolCall",
    "ToolCallDelta",
    "ToolSpec",
    "Usage",
    "estimated_tokens",
]

Role = Literal["user", "assistant", "tool"]

StopKind = Literal["end", "tool_calls", "max_tokens", "content_filter", "refusal", "paused", "other"]
"""Why the model stopped: it was done, wants tools, ran out of tokens, was cut by a filter, declined, or
the vendor broke a long turn off, which goes on when it is sent back as it is."""


@dataclass(frozen=True, slots=True)
class Text:
    """`extra` is what a vendor says beside the text, such as citations; it travels back to that vendor."""

    text: str
    kind: Literal["text"] = "text"
    extra: Opaque | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's thinking. `signature` and `data` travel back to the vendor byte for byte."""

    text: str = ""
    signature: str | None = None
    data: str | None = None
    provider: str | None = None
    kind: Literal["reasoning"] = "reasoning"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture by reference: a URL the vendor fetches, or base64 `data` with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    kind: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class File:
    """A document by reference: a URL the vendor fetches, or base64 `data` with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    name: str | None = None
    kind: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool.

    `arguments` is read-only. When the model sent something that is no JSON object, `arguments` is
    empty and `raw` holds the text as it came, so that the model can be shown what was wrong. `extra` is
    what the vendor says beside the call; it travels back to that vendor.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None
    kind: Literal["tool_call"] = "tool_call"
    extra: Opaque | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """Data of one vendor that means nothing here and must travel back unchanged."""

    provider: str
    data: Any
    kind: Literal["opaque"] = "opaque"


class _ByKind:
    """Lets pydantic pick the member of the union by its `kind` at once, instead of trying each."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic import Field

        return handler.generate_schema(Annotated[source, Field(discriminator="kind")])


Part: TypeAlias = Annotated[Text | Reasoning | Image | File | ToolCall | Opaque, _ByKind]


def _parts(content: str | Part | Sequence[str | Part]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, Sequence):
        return tuple(Text(part) if isinstance(part, str) else part for part in content)
    return (content,)


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation. A tool message answers exactly one call, named by `call_id`."""

    role: Role
    parts: tuple[Part, ...]
    call_id: str | None = None
    name: str | None = None
    is_error: bool = False

    @staticmethod
    def user(content: str | Part | Sequence[str | Part]) -> Message:
        return Message("user", _parts(content))

    @staticmethod
    def assistant(content: str | Part | Sequence[str | Part]) -> Message:
        return Message("assistant", _parts(content))

    @staticmethod
    def tool(
        call_id: str, name: str, content: str | Part | Sequence[str | Part], is_error: bool = False
    ) -> Message:
        return Message("tool", _parts(content), call_id, name, is_error)

    @property
    def text(self) -> str:
        """The text parts, joined."""
        if len(self.parts) == 1 and type(self.parts[0]) is Text:
            return self.parts[0].text
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `input_tokens` counts everything read, cached or not; `unreported` counts the model
    calls whose vendor did not say, so that a total is never mistaken for the whole."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unreported: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.unreported + other.unreported,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cache_read_tokens - other.cache_read_tokens,
            self.cache_write_tokens - other.cache_write_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
            self.unreported - other.unreported,
        )


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it: `schema` is the JSON Schema of its arguments object."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One question to a model. `messages` is an immutable view of the conversation, not a copy."""

    messages: Sequence[Message]
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, init=False)
class LLMResponse:
    """One whole answer of a model.

    Give `text` and `tool_calls`, or `parts` when the order or other kinds of parts matter. `usage`
    is None when the vendor did not report it; `provider` and `model` are those that answered, which
    behind a fallback need not be those that were asked.
    """

    parts: tuple[Part, ...]
    usage: Usage | None = None
    stop_reason: StopKind = "end"
    model: str | None = None
    request_id: str | None = None
    provider: str | None = None

    def __init__(
        self,
        text: str = "",
        tool_calls: Sequence[ToolCall] = (),
        usage: Usage | None = None,
        stop_reason: StopKind | None = None,
        model: str | None = None,
        parts: Sequence[Part] | None = None,
        request_id: str | None = None,
        provider: str | None = None,
    ) -> None:
        if parts is None:
            parts = ((Text(text),) if text else ()) + tuple(tool_calls)
        elif text or tool_calls:
            raise ValueError("give text and tool_calls, or parts, not both")
        put = object.__setattr__
        put(self, "parts", tuple(parts))
        put(self, "usage", usage)
        if stop_reason is None:
            stop_reason = "tool_calls" if any(type(p) is ToolCall for p in parts) else "end"
        put(self, "stop_reason", stop_reason)
        put(self, "model", model)
        put(self, "request_id", request_id)
        put(self, "provider", provider)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if type(part) is Text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if type(part) is ToolCall)

    @property
    def message(self) -> Message:
        """The answer as the message that joins the conversation."""
        return Message("assistant", self.parts)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call while it streams; `index` tells parallel calls apart."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class LLMChunk:
    """A piece of a streamed answer. The last chunk, and only that one, carries `response`."""

    text: str = ""
    reasoning: str = ""
    tool_call_delta: ToolCallDelta | None = None
    response: LLMResponse | None = None


def estimated_tokens(message: Message) -> float:
    """About how many tokens a message is: one for four characters, for lack of its model's tokenizer."""
    return sum(len(part.text) if type(part) is Text else 16 for part in message.parts) / 4
