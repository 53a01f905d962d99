"""A run of an agent from where it stands to where it ends or waits, and what hangs on that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ..errors import AgentFootprintError, DeadlineExceeded, OutputInvalid, PermissionHalted
from ..events import RunEnded, RunFailed, RunPaused
from ..flow import Run
from ..messages import Message, Usage
from .answering import without_answers
from .chart import RunInput
from .checkpoint import Checkpoint
from .guardrails import passed
from .history import heal, settled
from .paying import knows_of
from .results import Completed, Paused, Result, Stopped, StopReason
from .session import Session

__all__ = ["bounded", "walk"]

Ended = TypeVar("Ended", bound="Completed[Any] | Stopped[Any]")

SAVE_SECONDS = 5.0
"""How long a run that is being cancelled may take to leave its conversation whole."""


async def walk(
    run: Run, session: Session, issue: Callable[[Run, Session], Awaitable[Checkpoint]]
) -> Result[Any]:
    """Walks a run, fresh or resumed. `issue` makes the checkpoint of a run that stands still."""
    status = "failed"
    try:
        result = await _walk(run, session, issue)
        status = result.status
        return result
    except asyncio.CancelledError:
        status = "cancelled"
        raise
    finally:
        session.keep(run, status)


async def _walk(
    run: Run, session: Session, issue: Callable[[Run, Session], Awaitable[Checkpoint]]
) -> Result[Any]:
    turn = session.turn
    if turn is not None:
        turn.keep_alive()
    knows_of(session, run)
    paused: str | None = None
    try:
        try:
            await run.go()
        except DeadlineExceeded:
            await _save_cut(run, session)
            # The answer may be there already: only what comes after it was cut off.
            given = run.get("output") if passed(run, session, "output") else None
            output = _value(session, given, whole=False)
            return _ended(run, session, Stopped(run, StopReason.DEADLINE, output, _let_through(run, session)))
        except asyncio.CancelledError:
            await _save_cut(run, session)
            session.tell(RunFailed, None, "cancelled", "the run was cancelled")
            raise
        except AgentFootprintError as error:
            session.tell(RunFailed, None, error.code, str(error))
            try:
                # What was halted does not go on, whoever would resume it.
                halted = isinstance(error, PermissionHalted)
                error.checkpoint = None if halted else await issue(run, session)
            except Exception:
                error.checkpoint = None  # A run that failed is told with its own error.
            raise
        if run.status == "paused":
            try:
                checkpoint = await issue(run, session)
            except Exception as error:
                code = error.code if isinstance(error, AgentFootprintError) else type(error).__name__
                session.tell(RunFailed, None, code, session.told(error))
                raise
            paused, asks = checkpoint.digest, checkpoint.asks
            questions = tuple(ask.question for ask in asks)
            session.tell(RunPaused, None, tuple(ask.id for ask in asks), questions)
            return Paused(run, checkpoint)
        stop = run.get("stop")
        if stop is not None:
            return _ended(run, session, Stopped(run, StopReason(stop), _value(session, run["output"])))
        return _ended(run, session, Completed(run, _value(session, run["output"])))
    finally:
        if turn is not None:
            await bounded(turn.end(paused=paused))


def _value(session: Session, output: str | None, *, whole: bool = True) -> Any:
    """An answer as the type that the agent has. Where the run was cut off it may be none yet."""
    answering = session.settings.answering
    if answering is None or output is None:
        return output
    try:
        return answering.contract.load(output)
    except Exception as error:
        if not whole:
            return None
        raise OutputInvalid(
            f"the answer was read as output={answering.contract.name} before and cannot be now "
            f"({type(error).__name__}): a check of that type does not always say the same of the same value"
        ) from error


def _ended(run: Run, session: Session, result: Ended) -> Ended:
    if session.wants(RunEnded):
        usage = run.get("usage", Usage())
        reason = str(result.reason) if isinstance(result, Stopped) else None
        took = (run.ended or run.started) - run.started
        cost = None if result.cost is None else float(result.cost)
        session.tell(RunEnded, None, result.status, reason, usage, cost, took)
    return result


async def _save_cut(run: Run, session: Session) -> None:
    """Keeps what a run that was cut off has of its turn, whole enough to be continued, and nothing that
    guardrails have not let through."""
    turn = session.turn
    if turn is None or "history" not in run.root.state or not passed(run, session, "input"):
        return
    given: RunInput = run["input"]
    await bounded(turn.save(_let_through(run, session)[len(heal(given.history).messages) :]))


def _let_through(run: Run, session: Session) -> Sequence[Message]:
    """The messages of a run that was cut off, but nothing that guardrails have not let through."""
    if "history" not in run.root.state:
        return ()
    given: RunInput = run["input"]
    before = heal(given.history).messages
    if not passed(run, session, "input"):
        return before
    messages = settled(run, ())
    if passed(run, session, "output"):
        return messages
    answered = bool(run.journal) and run.journal[-1].node in ("answer", "check_output", "settle")
    return without_answers(messages, len(before) + len(given.messages), session, answered=answered)


async def bounded(work: Any) -> None:
    """Finishes something small although the run is being cancelled; gives up after a few seconds."""
    task = asyncio.ensure_future(work)
    try:
        async with asyncio.timeout(SAVE_SECONDS):  # `wait_for` may lose a cancellation at its end.
            await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=SAVE_SECONDS)
        raise
    except Exception:
        # It must not take the place of the run's result, or of its error.
        return
