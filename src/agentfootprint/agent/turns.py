"""A turn of an agent: begun, or gone on with from a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AgentFootprintError, InputInvalid
from ..events import RunResumed, RunStarted
from ..flow import Run
from ..identity import MemoryIdentity
from ..messages import Message
from .chart import RunInput
from .checkpoint import Checkpoint
from .question import Prompt, asked_message
from .results import Result
from .resuming import Claims, answers_for, check_approver, check_output, check_tools, restored
from .stream import Buffer
from .walk import bounded, walk

if TYPE_CHECKING:
    from ..observe.base import Recorder
    from .built import Built
    from .session import Session

Output = TypeVar("Output")

__all__ = ["check_fits", "fresh_turn", "resumed_turn"]


async def fresh_turn(
    agent: Built[Output],
    buffer: Buffer | None,
    input: Prompt | None,  # noqa: A002 - the field's word
    messages: Sequence[Message] | None,
    identity: MemoryIdentity | None,
    deps: Any,
    fresh: bool,
    timeout: float | None,
    recorders: Iterable[Recorder],
    busy_timeout: float,
    abandon_paused: bool,
) -> Result[Output]:
    """What `Agent.run` and `Agent.stream` do; `buffer` takes the events of who reads along."""
    asked = asked_message(input, messages)
    dispatch = agent._dispatch(recorders, buffer)
    run = Run(agent.flow, timeout=timeout if timeout is not None else agent._timeout)
    session = await agent._admitted(run.id, identity, deps, dispatch, buffer)
    run.deps, run.tell = session, session.hears
    conversation = agent._conversation(identity, fresh)
    if conversation is not None and messages and (input is not None or len(messages) > 1):
        raise InputInvalid(
            "messages= and this identity's stored conversation both say what came before: leave out "
            "messages, or pass fresh=True"
        )
    history = tuple(messages[:-1] if input is None else messages) if messages else ()
    if conversation is not None:
        session.turn = turn = await conversation.begin(run.id, wait=busy_timeout, abandon=abandon_paused)
        try:
            if turn.abandoned is not None and identity is not None:
                await Claims(agent._shared, agent._key).give_up(identity, turn.abandoned)
            earlier = await turn.load()
        except BaseException:
            await turn.end()
            raise
        history = (*earlier, *history)
    session.tell(RunStarted, None, agent.name, identity, asked.text)
    run.begin(RunInput((asked,), history, conversation is not None))
    return await walk(run, session, agent._issue)


async def resumed_turn(
    agent: Built[Output],
    checkpoint: Checkpoint,
    answer: Any,
    answers: Mapping[str, Any] | None,
    identity: MemoryIdentity | None,
    by: str | None,
    deps: Any,
    timeout: float | None,
    recorders: Iterable[Recorder],
    busy_timeout: float,
) -> Result[Output]:
    """What `Agent.resume` does."""
    claims = Claims(agent._shared, agent._key)
    record = await claims.check(checkpoint, agent.name, identity)
    dispatch = agent._dispatch(recorders, None)
    session = await agent._admitted(checkpoint.run_id, checkpoint.identity, deps, dispatch)
    late = {ask.id for ask in checkpoint.unanswerable()}
    check_fits(checkpoint, session, late, by)
    given = answers_for(checkpoint, late, answer, answers)
    run = restored(
        agent.flow,
        checkpoint,
        given,
        by,
        deps=session,
        timeout=timeout if timeout is not None else agent._timeout,
        tell=session.hears,
    )
    claim = await claims.take(checkpoint, record, by, session.dispatcher.idempotent)
    conversation = agent._conversation(checkpoint.identity, fresh=not checkpoint.run.get("conversation"))
    if conversation is not None:
        try:
            session.turn = await conversation.begin(
                checkpoint.run_id, wait=busy_timeout, resuming=checkpoint.digest
            )
        except BaseException:
            await bounded(claim.release())
            raise
    claim.keep_alive()
    session.tell(RunResumed, None, agent.name, checkpoint.identity, by)
    try:
        result = await walk(run, session, agent._issue)
    except AgentFootprintError as error:
        if error.checkpoint is not None:
            await bounded(claim.done())
        raise
    finally:
        claim.stop()
    await bounded(claim.done())
    return result


def check_fits(checkpoint: Checkpoint, session: Session, late: Collection[str], by: str | None) -> None:
    """Refuses a checkpoint that the agent of the session, as it is now, must not go on from. `late` are the
    questions that nobody answered in time.

    Raises:
        CheckpointMismatch: it answers with another type, or a tool is another one.
        AnswerInvalid: an approval must be given by somebody else.
    """
    answering = session.settings.answering
    check_output(checkpoint, None if answering is None else answering.contract)
    if session.approver_differs or checkpoint.run.get("approver_differs"):
        check_approver(checkpoint, late, by)
    check_tools(checkpoint, session.dispatcher.get)
