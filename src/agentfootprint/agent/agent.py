"""The agent: one immutable object for any number of runs, of any tenants, at once."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from ..errors import (
    ConfigurationError,
    IdentityRequired,
    ReplayRefused,
)
from ..events import Event
from ..flow import Footprint, Run
from ..identity import MemoryIdentity
from ..messages import Message
from ..observe.enable import Enable
from ..observe.registry import Handle
from .built import Built
from .checkpoint import Checkpoint
from .forgetting import Forgotten, forget
from .nesting import Around, agent_tool
from .opening import check_stores
from .permitting import shown_in
from .question import Prompt
from .results import Result
from .session import Session
from .stream import AgentStream, Buffer
from .turns import fresh_turn, resumed_turn

if TYPE_CHECKING:
    from ..observe.base import Recorder
    from ..observe.pattern import Pattern
    from ..tools.tool import Approval, Tool
    from .sync import SyncStream

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # `Agent(provider=...)` needs no annotation: any dependencies, and an answer in text.
    Deps = TypeVar("Deps", default=Any)
    Output = TypeVar("Output", default=str)
else:
    Deps = typing.TypeVar("Deps")
    Output = typing.TypeVar("Output")

__all__ = ["Agent"]

E = typing.TypeVar("E", bound=Event)


CLOSING_SECONDS = 5.0
"""So long closing waits for memories that could not be written before."""


class Agent(Built[Output], Generic[Deps, Output]):
    """A model, its instructions and its tools; every run leaves a footprint that explains it.

    The object holds no state of a run. Build it once and share it between requests and tenants.

    Args:
        provider: the language model; `MockProvider(...)` needs no key and no server.
        system: the instructions, or a function of the run (`.identity`, `.deps`) that makes them.
        tools: functions with `@tool`, plain functions, and toolsets.
        name: shown in records; checkpoints resume only on an agent of the same name.
        memory: what outlives a conversation: `Memory`, and documents as `RAG`.
        state: what instances share: conversations, claims of checkpoints. With it and an identity
            that names a conversation, a run continues that conversation. Without it, claims are
            kept in this process and nothing is continued.
        max_iterations: model calls before the last answer is asked for (None: no limit).
        max_tool_calls, max_total_tokens: further limits of a run. Tokens that a vendor does not report
            count as too many: a limit that cannot be held is not passed over in silence.
        pricing_table: what calls cost: `GenAIPrices()`, or one's own `PriceList({...})`. With it
            `result.cost` is known.
        cost_budget: how much may be spent, per run and per tenant: `CostBudget(usd=0.50)`.
        timeout: seconds for a whole run.
        tool_timeout: seconds for each tool call that does not set its own.
        max_tokens, temperature: passed to the model.
        recorders: watch every run; more can be attached later.
        allow_anonymous: let runs without a tenant use stores that outlive the process.
        checkpoint_key: signs checkpoints (HMAC-SHA-256), so that they can be trusted where the
            state store is not shared.
        checkpoint_ttl: seconds a checkpoint may wait for an answer; None: for ever.
        conversation_retention: seconds a conversation is kept after its last turn; None: for ever.
        output: the type of the answer, whatever pydantic has a JSON Schema for; for a union, which type
            checkers do not take as a class, a `TypeAdapter(A | B)`. Text, unless given.
        output_retries: how often the model may answer again when its answer does not fit.
        output_fallback: what answers when no answer fits; without it the run raises `OutputInvalid`.
        permissions: who may call which tool: `PermissionPolicy.from_roles({...}, role=...)`, an object with
            `check(request)`, or a function of a `PermissionRequest` that returns a `Verdict`, plain or async.
            What it denies does not run, and is not shown to the model where that is known beforehand.
        approver_differs: an approval must be given by somebody (`resume(by=)`) who is not the principal whose
            run it is.
        input_guardrails: functions of a `Guarded` that say why a question must not be asked, or None; they
            end before the model is asked.
        output_guardrails: the same of the answer, before anybody gets it. A stream has shown its pieces by
            then.

    Raises:
        ConfigurationError: the parts do not fit together; the message names which and how to fix it.
    """

    __slots__ = ()

    # ── running ─────────────────────────────────────────────────────────────────────────────────

    async def run(
        self,
        input: Prompt | None = None,  # noqa: A002 - the field's word
        *,
        messages: Sequence[Message] | None = None,
        identity: MemoryIdentity | None = None,
        deps: Deps | None = None,
        fresh: bool = False,
        timeout: float | None = None,
        recorders: Iterable[Recorder] = (),
        busy_timeout: float = 0.0,
        abandon_paused: bool = False,
    ) -> Result[Output]:
        """One turn: asks the model, runs the tools it wants, until it answers, a person is asked, or a
        limit is reached.

        Args:
            input: what the user says: text, or parts (text, images, files).
            messages: an earlier conversation to continue without any store: `result.messages`.
            identity: whose run it is; required when a store outlives the process.
            deps: handed to tools as `ctx.deps`, never recorded.
            fresh: do not continue the identity's conversation, and do not join it.
            timeout: seconds for this run instead of the agent's.
            recorders: watch this run only.
            busy_timeout: seconds to wait while another turn of the conversation is running.
            abandon_paused: give up an open question of the conversation.

        Raises:
            InputInvalid, IdentityRequired, ConversationBusy, ConversationPaused: nothing was started.
            ProviderError, StepFailed, StoreError: the run broke off; `error.footprint` tells what
                happened and `error.checkpoint` goes on from the last step that finished.
        """
        return await fresh_turn(
            self,
            None,
            input,
            messages,
            identity,
            deps,
            fresh,
            timeout,
            recorders,
            busy_timeout,
            abandon_paused,
        )

    def stream(
        self,
        input: Prompt | None = None,  # noqa: A002
        *,
        messages: Sequence[Message] | None = None,
        identity: MemoryIdentity | None = None,
        deps: Deps | None = None,
        fresh: bool = False,
        timeout: float | None = None,
        recorders: Iterable[Recorder] = (),
        busy_timeout: float = 0.0,
        abandon_paused: bool = False,
        on_disconnect: Literal["cancel", "finish"] = "cancel",
    ) -> AgentStream[Output]:
        """The same run seen live: its events as they happen, then `.result`.

        `async with agent.stream(...) as run: async for event in run: ...`. Leaving early cancels the
        run, keeping a conversation that can be continued, or lets it finish (`on_disconnect`).
        """

        async def start(buffer: Buffer) -> Result[Output]:
            return await fresh_turn(
                self,
                buffer,
                input,
                messages,
                identity,
                deps,
                fresh,
                timeout,
                recorders,
                busy_timeout,
                abandon_paused,
            )

        return AgentStream(start, on_disconnect)

    def run_sync(self, input: Prompt | None = None, **options: Any) -> Result[Output]:  # noqa: A002
        """`run` for scripts and notebooks: waits for the result, also where a loop is running."""
        from .sync import wait

        return wait(self.run(input, **options))

    def stream_sync(self, input: Prompt | None = None, **options: Any) -> SyncStream[Output]:  # noqa: A002
        """`stream` for scripts and notebooks: `with agent.stream_sync(...) as run: for event in run`."""
        from .sync import SyncStream

        return SyncStream(self.stream(input, **options))

    async def resume(
        self,
        checkpoint: Checkpoint,
        *,
        answer: Any = ...,
        answers: Mapping[str, Any] | None = None,
        identity: MemoryIdentity | None = None,
        by: str | None = None,
        deps: Deps | None = None,
        timeout: float | None = None,
        recorders: Iterable[Recorder] = (),
        busy_timeout: float = 0.0,
    ) -> Result[Output]:
        """Goes on from a checkpoint, in this process or another, exactly once.

        Args:
            checkpoint: from `paused.checkpoint`, `error.checkpoint` or `Checkpoint.from_json(text)`.
            answer: the answer when one question is open.
            answers: answers by the id of their question, when several are. A question whose own time is over
                (`checkpoint.unanswerable()`) gets none, and the run goes on without.
            identity: must be the checkpoint's when given.
            by: who answered; kept in the record.

        Raises:
            ResumeRefused: a kind of it says why; nothing was executed, and the checkpoint can still
                be resumed where that is possible at all.
            ResumeDiverged: a tool asks something else than before it paused.
        """
        return await resumed_turn(
            self, checkpoint, answer, answers, identity, by, deps, timeout, recorders, busy_timeout
        )

    async def replay(
        self, footprint: Footprint, *, identity: MemoryIdentity | None = None, deps: Deps | None = None
    ) -> Run:
        """Runs a record again: the model, tools and stores answer from it, none of them is touched.

        Toolsets are asked for their tools again; `identity` and `deps` are for them.

        Raises:
            ReplayDiverged: this agent does something else than was recorded; the message names the step.
            ReplayRefused: the record is redacted or cut, or of an agent of another shape.
        """
        return await footprint.replay(self._flow, deps=await self._stage(footprint, identity, deps))

    async def fork(
        self,
        footprint: Footprint,
        *,
        at: str,
        set: Mapping[str, Any],  # noqa: A002 - what the caller changes
        effects: Literal["recorded", "live"] = "recorded",
        identity: MemoryIdentity | None = None,
        deps: Deps | None = None,
    ) -> Run:
        """What if: runs a record again up to the step `at`, changes state there, and goes on.

        Args:
            at: the id of a step, such as `"call_model#1"`.
            set: new values by key, such as `{"system": "Be brief."}`.
            effects: `"recorded"` refuses what the record does not answer; `"live"` lets it out: the
                model is asked, tools run, memories are written; the conversation is left alone.
            identity, deps: for toolsets, and for what runs live.

        Raises:
            ReplayRefused: the record cannot be run again, or asks for an effect that was not recorded.
        """
        stage = await self._stage(footprint, identity, deps)
        return await footprint.fork(self._flow, at=at, set=set, deps=stage, effects=effects)

    async def _stage(self, footprint: Footprint, identity: MemoryIdentity | None, deps: Any) -> Session:
        if footprint.code is None:
            raise ReplayRefused(
                "the footprint was read without its flow: Footprint.load(path, agent.flow) reads it in full"
            )
        held = footprint.state.get("held")
        around = None if held is None else Around.recorded(held, self._settings)
        return await self._session(footprint.run_id, identity, deps, shown=shown_in(footprint), around=around)

    # ── within another run ──────────────────────────────────────────────────────────────────────

    def as_tool(
        self,
        *,
        description: str,
        name: str | None = None,
        approval: Approval = None,
        approval_expires_in: float | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        capabilities: tuple[str, ...] = (),
        max_result_chars: int | None = None,
    ) -> Tool[..., Any]:
        """The agent as a tool of another one, whose model says what to ask: `ask(input: str)`.

        A call is a run of its own within the run that makes it: of the same identity, with the same deps,
        apart from any conversation. It has no more time, tokens and money than that run has left, what it
        uses and costs counts there too, its questions to people pause that run, its record is
        `footprint.nested[step]`. Recorders hear it if they are attached to this agent.

        Args:
            description: what it can be asked, for the model that may.
            name: what that model calls it; the agent's name unless given.

        The other options are those of `@tool`.

        Raises:
            ConfigurationError: there is no description, or vendors refuse the name.
        """
        return agent_tool(
            self,
            name=name,
            description=description,
            approval=approval,
            approval_expires_in=approval_expires_in,
            timeout=timeout,
            idempotent=idempotent,
            capabilities=capabilities,
            max_result_chars=max_result_chars,
        )

    # ── watching, copying, closing ──────────────────────────────────────────────────────────────

    @overload
    def on(self, pattern: type[E], fn: Callable[[E], Any]) -> Handle: ...
    @overload
    def on(self, pattern: str, fn: Callable[[Any], Any]) -> Handle: ...
    def on(self, pattern: Pattern, fn: Callable[[Any], Any]) -> Handle:
        """Calls `fn` with every event that matches: `agent.on("tool.*", ...)`, `agent.on(ToolEnded, ...)`."""
        return self._recorders.on(pattern, fn)

    def attach(self, recorder: Recorder) -> Handle:
        """Lets a recorder watch the runs that start from now on; `handle.detach()` takes it away."""
        return self._recorders.attach(recorder)

    @property
    def enable(self) -> Enable:
        """`enable.observability(...)` and `enable.live_status(...)`."""
        return Enable(self._recorders)

    def replace(self, **changes: Any) -> Agent[Deps, Output]:
        """The same agent with some arguments changed: `agent.replace(provider=...)`. What was attached
        stays attached, and claims made without `state=` stay shared."""
        if unknown := set(changes) - set(self._given):
            raise ConfigurationError(f"Agent has no argument {', '.join(sorted(unknown))}")
        copy: Agent[Deps, Output] = Agent(**{**self._given, **changes})
        if "recorders" not in changes:
            copy._recorders = self._recorders
        copy._volatile = self._shared if self._state is None else None
        return copy

    async def forget(self, identity: MemoryIdentity) -> tuple[Forgotten, ...]:
        """Deletes all that the agent's stores and `state=` keep of an identity and of all below it: of a
        person every conversation, checkpoint and remembered turn, also in memories that a tenant shares.

        Turns that are under way write afterwards what they have still to write. What recorders wrote
        elsewhere is not reached.

        Returns:
            What was deleted where.

        Raises:
            IdentityRequired: the identity has no tenant.
            StoreError: a store failed; what was deleted before stays deleted: ask again.
        """
        if identity.tenant is None:
            raise IdentityRequired("forget needs the tenant: MemoryIdentity(tenant, principal)")
        self._settings.unwritten.forget(identity)
        return await forget(identity, self._memories, self._state)

    async def aclose(self) -> None:
        """Writes what memories could not take before, if they can now, leaves its toolsets, and flushes and
        closes the recorders. Stores and the provider belong to whoever made them."""
        await self._settings.unwritten.aclose(CLOSING_SECONDS)
        await self._lifetimes.aclose()
        await self._recorders.aclose()

    async def __aenter__(self) -> Agent[Deps, Output]:
        """Asks each store, of memories and of `state=`, whether it can be used, and enters its toolsets.
        Without `async with` that happens in the first run that needs it.

        Raises:
            StoreUnavailable: some cannot be reached; the message says which, and why. Nothing is open.
            StoreError: what some need is not there, such as a table, or may not be used.
        """
        await check_stores(self.name, self._memories, self._state)
        try:
            await self._lifetimes.enter()
        except BaseException:
            await self._lifetimes.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return (
            f"<Agent {self.name!r} on {self.provider.name}:{self.provider.model}, {len(self._tools)} tools>"
        )
