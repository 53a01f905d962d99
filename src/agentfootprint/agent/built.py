"""What an agent was built with, checked once, and what each of its runs is given of it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, cast

from ..errors import (
    ConfigurationError,
    IdentityRequired,
    InputInvalid,
)
from ..flow import Flow, Run
from ..identity import MemoryIdentity
from ..observe.dispatch import Dispatch
from ..observe.registry import Recorders
from ..providers.base import check_provider
from ..state.base import check_state
from ..tools.base import RunContext, Toolset
from ..tools.lifetimes import Lifetimes
from ..tools.tool import Tool
from ..tools.toolset import as_tools, together
from .answering import answering_of, check_no_tool
from .chart import agent_flow
from .checkpoint import Checkpoint
from .checks import (
    check_budget,
    check_counts,
    check_memories,
    check_prices,
    check_seconds,
    check_several,
    is_toolset,
    keeps_turns,
)
from .contract import Contract, OutputFallback
from .conversation import Conversation
from .guardrails import Guardrail, check_guardrails
from .limits import Allowance, Limits
from .nesting import Around, agents_among, priced_within
from .permitting import check_permissions, offered
from .pricing import Pricing
from .resuming import Claims
from .session import Offer, Session, Settings
from .spending import Spending
from .stream import Buffer

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from typing_extensions import TypeVar

    from ..cost.budget import CostBudget
    from ..cost.prices import PricingTable
    from ..memory.memory import Memory
    from ..observe.base import Recorder
    from ..providers.base import LLMProvider
    from ..retrieval.rag import RAG
    from ..security.base import PermissionChecker, PermissionRequest
    from ..state.base import StateStore

    Output = TypeVar("Output", default=str)
else:
    Output = typing.TypeVar("Output")

__all__ = ["Built"]

CHECKPOINT_SECONDS = 7 * 24 * 3600.0


class Built(Generic[Output]):
    """The parts of an agent. `Agent` documents them and adds what can be done with them."""

    __slots__ = (
        "__weakref__",
        "_allow_anonymous",
        "_approver_differs",
        "_checkpoint_ttl",
        "_durable",
        "_flow",
        "_given",
        "_key",
        "_lifetimes",
        "_memories",
        "_recalls",
        "_recorders",
        "_retention",
        "_settings",
        "_state",
        "_timeout",
        "_tools",
        "_toolsets",
        "_volatile",
        "_within",
    )

    def __init__(
        self,
        provider: LLMProvider,
        *,
        system: str | Callable[..., Any] | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any] | Toolset] = (),
        name: str = "agent",
        memory: Sequence[Memory | RAG] = (),
        state: StateStore | None = None,
        max_iterations: int | None = 20,
        max_tool_calls: int | None = None,
        max_total_tokens: int | None = None,
        pricing_table: PricingTable | None = None,
        cost_budget: CostBudget | None = None,
        timeout: float | None = None,
        tool_timeout: float | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        recorders: Iterable[Recorder] = (),
        allow_anonymous: bool = False,
        checkpoint_key: bytes | str | None = None,
        checkpoint_ttl: float | None = CHECKPOINT_SECONDS,
        conversation_retention: float | None = None,
        output: type[Output] | TypeAdapter[Output] | None = None,
        output_retries: int = 1,
        output_fallback: OutputFallback[Output] | None = None,
        permissions: PermissionChecker | Callable[[PermissionRequest], Any] | None = None,
        approver_differs: bool = False,
        input_guardrails: Sequence[Guardrail] = (),
        output_guardrails: Sequence[Guardrail] = (),
    ) -> None:
        check_several(
            tools=tools,
            memory=memory,
            input_guardrails=input_guardrails,
            output_guardrails=output_guardrails,
        )
        # Kept for `replace`: what may be read only once is read here.
        tools, memory = tuple(tools), tuple(memory)
        input_guardrails, output_guardrails = tuple(input_guardrails), tuple(output_guardrails)
        self._given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_provider(provider)
        if not name or not isinstance(name, str):
            raise ConfigurationError("an agent needs a name: a non-empty string")
        check_counts(
            max_iterations=max_iterations,
            max_tool_calls=max_tool_calls,
            max_total_tokens=max_total_tokens,
            max_tokens=max_tokens,
        )
        check_seconds(
            timeout=timeout,
            tool_timeout=tool_timeout,
            checkpoint_ttl=checkpoint_ttl,
            conversation_retention=conversation_retention,
        )
        self._toolsets = cast("tuple[Toolset, ...]", tuple(item for item in tools if is_toolset(item)))
        self._lifetimes = Lifetimes(self._toolsets)
        self._tools = as_tools(cast(Any, item) for item in tools if not is_toolset(item))
        if state is not None:
            check_state(state)
        check_memories(memory, state)
        check_budget(pricing_table, cost_budget)
        self._state = state
        self._volatile: StateStore | None = None
        pricing: Pricing | None = None
        if pricing_table is not None:
            pricing = Pricing(provider, pricing_table, cost_budget, name)
        check_prices(pricing, memory)
        self._recalls = bool(memory)
        self._memories = memories = tuple(filter(keeps_turns, memory))
        self._timeout = timeout
        self._allow_anonymous = allow_anonymous
        self._key = checkpoint_key.encode() if isinstance(checkpoint_key, str) else checkpoint_key
        self._checkpoint_ttl = checkpoint_ttl
        self._retention = conversation_retention
        self._durable = bool(state is not None and state.durable) or any(
            each.store.durable and (keeps_turns(each) or each.tenant is None) for each in memory
        )
        limits = Limits(max_iterations, max_tool_calls, max_total_tokens, cost_budget is not None)
        answering = None
        if output is not None and output is not str:
            if type(output_retries) is not int or output_retries < 0:
                raise ConfigurationError(f"output_retries must be a whole number, not {output_retries!r}")
            contract = Contract(output, provider)
            answering = answering_of(contract, output_retries, output_fallback)
            check_no_tool(contract, self._tools)
        elif output_fallback is not None:
            raise ConfigurationError("output_fallback= stands in where an answer does not fit: give output=")
        guardrails = {
            "input": check_guardrails("input_guardrails", input_guardrails),
            "output": check_guardrails("output_guardrails", output_guardrails),
        }
        self._settings = Settings(
            name,
            provider,
            system,
            {one.id: one for one in memory},
            {one.id: one for one in memories},
            limits,
            max_tokens,
            temperature,
            tool_timeout,
            pricing,
            answering,
            guardrails,
            check_permissions(permissions),
        )
        self._within: Sequence[Built[Any]] = agents_among(self._tools)
        for agent in self._within:
            if pricing is not None:
                priced_within(pricing, agent._settings, strict=pricing.strict)
        self._approver_differs: bool = approver_differs or any(
            each._approver_differs for each in self._within
        )
        self._flow = agent_flow(
            recalls=bool(memory),
            remembers=bool(memories) or state is not None,
            dynamic_system=callable(system),
            guards=bool(input_guardrails),
            checks=answering is not None or bool(output_guardrails),
        )
        self._recorders = Recorders()
        for recorder in recorders:
            self._recorders.attach(recorder)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def memories(self) -> Sequence[Memory]:
        """Those that keep turns; corpora are not among them."""
        return self._memories

    @property
    def provider(self) -> LLMProvider:
        return self._settings.provider

    @property
    def flow(self) -> Flow[Any]:
        """The chart that runs walk: `Footprint.load(path, agent.flow)` reads a run back in full."""
        return self._flow

    # ── what a run is given ─────────────────────────────────────────────────────────────────────

    async def _issue(self, run: Run, session: Session) -> Checkpoint:
        return await Claims(self._shared, self._key).issue(run, session, self.name, self._checkpoint_ttl)

    @property
    def _shared(self) -> StateStore:
        if self._state is not None:
            return self._state
        if self._volatile is None:
            from ..state.memory import InMemoryState

            self._volatile = InMemoryState()
        return self._volatile

    def _dispatch(self, recorders: Iterable[Recorder], buffer: Buffer | None) -> Dispatch | None:
        base = self._recorders.snapshot()
        if buffer is None and recorders == ():
            return base
        return Dispatch.combined(base, recorders, None if buffer is None else buffer.put)

    async def _admitted(
        self,
        run_id: str,
        identity: MemoryIdentity | None,
        deps: Any,
        dispatch: Dispatch | None = None,
        buffer: Buffer | None = None,
        *,
        around: Around | None = None,
    ) -> Session:
        """`_session` of a run that is to do something, for whom it may be.

        Raises:
            IdentityRequired: the agent, or one among its tools, keeps data and there is no tenant.
        """
        self._check_identity(identity)
        session = await self._session(run_id, identity, deps, dispatch, buffer, around=around)
        for agent in self._agents(session.dispatcher.tools):
            agent._check_identity(identity)
        return session

    def _agents(self, tools: Iterable[Tool[..., Any]]) -> Sequence[Built[Any]]:
        """Those among the tools of a run: what toolsets offer is known only then."""
        return agents_among(tools) if self._toolsets else self._within

    async def _session(
        self,
        run_id: str,
        identity: MemoryIdentity | None,
        deps: Any,
        dispatch: Dispatch | None = None,
        buffer: Buffer | None = None,
        *,
        shown: Collection[str] | None = None,
        around: Around | None = None,
    ) -> Session:
        """What a run is given. `shown` are the tools that the model was shown, where a record says so;
        `around` is the run that this one is nested in."""
        offer = await self._offered(identity, deps, run_id, shown)
        if identity is None and self._recalls:
            identity = MemoryIdentity(conversation_id=run_id)
        settings, account, above = self._settings, None, None
        if around is not None:
            settings = around.limiting(settings)
            account, above = around.account, around.allowance
        limit, allowance = settings.limits.max_total_tokens, None
        if limit is not None or above is not None:
            allowance = Allowance(limit, above)
        pricing, spending = settings.pricing, None
        if pricing is not None:
            shared = self._shared if pricing.windows else None
            spending = Spending.of_run(pricing, identity, shared, account)
        return Session(
            settings,
            run_id,
            offer,
            spending=spending,
            allowance=allowance,
            # Where an agent within asks for a second person, what it asks is asked here.
            approver_differs=self._approver_differs
            or any(agent._approver_differs for agent in self._agents(offer.tools)),
            identity=identity,
            deps=deps,
            dispatch=dispatch,
            buffer=buffer,
            turn=None,
        )

    async def _offered(
        self,
        identity: MemoryIdentity | None,
        deps: Any,
        run_id: str,
        shown: Collection[str] | None = None,
    ) -> Offer:
        """The tools of this run: the agent's own, and what its toolsets offer to this identity. `shown` are
        those that the model was shown, where a record says so."""
        found = self._tools
        if self._toolsets:
            await self._lifetimes.enter()
            found = await together(self._tools, self._toolsets, RunContext(identity, deps, run_id))
            if (answering := self._settings.answering) is not None:
                check_no_tool(answering.contract, found)
        if shown is not None:
            return Offer(found, [tool for tool in found if tool.name in shown])
        return Offer(found, await offered(self._settings.permissions, found, identity))

    def _conversation(self, identity: MemoryIdentity | None, fresh: bool) -> Conversation | None:
        if self._state is None or fresh or identity is None or identity.conversation_id is None:
            return None
        return Conversation(self._state, identity, self._retention)

    def _check_identity(self, identity: MemoryIdentity | None) -> None:
        if identity is not None and not isinstance(identity, MemoryIdentity):
            raise InputInvalid(f"identity must be a MemoryIdentity, not {type(identity).__name__}")
        if identity is not None and identity.tenant is not None:
            return
        for agent in self._within:
            agent._check_identity(identity)
        if self._allow_anonymous:
            return
        if self._settings.pricing is not None and self._settings.pricing.by_identity:
            raise IdentityRequired(
                f"agent {self.name!r} has a budget for each tenant: pass "
                "identity=MemoryIdentity(tenant=...), or build the agent with allow_anonymous=True, which "
                "gives all that have no tenant one budget together"
            )
        if self._durable:
            raise IdentityRequired(
                f"agent {self.name!r} keeps data that outlives this process: pass "
                "identity=MemoryIdentity(tenant=..., principal=..., conversation_id=...), "
                "or build the agent with allow_anonymous=True"
            )
