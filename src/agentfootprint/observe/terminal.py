"""Runs on a terminal while they go on: what each does right now, what it did, what it has taken so far."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .. import events as e
from ..errors import ConfigurationError, MissingExtra
from ..messages import Usage
from .live_status import main_argument
from .sampling import LAST, status_of
from .snippet import seconds, snippet

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["TerminalStatus", "terminal_live_status"]

_NAME = 60
_TOOLS = 6  # of a run that are shown; earlier ones are summed up
_SHOWN = (
    e.RunStarted,
    e.RunResumed,
    e.ModelStarted,
    e.ModelEnded,
    e.ModelRetried,
    e.ModelFellBack,
    e.TextDelta,
    e.ToolStarted,
    e.ToolProgress,
    e.ToolEnded,
    e.CostTicked,
    e.LimitReached,
    *LAST,
)


def terminal_live_status(console: Console | None = None, *, max_runs: int = 4) -> TerminalStatus:
    """A recorder that shows runs on the terminal while they go on: what each does now, its tools, turns,
    tokens, cost and time. What a run has come to stays on the screen when it has ended. Where there is no
    terminal, only that is written.

    Of arguments the first plain one is shown, unless it sounds secret. Printing in between is fine.

    Args:
        console: where to; standard error unless given.
        max_runs: at most so many runs are shown at once; of more only the number.

    Raises:
        MissingExtra: rich is not installed.
        ConfigurationError: `max_runs` shows nothing.
    """
    if max_runs < 1:
        raise ConfigurationError(f"max_runs={max_runs} shows nothing: use 1 or more")
    try:
        from rich.console import Console
    except ImportError:
        raise MissingExtra("terminal_live_status", "cli") from None
    return TerminalStatus(console or Console(stderr=True), max_runs)


class _Tool:
    __slots__ = ("began", "doing", "ended", "name", "outcome")

    def __init__(self, name: str, began: float) -> None:
        self.name = name
        self.began = began
        self.ended: float | None = None
        self.outcome = ""
        self.doing = ""


class _Run:
    __slots__ = ("agent", "began", "cost", "doing", "tokens", "tools", "turns", "unpriced", "written")

    def __init__(self, agent: str, began: float) -> None:
        self.agent = agent
        self.began = began
        self.doing = "Thinking…"
        self.turns = 0
        self.tokens = Usage()
        self.cost = Decimal(0)
        self.unpriced = False
        self.written = 0
        self.tools: OrderedDict[str, _Tool] = OrderedDict()


class TerminalStatus:
    """See `terminal_live_status`. As something that rich can print, it is how the runs stand."""

    def __init__(self, console: Console, max_runs: int) -> None:
        self._console = console
        self._max_runs = max_runs
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._live: Any = None

    def wants(self, kind: type[e.Event], /) -> bool:
        return kind in _SHOWN

    def on_event(self, event: e.Event, /) -> None:
        ended: _Run | None = None
        with self._lock:
            if isinstance(event, (e.RunStarted, e.RunResumed)) and event.run_id is not None:
                self._runs[event.run_id] = _Run(event.agent, event.at)
            elif isinstance(event, LAST):
                ended = self._runs.pop(event.run_id or "", None)
            elif (run := self._runs.get(event.run_id or "")) is not None:
                _fold(run, event)
            going = bool(self._runs)
        if isinstance(event, LAST) and ended is not None:
            self._console.print(_summary(ended, event), soft_wrap=not self._console.is_terminal)
        if going:
            self._show()
        else:
            self._hide()

    async def aclose(self) -> None:
        """Takes what is shown off the screen."""
        self._hide()

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        with self._lock:
            now = time.time()
            runs = list(self._runs.values())
            lines = [line for run in runs[-self._max_runs :] for line in _lines(run, now)]
        hidden = len(runs) - self._max_runs
        return Group(*lines, *([_dim(f"and {hidden} more runs")] if hidden > 0 else []))

    def _show(self) -> None:
        if self._live is None and self._console.is_terminal:
            from rich.live import Live

            self._live = Live(self, console=self._console, refresh_per_second=8, transient=True)
            self._live.start()

    def _hide(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _fold(run: _Run, event: e.Event) -> None:
    match event:
        case e.ModelStarted():
            run.doing, run.written = "Thinking…", 0
        case e.TextDelta(text=text):
            run.written += len(text)
            run.doing = f"Writing… ({run.written} characters)"
        case e.ModelRetried(delay=delay):
            run.doing = f"Trying again in {seconds(delay)}…"
        case e.ModelFellBack(to_provider=name):
            run.doing = f"Asking {snippet(name, _NAME)} instead…"
        case e.ModelEnded(usage=usage):
            run.turns += 1
            run.tokens += usage if usage is not None else Usage(unreported=1)
            run.doing = "Going on…"
        case e.CostTicked(cost=cost):
            if cost is None:
                run.unpriced = True
            else:
                run.cost += Decimal(cost)
        case e.ToolStarted():
            argument = main_argument(event.arguments)
            told = event.tool if argument is None else f"{event.tool}: {argument}"
            run.tools[event.call_id] = _Tool(snippet(told, _NAME), event.at)
        case e.ToolProgress():
            if (tool := run.tools.get(event.call_id)) is not None:
                share = "" if event.fraction is None else f"{event.fraction:.0%} "
                tool.doing = share + snippet(event.message, _NAME)
        case e.ToolEnded():
            known = run.tools.setdefault(event.call_id, _Tool(snippet(event.tool, _NAME), event.at))
            known.ended, known.outcome = event.at, event.outcome
        case e.LimitReached(limit=limit):
            run.doing = f"Wrapping up ({limit.replace('_', ' ')})…"


def _lines(run: _Run, now: float) -> list[RenderableType]:
    from rich.text import Text

    head = Text.assemble((snippet(run.agent, _NAME), "bold"), (f" · {_taken(run, now - run.began)}", "dim"))
    lines: list[RenderableType] = [head]
    tools = list(run.tools.values())
    if len(tools) > _TOOLS:
        lines.append(_dim(f"  {len(tools) - _TOOLS} earlier calls"))
    for tool in tools[-_TOOLS:]:
        lines.append(_tool(tool, now))
    if not any(tool.ended is None for tool in tools):
        lines.append(Text(f"  {run.doing}", style="cyan"))
    return lines


def _tool(tool: _Tool, now: float) -> RenderableType:
    from rich.text import Text

    if tool.ended is None:
        doing = f" {tool.doing}" if tool.doing else ""
        return Text(f"  … {tool.name}{doing} · {seconds(max(now - tool.began, 0))}", style="cyan")
    good = tool.outcome == "ok"
    mark = ("  ✓ ", "green") if good else ("  ✗ ", "red")
    why = "" if good else f" · {tool.outcome.replace('_', ' ')}"
    return Text.assemble(mark, (f"{tool.name}{why} · {seconds(tool.ended - tool.began)}", "dim"))


def _summary(run: _Run, event: e.RunEnded | e.RunPaused | e.RunFailed) -> RenderableType:
    from rich.text import Text

    status = status_of(event)
    why = ""
    if isinstance(event, e.RunEnded) and event.reason is not None:
        why = f" ({snippet(event.reason, _NAME)})"
    elif isinstance(event, e.RunFailed) and status == "failed":
        # The code, not the message, which may quote what must not stand on a screen.
        why = f" ({snippet(event.error, _NAME)})"
    elif isinstance(event, e.RunPaused):
        why = f": {snippet(' '.join(event.questions), 2 * _NAME)}"
    taken = _taken(run, event.at - run.began, len(run.tools))
    style = {"completed": "green", "paused": "yellow", "stopped": "yellow"}.get(status, "red")
    return Text.assemble(
        (snippet(run.agent, _NAME), "bold"), " ", (f"{status}{why}", style), (f" · {taken}", "dim")
    )


def _taken(run: _Run, took: float, calls: int = 0) -> str:
    parts = [seconds(max(took, 0.0))]
    if run.turns:
        parts.append(f"{run.turns} turn{'s' * (run.turns > 1)}")
    if calls:
        parts.append(f"{calls} tool call{'s' * (calls > 1)}")
    if run.tokens.total_tokens:
        parts.append(f"{run.tokens.total_tokens:,} tokens")
    if run.cost or run.unpriced:
        parts.append(f"${run.cost:.4f}{' and more' if run.unpriced else ''}")
    return " · ".join(parts)


def _dim(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text, style="dim")
