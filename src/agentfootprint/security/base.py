"""The port to whatever decides about tool calls."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..identity import MemoryIdentity
from ..numeric import check_seconds

__all__ = ["STRENGTH", "PermissionChecker", "PermissionRequest", "Verdict"]

STRENGTH: Mapping[str, int] = {"halt": 0, "deny": 1, "ask": 2, "allow": 3}
"""Of several verdicts about one call, that with the least of these numbers decides."""


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """A call that a model asked for, with what it would run on.

    `arguments` are those that the tool would get: checked and converted, what was not sent is not there.
    """

    tool: str
    capabilities: tuple[str, ...]
    arguments: Mapping[str, Any]
    call_id: str
    identity: MemoryIdentity | None
    deps: Any
    run_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided about a call. Made by `Verdict.allow()`, `.deny()`, `.ask()`, `.halt()`.

    Args:
        rule: the id of the rule that said so, for records.
        reason: why, for records and events only: the model never reads it.
        wording: of a denial, what the model reads; of a question, what the person reads.
        evidence: what was compared, in words.
        expires_in: of a question, seconds after which an approval is refused; None: as long as the run waits.
    """

    kind: Literal["allow", "deny", "ask", "halt"]
    rule: str = ""
    reason: str = ""
    wording: str | None = None
    evidence: tuple[str, ...] = ()
    expires_in: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in STRENGTH:
            raise ConfigurationError(f"a Verdict is to allow, deny, ask or halt, not {self.kind!r}")
        check_seconds("expires_in", self.expires_in)

    @classmethod
    def allow(cls, rule: str = "custom", reason: str = "") -> Verdict:
        """The call runs."""
        return cls("allow", rule, reason)

    @classmethod
    def deny(cls, wording: str | None = None, *, rule: str = "custom", reason: str = "") -> Verdict:
        """The call does not run; the model reads `wording`, or that it is not permitted."""
        return cls("deny", rule, reason, wording)

    @classmethod
    def ask(
        cls,
        question: str | None = None,
        *,
        rule: str = "custom",
        reason: str = "",
        expires_in: float | None = None,
    ) -> Verdict:
        """A person decides: the run pauses, as for a tool with `approval=`."""
        return cls("ask", rule, reason, question, expires_in=expires_in)

    @classmethod
    def halt(cls, reason: str = "", *, rule: str = "custom") -> Verdict:
        """The run ends with `PermissionHalted`: nothing more is to happen in it."""
        return cls("halt", rule, reason)


@runtime_checkable
class PermissionChecker(Protocol):
    """Anything that decides about calls. What raises, or returns no `Verdict`, denies.

    The optional ability `offers(tool, capabilities, identity)` says, plainly or to be awaited, whether a tool
    is shown to the model at all; without it every tool is.
    """

    def check(self, request: PermissionRequest) -> Verdict | Awaitable[Verdict]:
        """The verdict about one call. Asked again, and anew, after a person agreed."""
        ...


def names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several as several."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
