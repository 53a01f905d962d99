"""`@tool`: a function a model may call."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, overload

from ..errors import ConfigurationError
from ..flow.codec import digest
from ..messages import ToolSpec
from ..numeric import check_seconds
from .schema import Described, Signature
from .threads import run_in_thread

if TYPE_CHECKING:
    from ..security.base import PermissionChecker, PermissionRequest

__all__ = ["Approval", "Gated", "Tool", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

Approval: TypeAlias = bool | str | Callable[[Mapping[str, Any]], bool | str | None] | None
"""Whether a person is asked before a call runs: yes or no, the question to ask, or a function of the
arguments that says so for each call. None leaves it to the agent's permissions."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Gated:
    """A policy that a toolset put before a tool, and what it was called there: under whatever name it is
    offered later, that is the one the policy is asked about."""

    policy: PermissionChecker | Callable[[PermissionRequest], Any]
    tool: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Tool(Generic[P, R]):
    """A function with what a model must know to call it. Made by `@tool`; calling it calls the function.

    `timeout` is in seconds, None for the agent's own. `capabilities` are names that permission rules
    can match. `max_result_chars` overrides how many characters of a result the model gets to read.
    `approval_expires_in` is in seconds, None for as long as the checkpoint is kept. `gates`
    are the policies of its toolsets, in the order they were put before it.
    """

    function: Callable[P, R]
    name: str
    approval: Approval
    timeout: float | None
    idempotent: bool
    capabilities: tuple[str, ...]
    max_result_chars: int | None
    is_async: bool
    _signature: Described = field(repr=False)
    _description: str | None = field(repr=False)
    approval_expires_in: float | None = None
    gates: tuple[Gated, ...] = field(default=(), repr=False)
    _spec: ToolSpec | None = field(default=None, init=False, repr=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R]:
        """Makes a tool in a class body behave as a method: `orders.lookup` is the tool of that object."""
        if instance is None or not self.unbound:
            return self
        return replace(self, function=self.function.__get__(instance, owner))

    @property
    def unbound(self) -> bool:
        """Whether this is a method still without its object."""
        return self._signature.unbound and not inspect.ismethod(self.function)

    @property
    def wants_context(self) -> bool:
        """Whether the function's first parameter is a `ToolContext`."""
        return self._signature.wants_context

    @property
    def description(self) -> str:
        """What the model is told the tool does: given, or the docstring without its parameters."""
        given = self._description
        return given if given is not None else self._signature.documentation.description

    @property
    def spec(self) -> ToolSpec:
        """The tool as the model sees it. The schema is made on first access and kept.

        Raises:
            ConfigurationError: a parameter's type has no JSON Schema.
        """
        spec = self._spec
        if spec is None:
            spec = ToolSpec(self.name, self.description, self._signature.arguments.schema)
            object.__setattr__(self, "_spec", spec)
        return spec

    @property
    def fingerprint(self) -> str:
        """Changes when the name or the schema of the arguments does; checkpoints compare it."""
        return digest({"name": self.name, "schema": self.spec.schema})

    def renamed(self, name: str) -> Tool[P, R]:
        """The same tool under another name.

        Raises:
            ConfigurationError: vendors refuse the name.
        """
        _check_name(name)
        return replace(self, name=name, _signature=self._signature.renamed(name))

    def bind(self, arguments: Mapping[str, Any], raw: str | None = None) -> dict[str, Any]:
        """Checks a call's arguments and returns the keyword arguments for the function.

        Give `ToolCall.arguments` and `ToolCall.raw`. Values are converted where nothing is lost, and
        are new objects: changing them never changes the call. The context is not among them.

        Raises:
            ArgumentsInvalid: they do not fit; the message is for the model.
        """
        return self._signature.arguments.bind(arguments, raw)

    async def invoke(self, arguments: Mapping[str, Any], context: Any = None) -> Any:
        """Calls the function with bound arguments: on the event loop, or in a thread for a plain `def`.

        `context` is passed only to a function that wants it.
        """
        call: Callable[..., Any] = self.function
        given = (context,) if self._signature.wants_context else ()
        if self.is_async:
            return await call(*given, **arguments)
        result = await run_in_thread(call, *given, **arguments)
        # A plain function that wraps a coroutine function gives back its coroutine.
        return await result if inspect.isawaitable(result) else result


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    approval: Approval = None,
    approval_expires_in: float | None = None,
    timeout: float | None = None,
    idempotent: bool = False,
    capabilities: tuple[str, ...] = (),
    max_result_chars: int | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approval: Approval = None,
    approval_expires_in: float | None = None,
    timeout: float | None = None,
    idempotent: bool = False,
    capabilities: tuple[str, ...] = (),
    max_result_chars: int | None = None,
) -> Any:
    """Makes a function a tool: `@tool`, or `@tool(approval=True)` with options.

    The model is shown a schema made from the signature (types that pydantic knows, defaults,
    `Annotated[..., Field(...)]`) and the docstring (its summary, and what it says of each parameter in
    Google, Sphinx or NumPy style). A first parameter annotated `ToolContext` is filled by the run. An
    `async def` runs on the event loop, a plain `def` in a thread.

    Args:
        name: what the model calls it; the function's name by default.
        description: what the model is told; the docstring by default.
        approval: whether a person is asked before a call runs, or the question, or a function of
            the arguments that gives either.
        approval_expires_in: seconds after which an approval is refused: the call is not run then.
        timeout: seconds a call may take.
        idempotent: a call whose outcome is unknown after a crash may be made again.
        capabilities: names that permission rules can match, such as "payments".
        max_result_chars: how many characters of the result the model gets to read.

    Raises:
        ConfigurationError: the function cannot be a tool, or an option makes no sense.
    """
    options: Any = {
        "name": name,
        "description": description,
        "approval": approval,
        "approval_expires_in": approval_expires_in,
        "timeout": timeout,
        "idempotent": idempotent,
        "capabilities": capabilities,
        "max_result_chars": max_result_chars,
        "frame": sys._getframe(1),
    }
    if function is not None:
        return make_tool(function, **options)
    return lambda function: make_tool(function, **options)


def make_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    approval: Approval = None,
    approval_expires_in: float | None = None,
    timeout: float | None = None,
    idempotent: bool = False,
    capabilities: tuple[str, ...] = (),
    max_result_chars: int | None = None,
    frame: FrameType | None = None,
) -> Tool[..., Any]:
    """What `@tool` does. `frame` is where it was applied: types defined there can be found."""
    if isinstance(function, Tool):
        raise ConfigurationError(f"tool {function.name!r} is a tool already: apply @tool once")
    called = name if name is not None else getattr(function, "__name__", type(function).__name__)
    if not callable(function):
        raise ConfigurationError(
            f"@tool got {type(function).__name__} {function!r:.60}: it takes a function; "
            "give a name as @tool(name=...)"
        )
    _check_options(called, approval, timeout, capabilities, max_result_chars)
    if approval_expires_in is not None and not approval:
        raise ConfigurationError(
            f"tool {called!r}: approval_expires_in= is for an approval: give approval= as well"
        )
    check_seconds(f"tool {called!r}: approval_expires_in", approval_expires_in)
    return Tool(
        function=function,
        name=called,
        approval=approval,
        approval_expires_in=approval_expires_in,
        timeout=timeout,
        idempotent=idempotent,
        capabilities=tuple(capabilities),
        max_result_chars=max_result_chars,
        is_async=_is_async(function, called),
        _signature=Signature(function, called, _local_names(function, frame)),
        _description=description,
    )


def _local_names(function: Callable[..., Any], frame: FrameType | None) -> Mapping[str, Any] | None:
    # Types defined next to a nested function are found by postponed annotations only through here.
    if frame is None or "<locals>" not in getattr(function, "__qualname__", ""):
        return None
    postponed = any(isinstance(each, str) for each in getattr(function, "__annotations__", {}).values())
    return dict(frame.f_locals) if postponed else None


def _is_async(function: Any, name: str) -> bool:
    candidates = (function,) if inspect.isroutine(function) else (function, function.__call__)
    for each in candidates:
        if inspect.isasyncgenfunction(each) or inspect.isgeneratorfunction(each):
            raise ConfigurationError(
                f"tool {name!r} yields, but a call has one result: return it whole; to say something "
                "on the way, take a ToolContext and call its progress(...)"
            )
        if inspect.iscoroutinefunction(each):
            return True
    return False


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"tool name {name!r} is refused by model vendors: use 1 to 64 letters, digits, '_' or '-', "
            "given as @tool(name=...) where the function's own name does not fit"
        )


def _check_options(
    name: str,
    approval: Approval,
    timeout: float | None,
    capabilities: tuple[str, ...],
    max_result_chars: int | None,
) -> None:
    _check_name(name)
    if approval is not None and not isinstance(approval, (bool, str)) and not callable(approval):
        raise ConfigurationError(
            f"tool {name!r}: approval={approval!r} is neither True or False, a question, nor a function"
        )
    if approval == "":
        raise ConfigurationError(f"tool {name!r}: the question in approval= is empty: write it, or use True")
    if inspect.iscoroutinefunction(approval):
        raise ConfigurationError(f"tool {name!r}: approval= is asked without waiting: make it a plain def")
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"tool {name!r}: timeout={timeout!r} must be more than 0 seconds")
    if isinstance(capabilities, str):
        raise ConfigurationError(
            f"tool {name!r}: capabilities is one string: give a tuple, capabilities=({capabilities!r},)"
        )
    if max_result_chars is not None and max_result_chars < 1:
        raise ConfigurationError(f"tool {name!r}: max_result_chars={max_result_chars!r} must be at least 1")
