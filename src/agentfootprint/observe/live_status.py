"""What the agent is doing right now, as one short line for a chat bubble or a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..errors import ConfigurationError
from ..events import (
    Event,
    LimitReached,
    ModelStarted,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from .base import Recorder
from .faults import Faults
from .snippet import seconds, shown, snippet

__all__ = ["Phrase", "chat_bubble_live_status", "main_argument"]

Phrase: TypeAlias = str | Callable[[ToolStarted], str]
"""What to say while a tool works: a template over its arguments, or a function of the event."""

_ARGUMENT = 40
_TEXT = 120
_SECRET_WORDS = frozenset({"auth", "authorization", "card", "cvc", "cvv", "iban", "key", "pin", "ssn"})
_SECRET_PARTS = ("apikey", "credential", "passphrase", "passwd", "password", "secret", "token")


def chat_bubble_live_status(
    *,
    on_line: Callable[[str], None],
    phrases: Mapping[str, Phrase] | None = None,
    min_interval: float = 0.0,
) -> Recorder:
    """A recorder that tells in short lines what a run is doing: "Thinking…", "Lookup order: A-1…",
    "Waiting for approval: …", "Answered in 1.2 s".

    Attach it to all events of an agent, or give it to one run (`recorders=[...]`) when every user has a
    bubble of their own. A line that repeats the one before is left out.

    Args:
        on_line: gets each line; must be quick.
        phrases: tool name to what to say while it works: a template over its arguments such as
            `"Looking up {order_id}…"`, or a function of the `ToolStarted` event. A tool that has none is
            told by its name and first plain argument, unless that one sounds secret.
        min_interval: least seconds between two lines of a run. Within it the newest line waits for its
            turn and replaces the one that waited; the last line of a run never waits.

    Raises:
        ConfigurationError: `on_line` or a phrase cannot be used, or `min_interval` is negative.
    """
    if not callable(on_line):
        raise ConfigurationError(
            f"on_line={on_line!r} is no function: pass one that takes a line, such as print"
        )
    if min_interval < 0:
        raise ConfigurationError(f"min_interval={min_interval} is negative: use seconds, or 0 for no limit")
    for tool, phrase in (phrases or {}).items():
        if not (isinstance(phrase, str) or callable(phrase)):
            raise ConfigurationError(f"the phrase of {tool!r} must be a string or a function of the event")
    return _LiveStatus(on_line, dict(phrases or {}), min_interval)


class _Bubble:
    """One run between its start and its end, pause or failure."""

    __slots__ = ("last", "next_at", "timer", "tools", "waiting")

    def __init__(self) -> None:
        self.last: str | None = None
        self.next_at = float("-inf")
        self.waiting: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.tools: dict[str, str] = {}  # call id to line, of the tools at work


class _LiveStatus:
    __slots__ = ("_bubbles", "_faults", "_min_interval", "_on_line", "_phrases")

    def __init__(
        self, on_line: Callable[[str], None], phrases: dict[str, Phrase], min_interval: float
    ) -> None:
        self._on_line = on_line
        self._phrases = phrases
        self._min_interval = min_interval
        self._bubbles: dict[str | None, _Bubble] = {}
        self._faults = Faults("chat_bubble_live_status")

    def wants(self, kind: type[Event], /) -> bool:
        return issubclass(kind, _SHOWN)

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, (RunStarted, RunResumed)):
            bubble: _Bubble | None = self._bubbles.setdefault(event.run_id, _Bubble())
        elif isinstance(event, _LAST):
            bubble = self._bubbles.pop(event.run_id, None)
        else:
            bubble = self._bubbles.get(event.run_id)
        # A thread of a timed-out tool may still report; its run is over and gets no bubble again.
        if bubble is None:
            return
        line = self._line(event, bubble)
        if line is not None:
            self._say(bubble, line, event)

    def _line(self, event: Event, bubble: _Bubble) -> str | None:
        match event:
            case RunStarted() | ModelStarted():
                return "Thinking…"
            case RunResumed():
                return "Continuing…"
            case ToolStarted():
                bubble.tools[event.call_id] = _work(event.tool)
                bubble.tools[event.call_id] = self._phrase(event)
                return _working(bubble)
            case ToolProgress():
                share = "" if event.fraction is None else f" ({event.fraction:.0%})"
                return f"{_humanized(event.tool)}: {snippet(event.message, _TEXT)}{share}"
            case ToolEnded():
                bubble.tools.pop(event.call_id, None)
                return _working(bubble)
            case LimitReached():
                return "Wrapping up…"
            case RunPaused():
                return _asked(event.questions)
            case RunEnded(status="completed"):
                return f"Answered in {seconds(event.duration)}"
            case RunEnded():
                why = f" ({_words(event.reason)})" if event.reason else ""
                return f"Stopped after {seconds(event.duration)}{why}"
            case RunFailed():
                # The code, not the message: the reader is a user, and messages speak to developers.
                return f"Something went wrong ({_words(event.error)})"
        return None

    def _phrase(self, event: ToolStarted) -> str:
        phrase = self._phrases.get(event.tool)
        if phrase is None:
            argument = main_argument(event.arguments)
            return _work(event.tool) if argument is None else f"{_humanized(event.tool)}: {argument}…"
        if not isinstance(phrase, str):
            return phrase(event)
        values = {name: _plain(value) for name, value in event.arguments.items()}
        return phrase.format_map(_Arguments(values))

    def _say(self, bubble: _Bubble, line: str, event: Event) -> None:
        if isinstance(event, _LAST):
            self._hush(bubble)
        elif event.at < bubble.next_at:
            bubble.waiting = line
            if bubble.timer is not None or self._set_timer(bubble, bubble.next_at - event.at):
                return
        self._emit(bubble, line, event.at)

    def _set_timer(self, bubble: _Bubble, delay: float) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # from a thread: better too early than never
            return False
        bubble.timer = loop.call_later(delay, self._emit_waiting, bubble, bubble.next_at)
        return True

    def _emit_waiting(self, bubble: _Bubble, at: float) -> None:
        line = bubble.waiting
        if line is not None:
            try:
                self._emit(bubble, line, at)
            except Exception as error:
                self._faults.note(error, "a delayed line")

    def _emit(self, bubble: _Bubble, line: str, at: float) -> None:
        self._hush(bubble)
        if line == bubble.last:
            return
        bubble.last = line
        bubble.next_at = at + self._min_interval
        self._on_line(line)

    def _hush(self, bubble: _Bubble) -> None:
        bubble.waiting = None
        if bubble.timer is not None:
            bubble.timer.cancel()
            bubble.timer = None


_LAST = (RunEnded, RunPaused, RunFailed)
_SHOWN = (RunStarted, RunResumed, ModelStarted, ToolStarted, ToolProgress, ToolEnded, LimitReached, *_LAST)


class _Arguments(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "…"


def _working(bubble: _Bubble) -> str | None:
    """The newest tool at work, and how many others are."""
    if not bubble.tools:
        return None
    line = next(reversed(bubble.tools.values()))
    others = len(bubble.tools) - 1
    return f"{line} (and {others} more)" if others else line


def _asked(questions: tuple[str, ...]) -> str:
    if not questions:
        return "Waiting for approval"
    more = f" (and {len(questions) - 1} more)" if len(questions) > 1 else ""
    return f"Waiting for approval: {snippet(questions[0], _TEXT)}{more}"


def _words(name: str) -> str:
    return snippet(" ".join(name.replace("_", " ").replace("-", " ").split()), _ARGUMENT)


def _humanized(tool: str) -> str:
    """`lookup_order` as "Lookup order"."""
    words = _words(tool)
    return words[:1].upper() + words[1:]


def _work(tool: str) -> str:
    return f"{_humanized(tool)}…"


def _plain(value: object) -> object:
    # Numbers stay numbers, so that a template may say {amount:.2f}.
    return value if isinstance(value, (int, float)) else shown(value, _ARGUMENT)


def main_argument(arguments: Mapping[str, Any]) -> str | None:
    """The first argument that is a text or a number and does not sound secret."""
    for name, value in arguments.items():
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and not _sounds_secret(name):
            return shown(value, _ARGUMENT) or None
    return None


def _sounds_secret(name: str) -> bool:
    name = name.lower().replace("-", "_")
    return not _SECRET_WORDS.isdisjoint(name.split("_")) or any(part in name for part in _SECRET_PARTS)
