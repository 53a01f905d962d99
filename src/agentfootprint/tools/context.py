"""What a tool may ask of the run it is called from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..errors import ConfigurationError, FlowInvalid, QuestionExpired
from ..numeric import check_seconds
from .arguments import fresh

if TYPE_CHECKING:
    from ..flow.step import Step
    from ..identity import MemoryIdentity

__all__ = ["EXPIRED", "Progress", "ToolContext", "ask_human", "current_tool", "no_tool", "pause_here"]

EXPIRED: Mapping[str, Any] = {"expired": "nobody answered in time"}
"""What stands in the record where an answer would: the run went on without one."""

Deps = TypeVar("Deps")
T = TypeVar("T")

_current: ContextVar[ToolContext[Any] | None] = ContextVar("agentfootprint_tool", default=None)


class Progress:
    """What a tool says while it works."""

    __slots__ = ("call_id", "fraction", "message", "tool")

    def __init__(self, tool: str, call_id: str, message: str, fraction: float | None) -> None:
        self.tool = tool
        self.call_id = call_id
        self.message = message
        self.fraction = fraction


class ToolContext(Generic[Deps]):
    """A first parameter of this type is filled by the run and is no argument of the model.

    Attributes:
        tool, call_id: the tool's name and the id of this call, the same when the call is made again
            after a crash: use it as idempotency key.
        arguments: the call's arguments as the model sent them; a copy, yours to change.
        identity: who the run is for; None on a run without one.
        deps: what the caller gave to `run(deps=...)`.
        deadline: when the run's time is over, in seconds of `time.monotonic()`; None: never.
        step: the step of the run that makes the call, for tools that are flows or agents themselves.
    """

    __slots__ = ("_arguments", "_loop", "call_id", "deadline", "deps", "identity", "step", "tool")

    def __init__(
        self,
        step: Step[Any],
        tool: str,
        call_id: str,
        arguments: Mapping[str, Any],
        identity: MemoryIdentity | None,
        deps: Deps,
    ) -> None:
        self.step = step
        self._loop = asyncio.get_running_loop()
        self.tool = tool
        self.call_id = call_id
        self._arguments = arguments
        self.identity = identity
        self.deps = deps
        self.deadline = step.run.deadline

    @property
    def arguments(self) -> dict[str, Any]:
        copied: dict[str, Any] = fresh(self._arguments)
        return copied

    @property
    def run_id(self) -> str:
        return self.step.run.id

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tells whoever watches how far the tool is; `fraction` is between 0 and 1."""
        self._tell(Progress(self.tool, self.call_id, message, fraction))

    def emit(self, name: str, data: Any = None) -> None:
        """An event for whoever watches, kept in the footprint. `data` is JSON."""
        self._on_loop(partial(self.step.emit, within=self.own_call), name, data)

    async def call(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        timeout: float | None = None,
        returns: Any = Any,
        raises: tuple[type[Exception], ...] = (),
        **kwargs: Any,
    ) -> Any:
        """A recorded effect: when this call pauses and is entered again, it is not done twice.

        `key` tells effects of one name apart, `raises` are errors the tool itself handles, so that
        they are raised again as they were; see `Step.call`.
        """
        return await self.step.call(
            name,
            fn,
            *args,
            # Never the bare id: that is the key of the tool's own call, which may have the same name.
            key=f"{self.call_id}/{key or ''}",
            timeout=timeout,
            returns=returns,
            raises=raises,
            within=self.own_call,
            **kwargs,
        )

    def was_called(self, name: str, key: str | None = None) -> bool:
        """Whether the record answers for this `call`: the tool is entered again, and made it before."""
        return self.step.was_called(name, f"{self.call_id}/{key or ''}")

    def ask(
        self,
        question: str,
        *,
        data: Any = None,
        answer: Any = None,
        schema: Mapping[str, Any] | None = None,
        expires_in: float | None = None,
    ) -> Any:
        """Asks a person from a plain `def` tool; `await ask_human(...)` is the same for `async def`.

        The run pauses here. When it goes on, the tool's body runs again from its first line, and this
        returns the answer: ask before you act, or act through `ctx.call`. `answer` is the type the
        answer must have, or `schema` its JSON Schema; `expires_in` is in seconds.

        Raises:
            QuestionExpired: nobody answered in time, and the run was resumed without an answer.
        """
        return self._ask(question, "ask", data, answer, expires_in, schema)

    def _ask(
        self,
        question: str,
        kind: str,
        data: Any,
        answer: Any,
        expires_in: float | None,
        schema: Mapping[str, Any] | None = None,
    ) -> Any:
        if answer is not None:
            from pydantic import TypeAdapter

            schema = TypeAdapter(answer).json_schema()
        check_seconds("expires_in", expires_in)
        step = self.step
        given = step.ask_now(
            question,
            kind=kind,
            tool=self.tool,
            arguments=self._arguments,
            data=data,
            schema=schema,
            expires_at=None if expires_in is None else self._now() + expires_in,
        )
        if given == EXPIRED:
            raise QuestionExpired(f"{self.tool} asked {question!r}, and nobody answered in time.")
        if answer is None:
            return given
        from ..flow.codec import decode

        return decode(answer, given)

    @property
    def own_call(self) -> str:
        """`within` of whatever is recorded during this call: where the record answers for the call, it
        answers for that too."""
        return f"{self.tool}:{self.call_id}"

    def _now(self) -> float:
        return self.step.call_now("clock", time.time, within=self.own_call)

    def _tell(self, what: Any) -> None:
        if self.step.run.tell is not None:
            self._on_loop(self.step.live, what)

    def _on_loop(self, fn: Callable[..., None], *args: Any) -> None:
        # Plain tools run in threads; recorders are called on the loop alone.
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            fn(*args)
        else:
            self._loop.call_soon_threadsafe(_unless_over, fn, args)


def _unless_over(fn: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        fn(*args)
    except FlowInvalid:
        return  # The call ended, by its timeout, while its thread went on.


@contextmanager
def no_tool() -> Iterator[None]:
    """What runs within is no part of the tool that is running, although that has called it."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def current_tool() -> ToolContext[Any]:
    """The context of the tool call that is running.

    Raises:
        ConfigurationError: no tool of an agent is running here.
    """
    context = _current.get()
    if context is None:
        raise ConfigurationError(
            "there is no run to pause here: ask_human and pause_here work inside a tool that an agent calls"
        )
    return context


async def ask_human(
    question: str, *, data: Any = None, answer: type[T] | Any = None, expires_in: float | None = None
) -> T | Any:
    """Asks a person from inside an `async def` tool and returns the answer.

    The run pauses and can be resumed in another process. Then the tool's body runs again from its
    first line: earlier answers and effects made through `ctx.call` come from the record, other side
    effects repeat. Ask before you act.

    Args:
        question: what the person reads.
        data: JSON that helps the person to decide.
        answer: the type the answer must have, such as `bool`; None takes any JSON.
        expires_in: seconds after which an answer is refused.

    Raises:
        QuestionExpired: nobody answered in time, and the run was resumed without an answer.
    """
    return cast(T, current_tool().ask(question, data=data, answer=answer, expires_in=expires_in))


def pause_here(
    data: Any = None,
    *,
    question: str = "What is the result?",
    answer: Any = None,
    expires_in: float | None = None,
) -> Any:
    """Ends the call here: a person's answer becomes the tool's result, and nothing runs again. After
    `expires_in` seconds an answer is refused; the model then reads that nobody answered in time."""
    return current_tool()._ask(question, "result", data, answer, expires_in)
