"""`agentfootprint chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..agent import Agent, Paused, Result
from ..errors import AgentFootprintError, ConversationPaused, InputInvalid
from ..flow import Footprint
from ..identity import MemoryIdentity
from ..messages import Message
from .asking import ask_all, login_name
from .codes import COMPLETED
from .loading import as_agent, find, make
from .loop import Loop
from .terminal import consoles, printable, read_line, tally, tell_error, told_output
from .view import View

__all__ = ["chat"]

_HELP = """\
/why         what the last answer rests on
/story       what happened in the last turn, step by step
/save FILE   write the last turn's footprint
/help        this
/quit        leave, as does Ctrl-D; Ctrl-C cancels the turn that is running"""


def chat(target: str, identity: MemoryIdentity | None, *, debug: bool) -> int:
    found = find(target)
    out, _ = consoles()
    with Loop() as loop:
        agent = as_agent(target, loop.run(make(target, found)))
        try:
            _Chat(agent, identity, loop, out, debug).talk()
        finally:
            loop.run(agent.aclose())
    return COMPLETED


class _Chat:
    def __init__(
        self,
        agent: Agent[Any, Any],
        identity: MemoryIdentity | None,
        loop: Loop,
        out: Console,
        debug: bool,
    ) -> None:
        self._agent = agent
        self._identity = identity
        self._loop = loop
        self._out = out
        self._debug = debug
        self._view = View(out)
        self._last: Footprint | None = None
        self._took = 0.0
        self._left_open = False
        # The store continues a conversation that has a name there; any other one is continued from here.
        named = identity is not None and identity.conversation_id is not None
        self._stored = named and agent._state is not None
        self._messages: Sequence[Message] = ()
        self._commands: dict[str, Callable[[str], None]] = {
            "/why": self._why,
            "/story": self._story,
            "/save": self._save,
            "/help": lambda _: self._say(_HELP, "dim"),
        }

    def talk(self) -> None:
        self._greet()
        prompt = Text("› " if sys.stdin.isatty() else "", style="bold cyan")
        while True:
            try:
                text = read_line(self._out, prompt).strip()
            except KeyboardInterrupt:
                self._say("\nCtrl-D or /quit leaves.", "dim")
                continue
            except EOFError:
                self._out.print()
                return
            if text == "/quit":
                return
            if text:
                self._guarded(text)

    def _greet(self) -> None:
        provider = self._agent.provider
        told = Text.assemble(
            (printable(self._agent.name), "bold"), (f" · {provider.name}:{provider.model}", "dim")
        )
        if self._identity is not None:
            parts = [part if part is not None else "-" for part in self._identity.parts]
            told.append(f" · {printable(' / '.join(parts))}", style="dim")
        self._out.print(told)
        self._say("/help lists the commands, Ctrl-D leaves.\n", "dim")

    def _guarded(self, text: str) -> None:
        """Whatever goes wrong in a turn or a command, the session goes on."""
        try:
            if text.startswith("/"):
                name, _, rest = text.partition(" ")
                command = self._commands.get(name)
                if command is None:
                    raise InputInvalid(
                        f"there is no command {name}; there is: {', '.join(self._commands)}, /quit"
                    )
                command(rest.strip())
            else:
                self._turn(text)
        except KeyboardInterrupt:
            self._view.rest()
            self._say("Cancelled.", "yellow")
        except Exception as error:
            self._view.rest()
            if self._debug:
                traceback.print_exception(error, file=sys.stdout)
            tell_error(self._out, error)
            if isinstance(error, AgentFootprintError) and error.footprint is not None:
                self._last = error.footprint
        self._out.print()

    # ── a turn ──────────────────────────────────────────────────────────────────────────────────

    def _turn(self, text: str) -> None:
        self._took = 0.0
        try:
            result = self._watched(self._asked(text, abandon=self._left_open))
        except ConversationPaused:
            # The question was left open by another session, or another process.
            question = "This conversation waits for a person's answer. Give that question up? [y/N] "
            answer = read_line(self._out, Text(question, style="bold yellow"))
            if answer.strip().casefold() not in ("y", "yes"):
                self._say("Left as it is: resume its checkpoint to answer.", "dim")
                return
            result = self._watched(self._asked(text, abandon=True))
        self._left_open = False
        while isinstance(result, Paused):
            try:
                answers = ask_all(self._out, result.asks)
            except (EOFError, KeyboardInterrupt):
                self._left_open = True
                break
            result = self._watched(
                self._agent.resume(
                    result.checkpoint, answers=answers, by=login_name(), recorders=[self._view]
                )
            )
        self._ended(result)

    async def _asked(self, text: str, *, abandon: bool) -> Result[Any]:
        stream = self._agent.stream(
            text, identity=self._identity, messages=self._messages, abandon_paused=abandon
        )
        async with stream as run:
            async for event in run:
                self._view.on_event(event)
        return run.result

    def _watched(self, run: Coroutine[Any, Any, Result[Any]]) -> Result[Any]:
        begun = time.monotonic()
        try:
            return self._loop.run(run)
        finally:
            self._took += time.monotonic() - begun

    def _ended(self, result: Result[Any]) -> None:
        self._last = result.footprint
        if not self._stored:
            self._messages = result.messages
        if isinstance(result, Paused):
            self._say("\nLeft unanswered: your next message gives the question up.", "yellow")
        elif result.output is not None:
            self._view.answer(told_output(result.output))
        self._say(tally(result, self._took), "dim")

    # ── commands ────────────────────────────────────────────────────────────────────────────────

    def _why(self, _: str) -> None:
        self._say(self._footprint.why("output"))

    def _story(self, _: str) -> None:
        self._say(self._footprint.narrative())

    def _save(self, name: str) -> None:
        if not name:
            raise InputInvalid("say where to: /save FILE, by convention *.footprint.jsonl")
        self._footprint.save(Path(name).expanduser())
        self._say(f"Saved to {name}: agentfootprint replay {name}", "dim")

    @property
    def _footprint(self) -> Footprint:
        if self._last is None:
            raise InputInvalid("there is nothing to tell yet: ask something first")
        return self._last

    def _say(self, text: str, style: str = "") -> None:
        self._out.print(Text(printable(text), style=style), soft_wrap=True)
