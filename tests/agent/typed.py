"""Types of answers, and agents that give them."""

from __future__ import annotations

import dataclasses
import enum
from decimal import Decimal
from typing import Any

import pydantic
from typing_extensions import TypedDict

from agentfootprint import (
    Agent,
    MemoryIdentity,
    tool,
)
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider

ME = MemoryIdentity("acme", "alice", "t-1")


class Refund(pydantic.BaseModel):
    amount: Decimal = pydantic.Field(ge=0)
    reason: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Address(TypedDict):
    street: str
    number: int


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=lambda name: name.replace("_n", "N"))
    first_name: str
    age: int = pydantic.Field(alias="years")


class Node(pydantic.BaseModel):
    name: str
    inner: list[Node] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


GOOD = '{"amount": "12.50", "reason": "torn"}'


@tool
def look() -> str:
    """Looks."""
    return "seen"


@tool(approval=True)
def pay() -> str:
    """Pays."""
    return "paid"


class Held(MockProvider):
    """A mock whose vendor can do less."""

    def __init__(self, *replies: Any, can: frozenset[Any]) -> None:
        super().__init__(replies=list(replies))
        self.capabilities = can


TOOLS_ONLY = frozenset({"tools"})
NOTHING: frozenset[Any] = frozenset()


def asked(*replies: Any, output: Any = Refund, **options: Any) -> Agent[Any, Any]:
    return Agent(MockProvider(replies=list(replies)), output=output, **options)


def requests(agent: Agent[Any, Any]) -> list[LLMRequest]:
    assert isinstance(agent.provider, MockProvider)
    return agent.provider.requests
