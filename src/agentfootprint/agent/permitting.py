"""One permission policy, before the menu of tools and before each call."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, PermissionHalted
from ..events import PermissionDecided
from ..security.base import PermissionChecker, PermissionRequest, Verdict
from ..tools.dispatch import Permitted
from ..tools.tool import Tool

if TYPE_CHECKING:
    from ..flow import Footprint, Step
    from ..identity import MemoryIdentity
    from ..messages import ToolCall
    from .session import Session

__all__ = ["Gate", "check_permissions", "offered", "shown_in"]

_DENIED = "{tool} was not run: it is not permitted here. Go on without it."

_log = logging.getLogger("agentfootprint.security")


def check_permissions(permissions: Any) -> PermissionChecker | None:
    """What was given as `permissions=`, as something that checks.

    Raises:
        ConfigurationError: it is neither a policy, nor has `check`, nor is a function.
    """
    if permissions is None or isinstance(permissions, type):
        if permissions is None:
            return None
    elif isinstance(permissions, PermissionChecker):
        return permissions
    elif callable(permissions):
        return _Function(permissions)
    raise ConfigurationError(
        f"permissions= must be a PermissionPolicy, an object with check(request), or a function of a "
        f"PermissionRequest, not {permissions!r:.60}"
    )


class _Function:
    """A function that decides."""

    def __init__(self, function: Callable[[PermissionRequest], Any]) -> None:
        self.check = function


async def offered(
    checker: PermissionChecker | None, tools: Sequence[Tool[..., Any]], identity: MemoryIdentity | None
) -> Sequence[Tool[..., Any]]:
    """The tools that the model is shown. Where the checker fails to say, a tool is not."""
    offers = getattr(checker, "offers", None)
    if offers is None:
        return tools
    shown = []
    for tool in tools:
        try:
            said = offers(tool.name, tool.capabilities, identity)
            if (await said if inspect.isawaitable(said) else said) is True:
                shown.append(tool)
        except Exception:
            _log.exception("permissions could not say whether %r is offered: it is not", tool.name)
    return shown


def shown_in(footprint: Footprint) -> frozenset[str] | None:
    """The names of the tools that the model was shown in a recorded run; None when it was not asked. Roles
    may be others now, and whoever runs a record again need not have any."""
    for step in footprint.steps:
        for version in step.writes if step.node == "tools" else ():
            if version.key == "tools" and isinstance(version.value, tuple):
                return frozenset(spec.name for spec in version.value)
    return None


class Gate:
    """The policy at the dispatch of one run."""

    __slots__ = ("_checker", "_own")

    def __init__(self, checker: PermissionChecker, own: Session) -> None:
        self._checker = checker
        self._own = own

    async def __call__(
        self, step: Step[Any], tool: Tool[..., Any], call: ToolCall, arguments: Mapping[str, Any], again: str
    ) -> Permitted:
        """Decides about a call; `again` after a person answered, for what was permitted may not be now."""
        own = self._own
        # A copy: a checker that changes it changes nothing of what runs.
        request = PermissionRequest(
            tool.name, tool.capabilities, dict(arguments), call.id, own.identity, own.deps, own.run_id
        )

        async def check(arguments: Mapping[str, Any]) -> Verdict:
            return await _verdict(self._checker, request)

        key = f"{call.id}:{again}" if again else call.id
        verdict: Verdict = await step.call("permission", check, call.arguments, key=key, returns=Verdict)
        own.tell(PermissionDecided, step, tool.name, call.id, verdict.kind, verdict.rule, verdict.reason)
        if verdict.kind == "halt":
            raise PermissionHalted(
                f"the run was halted when the model called {tool.name}: rule {verdict.rule!r} says so"
            )
        if verdict.kind == "deny":
            return Permitted(denied=verdict.wording or _DENIED.format(tool=tool.name))
        if verdict.kind == "ask":
            return Permitted(question=verdict.wording or f"Approve {tool.name}?")
        return Permitted()


async def _verdict(checker: PermissionChecker, request: PermissionRequest) -> Verdict:
    try:
        said = checker.check(request)
        verdict = await said if inspect.isawaitable(said) else said
    except asyncio.CancelledError:
        # That of the run, or one that was let out of something else.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Verdict("deny", "failed", "the check was cancelled")
    except Exception as error:
        _log.exception("the permission check of %r failed: the call is denied", request.tool)
        return Verdict("deny", "failed", f"the check failed with {type(error).__name__}")
    if isinstance(verdict, Verdict):
        return verdict
    return Verdict("deny", "failed", f"the check returned {type(verdict).__name__}, no Verdict")
