"""An agent within another one's run: `agent.as_tool()`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..cost.prices import PriceList
from ..errors import CheckpointMismatch, ConfigurationError, ToolError
from ..events import Event, RunResumed, RunStarted, ToolProgress, ToolStarted
from ..flow import Run
from ..flow.codec import encode
from ..flow.nested import Nested
from ..tools.context import EXPIRED, ToolContext
from ..tools.nested import Keep, ended, failure, run_within, value_of
from ..tools.tool import Tool, make_tool
from .chart import RunInput
from .checkpoint import Checkpoint
from .checks import check_prices
from .limits import Allowance, Held
from .paying import Charge, knows_of
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

__all__ = ["AgentCall", "Around", "agent_tool", "agents_among", "priced_within"]


@dataclass(frozen=True, slots=True)
class Around:
    """The run that another one is nested in, and what is left there: these limits are those of both."""

    held: Held
    deadline: float | None = None
    pricing: Pricing | None = None
    account: Account | None = None
    allowance: Allowance | None = None

    @staticmethod
    def of(ctx: ToolContext[Any]) -> Around:
        own = ctx.step.deps
        if not isinstance(own, Session):
            return Around(Held(), ctx.deadline)
        knows_of(own, ctx.step.run)
        pricing, account = own.settings.pricing, None if own.spending is None else own.spending.account
        budget = account is not None and bool(account.budgets)
        held = Held(own.allowance is not None, budget, pricing is not None)
        return Around(held, ctx.deadline, pricing, account, own.allowance)

    @staticmethod
    def recorded(held: Held, settings: Settings) -> Around:
        """As the record of a nested run has it, to run that again: what was left and what was paid there, it
        says itself."""
        pricing = Pricing(settings.provider, PriceList({}), None, settings.name) if held.priced else None
        return Around(held, None, pricing, None, Allowance(None) if held.tokens else None)

    def limiting(self, settings: Settings) -> Settings:
        """What the nested run is held to.

        Raises:
            ConfigurationError: a budget around it could not be kept: models have no price.
        """
        pricing = settings.pricing
        if self.pricing is not None:
            budgets = () if self.account is None else self.account.budgets
            strict = any(budget.unpriced == "refuse" for budget in budgets)
            pricing = priced_within(self.pricing, settings, strict=strict)
        return settings.within(self.held, pricing)

    def until(self, run: Run) -> None:
        """A nested run has no more time than the one around it."""
        if self.deadline is not None and (run.deadline is None or self.deadline < run.deadline):
            run.deadline = self.deadline


def priced_within(pricing: Pricing, settings: Settings, *, strict: bool) -> Pricing:
    """What prices the calls of a nested run where `pricing` is that of the run around it.

    Raises:
        ConfigurationError: a model there has no price, also one that works for a memory, and `strict` or its
            own budget refuses that.
    """
    found = pricing.within(settings.pricing, settings.provider, settings.name, strict=strict)
    check_prices(found, tuple(settings.recalled.values()))
    return found


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
        agent, around = self._agent, Around.of(self._ctx)
        asked = asked_message(given, None)
        if around.allowance is not None and around.allowance.left() == 0:
            raise ToolError(f"{agent.name} was not asked: no tokens are left for this run.")
        run = Run(agent.flow, timeout=agent._timeout, state={"held": around.held})
        session = await self._session(run, around)
        session.tell(RunStarted, None, agent.name, session.identity, asked.text, self._ctx.run_id)
        run.begin(RunInput((asked,)))
        return await self._walked(run, session, keep)

    async def go_on(self, found: Nested, answers: Sequence[Any], by: str | None, keep: Keep) -> Nested:
        assert found.waits is not None
        agent = self._agent
        checkpoint = Checkpoint.from_json(found.waits)
        if checkpoint.agent != agent.name:
            raise CheckpointMismatch(f"the question was asked by agent {checkpoint.agent!r}")
        given = {ask.id: answer for ask, answer in zip(checkpoint.asks, answers, strict=True)}
        run = restored(agent.flow, checkpoint, given, by, timeout=agent._timeout)
        session = await self._session(run, Around.of(self._ctx))
        check_fits(checkpoint, session, {name for name in given if given[name] == EXPIRED}, by)
        session.tell(RunResumed, None, agent.name, session.identity, by, self._ctx.run_id)
        return await self._walked(run, session, keep)

    async def _session(self, run: Run, around: Around) -> Session:
        agent, ctx = self._agent, self._ctx
        around.until(run)
        outer = ctx.step.deps
        watched = isinstance(outer, Session) and outer.wants(ToolProgress)
        dispatch = agent._dispatch((_Progress(ctx),) if watched else (), None)
        session = await agent._admitted(run.id, ctx.identity, ctx.deps, dispatch, around=around)
        run.deps, run.tell = session, session.hears
        return session

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
                    told["approver_differs"] = bool(result.checkpoint.run.get("approver_differs"))
                    waits = result.checkpoint.to_json()
                elif isinstance(result, Stopped):
                    told["reason"] = str(result.reason)
                    if result.output is None:
                        # What the state has there was not let through, or does not fit.
                        told["output"] = None
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
