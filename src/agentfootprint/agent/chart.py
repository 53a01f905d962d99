"""The agent's loop as a flow.

accept → [recall] → prepare { system, messages, tools } → call_model → route
    route → call_tools → prepare …      the model asked for tools
          → wrap_up → prepare …         a limit: one last answer without tools
          → answer → [check_output → settle] → [remember]
    check_output → ask_again → prepare …  the answer does not fit
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, cast

from ..errors import (
    ConfigurationError,
    DeadlineExceeded,
    ReplayRefused,
)
from ..events import (
    ContextPrepared,
    ConversationFailed,
    ConversationSaved,
    HistoryHealed,
    LimitReached,
    MemoryFailed,
    MemoryRecalled,
    RouteDecided,
    ToolEnded,
    ToolStarted,
)
from ..flow import Decision, Flow, Seq, Step, decide
from ..messages import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec, Usage
from ..tools.arguments import fresh
from ..tools.base import RunContext
from .answering import (
    Answering,
    ask_again,
    blocked,
    check_output,
    final_call,
    guard_input,
    read_output,
    settle,
)
from .checks import keeps_turns
from .contract import as_answer
from .history import close_calls, heal
from .limits import Held
from .model_call import ModelCall
from .paying import Charge, bill, charges_in, metering, paid, take_charges, used
from .recalling import Shown, recall_from
from .remembering import remember_in, usage_aside
from .results import FILTERED
from .session import Session
from .spending import Spent
from .telling import explain, narrate

__all__ = ["AgentState", "RunInput", "agent_flow"]


@dataclass(frozen=True, slots=True)
class RunInput:
    """What a run is asked: the new messages, the messages they continue, and whether the turn joins
    the identity's conversation."""

    messages: tuple[Message, ...]
    history: tuple[Message, ...] = ()
    joins: bool = False

    @property
    def text(self) -> str:
        return self.messages[-1].text if self.messages else ""


class AgentState(TypedDict, total=False):
    input: RunInput
    held: Held
    history: Seq[Message]
    recalled: Seq[Message]
    charges: Seq[Charge]
    charged: int
    memories: tuple[str, ...]
    system: str | None
    messages: Seq[Message]
    tools: tuple[ToolSpec, ...]
    reply: LLMResponse
    pending: tuple[ToolCall, ...]
    iteration: int
    tool_count: int
    usage: Usage
    tokens_left: int | None
    cost: Spent
    stop: str
    output: str | None
    problems: tuple[str, ...]
    refused: str
    rejected: int
    repeated: bool


C = Step[AgentState]


# ── the steps ───────────────────────────────────────────────────────────────────────────────────


def accept(c: C) -> None:
    """The question joins the conversation."""
    given: RunInput = c["input"]
    if given.history:
        healed = heal(given.history)
        if healed.added or healed.dropped:
            session(c).tell(HistoryHealed, c, healed.added, healed.dropped)
        c["history"] = Seq((*healed.messages, *given.messages))
    else:
        c["history"] = Seq(given.messages)
    c["iteration"] = 0
    c["tool_count"] = 0
    c["usage"] = _NO_USAGE


def list_memories(c: C) -> None:
    """Which memories are asked."""
    c["memories"] = tuple(session(c).settings.recalled)
    c["recalled"] = Seq()


async def recall(c: C, name: str) -> None:
    """What is remembered and fits the question."""
    own = session(c)
    memory = own.settings.recalled[name]
    begun = time.monotonic()
    try:
        # A conversation that is continued stands in front of the model already.
        beside = own.turn is not None
        ask = partial(recall_from, memory, own, c, beside)
        shown = await c.call("recall", ask, c["input"].text, key=name, returns=Shown)
    except Exception as error:
        if keeps_turns(memory):  # A corpus tells of itself.
            own.tell(MemoryFailed, c, name, "recall", own.told(error), time.monotonic() - begun)
        raise
    if keeps_turns(memory):
        own.tell(MemoryRecalled, c, name, len(shown.messages), time.monotonic() - begun)
    c.extend("recalled", shown.messages)
    if shown.spent is not None:
        c.append("charges", Charge(shown.spent))


_EVERY_SLOT = Decision(("system", "messages", "tools"), "the first turn fills every slot")
_MESSAGES = Decision(("messages",), "system and tools stand since the first turn")


def prepare(c: C) -> Decision:
    """What is put in front of the model. The slots that stand are left alone, so that the vendor's
    cache of the prefix holds."""
    first = c["iteration"] == 0
    decision = _EVERY_SLOT if first else _MESSAGES
    session(c).tell(ContextPrepared, c, c["iteration"] + 1, decision.choice)
    return decision


async def system(c: C) -> None:
    """The instructions."""
    own = session(c)
    text = own.settings.system
    if callable(text):
        text = await c.call("system", partial(_call_system, text, own), returns=str | None)
    c["system"] = _with_contract(own.settings.answering, text)


def system_now(c: C) -> None:
    """The instructions."""
    settings = session(c).settings
    c["system"] = _with_contract(settings.answering, cast("str | None", settings.system))


def _with_contract(answering: Answering | None, text: str | None) -> str | None:
    told = None if answering is None else answering.contract.instructions
    return text if told is None else f"{text}\n\n{told}" if text else told


def messages(c: C) -> None:
    """The conversation as the model will read it, what was recalled in front."""
    history: Seq[Message] = c["history"]
    recalled = c.get("recalled")
    if not recalled:
        c["messages"] = history
    elif "messages" in c:
        c.extend("messages", history[len(c["messages"]) - len(recalled) :])
    else:
        c["messages"] = Seq((*recalled, *history))


def tools(c: C) -> None:
    """The tools the model may ask for."""
    own = session(c)
    specs = tuple(tool.spec for tool in own.menu)
    answering = own.settings.answering
    final = None if answering is None else answering.contract.tool
    c["tools"] = specs if final is None else (*specs, final)


async def call_model(c: C) -> None:
    """The model answers."""
    own = session(c)
    take_charges(c, own)
    settings = own.settings
    contract = None if settings.answering is None else settings.answering.contract
    final = None if contract is None else contract.tool
    last = () if final is None else (final,)
    request = LLMRequest(
        c["messages"],
        c["system"],
        last if "stop" in c else c["tools"],
        contract.schema if contract is not None and contract.mode == "native" else None,
        settings.max_tokens,
        settings.temperature,
    )
    asking = ModelCall(c, own, own.spending)
    reply: LLMResponse | None
    if own.spending is None:
        reply = await c.call("model", asking, request, returns=LLMResponse)
    else:
        reply = await paid(c, own, partial(c.call, "model", asking, request, returns=LLMResponse))
    c.forget_labels()
    if reply is None:
        c["pending"] = ()
        return
    calls = reply.tool_calls
    c["reply"] = reply
    if reply.parts:
        c.append("history", reply.message)
    if calls and reply.stop_reason in FILTERED:
        # Where the filter cut, a call may lack its end.
        _close(c, calls, _FILTERED)
        calls = ()
    if final_call(contract, calls) is not None:
        calls = ()  # It is the answer; what else was asked for beside it is not run.
    c["pending"] = calls
    c["iteration"] = c["iteration"] + 1
    if calls:
        c["tool_count"] = c["tool_count"] + len(calls)
    used(c, own, reply.usage if reply.usage is not None else _UNREPORTED)
    if own.allowance is not None and own.allowance.above is not None:
        c["tokens_left"] = c.call_now("tokens left", own.allowance.above.left)


def route(c: C) -> Decision:
    """What follows from the model's answer."""
    own = session(c)
    decision = decide(c, own.settings.rules, "answer", "the model answered")
    own.tell(RouteDecided, c, decision.choice, decision.rule)
    return decision


async def call_tools(c: C, call: ToolCall) -> None:
    """A tool the model asked for."""
    own = session(c)
    if own.wants(ToolStarted):
        own.tell(ToolStarted, c, call.name, call.id, fresh(call.arguments))
    begun = time.monotonic()
    done = await metering(c, own, call.id, own.dispatcher.dispatch(c, call))
    if charges := charges_in(c):
        c.extend("charges", charges)
    c.append("history", done.message)
    if own.wants(ToolEnded):
        took = time.monotonic() - begun
        own.tell(ToolEnded, c, call.name, call.id, done.outcome, done.message.text, took)


_LIMITED = "This call was not run: the limit {limit} of this run is reached. Answer with what you have."
_FILTERED = "This call was not run: the answer that asked for it was filtered or declined."


def wrap_up(c: C) -> None:
    """A limit is reached: the open calls are closed and the model is asked for a last answer."""
    reason = c.because
    limit = reason.decision.rule if reason is not None and reason.decision is not None else "limit"
    reached = {"max_iterations": "iteration", "max_tool_calls": "tool_count"}.get(limit)
    value = c[reached] if reached else c["usage"].total_tokens
    session(c).tell(LimitReached, c, limit, float(value))
    _close(c, c["pending"], _LIMITED.format(limit=limit))
    c["stop"] = limit


def answer(c: C) -> None:
    """The run's answer."""
    own = session(c)
    reply: LLMResponse | None = c.get("reply")
    if pending := c["pending"]:
        # Asked for a last answer without tools, the model asked for tools all the same.
        _close(c, pending, _LIMITED.format(limit=c["stop"]))
    if reply is not None and reply.stop_reason in FILTERED:
        c["stop"] = reply.stop_reason
        c["output"] = (reply.text or None) if own.settings.answering is None else None
    # A budget may have refused the first answer, or the one that was to follow the tools.
    elif reply is None or (reply.tool_calls and not pending and c.get("stop") == "cost_budget"):
        c["output"] = None
    elif own.settings.answering is None:
        c["output"] = reply.text
    else:
        call = final_call(own.settings.answering.contract, reply.tool_calls)
        read_output(c, own, reply.text if call is None else as_answer(call.arguments, call.raw))


def _close(c: C, calls: Sequence[ToolCall], text: str) -> None:
    """Calls that will not run get the result that says so."""
    own = session(c)
    closed = close_calls(calls, text)
    c.extend("history", closed)
    for message in closed:
        own.tell(ToolEnded, c, message.name, message.call_id, "skipped", message.text, 0.0)


async def remember(c: C) -> None:
    """The turn is kept: in its conversation, and in the memories. What fails is told, not thrown: the
    answer was paid for."""
    own = session(c)
    if c.get("stop") == "guardrail":
        return  # What must not be said is not kept either.
    given: RunInput = c["input"]
    history: Seq[Message] = c["history"]
    if given.joins:
        new = history[len(heal(given.history).messages) :]
        begun = time.monotonic()
        try:
            number = await c.call("conversation", partial(_save, own), new)
            own.tell(ConversationSaved, c, number, time.monotonic() - begun)
        except DeadlineExceeded:
            raise  # Whoever started the run saves the turn: that is not under its deadline.
        except Exception as error:
            own.tell(ConversationFailed, c, own.told(error), time.monotonic() - begun)
    if not c["output"]:
        return
    exchange = (*given.messages, Message.assistant(c["output"]))
    memories = own.settings.memories.values()
    costs = own.spending is not None and any(memory.costs for memory in memories)
    with bill(c, own, "memory") if costs else nullcontext():
        for memory in memories:
            await remember_in(c, own, memory, exchange)
    if (asked := usage_aside(c)) is not None:
        used(c, own, asked)


# ── effects ─────────────────────────────────────────────────────────────────────────────────────


async def _save(own: Session, new: Sequence[Message]) -> int:
    if own.turn is None:
        raise ReplayRefused("a fork does not join the conversation of the run it was made from")
    return await own.turn.save(new)


async def _call_system(make: Callable[..., Any], own: Session) -> str | None:
    made = make(RunContext(own.identity, own.deps, own.run_id))
    text = await made if inspect.isawaitable(made) else made
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"the function given as system= returned {type(text).__name__}, not text")
    return text


def session(c: C) -> Session:
    own: Session | None = c.deps
    if own is None:
        raise ReplayRefused("an agent's run is run again by its agent: await agent.replay(footprint)")
    return own


_NO_USAGE = Usage()
_UNREPORTED = Usage(unreported=1)


@functools.cache
def agent_flow(
    *, recalls: bool, remembers: bool, dynamic_system: bool, guards: bool = False, checks: bool = False
) -> Flow[AgentState]:
    """The chart, in the few shapes it has; agents of one shape share it."""
    flow: Flow[AgentState] = Flow("agent", state=AgentState)
    first = "list_memories" if recalls else "prepare"
    flow.step(to="guard_input" if guards else first)(accept)
    if guards:
        flow.decide(to={"go on": first, "blocked": "blocked"})(guard_input)
        flow.step(blocked)
    if recalls:
        flow.step(to="recall")(list_memories)
        flow.map(over="memories", to="prepare")(recall)
    flow.fork(branches=["system", "messages", "tools"], to="call_model")(prepare)
    flow.step(name="system")(system if dynamic_system else system_now)
    flow.step(messages)
    flow.step(tools)
    flow.step(to="route")(call_model)
    flow.decide(to={"tools": "call_tools", "limit": "wrap_up", "answer": "answer"})(route)
    flow.map(over="pending", to="prepare")(call_tools)
    flow.step(to="prepare")(wrap_up)
    last = "remember" if remembers else None
    flow.step(to="check_output" if checks else last)(answer)
    if checks:
        flow.decide(to=["ask_again", "settle"])(check_output)
        flow.step(to="prepare")(ask_again)
        flow.step(to=last)(settle)
    if remembers:
        flow.step(remember)
    flow.narrator, flow.explainer, flow.nested_code = narrate, explain, _code_within
    return flow


def _code_within(told: Mapping[str, Any]) -> Flow[Any] | None:
    """What reads the record of an agent that a tool has asked: the chart that has every step there is."""
    if told.get("kind") != "agent":
        return None
    return agent_flow(recalls=True, remembers=True, dynamic_system=True, guards=True, checks=True)
