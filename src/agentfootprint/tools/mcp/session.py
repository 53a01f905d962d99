"""What a server of tools is to this library, whichever way it is spoken to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...flow.codec import digest
from ...messages import Message, Part

__all__ = [
    "Answer",
    "Declared",
    "InputNeeded",
    "Lost",
    "Prompt",
    "Refused",
    "Resource",
    "Session",
    "Told",
]


class Told(Protocol):
    """Hears how far a call is: the progress, of how much, and a message."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as its server declares it. `repeatable`: it says that a second call does no harm."""

    name: str
    description: str
    schema: Mapping[str, Any]
    repeatable: bool = False

    @property
    def digest(self) -> str:
        """Changes with whatever the model is shown of the tool."""
        return digest({"name": self.name, "description": self.description, "schema": self.schema})


@dataclass(frozen=True, slots=True)
class Resource:
    """What a server offers to read. `template`: `uri` has `{places}` to be filled first."""

    uri: str
    name: str
    description: str = ""
    media_type: str | None = None
    template: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text that a server makes on request. `arguments` by name: whether it must be given."""

    name: str
    description: str
    arguments: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave: parts for the model, and data beside them (None: there is none)."""

    parts: Sequence[Part]
    data: Any = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class InputNeeded:
    """The server wants answers first, and the call again with them. All of it is JSON."""

    questions: Mapping[str, Mapping[str, Any]]
    state: str | None


class Lost(Exception):
    """There is no answer. The text says why, without what is secret.

    `sent` is whether the server may have got the request, so that it may have taken effect. `gone`: the
    session is of no further use.
    """

    def __init__(
        self, text: str, *, sent: bool, gone: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.sent = sent
        self.gone = gone
        self.retry_after = retry_after


class Refused(Exception):
    """The server answered that it does not do it, or with something that is no answer."""


class Session(Protocol):
    """One conversation with one server, used by any number of calls at once.

    Raises, in all of its methods: Lost, Refused.
    """

    @property
    def alive(self) -> bool: ...

    def when_over(self, fn: Callable[[], None]) -> None:
        """Calls `fn` when the session ends of itself."""
        ...

    async def tools(self) -> Sequence[Declared]: ...

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        told: Told,
        answers: Mapping[str, Any] | None = None,
        state: str | None = None,
    ) -> Answer | InputNeeded: ...

    async def resources(self) -> Sequence[Resource]: ...

    async def read_resource(self, uri: str) -> Sequence[Part]: ...

    async def prompts(self) -> Sequence[Prompt]: ...

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[Message]: ...
