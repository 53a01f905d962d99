"""Guardrails: checks of what is asked and of what is answered, finished before anything follows from it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import ConfigurationError
from ..events import GuardrailTripped

if TYPE_CHECKING:
    from ..flow import Run, Step
    from ..identity import MemoryIdentity
    from ..messages import Message
    from .session import Session

__all__ = ["Guarded", "Guardrail", "check_guardrails", "passed", "tripped"]

Stage = Literal["input", "output"]

_ASKED_IN = {"input": "guard_input", "output": "settle"}


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a guardrail looks at: the question, or the answer, and the conversation before it."""

    stage: Stage
    text: str
    messages: Sequence[Message]
    identity: MemoryIdentity | None
    deps: Any
    run_id: str


Guardrail: TypeAlias = Callable[[Guarded], str | Awaitable[str | None] | None]
"""Says why a run must not go on, or None. One that fails stops the run: what it would say is not known."""


def check_guardrails(what: str, given: Sequence[Any]) -> tuple[Guardrail, ...]:
    """Raises:
    ConfigurationError: one of them is no function, or two have one name.
    """
    names = [_name(each) for each in given]
    for each, name in zip(given, names, strict=True):
        if not callable(each):
            raise ConfigurationError(f"{what}= takes functions of a Guarded, not {type(each).__name__}")
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{what}= has two functions named {name!r}: records could not tell which"
            )
    return tuple(given)


async def tripped(c: Step[Any], own: Session, stage: Stage, text: str, messages: Sequence[Message]) -> bool:
    """Whether any guardrail of a stage says no. All are asked, at the same time."""
    guardrails = own.settings.guardrails[stage]
    about = Guarded(stage, text, messages, own.identity, own.deps, own.run_id)
    calls = (
        c.call(
            "guardrail", partial(_ask, each, about), text, key=f"{stage}:{_name(each)}", returns=str | None
        )
        for each in guardrails
    )
    said = await asyncio.gather(*calls)
    for guardrail, reason in zip(guardrails, said, strict=True):
        if reason is not None:
            own.tell(GuardrailTripped, c, _name(guardrail), stage, reason)
    return any(reason is not None for reason in said)


def passed(run: Run, own: Session, stage: Stage) -> bool:
    """Whether the guardrails of a stage, if there are any, have let through what a run has for them."""
    if run.get("stop") == "guardrail":
        return False
    return not own.settings.guardrails[stage] or any(
        step.node == _ASKED_IN[stage] and step.status == "done" for step in run.journal
    )


async def _ask(guardrail: Guardrail, about: Guarded, text: str) -> str | None:
    try:
        said = guardrail(about)
        reason = await said if inspect.isawaitable(said) else said
    except asyncio.CancelledError:
        # That of the run, or one that was let out of something else.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return "it was cancelled"
    except Exception as error:
        return f"it failed with {type(error).__name__}"
    if reason is None or isinstance(reason, str):
        return reason
    return f"it returned {type(reason).__name__}, neither a reason nor None"


def _name(guardrail: Any) -> str:
    return getattr(guardrail, "__name__", None) or type(guardrail).__name__
