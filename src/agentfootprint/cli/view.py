"""A conversation on the terminal: the answer as it is written, a line per tool, what goes on right now."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from ..events import (
    ConversationFailed,
    Event,
    LimitReached,
    MemoryFailed,
    ModelStarted,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    TextDelta,
    ToolEnded,
    ToolStarted,
)
from ..observe.snippet import seconds, shown, snippet
from .terminal import StatusLine, printable

__all__ = ["View"]

_WIDTH = 100


class View:
    """A recorder that writes a conversation. One for a session; its runs come one after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = StatusLine(console, quiet=True)
        self._live = self._status.recorder
        self._calls: dict[str, str] = {}
        self._written = ""

    def on_event(self, event: Event, /) -> None:
        match event:
            case TextDelta():
                self._write(event.text)
                return
            case RunStarted() | RunResumed():
                self._live = self._status.recorder
                self._written = ""
            case ModelStarted():
                self.break_line()
                self._written = ""
            case ToolStarted():
                told = ", ".join(f"{name}={shown(value, 40)}" for name, value in event.arguments.items())
                self._calls[event.call_id] = snippet(f"{event.tool}({told})", _WIDTH)
            case ToolEnded():
                self._tool(event)
            case MemoryFailed() | ConversationFailed():
                self._warn(f"not saved: {event.message}")
            case LimitReached():
                self._warn(f"limit reached: {event.limit.replace('_', ' ')}")
            case RunEnded() | RunPaused() | RunFailed():
                self.rest()
                return
        if not self._in_line:
            self._live.on_event(event)

    def answer(self, output: str) -> None:
        """Shows the answer, unless it was seen being written."""
        if output.rstrip("\n") != self._written.rstrip("\n"):
            self.rest()
            self._console.print(Text(printable(output)), soft_wrap=True)
        self._written = ""

    def rest(self) -> None:
        """Nothing goes on any more: leaves the cursor at the beginning of a line."""
        self._status.hide()
        self.break_line()

    def break_line(self) -> None:
        if self._in_line:
            self._console.print()
            self._written += "\n"

    @property
    def _in_line(self) -> bool:
        return bool(self._written) and not self._written.endswith("\n")

    def _write(self, text: str) -> None:
        self._status.hide()
        self._written += text
        self._console.print(Text(printable(text)), end="", soft_wrap=True)

    def _tool(self, event: ToolEnded) -> None:
        call = self._calls.pop(event.call_id, event.tool)
        good, outcome = event.outcome == "ok", event.outcome.replace("_", " ")
        told = Text.assemble(("  ✓ " if good else "  ✗ ", "green" if good else "red"), (call, "dim"))
        told.append(f" · {seconds(event.duration)}", style="dim")
        if event.outcome == "denied":
            told.append(" · denied", style="dim red")
        elif not good:
            told.append(f" · {outcome}: {snippet(event.result, _WIDTH)}", style="dim red")
        self._line(told)

    def _warn(self, text: str) -> None:
        self._line(Text(f"  ! {snippet(text, _WIDTH)}", style="yellow"))

    def _line(self, told: Text) -> None:
        self._status.hide()
        self.break_line()
        # One line, whatever is in it; a pipe gets it whole.
        if self._console.is_terminal:
            self._console.print(told, no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(told, soft_wrap=True)
