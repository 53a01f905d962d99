"""From the model's last words to the answer of a run: read, asked for again, replaced, guarded."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ..errors import ConfigurationError, DeadlineExceeded, OutputInvalid
from ..events import OutputFellBack, OutputRejected
from ..flow import Decision, Seq, decide, empty, ge, is_true, nonempty, rule
from ..flow.rules import Rule
from ..messages import Message, ToolCall
from .contract import FINAL, Contract, OutputFallback, OutputProblem, Unfit, asked_again
from .guardrails import tripped
from .history import heal

if TYPE_CHECKING:
    from ..flow import Step
    from ..tools.tool import Tool
    from .chart import RunInput
    from .session import Session

__all__ = [
    "Answering",
    "answering_of",
    "ask_again",
    "check_no_tool",
    "check_output",
    "final_call",
    "read_output",
    "settle",
    "without_answers",
]

C = Any

ACCEPTED = "Accepted."
WITHHELD_ANSWER = "This answer was withheld: a guardrail stopped it."
"""What stands in the conversation of a run where its answer would."""

_NOT_RUN = "This call was not run: the final answer was given beside it."


@dataclass(frozen=True, slots=True)
class Answering:
    """What an agent holds its answers to."""

    contract: Contract
    fallback: OutputFallback[Any] | None
    canned: str | None
    rules: tuple[Rule, ...]


def answering_of(contract: Contract, retries: int, fallback: OutputFallback[Any] | None) -> Answering:
    """Raises:
    ConfigurationError: what stands ready as an answer is none.
    """
    if fallback is not None and not isinstance(fallback, OutputFallback):
        raise ConfigurationError(
            "output_fallback= must be an OutputFallback(recover=..., canned=...), not "
            f"{type(fallback).__name__}"
        )
    canned = None
    if fallback is not None and fallback.has_canned:
        try:
            canned = contract.json_of(fallback.canned)
        except Unfit as problem:
            raise ConfigurationError(
                f"OutputFallback(canned=...) does not fit output={contract.name}: {problem}"
            ) from None
    rules = (
        rule("the answer fits", "settle", problems=empty()),
        rule("a limit was reached before", "settle", stop=nonempty()),
        rule("the model gave the same answer again", "settle", repeated=is_true()),
        rule("output_retries", "settle", rejected=ge(retries + 1)),
    )
    return Answering(contract, fallback, canned, rules)


def check_no_tool(contract: Contract, tools: Sequence[Tool[..., Any]]) -> None:
    """Raises:
    ConfigurationError: a tool has the name of the one that the model answers with.
    """
    if contract.mode == "tool" and any(tool.name == FINAL for tool in tools):
        raise ConfigurationError(
            f"a tool is named {FINAL!r}, which is what the model answers with: rename it with @tool(name=...)"
        )


def final_call(contract: Contract | None, calls: Sequence[ToolCall]) -> ToolCall | None:
    """The call that is the answer, where the model answers with a tool."""
    if contract is None or contract.mode != "tool":
        return None
    return next((call for call in calls if call.name == FINAL), None)


# ── steps ───────────────────────────────────────────────────────────────────────────────────────


def read_output(c: Step[C], own: Session, text: str) -> None:
    """Reads what the model said last as the type that is wanted."""
    answering = own.settings.answering
    assert answering is not None
    try:
        c["output"] = answering.contract.read(text)
        c["problems"] = ()
    except Unfit as unfit:
        c["repeated"] = c.get("refused") == text
        c["refused"] = text
        c["output"] = text
        c["problems"] = unfit.problems
        c["rejected"] = c.get("rejected", 0) + 1
        own.tell(OutputRejected, c, c["rejected"], unfit.problems)


def check_output(c: Step[C]) -> Decision:
    """Whether the answer stands, or another is asked for."""
    own: Session = c.deps
    answering = own.settings.answering
    if answering is None:
        return Decision("settle", "any text is an answer")
    rules = (*answering.rules, *own.settings.retry_rules)
    return decide(c, rules, "ask_again", "the answer does not fit")


def ask_again(c: Step[C]) -> None:
    """The model is told what is wrong with its answer."""
    own: Session = c.deps
    answering = own.settings.answering
    assert answering is not None
    contract, problems = answering.contract, c["problems"]
    call = final_call(contract, c["reply"].tool_calls)
    if call is None:
        c.append("history", asked_again(problems, contract))
    else:
        told = Message.tool(call.id, call.name, contract.told(problems), is_error=True)
        c.extend("history", _results(c["reply"].tool_calls, call, told))
    c["pending"] = ()


async def settle(c: Step[C]) -> None:
    """The answer is checked by guardrails, or something stands in for it."""
    own: Session = c.deps
    answering = own.settings.answering
    if answering is not None:
        reply = c.get("reply")
        call = None if reply is None else final_call(answering.contract, reply.tool_calls)
        # An answer that was filtered, or refused before, has its result.
        if call is not None and c["history"][-1].role == "assistant":
            accepted = Message.tool(call.id, call.name, ACCEPTED)
            c.extend("history", _results(reply.tool_calls, call, accepted))
        if c.get("problems"):
            c["output"] = None if c.get("stop") else await _instead(c, own, answering)
    output = c["output"]
    if output is None or not own.settings.guardrails["output"]:
        return
    if await tripped(c, own, "output", output, c["history"]):
        c["stop"], c["output"] = "guardrail", None
        given: RunInput = c["input"]
        begin = len(heal(given.history).messages) + len(given.messages)
        kept = without_answers(c["history"], begin, own, answered=True)
        c["history"] = Seq((*kept, Message.assistant(WITHHELD_ANSWER)))


async def guard_input(c: Step[C]) -> Decision:
    """Whether the question may be asked at all."""
    own: Session = c.deps
    if await tripped(c, own, "input", c["input"].text, c["history"]):
        return Decision("blocked", "a guardrail says no")
    return Decision("go on", "no guardrail says no")


def blocked(c: Step[C]) -> None:
    """A guardrail stopped the run before the model was asked."""
    c["stop"], c["output"] = "guardrail", None
    given: RunInput = c["input"]
    c["history"] = Seq(heal(given.history).messages)


def without_answers(
    messages: Sequence[Message], begin: int, own: Session, *, answered: bool
) -> Sequence[Message]:
    """Messages without what the model gave as its answer in this turn, at any attempt, and what it was told
    about it. The turn's own messages start at `begin`; when it has `answered`, its last is an answer also
    where it asks for tools, as one at a limit may."""
    answering = own.settings.answering
    contract = None if answering is None else answering.contract
    said = [at for at in range(begin, len(messages)) if messages[at].role == "assistant"]
    kept, leave = list(messages[:begin]), False
    for at in range(begin, len(messages)):
        if messages[at].role == "assistant":
            calls = messages[at].tool_calls
            leave = not calls or final_call(contract, calls) is not None or (answered and at == said[-1])
        if not leave:
            kept.append(messages[at])
    return kept


# ── standing in ─────────────────────────────────────────────────────────────────────────────────


async def _instead(c: Step[C], own: Session, answering: Answering) -> str:
    """What the fallback answers, as JSON."""
    contract, fallback = answering.contract, answering.fallback
    problems: tuple[str, ...] = c["problems"]
    if fallback is not None and fallback.recover is not None:
        problem = OutputProblem(c["refused"], problems, own.identity, own.deps, own.run_id)
        recover = partial(_recovered, contract, fallback, problem)
        try:
            text = cast(str, await c.call("recover", recover, c["refused"], problems, returns=str))
        except Exception as error:
            own.tell(OutputFellBack, c, "recover", own.told(error))
            deadline = c.run.deadline
            if isinstance(error, DeadlineExceeded) and deadline is not None and time.monotonic() >= deadline:
                raise  # As at every limit, nothing stands in: the run stops, and says why.
        else:
            own.tell(OutputFellBack, c, "recover", None)
            return text
    if answering.canned is not None:
        own.tell(OutputFellBack, c, "canned", None)
        return answering.canned
    raise OutputInvalid(
        f"the answer does not fit output={contract.name} after {c['rejected']} attempts: "
        f"{'; '.join(problems)}. Raise output_retries, give output_fallback=OutputFallback(...), or name a "
        "more able model"
    )


async def _recovered(
    contract: Contract,
    fallback: OutputFallback[Any],
    problem: OutputProblem,
    text: str,
    problems: tuple[str, ...],
) -> str:
    assert fallback.recover is not None
    value = fallback.recover(problem)
    return contract.json_of(await value if inspect.isawaitable(value) else value)


def _results(calls: Sequence[ToolCall], answer: ToolCall, told: Message) -> list[Message]:
    """One result for each call: the answer gets what is told about it, others did not run."""
    return [
        told if call is answer else Message.tool(call.id, call.name, _NOT_RUN, is_error=True)
        for call in calls
    ]
