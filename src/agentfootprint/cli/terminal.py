"""What the commands show: two consoles, one status line, one line about tokens and cost."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from ..agent import Completed, Paused, Result
from ..errors import ProviderError
from ..flow.codec import dumps, encode
from ..observe import Recorder, chat_bubble_live_status
from ..observe.snippet import seconds, snippet
from .codes import error_code

__all__ = [
    "StatusLine",
    "consoles",
    "print_output",
    "printable",
    "read_line",
    "tally",
    "tell_error",
    "told_output",
]

# Control characters, and those that turn the reading direction: whatever could make a terminal show
# something else than the text says. Line breaks and tabs stay.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text that a model, a tool or a user wrote, fit for a terminal."""
    return _UNSAFE.sub("�", text.replace("\r\n", "\n"))


def told_output(output: Any) -> str:
    """The answer of a run as text: what `output=` made of it as JSON."""
    return output if isinstance(output, str) else dumps(encode(output))


def print_output(output: Any) -> None:
    """The answer on standard output: a pipe gets it as it is."""
    text = told_output(output)
    print(printable(text) if sys.stdout.isatty() else text)


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error. A character that the terminal cannot show breaks nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Console(highlight=False), Console(stderr=True, highlight=False)


class StatusLine:
    """What the agent is doing right now.

    On a terminal one line that moves and leaves nothing behind; elsewhere plain lines, or nothing when
    `quiet`.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._status: Status | None = None

    @property
    def recorder(self) -> Recorder:
        return chat_bubble_live_status(on_line=self.say)

    def say(self, line: str) -> None:
        if not self._console.is_terminal:
            if not self._quiet:
                self._console.print(Text(line), soft_wrap=True)
        elif self._status is None:
            self._status = self._console.status(Text(line, style="dim"), spinner="dots")
            self._status.start()
        else:
            self._status.update(Text(line, style="dim"))

    def hide(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def read_line(console: Console, prompt: Text) -> str:
    """One line from standard input, without its end.

    Raises:
        EOFError: there is none: Ctrl-D, or a pipe that ended.
        KeyboardInterrupt: Ctrl-C.
    """
    if sys.stdin.isatty() and sys.stdout.isatty() and console.file is sys.stdout and _line_editor():
        # The editor has to know the prompt, and which of its characters take no room.
        with console.capture() as shown:
            console.print(prompt, end="")
        return input(re.sub(r"(\x1b\[[0-9;]*m)", "\x01\\1\x02", shown.get()))
    console.print(prompt, end="")
    console.file.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def _line_editor() -> bool:
    """Whether `input` lets a line be edited and brings earlier ones back: it does once this is imported."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return False
    return True


def tally(result: Result[Any], took: float) -> str:
    """Tokens, cost and time of a run so far."""
    usage, cost = result.usage, result.cost
    tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    if usage.unreported:
        tokens += f" (and {usage.unreported} model calls that were not counted)"
    if cost is None:
        price = "cost unknown"
    else:
        price = "under $0.0001" if 0 < cost < 0.0001 else f"${cost:.4f}"
    told = f"{tokens} · {price} · {seconds(took)}"
    if isinstance(result, (Completed, Paused)):
        return told
    return f"stopped: {result.reason.replace('_', ' ')} · {told}"


# What a person at a terminal can do; the messages themselves speak of what happened.
_FIXES = {
    "identity_required": "name whom it is for with --tenant, --principal and --conversation",
    "unauthorized": "check the provider's API key",
    "rate_limited": "send it again in a while",
    "overloaded": "send it again in a while",
    "unavailable": "send it again, and check the network and the provider's address",
    "timed_out": "send it again",
    "stream_truncated": "send it again",
    "context_window_exceeded": "start a new conversation",
}


def tell_error(console: Console, error: Exception) -> None:
    """An error in one line: its code, what happened, what to do."""
    code = error_code(error)
    fix = _FIXES.get(code)
    if isinstance(error, ProviderError) and error.retry_after is not None:
        fix = f"send it again in {seconds(error.retry_after)}"
    told = Text.assemble(("error", "bold red"), (f" {code} ", "red"), snippet(str(error), 2000))
    if fix:
        told.append(f" → {fix}", style="dim")
    console.print(told, soft_wrap=True)
