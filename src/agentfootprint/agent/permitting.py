"""Permission policies, before the menu of tools and before each call: that of the agent, and those that
toolsets put before their tools."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError, PermissionHalted
from ..events import PermissionDecided
from ..security.base import STRENGTH, PermissionChecker, PermissionRequest, Verdict
from ..tools.arguments import are_scalars
from ..tools.dispatch import PERMISSION, Permitted, permission_key
from ..tools.tool import Gated, Tool

if TYPE_CHECKING:
    from ..flow import Footprint, Step
    from ..identity import MemoryIdentity
    from ..messages import ToolCall
    from .session import Session

__all__ = ["Gate", "check_permissions", "offered", "shown_in"]

_DENIED = "{tool} was not run: it is not permitted here. Go on without it."

_log = logging.getLogger("agentfootprint.security")


Checker: TypeAlias = "PermissionChecker | Callable[[PermissionRequest], Any]"


def check_permissions(permissions: Any) -> Checker | None:
    """What was given as `permissions=`, as something that checks.

    Raises:
        ConfigurationError: it is neither a policy, nor has `check`, nor is a function.
    """
    if permissions is None:
        return None
    if not isinstance(permissions, type) and callable(getattr(permissions, "check", permissions)):
        checker: Checker = permissions
        return checker
    raise ConfigurationError(
        f"permissions= must be a PermissionPolicy, an object with check(request), or a function of a "
        f"PermissionRequest, not {permissions!r:.60}"
    )


def _gates(tool: Tool[..., Any], checker: Checker | None) -> Sequence[Gated]:
    """Who decides about a tool, the innermost first and the agent last."""
    if checker is None:
        return tool.gates
    return (*tool.gates, Gated(checker, tool.name, tool.capabilities))


async def offered(
    checker: Checker | None, tools: Sequence[Tool[..., Any]], identity: MemoryIdentity | None
) -> Sequence[Tool[..., Any]]:
    """The tools that the model is shown. Where a policy fails to say, a tool is not."""
    if getattr(checker, "offers", None) is None and not any(tool.gates for tool in tools):
        return tools
    return [tool for tool in tools if await _offers(_gates(tool, checker), identity)]


async def _offers(gates: Iterable[Gated], identity: MemoryIdentity | None) -> bool:
    for gate in gates:
        offers = getattr(gate.policy, "offers", None)
        if offers is None:
            continue
        try:
            said = offers(gate.tool, gate.capabilities, identity)
            if (await said if inspect.isawaitable(said) else said) is not True:
                return False
        except Exception:
            _log.exception("permissions could not say whether %r is offered: it is not", gate.tool)
            return False
    return True


def shown_in(footprint: Footprint) -> frozenset[str] | None:
    """The names of the tools that the model was shown in a recorded run; None when it was not asked. Roles
    may be others now, and whoever runs a record again need not have any."""
    for step in footprint.steps:
        for version in step.writes if step.node == "tools" else ():
            if version.key == "tools" and isinstance(version.value, tuple):
                return frozenset(spec.name for spec in version.value)
    return None


class Gate:
    """The policies at the dispatch of one run. `checker` is that of the agent, if it has one."""

    __slots__ = ("_checker", "_own")

    def __init__(self, checker: Checker | None, own: Session) -> None:
        self._checker = checker
        self._own = own

    async def __call__(
        self, step: Step[Any], tool: Tool[..., Any], call: ToolCall, arguments: Mapping[str, Any], again: str
    ) -> Permitted:
        """Decides about a call; `again` after a person answered, for what was permitted may not be now."""
        own, gates = self._own, _gates(tool, self._checker)
        if not gates:
            return Permitted()

        async def check(sent: Mapping[str, Any]) -> Verdict:
            return await self._strictest(gates, call, arguments)

        key = permission_key(call, again)
        verdict: Verdict = await step.call(PERMISSION, check, call.arguments, key=key, returns=Verdict)
        own.tell(PermissionDecided, step, tool.name, call.id, verdict.kind, verdict.rule, verdict.reason)
        if verdict.kind == "halt":
            raise PermissionHalted(
                f"the run was halted when the model called {tool.name}: rule {verdict.rule!r} says so"
            )
        if verdict.kind == "deny":
            return Permitted(denied=verdict.wording or _DENIED.format(tool=tool.name))
        if verdict.kind == "ask":
            return Permitted(None, verdict.wording or f"Approve {tool.name}?", verdict.expires_in)
        return Permitted()

    async def _strictest(
        self, gates: Sequence[Gated], call: ToolCall, arguments: Mapping[str, Any]
    ) -> Verdict:
        own, found = self._own, None
        times = []
        for gate in gates:
            # A copy for each: a checker that changes it changes nothing of what others see, and of what runs.
            given = _copied(arguments)
            request = PermissionRequest(
                gate.tool, gate.capabilities, given, call.id, own.identity, own.deps, own.run_id
            )
            verdict = await _verdict(gate.policy, request)
            if found is None or STRENGTH[verdict.kind] < STRENGTH[found.kind]:
                found = verdict
            if found.kind == "halt":
                break
            if verdict.kind == "ask" and verdict.expires_in is not None:
                times.append(verdict.expires_in)
        assert found is not None
        return replace(found, expires_in=min(times)) if found.kind == "ask" and times else found


def _copied(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if not are_scalars(arguments):
        try:
            return copy.deepcopy(dict(arguments))
        except Exception:
            _log.debug("arguments of a call cannot be copied to their depth: checkers share them")
    return dict(arguments)


async def _verdict(checker: Checker, request: PermissionRequest) -> Verdict:
    try:
        check: Any = getattr(checker, "check", checker)
        said = check(request)
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
