"""What must be true before a checkpoint goes on, and the claim that lets it go on once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import (
    AnswerInvalid,
    AnswerRequired,
    CheckpointExpired,
    CheckpointMismatch,
    CheckpointTampered,
    CheckpointUsed,
)
from ..flow import Ask, Flow, Run
from ..flow.journal import UNANSWERED
from ..flow.snapshot import restore
from ..identity import MemoryIdentity
from ..messages import Usage
from ..state.base import Record, StateKey, StateStore
from ..tools.tool import Tool
from .checkpoint import Checkpoint, pack
from .session import Session

__all__ = ["Claims", "answers_for", "restored"]

RECLAIM_SECONDS = 30.0
"""After this long without a word, a claim whose tools are all idempotent may be taken again."""

_KEPT_AFTER = 24 * 3600.0


class Claims:
    """Checkpoints as the state store knows them: open, claimed, done.

    The record is written when the checkpoint is made, under the checkpoint's digest: a text that was
    changed has another digest, which no store knows.
    """

    def __init__(self, state: StateStore, key: bytes | None) -> None:
        self._state = state
        self._key = key

    async def issue(self, run: Run, session: Session, agent: str, ttl: float | None) -> Checkpoint:
        """Makes the checkpoint of a run that stands still, and records it."""
        asks = [record.ask for record in run.asks]
        now = time.time()
        stored = {**run.snapshot(), "conversation": session.turn is not None}
        checkpoint = Checkpoint(
            agent=agent,
            identity=session.identity,
            created=now,
            expires=None if ttl is None else now + ttl,
            tools={
                name: tool.fingerprint
                for ask in asks
                if (name := ask.tool) is not None and (tool := session.dispatcher.get(name)) is not None
            },
            asks=asks,
            usage=run.get("usage", Usage()),
            run=stored,
            packed=pack(stored),
        )
        if self._key is not None:
            checkpoint = checkpoint.signed(self._key)
        kept = None if ttl is None else ttl + _KEPT_AFTER
        await self._state.compare_and_set(_key(checkpoint), None, {"status": "open"}, ttl=kept)
        return checkpoint

    async def check(
        self, checkpoint: Checkpoint, agent: str, identity: MemoryIdentity | None
    ) -> Record | None:
        """Refuses a checkpoint that must not go on here; else its record, None if only signed."""
        if not isinstance(checkpoint, Checkpoint):
            raise CheckpointTampered(
                f"resume takes a Checkpoint, not {type(checkpoint).__name__}: "
                "Checkpoint.from_json(text) makes one"
            )
        if checkpoint.agent != agent:
            raise CheckpointMismatch(f"the checkpoint is of agent {checkpoint.agent!r}, this is {agent!r}")
        if identity is not None and identity != checkpoint.identity:
            # The same words for a foreign and for a missing identity: nothing about others is told.
            raise CheckpointMismatch("the checkpoint does not belong to this identity")
        signed = self._key is not None and checkpoint.verified(self._key)
        if not signed and (self._key is not None or checkpoint.signature is not None):
            raise CheckpointTampered(
                "the checkpoint's signature does not fit: it was changed, or signed with another key"
            )
        record = await self._state.get(_key(checkpoint))
        if record is None and not signed:
            raise CheckpointTampered(
                "the state store does not know this checkpoint: it was changed, or made with another "
                "store. Give both agents the same state=, or a checkpoint_key="
            )
        if checkpoint.expired():
            raise CheckpointExpired("the checkpoint's time is over: start the run again")
        if record is not None and record.value["status"] == "done":
            raise CheckpointUsed("the checkpoint was resumed before, and that run came to its end")
        return record

    def check_tools(self, checkpoint: Checkpoint, tools: Mapping[str, Tool[..., Any]]) -> None:
        for name, fingerprint in checkpoint.tools.items():
            tool = tools.get(name)
            if tool is None:
                raise CheckpointMismatch(f"a call of tool {name!r} waits, which this agent does not have")
            if tool.fingerprint != fingerprint:
                raise CheckpointMismatch(
                    f"a call of tool {name!r} waits, whose arguments have another schema now: "
                    "resume it with the code that paused it"
                )

    async def take(
        self,
        checkpoint: Checkpoint,
        record: Record | None,
        by: str | None,
        idempotent: Callable[[str], bool],
    ) -> Record:
        """Claims the checkpoint: from here on nobody else can.

        Raises:
            CheckpointUsed: somebody did before. When that run did not report its end, the outcome of
                the calls it was approved for is not known.
        """
        if record is not None and record.value["status"] == "claimed":
            waited = time.time() - record.value["at"]
            if waited < RECLAIM_SECONDS or not all(map(idempotent, checkpoint.tools)):
                raise CheckpointUsed(
                    "the checkpoint was resumed before, and that run has not reported its end: it is "
                    "running, or it died and the outcome of its calls is unknown. Look before you repeat them"
                )
        ends = checkpoint.expires
        claimed = await self._state.compare_and_set(
            _key(checkpoint),
            None if record is None else record.version,
            {"status": "claimed", "at": time.time(), "by": by},
            ttl=None if ends is None else ends - time.time() + _KEPT_AFTER,
        )
        if claimed is None:
            raise CheckpointUsed("the checkpoint is being resumed by somebody else right now")
        return claimed

    async def done(self, checkpoint: Checkpoint, claim: Record) -> None:
        """Notes that the claimed run came to an end, or to its next pause."""
        ends = checkpoint.expires
        await self._state.compare_and_set(
            _key(checkpoint),
            claim.version,
            {**claim.value, "status": "done"},
            ttl=None if ends is None else ends - time.time() + _KEPT_AFTER,
        )


def _key(checkpoint: Checkpoint) -> StateKey:
    return StateKey(checkpoint.identity, "checkpoint", checkpoint.digest)


def answers_for(checkpoint: Checkpoint, answer: Any, answers: Mapping[str, Any] | None) -> dict[str, Any]:
    """The answers by the ids of their questions, each of the right kind.

    Raises:
        AnswerRequired: a question has none.
        AnswerInvalid: one does not fit its question's schema, or has no question.
    """
    asks = {ask.id: ask for ask in checkpoint.asks}
    given = dict(answers or {})
    if answer is not ...:
        if answers is not None:
            raise AnswerInvalid("give answer= for one question, or answers= for several, not both")
        if len(asks) != 1:
            raise AnswerInvalid(
                f"answer= fits one open question, there are {len(asks)}: "
                "answers={ask.id: ...} takes one for each"
            )
        given = {next(iter(asks)): answer}
    if unknown := set(given) - set(asks):
        raise AnswerInvalid(f"no open question has the id {', '.join(sorted(map(repr, unknown)))}")
    if missing := [ask for ask in asks.values() if ask.id not in given]:
        listed = "; ".join(f"{ask.id}: {ask.question}" for ask in missing)
        raise AnswerRequired(f"open questions need an answer: {listed}")
    for ask in asks.values():
        _fits(ask, given[ask.id])
    return given


def _fits(ask: Ask, answer: Any) -> None:
    if ask.schema is None:
        return
    from jsonschema_rs import ValidationError, validator_for

    try:
        validator_for(dict(ask.schema)).validate(answer)
    except ValidationError as error:
        raise AnswerInvalid(
            f"the answer to {ask.question!r} does not fit: {error.message}; expected {dict(ask.schema)}"
        ) from None
    except (TypeError, ValueError) as error:
        raise AnswerInvalid(f"the answer to {ask.question!r} is no JSON: {error}") from None


def restored(
    flow: Flow[Any], checkpoint: Checkpoint, answers: Mapping[str, Any], by: str | None, **options: Any
) -> Run:
    """The run as it stood, with its answers, ready to go on."""
    run = restore(flow, checkpoint.run, **options, answers=answers)
    for step in run.journal:
        for record in step.asks:
            if record.ask.id in answers and record.answer is not UNANSWERED:
                record.by = by
    return run
