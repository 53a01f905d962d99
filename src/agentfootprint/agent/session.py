"""One run of an agent, seen from its steps: configuration, identity, tools, listeners."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import AgentFootprintError
from ..events import (
    CircuitClosed,
    CircuitOpened,
    CircuitProbed,
    EmbeddingEnded,
    Emitted,
    Event,
    ModelFellBack,
    ModelGaveUp,
    ModelRetried,
    RateLimitWaited,
    RetrievalEnded,
    StateDegraded,
    StateRecovered,
    StepEnded,
    ToolProgress,
)
from ..flow import Run, Step, StepRecord
from ..flow.codec import decode
from ..flow.rules import Rule
from ..identity import MemoryIdentity
from ..tools.context import Progress
from ..tools.dispatch import Dispatcher
from ..tools.tool import Tool
from .limits import Allowance, Held, Limits, limit_rules, retry_rules
from .permitting import Gate
from .pricing import Pricing
from .spending import Spending
from .unwritten import Unwritten

if TYPE_CHECKING:
    from ..memory.memory import Memory
    from ..observe.dispatch import Dispatch
    from ..providers.base import LLMProvider
    from ..retrieval.rag import RAG
    from .answering import Answering
    from .conversation import Turn
    from .guardrails import Guardrail
    from .permitting import Checker
    from .stream import Buffer

__all__ = ["Offer", "Session", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What an agent was built with, as its steps need it; shared by all its runs. `recalled` is what is asked
    for each question, `memories` those of it that keep the turn."""

    name: str
    provider: LLMProvider
    system: str | Callable[..., Any] | None
    recalled: Mapping[str, Memory | RAG]
    memories: Mapping[str, Memory]
    limits: Limits
    max_tokens: int | None
    temperature: float | None
    tool_timeout: float | None
    pricing: Pricing | None
    answering: Answering | None = None
    guardrails: Mapping[str, tuple[Guardrail, ...]] = field(default_factory=dict)
    permissions: Checker | None = None
    unwritten: Unwritten = field(default_factory=Unwritten)
    rules: tuple[Rule, ...] = field(init=False)
    retry_rules: tuple[Rule, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", limit_rules(self.limits))
        object.__setattr__(self, "retry_rules", retry_rules(self.limits))

    def within(self, held: Held, pricing: Pricing | None) -> Settings:
        """The same for a run that is nested in another one, whose calls are priced by `pricing`."""
        limits = self.limits.within(held)
        if limits == self.limits and pricing is self.pricing:
            return self
        return replace(self, limits=limits, pricing=pricing)


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a run, and those of them that the model is shown."""

    tools: Sequence[Tool[..., Any]]
    menu: Sequence[Tool[..., Any]]


_TOLD_BELOW: Mapping[str, type[Event]] = {
    kind.type: kind
    for kind in (
        ModelRetried,
        ModelGaveUp,
        ModelFellBack,
        CircuitOpened,
        CircuitProbed,
        CircuitClosed,
        RateLimitWaited,
        StateDegraded,
        StateRecovered,
        RetrievalEnded,
        EmbeddingEnded,
    )
}
"""Events that come through the journal of a step, from what it calls."""


class Session:
    """What the steps of one run reach as `step.deps`."""

    __slots__ = (
        "_dispatch",
        "allowance",
        "approver_differs",
        "buffer",
        "deps",
        "dispatcher",
        "identity",
        "menu",
        "run_id",
        "settings",
        "spending",
        "turn",
    )

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        offer: Offer,
        *,
        spending: Spending | None,
        allowance: Allowance | None,
        approver_differs: bool,
        identity: MemoryIdentity | None,
        deps: Any,
        dispatch: Dispatch | None,
        buffer: Buffer | None,
        turn: Turn | None,
    ) -> None:
        self.settings = settings
        self.run_id = run_id
        self.identity = identity
        self.deps = deps
        self.buffer = buffer
        self.turn = turn
        self.menu = offer.menu
        gated = settings.permissions is not None or any(tool.gates for tool in offer.tools)
        self.dispatcher = Dispatcher(
            {tool.name: tool for tool in offer.tools},
            menu=offer.menu,
            timeout=settings.tool_timeout,
            identity=identity,
            deps=deps,
            permit=Gate(settings.permissions, self) if gated else None,
        )
        self.spending = spending
        self.allowance = allowance
        self.approver_differs = approver_differs
        self._dispatch = dispatch

    @property
    def streaming(self) -> bool:
        """Whether somebody reads the answer while it is written."""
        return self.buffer is not None

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to a kind of event: otherwise it need not be made."""
        return self._dispatch is not None and self._dispatch.wants(kind)

    def tell(self, kind: type[Event], step: StepRecord | None, *fields: Any) -> None:
        """Tells an event to whoever listens; nothing is made when nobody does."""
        if self._dispatch is not None and self._dispatch.wants(kind):
            self._dispatch(kind(self.run_id, time.time(), None if step is None else step.id, *fields))

    def keep(self, run: Run, status: str) -> None:
        """Gives what happened to the recorders that keep whole runs."""
        if self._dispatch is not None:
            self._dispatch.keep(run, self.settings.name, self.identity, status)

    def told(self, error: Exception) -> str:
        """An error as events tell it."""
        return str(error) if isinstance(error, AgentFootprintError) else f"{type(error).__name__}: {error}"

    def teller(self, kind: type[Event], step: Step[Any]) -> Callable[..., None] | None:
        """`tell` for many events of one kind from one step, such as text chunks; None when nobody
        listens."""
        dispatch = self._dispatch
        if dispatch is None or not dispatch.wants(kind):
            return None
        run_id, step_id, clock = self.run_id, step.id, time.time

        def tell(*fields: Any) -> None:
            dispatch(kind(run_id, clock(), step_id, *fields))

        return tell

    def _told_below(self, kind: type[Event], step: StepRecord, data: Mapping[str, Any]) -> None:
        if self._dispatch is not None and self._dispatch.wants(kind):
            common = {"run_id": self.run_id, "at": time.time(), "step": step.id}
            self._dispatch(decode(kind, {**common, **data}))

    @property
    def hears(self) -> Callable[[str, StepRecord, Any], None] | None:
        """What the engine tells the walk to: None when nobody listens."""
        return None if self._dispatch is None else self._heard

    def _heard(self, what: str, step: StepRecord, detail: Any) -> None:
        if what == "close":
            if not self.wants(StepEnded):
                return
            took = (step.end or step.start) - step.start
            self.tell(StepEnded, step, step.node, step.status, took)
        elif what == "emit":
            kind = _TOLD_BELOW.get(detail.name)
            if kind is None:
                self.tell(Emitted, step, detail.name, detail.data)
            else:
                self._told_below(kind, step, detail.data)
        elif what == "live" and isinstance(detail, Progress):
            self.tell(ToolProgress, step, detail.tool, detail.call_id, detail.message, detail.fraction)
