"""What must be true before a checkpoint goes on, and the claim that lets it go on once."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import (
    AnswerInvalid,
    AnswerRequired,
    CheckpointExpired,
    CheckpointMismatch,
    CheckpointTampered,
    CheckpointUsed,
    UnsupportedValue,
)
from ..flow import Ask, Flow, Run
from ..flow.codec import encode
from ..flow.nested import nested_in, told_in
from ..flow.snapshot import restore
from ..identity import MemoryIdentity
from ..state.base import Record, StateKey, StateStore
from ..tools.context import EXPIRED
from ..tools.foreign import SchemaInvalid, validator_of
from ..tools.tool import Tool
from .checkpoint import Checkpoint, pack
from .contract import Contract
from .paying import used_by
from .session import Session

__all__ = [
    "Claim",
    "Claims",
    "answers_for",
    "check_approver",
    "check_output",
    "check_tools",
    "draft",
    "fitting",
    "restored",
]

RECLAIM_SECONDS = 30.0
"""After this long without a word, a claim whose tools are all idempotent may be taken again."""

_KEPT_AFTER = 24 * 3600.0


class Claims:
    """Checkpoints as the state store knows them: open, claimed, done, or given up.

    The record is written when the checkpoint is made, under the checkpoint's digest: a text that was
    changed has another digest, which no store knows.
    """

    def __init__(self, state: StateStore, key: bytes | None) -> None:
        self._state = state
        self._key = key

    async def issue(self, run: Run, session: Session, agent: str, ttl: float | None) -> Checkpoint:
        """Makes the checkpoint of a run that stands still, and records it."""
        checkpoint = draft(run, session, agent, ttl)
        if self._key is not None:
            checkpoint = checkpoint.signed(self._key)
        value = {"status": "open", "ends": checkpoint.expires}
        key = _key(checkpoint.identity, checkpoint.digest)
        await self._state.compare_and_set(key, None, value, ttl=_ttl(checkpoint.expires))
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
        if checkpoint.expired():
            raise CheckpointExpired("the checkpoint's time is over: start the run again")
        record = await self._state.get(_key(checkpoint.identity, checkpoint.digest))
        if record is None:
            if signed:
                return None
            raise CheckpointTampered(
                "the state store does not know this checkpoint: it was changed, or made with another "
                "store. Give both agents the same state=, or a checkpoint_key="
            )
        if record.value["status"] == "done":
            raise CheckpointUsed("the checkpoint was resumed before, and that run came to its end")
        if record.value["status"] == "abandoned":
            raise CheckpointUsed("the question was given up: the conversation went on without its answer")
        return record

    async def take(
        self,
        checkpoint: Checkpoint,
        record: Record | None,
        by: str | None,
        idempotent: Callable[[str], bool],
    ) -> Claim:
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
        key, ends = _key(checkpoint.identity, checkpoint.digest), checkpoint.expires
        value = {"status": "claimed", "at": time.time(), "by": by, "ends": ends}
        before = None if record is None else record.version
        claimed = await self._state.compare_and_set(key, before, value, ttl=_ttl(ends))
        if claimed is None:
            raise CheckpointUsed("the checkpoint is being resumed by somebody else right now")
        return Claim(self._state, key, claimed)

    async def give_up(self, identity: MemoryIdentity, digest: str) -> None:
        """Closes an open checkpoint whose question nobody waits for any more."""
        key = _key(identity, digest)
        record = await self._state.get(key)
        if record is not None and record.value["status"] == "open":
            ends = record.value["ends"]
            value = {"status": "abandoned", "ends": ends}
            await self._state.compare_and_set(key, record.version, value, ttl=_ttl(ends))


class Claim:
    """The right to go on from one checkpoint, renewed while the run goes on."""

    def __init__(self, state: StateStore, key: StateKey, record: Record) -> None:
        self._state = state
        self._key = key
        self._record = record
        self._beating: asyncio.Task[None] | None = None

    def keep_alive(self) -> None:
        """Says in the background that the run is alive, so that nobody takes it for dead."""
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def release(self) -> None:
        """Gives the checkpoint back unused: nothing was executed."""
        await self._set("open")

    async def done(self) -> None:
        """Notes that the run came to an end, to its next pause, or to a checkpoint of its own."""
        self.stop()
        await self._set("done")

    def stop(self) -> None:
        """Leaves the claim as it is: what became of the calls is not known."""
        if self._beating is not None:
            self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(RECLAIM_SECONDS / 3)
            try:
                if not await self._set("claimed"):
                    return
            except Exception:
                # Out of reach now: perhaps not at the next beat.
                continue

    async def _set(self, status: str) -> bool:
        value = {**self._record.value, "status": status, "at": time.time()}
        ttl = _ttl(value["ends"])
        moved = await self._state.compare_and_set(self._key, self._record.version, value, ttl=ttl)
        if moved is None:
            return False
        self._record = moved
        return True


def _plain_name(name: Any) -> str:
    """A name without what tells it from another only to a machine: case, spaces, width, what is not seen."""
    if not isinstance(name, str):
        return ""
    shown = unicodedata.normalize("NFKC", name)
    return "".join(char for char in shown.casefold() if unicodedata.category(char)[0] not in "CZ")


def _key(identity: MemoryIdentity | None, digest: str) -> StateKey:
    return StateKey(identity, "checkpoint", digest)


def _ttl(ends: float | None) -> float | None:
    return None if ends is None else max(ends - time.time(), 0.0) + _KEPT_AFTER


def draft(run: Run, session: Session, agent: str, ttl: float | None) -> Checkpoint:
    """The checkpoint of a run that stands still; nobody can resume it before it is recorded or signed."""
    asks = [record.ask for record in run.asks]
    now = time.time()
    snapshot: dict[str, Any] = {**run.snapshot(), "conversation": session.turn is not None}
    if (answering := session.settings.answering) is not None:
        snapshot["output"] = answering.contract.fingerprint
    waits = _waiting(run)
    if session.approver_differs or any(told.get("approver_differs") for _, told in waits):
        snapshot["approver_differs"] = True
    packed, texts = pack(snapshot)
    waiting = {ask.tool: None for ask in asks} | {name: None for name, _ in waits}
    return Checkpoint(
        agent=agent,
        identity=session.identity,
        created=now,
        expires=None if ttl is None else now + ttl,
        tools={
            name: tool.fingerprint
            for name in waiting
            if name is not None and (tool := session.dispatcher.get(name)) is not None
        },
        asks=asks,
        usage=used_by(run),
        packed=packed,
        texts=texts,
    )


def _waiting(run: Run) -> list[tuple[str, Mapping[str, Any]]]:
    """The tools whose calls wait, and what is told of the run within, if they wait for a question of one."""
    found = []
    for child in run.root.children or ():
        if child.index is not None and child.open is not None and child.open.status == "paused":
            calls = child.state["pending"].value if child.open.node == "call_tools" else ()
            within = nested_in(child.open)
            told = {} if within is None else told_in(within)
            found += [(call.name, told) for call in calls[child.index : child.index + 1]]
    return found


def check_tools(checkpoint: Checkpoint, tool_of: Callable[[str], Tool[..., Any] | None]) -> None:
    """Raises:
    CheckpointMismatch: a tool whose call waits is not there, or takes other arguments.
    """
    for name, fingerprint in checkpoint.tools.items():
        tool = tool_of(name)
        if tool is None:
            raise CheckpointMismatch(f"a call of tool {name!r} waits, which this agent does not have")
        if tool.fingerprint != fingerprint:
            raise CheckpointMismatch(
                f"a call of tool {name!r} waits, whose arguments have another schema now: "
                "resume it with the code that paused it"
            )


def check_approver(checkpoint: Checkpoint, late: Collection[str], by: str | None) -> None:
    """Raises:
    AnswerInvalid: an approval is not given by a person other than the one whose run it is.
    """
    if not any(ask.tool is not None for ask in checkpoint.asks if ask.id not in late):
        return
    requester = None if checkpoint.identity is None else checkpoint.identity.principal
    approver, requester = _plain_name(by), _plain_name(requester)
    if not approver or not requester or approver == requester:
        raise AnswerInvalid(
            "an approval of this agent is given by somebody else than who asked for it: resume it with "
            "by= the name of who approves, and run it with an identity that names a principal"
        )


def check_output(checkpoint: Checkpoint, contract: Contract | None) -> None:
    """Raises:
    CheckpointMismatch: the run was to answer with another type.
    """
    if checkpoint.run.get("output") != (None if contract is None else contract.fingerprint):
        raise CheckpointMismatch(
            "the run was to answer with another type than this agent, or its model is held to it in "
            "another way: resume it with the output= that it was begun with, and with a provider of the "
            "same abilities"
        )


def answers_for(
    checkpoint: Checkpoint, late: Collection[str], answer: Any, answers: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The answers by the ids of their questions, each of the right kind. Those that are `late` cannot be
    answered any more, and get none.

    Raises:
        AnswerRequired: a question has none.
        CheckpointExpired: an answer comes too late.
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
    if over := [ask for ask in asks.values() if ask.id in given and ask.id in late]:
        listed = "; ".join(f"{ask.id}: {ask.question}" for ask in over)
        raise CheckpointExpired(
            f"the time to answer is over for {listed}. Resume without an answer to that, and the run goes on "
            "as one that nobody answered: what waited for an approval does not run"
        )
    if missing := [ask for ask in asks.values() if ask.id not in given and ask.id not in late]:
        listed = "; ".join(f"{ask.id}: {ask.question}" for ask in missing)
        raise AnswerRequired(f"open questions need an answer: {listed}")
    return {name: EXPIRED if name in late else fitting(ask, given[name]) for name, ask in asks.items()}


def fitting(ask: Ask, answer: Any) -> Any:
    """The answer as the JSON it will be kept as, so that it is the same before and after storing.

    Raises:
        AnswerInvalid: it is not of the kind its question wants.
    """
    try:
        data = encode(answer)
    except (UnsupportedValue, RecursionError) as error:
        raise AnswerInvalid(f"the answer to {ask.question!r} is no JSON: {error}") from None
    if ask.schema is None:
        return data
    from jsonschema_rs import ValidationError

    try:
        validator_of(ask.schema).validate(data)
    except SchemaInvalid as error:
        raise AnswerInvalid(
            f"no answer to {ask.question!r} can be checked: the schema it asks for is of no use: {error}"
        ) from None
    except ValidationError as error:
        raise AnswerInvalid(
            f"the answer to {ask.question!r} does not fit: {error.message}; expected {dict(ask.schema)}"
        ) from None
    except ValueError as error:
        raise AnswerInvalid(f"the answer to {ask.question!r} is no JSON: {error}") from None
    return data


def restored(
    flow: Flow[Any], checkpoint: Checkpoint, answers: Mapping[str, Any], by: str | None, **options: Any
) -> Run:
    """The run as it stood, with its answers, ready to go on."""
    run = restore(flow, checkpoint.run, **options, answers=answers)
    run.answered_by({name for name, answer in answers.items() if answer != EXPIRED}, by)
    return run
