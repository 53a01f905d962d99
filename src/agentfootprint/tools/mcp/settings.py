"""How a client of tool servers behaves, whichever server it is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypedDict

from ...errors import ConfigurationError
from ...identity import MemoryIdentity
from ...numeric import is_number
from ...retry import RetryPolicy

__all__ = ["ForIdentity", "Options", "Protocol", "SessionPer", "Settings", "settings"]

SessionPer: TypeAlias = Literal["tenant", "principal", "agent"]
Protocol: TypeAlias = Literal["auto", "2025-11-25", "2026-07-28"]

ForIdentity: TypeAlias = Callable[[MemoryIdentity | None], Any]
"""Gives a value, or an awaitable of one, for whom a session is for: of a session of a tenant, only the
tenant."""


class Options(TypedDict, total=False):
    """Keywords of every client, with their defaults.

    Attributes:
        name: what errors call the server; where it is by default.
        session_per: whose calls share a session: a `"tenant"`'s, a `"principal"`'s, or all calls of the
            `"agent"`. Tenants share one only with `"agent"`.
        start_timeout: seconds until a server must be ready; one that is not is ended (30).
        request_timeout: seconds for a list, a resource or a prompt (30).
        tool_timeout: seconds for each call of a tool; None: the agent's.
        idle_timeout: seconds after which an unused session is closed (300).
        max_sessions: of an event loop; the one that was unused longest makes room (100).
        refresh: seconds a list of tools is used; a server that says that its list changed is asked for the
            next run in any case (60).
        retry: how often to try to connect, and to ask again what was certainly not done. A call that may
            have taken effect is repeated only if the tool is idempotent.
        pin: digests by name, as `digests()` gives them: only these tools, and none that changed since.
        idempotent: names of tools that can be called twice without harm, beside those that say so.
        protocol: a revision of MCP to insist on; `"auto"` takes the newest that the server knows.
        capabilities: what permission rules can match, for each tool of the server.
        max_result_chars: how many characters of a result the model reads.
        max_data_bytes: images and files of a result that are larger are left out (5 MB).
        answer_timeout: seconds that a server of the older revision waits for a person's answer (300).
    """

    name: str
    session_per: SessionPer
    start_timeout: float
    request_timeout: float
    tool_timeout: float | None
    idle_timeout: float
    max_sessions: int
    refresh: float
    retry: RetryPolicy
    pin: Mapping[str, str] | None
    idempotent: Collection[str]
    protocol: Protocol
    capabilities: tuple[str, ...]
    max_result_chars: int | None
    max_data_bytes: int
    answer_timeout: float


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    session_per: SessionPer = "tenant"
    start_timeout: float = 30.0
    request_timeout: float = 30.0
    tool_timeout: float | None = None
    idle_timeout: float = 300.0
    max_sessions: int = 100
    refresh: float = 60.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(initial_delay=0.2, max_total=30.0))
    pin: Mapping[str, str] | None = None
    idempotent: Collection[str] = ()
    protocol: Protocol = "auto"
    capabilities: tuple[str, ...] = ()
    max_result_chars: int | None = None
    max_data_bytes: int = 5_000_000
    answer_timeout: float = 300.0


def settings(where: str, options: Options) -> Settings:
    """The options, checked.

    Raises:
        ConfigurationError: one that cannot be; names it.
    """
    known = {each.name for each in fields(Settings)}
    if unknown := set(options) - known:
        raise ConfigurationError(f"an MCP client has no option {', '.join(sorted(unknown))}")
    chosen: dict[str, Any] = {"name": where, **options}
    made = Settings(**chosen)
    for option, allowed in (
        ("session_per", ("tenant", "principal", "agent")),
        ("protocol", ("auto", "2025-11-25", "2026-07-28")),
    ):
        if getattr(made, option) not in allowed:
            raise ConfigurationError(
                f"{option}={getattr(made, option)!r}: it is one of {', '.join(map(repr, allowed))}"
            )
    for option in ("start_timeout", "request_timeout", "tool_timeout", "idle_timeout", "answer_timeout"):
        seconds = getattr(made, option)
        if not (seconds is None and option == "tool_timeout") and not (is_number(seconds) and seconds > 0):
            raise ConfigurationError(f"{option} must be seconds above 0, not {seconds!r}")
    if not is_number(made.refresh) or made.refresh < 0:
        raise ConfigurationError(f"refresh must be seconds, at least 0, not {made.refresh!r}")
    for option in ("max_sessions", "max_data_bytes"):
        count = getattr(made, option)
        if type(count) is not int or count < 1:
            raise ConfigurationError(f"{option} must be a whole number of at least 1, not {count!r}")
    if made.pin is not None and not isinstance(made.pin, Mapping):
        raise ConfigurationError(
            "pin= maps names of tools to digests: print(await client.digests()) shows them"
        )
    for option in ("capabilities", "idempotent"):
        if isinstance(getattr(made, option), str):
            raise ConfigurationError(f"{option}= is one string: give a tuple")
    return made


async def given(value: Any, identity: MemoryIdentity | None) -> Any:
    """A value, or what a function gives for an identity."""
    if not callable(value):
        return value
    made = value(identity)
    return await made if isinstance(made, Awaitable) else made
