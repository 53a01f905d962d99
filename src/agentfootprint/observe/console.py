"""Runs as readable lines on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Literal, TextIO, TypeAlias

from .. import events as e
from ..errors import ConfigurationError
from ..messages import Usage
from .base import Recorder
from .snippet import seconds, shown, snippet

__all__ = ["Verbosity", "console_observability"]

Verbosity: TypeAlias = Literal["quiet", "standard", "verbose"]

_CONTENT = 120  # most characters of any text that a model, tool or user wrote
_NAME = 60


def console_observability(
    *, file: TextIO | None = None, verbosity: Verbosity = "standard", color: bool | None = None
) -> Recorder:
    """A recorder that prints one line per event: time, run, event, essentials.

    Of any content at most 120 characters are shown, made printable. Trouble stands out by a `!` and in
    red, a question to a person by a `?`.

    Args:
        file: where to; `sys.stderr` unless given.
        verbosity: "quiet" prints how runs end and what goes wrong, "standard" all but the pieces of
            streamed answers and the routine between the calls, "verbose" everything.
        color: unless given, only on a terminal, and not when NO_COLOR is set or TERM is "dumb".

    Raises:
        ConfigurationError: the verbosity is unknown.
    """
    if verbosity not in ("quiet", "standard", "verbose"):
        raise ConfigurationError(f"verbosity={verbosity!r} is unknown: use 'quiet', 'standard' or 'verbose'")
    if color is None:
        color = _wants_color(file or sys.stderr)
    return _Console(file, verbosity, color)


class _Console:
    __slots__ = ("_color", "_file", "_verbosity")

    def __init__(self, file: TextIO | None, verbosity: Verbosity, color: bool) -> None:
        self._file = file
        self._verbosity = verbosity
        self._color = color

    def wants(self, kind: type[e.Event], /) -> bool:
        if self._verbosity == "quiet":
            return issubclass(kind, _OUTCOMES)
        return self._verbosity == "verbose" or not issubclass(kind, _ROUTINE)

    def on_event(self, event: e.Event, /) -> None:
        if not self.wants(type(event)):
            return
        mark = _mark(event)
        if self._verbosity == "quiet" and not mark and isinstance(event, e.ToolEnded):
            return
        file = self._file or sys.stderr
        line = self._line(event, mark) + "\n"
        encoding = getattr(file, "encoding", None) or "utf-8"
        # One write per line, so that lines of several threads do not mix.
        file.write(line.encode(encoding, "backslashreplace").decode(encoding))
        file.flush()

    def _line(self, event: e.Event, mark: str) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(event.at)) + f".{int(event.at % 1 * 1000):03d}"
        say = _SAY.get(type(event), _fields)
        run = snippet((event.run_id or "no run")[-6:], 6)
        head, name, tail = f"{at} {run:6}", f"{mark or ' '} {event.type:18}", say(event)
        if not self._color:
            return f"{head} {name} {tail}".rstrip()
        paint = _MARKED.get(mark) or _FAMILY.get(event.type.split(".")[0], "")
        tail = f"{paint}{tail}\x1b[0m" if mark else tail
        return f"\x1b[2m{head}\x1b[0m {paint}{name}\x1b[0m {tail}".rstrip()


def _wants_color(file: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(file, "isatty", None)
    return isatty is not None and bool(isatty())


_MARKED = {"!": "\x1b[1;31m", "?": "\x1b[1;33m"}
_FAMILY = {"run": "\x1b[1m", "model": "\x1b[34m", "tool": "\x1b[36m", "memory": "\x1b[35m"}

_TROUBLE = (e.RunFailed, e.ModelFailed, e.MemoryFailed, e.ConversationFailed, e.LimitReached)
_OUTCOMES = (*_TROUBLE, e.RunPaused, e.RunEnded, e.ToolEnded, e.HistoryHealed)
_ROUTINE = (
    e.EmbeddingEnded,
    e.TextDelta,
    e.ReasoningDelta,
    e.ToolCallDrafted,
    e.ContextPrepared,
    e.RouteDecided,
    e.ModelStarted,
    e.StepEnded,
)


def _mark(event: e.Event) -> str:
    if isinstance(event, _TROUBLE):
        return "!"
    if isinstance(event, e.ToolEnded) and event.outcome != "ok":
        return "!"
    if isinstance(event, e.RunEnded) and event.status != "completed":
        return "!"
    if isinstance(event, (e.RetrievalEnded, e.EmbeddingEnded)) and event.error is not None:
        return "!"
    return "?" if isinstance(event, e.RunPaused) else ""


def _quoted(text: str) -> str:
    return f"“{snippet(text, _CONTENT)}”"


def _name(text: str | None) -> str:
    return "-" if text is None else snippet(text, _NAME)


def _arguments(arguments: Mapping[str, Any]) -> str:
    out = []
    room = _CONTENT
    for key, value in arguments.items():
        if room <= 0:
            out.append("…")
            break
        text = f"{_name(key)}={shown(value, max(room, 2))}"
        room -= len(text)
        out.append(text)
    return snippet(", ".join(out), _CONTENT)


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return "tokens unknown"
    more = " + unreported" if usage.unreported else ""
    return f"{usage.input_tokens} in, {usage.output_tokens} out{more}"


def _identity(event: e.RunStarted | e.RunResumed) -> str:
    if event.identity is None:
        return ""
    return " for " + "/".join(_name(part) for part in event.identity.parts)


def _ended(event: e.RunEnded) -> str:
    why = f" ({_name(event.reason)})" if event.reason else ""
    cost = "cost unknown" if event.cost is None else f"${event.cost:.4f}"
    return f"{event.status}{why} in {seconds(event.duration)}, {_usage(event.usage)}, {cost}"


def _model_ended(event: e.ModelEnded) -> str:
    first = "" if event.first_token is None else f", first token {seconds(event.first_token)}"
    calls = f", {event.tool_calls} tool calls" if event.tool_calls else ""
    stop = _name(event.stop_reason)
    return f"{_name(event.model)} {stop} in {seconds(event.duration)}{first}, {_usage(event.usage)}{calls}"


def _progress(event: e.ToolProgress) -> str:
    share = "" if event.fraction is None else f" {event.fraction:.0%}"
    return f"{_name(event.tool)}{share} {_quoted(event.message)}"


def _searched(event: e.RetrievalEnded) -> str:
    return f"{event.passages} passages" if event.error is None else f"failed: {_name(event.error)}"


def _embedded(event: e.EmbeddingEnded) -> str:
    what = f"{event.texts} texts" if event.error is None else f"failed: {_name(event.error)}"
    tokens = "" if event.usage is None else f", {event.usage.input_tokens} tokens"
    took = "" if event.duration is None else f" in {seconds(event.duration)}"
    return f"{what}{took}{tokens}"


def _fields(event: e.Event) -> str:
    """What an event without a sentence of its own shows: its fields."""
    names = [field.name for field in fields(event) if field.name not in ("run_id", "at", "step")]
    return " ".join(f"{name}={shown(getattr(event, name), _CONTENT)}" for name in names)


_SAY: Mapping[type[e.Event], Callable[[Any], str]] = {
    e.RunStarted: lambda x: f"{_name(x.agent)}{_identity(x)} {_quoted(x.input)}",
    e.RunResumed: lambda x: f"{_name(x.agent)}{_identity(x)}" + (f" by {_name(x.by)}" if x.by else ""),
    e.RunPaused: lambda x: snippet(" ".join(_quoted(question) for question in x.questions[:4]), 2 * _CONTENT),
    e.RunEnded: _ended,
    e.RunFailed: lambda x: f"{_name(x.error)} {_quoted(x.message)}",
    e.ModelStarted: lambda x: f"{_name(x.model)} {x.messages} messages, {x.tools} tools",
    e.ModelEnded: _model_ended,
    e.ModelFailed: lambda x: f"{_name(x.model)} {_name(x.error)} {_quoted(x.message)}",
    e.TextDelta: lambda x: _quoted(x.text),
    e.ReasoningDelta: lambda x: _quoted(x.text),
    e.RouteDecided: lambda x: f"{_name(x.choice)} because {_name(x.rule)}",
    e.ToolStarted: lambda x: f"{_name(x.tool)}({_arguments(x.arguments)})",
    e.ToolProgress: _progress,
    e.ToolEnded: lambda x: f"{_name(x.tool)} {x.outcome} in {seconds(x.duration)} {_quoted(x.result)}",
    e.MemoryFailed: lambda x: f"{_name(x.memory)} {x.operation} {_quoted(x.message)}",
    e.MemoryFolded: lambda x: f"{_name(x.memory)} {x.turns} turns summarized",
    e.RetrievalEnded: lambda x: f"{_name(x.corpus)} {_searched(x)} in {seconds(x.duration)}",
    e.EmbeddingEnded: lambda x: f"{_name(x.model)} {_embedded(x)}",
    e.PermissionDecided: lambda x: f"{x.verdict} {_name(x.tool)} by {_name(x.rule)} {_quoted(x.reason)}",
    e.OutputRejected: lambda x: f"answer {x.attempt}: {_quoted('; '.join(x.problems))}",
    e.OutputFellBack: lambda x: f"{x.tier}{'' if x.failed is None else f' failed {_quoted(x.failed)}'}",
    e.GuardrailTripped: lambda x: f"{x.stage} {_name(x.guardrail)} {_quoted(x.reason)}",
    e.ConversationFailed: lambda x: _quoted(x.message),
    e.Emitted: lambda x: f"{_name(x.name)} {shown(x.data, _CONTENT)}",
}
