"""`agentfootprint run`: one turn, or the rest of one that waited for a person."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from ..agent import Agent, Checkpoint, Paused, Result, Stopped
from ..errors import AgentFootprintError, InputInvalid
from ..flow.codec import encode
from ..identity import MemoryIdentity
from .asking import ask_all, given_answers, login_name
from .codes import COMPLETED, PAUSED, STOPPED, error_code
from .loading import as_agent, find, make
from .loop import Loop
from .terminal import StatusLine, consoles, print_output, printable, tally

__all__ = ["RunOptions", "run_once"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says about one run."""

    target: str
    prompt: str | None
    identity: MemoryIdentity | None
    as_json: bool
    footprint: Path | None
    checkpoint: Path | None
    resume: Path | None
    answers: Sequence[str]
    approve: bool
    reject: bool
    by: str | None


def run_once(options: RunOptions) -> int:
    """Runs or resumes, asks the person at the terminal where there is one, and tells the result."""
    _check(options)
    found = find(options.target)
    _, err = consoles()
    with Loop() as loop:
        agent = as_agent(options.target, loop.run(make(options.target, found)))
        turn = _Turn(options, agent, loop, err)
        try:
            try:
                result = turn.take()
            except Exception as error:
                turn.broke_off(error)
            turn.tell(result)
        finally:
            loop.run(agent.aclose())
    if isinstance(result, Paused):
        return PAUSED
    return STOPPED if isinstance(result, Stopped) else COMPLETED


def _check(options: RunOptions) -> None:
    """Refuses what would fail after the model was paid."""
    answers = options.answers or options.approve or options.reject
    if options.resume is None:
        if options.prompt is None:
            raise InputInvalid(
                'there is nothing to ask: agentfootprint run app:agent "…"; "-" reads it from standard input'
            )
        if answers:
            raise InputInvalid("an answer needs the checkpoint it is for: --resume PATH")
    elif options.prompt is not None:
        raise InputInvalid("a resumed run goes on with its own question: leave out the new one")
    for path in (options.footprint, options.checkpoint):
        if path is not None and not _writable(path):
            raise InputInvalid(f"{path} cannot be written: name a file in a folder that can be written to")


def _writable(path: Path) -> bool:
    return not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)


class _Turn:
    def __init__(self, options: RunOptions, agent: Agent[Any, Any], loop: Loop, err: Console) -> None:
        self._options = options
        self._agent = agent
        self._loop = loop
        self._err = err
        self._status = StatusLine(err)
        self._took = 0.0

    def take(self) -> Result[Any]:
        options = self._options
        by = options.by or login_name()
        if options.resume is None:
            text = sys.stdin.read() if options.prompt == "-" else options.prompt
            result = self._watched(
                self._agent.run(text, identity=options.identity, recorders=[self._status.recorder])
            )
        else:
            result = self._resumed(Checkpoint.from_json(options.resume.read_bytes()), by)
        while isinstance(result, Paused) and self._can_ask:
            answers = self._asked(result.checkpoint)
            if answers is None:
                break
            result = self._go_on(result.checkpoint, answers, by)
        return result

    def _resumed(self, checkpoint: Checkpoint, by: str | None) -> Result[Any]:
        options = self._options
        answers = given_answers(
            checkpoint.asks, options.answers, approve=options.approve, reject=options.reject
        )
        if answers is None and checkpoint.asks and self._can_ask:
            answers = self._asked(checkpoint)
            if answers is None:
                raise KeyboardInterrupt
        return self._go_on(checkpoint, answers or {}, by)

    def _go_on(self, checkpoint: Checkpoint, answers: dict[str, Any], by: str | None) -> Result[Any]:
        return self._watched(
            self._agent.resume(
                checkpoint,
                answers=answers,
                identity=self._options.identity,
                by=by,
                recorders=[self._status.recorder],
            )
        )

    def _watched(self, run: Coroutine[Any, Any, Result[Any]]) -> Result[Any]:
        begun = time.monotonic()
        try:
            return self._loop.run(run)
        finally:
            self._took += time.monotonic() - begun
            self._status.hide()

    @property
    def _can_ask(self) -> bool:
        """Whether a person sits here who is meant to answer."""
        options = self._options
        handed_over = options.as_json or options.checkpoint is not None
        return not handed_over and sys.stdin.isatty() and sys.stderr.isatty()

    def _asked(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        try:
            return ask_all(self._err, checkpoint.asks)
        except (EOFError, KeyboardInterrupt):
            self._err.print()
            return None

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    def tell(self, result: Result[Any]) -> None:
        options = self._options
        if options.as_json:
            print(json.dumps(self._report(result), ensure_ascii=False))
        elif not isinstance(result, Paused) and result.output is not None:
            print_output(result.output)
        sys.stdout.flush()
        if isinstance(result, Paused):
            self._keep(result)
        self._say(Text(tally(result, self._took), style="dim"))
        if options.footprint is not None:
            result.footprint.save(options.footprint)

    def _report(self, result: Result[Any]) -> dict[str, Any]:
        known: dict[str, Any] = {
            "status": result.status,
            "usage": encode(result.usage),
            "cost": None if result.cost is None else str(result.cost),
            "run_id": result.run_id,
            "footprint": self._footprint_path,
        }
        if isinstance(result, Paused):
            known["asks"] = [_ask(ask) for ask in result.asks]
            known["checkpoint"] = result.checkpoint.to_json()
        else:
            known["output"] = encode(result.output)
        if isinstance(result, Stopped):
            known["reason"] = str(result.reason)
        return _report(**known)

    @property
    def _footprint_path(self) -> str | None:
        return None if self._options.footprint is None else str(self._options.footprint)

    def _keep(self, paused: Paused) -> None:
        """Leaves what a person needs to answer later: a paused run is not lost with this process."""
        options = self._options
        for ask in paused.asks:
            head = ("waits for an answer ", "bold yellow")
            self._say(Text.assemble(head, f"{ask.id}: {printable(ask.question)}"))
        checkpoint, path = paused.checkpoint, options.checkpoint
        if path is None and self._known_elsewhere(checkpoint) and not options.as_json:
            path = Path(f"{paused.run_id}.checkpoint.json")
        self._write(checkpoint, path, "--approve, --reject, or --answer ID=JSON")

    def _write(self, checkpoint: Checkpoint, path: Path | None, answers: str) -> None:
        if path is not None:
            _write_private(path, checkpoint.to_json())
        if not self._known_elsewhere(checkpoint):
            told = (
                "this agent goes on only in the process that began the run, which ends here: "
                "build it with state=SQLiteState(path), or with checkpoint_key="
            )
            self._say(Text(told, style="red"))
        elif path is not None:
            command = f"agentfootprint run {self._options.target} --resume {path} {answers}"
            self._say(Text(f"go on with: {command.rstrip()}"))

    def _known_elsewhere(self, checkpoint: Checkpoint) -> bool:
        """Whether another process can tell the checkpoint from a forged one."""
        state = self._agent._state
        return checkpoint.signature is not None or (state is not None and state.durable)

    def _say(self, text: Text) -> None:
        self._err.print(text, soft_wrap=True)

    def broke_off(self, error: Exception) -> NoReturn:
        """Keeps what a run that failed left: its record, and the place from where it can go on."""
        options = self._options
        run_id = written = None
        if isinstance(error, AgentFootprintError):
            if error.footprint is not None:
                run_id = error.footprint.run_id
                if options.footprint is not None:
                    error.footprint.save(options.footprint)
                    written = self._footprint_path
            if error.checkpoint is not None and options.checkpoint is not None:
                self._write(error.checkpoint, options.checkpoint, "")
        if options.as_json:
            told = {"code": error_code(error), "message": str(error)}
            report = _report(status="failed", error=told, run_id=run_id, footprint=written)
            print(json.dumps(report, ensure_ascii=False))
        raise error


def _report(**known: Any) -> dict[str, Any]:
    """The object of `--json`: the same keys whatever happened."""
    keys = "status output reason usage cost run_id asks checkpoint footprint error"
    return dict.fromkeys(keys.split()) | {"asks": []} | known


def _ask(ask: Any) -> dict[str, Any]:
    return {
        "id": ask.id,
        "question": ask.question,
        "tool": ask.tool,
        "arguments": encode(ask.arguments),
        "data": encode(ask.data),
        "schema": encode(ask.schema),
        "expires_at": ask.expires_at,
    }


def _write_private(path: Path, text: str) -> None:
    """A checkpoint holds raw values: nobody else may read it."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
