"""An agent within another one's run: `agent.as_tool()`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointMismatch, ConfigurationError
from ..events import Event, RunResumed, RunStarted, ToolProgress, ToolStarted
from ..flow import Run
from ..flow.codec import encode
from ..flow.nested import Nested
from ..tools.context import EXPIRED, ToolContext
from ..tools.nested import Keep, ended, failure, run_within, value_of
from ..tools.tool import Tool, make_tool
from .chart import RunInput
from .checkpoint import Checkpoint
from .limits import limit_rules
from .paying import Charge, spent_by, used_by
from .pricing import Pricing
from .question import asked_message
from .results import Paused, Result, Stopped
from .resuming import draft, restored
from .session import Session, Settings
from .turns import check_fits
from .walk import walk

if TYPE_CHECKING:
    from .account import Account
    from .built import Built

__all__ = ["AgentCall", "Around", "agent_tool", "agents_among"]


@dataclass(frozen=True, slots=True)
class Around:
    """The run that another one is nested in, and what is left there: these limits are those of both."""

    run_id: str
    deadline: float | None
    pricing: Pricing | None = None
    account: Account | None = None
    tokens: int | None = None

    @staticmethod
    def of(ctx: ToolContext[Any]) -> Around:
        run, own = ctx.step.run, ctx.step.deps
        if not isinstance(own, Session):
            return Around(run.id, ctx.deadline)
        limit, tokens = own.settings.limits.max_total_tokens, None
        if limit is not None:
            used = used_by(run)
            # What a vendor does not report is not nothing.
            tokens = 0 if used.unreported else max(0, limit - used.total_tokens)
        if own.spending is None:
            return Around(run.id, ctx.deadline, tokens=tokens)
        account = own.spending.account
        if (spent := spent_by(run)) is not None:
            account.knows_of(spent.nano + spent.held)
        return Around(run.id, ctx.deadline, own.settings.pricing, account, tokens)

    def pricing_for(self, settings: Settings) -> Pricing | None:
        """What prices the nested run's calls: its own table, or that of the run around it."""
        if settings.pricing is not None or self.pricing is None:
            return settings.pricing
        return Pricing(settings.provider, self.pricing.table, None, settings.name)

    def limiting(self, settings: Settings) -> Settings:
        """What the nested run is held to."""
        budget = self.account is not None and bool(self.account.budgets)
        limits = settings.limits.within(self.tokens, cost_budget=budget)
        if limits == settings.limits:
            return settings
        return replace(settings, limits=limits, rules=limit_rules(limits))

    def until(self, run: Run) -> None:
        """A nested run has no more time than the one around it."""
        if self.deadline is not None and (run.deadline is None or self.deadline < run.deadline):
            run.deadline = self.deadline


class AgentCall:
    """The function of a tool that asks an agent."""

    def __init__(self, agent: Built[Any]) -> None:
        self.agent = agent

    async def __call__(self, ctx: ToolContext[Any], input: str) -> str:  # noqa: A002 - the field's word
        found = await run_within(ctx, _AgentWithin(self.agent, ctx), input)
        answer: str = value_of(ctx, found)
        return answer


class _AgentWithin:
    """An agent within a call: of the same identity, with the same deps, apart from its conversation."""

    def __init__(self, agent: Built[Any], ctx: ToolContext[Any]) -> None:
        self._agent = agent
        self._ctx = ctx

    async def start(self, given: str, keep: Keep) -> Nested:
        agent = self._agent
        asked = asked_message(given, None)
        agent._check_identity(self._ctx.identity)
        run = Run(agent.flow, timeout=agent._timeout)
        session = await self._session(run)
        run.deps, run.tell = session, session.hears
        session.tell(RunStarted, None, agent.name, session.identity, asked.text, self._ctx.run_id)
        run.begin(RunInput((asked,)))
        return await self._walked(run, session, keep)

    async def go_on(self, found: Nested, answers: Sequence[Any], by: str | None, keep: Keep) -> Nested:
        assert found.waits is not None
        agent = self._agent
        checkpoint = Checkpoint.from_json(found.waits)
        if checkpoint.agent != agent.name:
            raise CheckpointMismatch(f"the question was asked by agent {checkpoint.agent!r}")
        agent._check_identity(self._ctx.identity)
        given = {ask.id: answer for ask, answer in zip(checkpoint.asks, answers, strict=True)}
        run = restored(agent.flow, checkpoint, given, by, timeout=agent._timeout)
        session = await self._session(run)
        run.deps, run.tell = session, session.hears
        check_fits(agent, checkpoint, session, {name for name in given if given[name] == EXPIRED}, by)
        session.tell(RunResumed, None, agent.name, session.identity, by, self._ctx.run_id)
        return await self._walked(run, session, keep)

    async def _session(self, run: Run) -> Session:
        around = Around.of(self._ctx)
        around.until(run)
        agent, ctx = self._agent, self._ctx
        outer = ctx.step.deps
        watched = isinstance(outer, Session) and outer.wants(ToolProgress)
        dispatch = agent._dispatch((_Progress(ctx),) if watched else (), None)
        return await agent._session(run.id, ctx.identity, ctx.deps, dispatch, around=around)

    async def _walked(self, run: Run, session: Session, keep: Keep) -> Nested:
        agent, before = self._agent, Charge.of(run)
        results: list[Result[Any]] = []

        async def issue(run: Run, session: Session) -> Checkpoint:
            return draft(run, session, agent.name, None)

        async def going() -> None:
            results.append(await walk(run, session, issue))

        def nested(error: BaseException | None) -> Nested:
            told: dict[str, Any] = {
                "kind": "agent",
                "name": agent.name,
                "output": "output",
                "charge": encode(Charge.of(run).since(before)),
            }
            waits = None
            if error is not None:
                told["error"] = failure(error)
            for result in results:
                if isinstance(result, Paused):
                    told["asks"] = encode(result.asks)
                    waits = result.checkpoint.to_json()
                elif isinstance(result, Stopped):
                    told["reason"] = str(result.reason)
            return Nested(run.footprint, told, waits)

        return await ended(going(), nested, keep)


class _Progress:
    """Tells whoever watches the run around it which tools the agent within is at."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: ToolContext[Any]) -> None:
        self._ctx = ctx

    def wants(self, kind: type[Event]) -> bool:
        return kind is ToolStarted or kind is ToolProgress

    def on_event(self, event: Event) -> None:
        if isinstance(event, ToolStarted):
            self._ctx.progress(event.tool)
        elif isinstance(event, ToolProgress):
            self._ctx.progress(f"{event.tool}: {event.message}", event.fraction)


def agent_tool(agent: Built[Any], *, name: str | None, description: str, **options: Any) -> Tool[..., Any]:
    """What `Agent.as_tool` does."""
    if not description or not isinstance(description, str):
        raise ConfigurationError(
            f"agent {agent.name!r} as a tool needs description=: what it can be asked, for the model that may"
        )
    return make_tool(AgentCall(agent), name=name or agent.name, description=description, **options)


def agents_among(tools: Iterable[Tool[..., Any]]) -> list[Built[Any]]:
    """The agents that are among an agent's tools."""
    return [tool.function.agent for tool in tools if isinstance(tool.function, AgentCall)]
