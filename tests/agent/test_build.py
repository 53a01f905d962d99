"""Building an agent: what cannot work is refused at once, by name; what was built does not change."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.errors import ConfigurationError, IdentityRequired, InputInvalid
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, SQLiteState
from tests.agent.support import Events, call, completed, mock_of, scripted


@tool
async def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@pytest.mark.parametrize("name", ["max_iterations", "max_tool_calls", "max_total_tokens", "max_tokens"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3", math.nan])
def test_a_limit_that_counts_nothing_is_refused(name: str, bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        scripted("never", **{name: bad})


@pytest.mark.parametrize("name", ["timeout", "tool_timeout", "checkpoint_ttl", "conversation_retention"])
@pytest.mark.parametrize("bad", [0, -1.5, math.nan, "3", True])
def test_a_time_that_is_none_is_refused(name: str, bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        scripted("never", **{name: bad})


@pytest.mark.parametrize("name", ["", None, 5])
def test_an_agent_needs_a_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        scripted("never", name=name)


def test_a_provider_needs_its_two_methods() -> None:
    with pytest.raises(ConfigurationError, match=r"complete\(\) and stream\(\)"):
        Agent("gpt-5")  # type: ignore[arg-type]


@pytest.mark.parametrize("tools", [[add, add], [add, 5], ["add"]], ids=["twice", "a number", "a text"])
def test_tools_that_are_none_or_twice_are_refused(tools: Any) -> None:
    with pytest.raises(ConfigurationError):
        scripted("never", tools=tools)


def test_a_recorder_needs_its_method() -> None:
    with pytest.raises(ConfigurationError, match="on_event"):
        scripted("never", recorders=[object()])


def test_two_memories_of_one_id_are_refused() -> None:
    store = InMemoryStore()
    with pytest.raises(ConfigurationError, match="two memories have one id"):
        scripted("never", memory=[Memory("m", store=store), Memory("m", store=store)])


def test_a_memory_of_the_conversation_beside_a_state_that_continues_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="shown twice"):
        scripted("never", memory=[Memory("m", store=InMemoryStore())], state=InMemoryState())


def test_a_memory_across_conversations_fits_a_state() -> None:
    memory = Memory("m", scope="principal", store=InMemoryStore())
    scripted("never", memory=[memory], state=InMemoryState())


@pytest.mark.parametrize("identity", [None, MemoryIdentity(), MemoryIdentity(principal="alice")])
async def test_a_run_without_a_tenant_is_refused_where_data_outlives_the_process(
    identity: MemoryIdentity | None, tmp_path: Any
) -> None:
    async with SQLiteState(tmp_path / "state.db") as state:
        agent = scripted("never", state=state)
        with pytest.raises(IdentityRequired):
            await agent.run("Hello?", identity=identity)
        assert mock_of(agent).requests == []
        await scripted("hi", state=state, allow_anonymous=True).run("Hello?", identity=identity)


@pytest.mark.parametrize("name", ["name", "provider", "flow"])
def test_an_agents_parts_can_be_read_and_not_set(name: str) -> None:
    agent = scripted("never", name="support")
    assert getattr(agent, name)
    with pytest.raises(AttributeError):
        setattr(agent, name, None)


def test_a_word_that_is_no_part_of_an_agent_cannot_be_set() -> None:
    agent: Any = scripted("never")
    with pytest.raises(AttributeError):
        agent.sytem = "You are helpful."


def test_the_repr_names_the_agent_its_model_and_its_tools() -> None:
    agent = scripted("never", name="support", tools=[add])
    assert repr(agent) == "<Agent 'support' on mock:mock, 1 tools>"


async def test_a_copy_differs_in_what_was_replaced_and_in_nothing_else() -> None:
    seen = Events()
    agent = scripted(
        "one",
        name="support",
        system="Be brief.",
        tools=(each for each in [add]),  # what can be read only once is not lost
        max_tokens=7,
        recorders=(each for each in [seen]),
    )
    other = MockProvider(replies=[call("add", a=1, b=2), "three"])
    copy = agent.replace(provider=other)
    assert copy is not agent
    assert (copy.name, copy.provider) == ("support", other)
    assert agent.provider is not other
    assert completed(await copy.run("1 + 2?")).output == "three"
    assert [(r.system, r.max_tokens) for r in other.requests] == [("Be brief.", 7)] * 2
    assert {event.agent for event in seen.seen if event.type == "run.started"} == {"support"}  # type: ignore[attr-defined]
    assert completed(await agent.run("1?")).output == "one"


async def test_what_is_attached_later_holds_for_a_copy_too() -> None:
    agent = scripted("one")
    copy = agent.replace(system="Be brief.")
    seen = Events()
    agent.attach(seen)
    await copy.run("1?")
    assert "run.ended" in seen.types


def test_a_copy_is_checked_like_any_agent() -> None:
    agent = scripted("never")
    with pytest.raises(ConfigurationError, match="no argument sytem"):
        agent.replace(sytem="Be brief.")
    with pytest.raises(ConfigurationError, match="max_iterations"):
        agent.replace(max_iterations=0)


async def test_an_agent_closes_its_recorders_and_nothing_else() -> None:
    closed: list[str] = []

    class Closing(Events):
        async def aclose(self) -> None:
            closed.append("recorder")

    state = InMemoryState()
    async with scripted("hi", recorders=[Closing()], state=state) as agent:
        await agent.run("Hello?")
    assert closed == ["recorder"]
    assert await state.increment(_key()) == 1


def _key() -> Any:
    from agentfootprint.state import StateKey

    return StateKey(None, "test", "counter")


async def test_a_checkpoint_must_be_one() -> None:
    from agentfootprint.errors import CheckpointTampered

    with pytest.raises(CheckpointTampered, match="from_json"):
        await scripted("never").resume("text")  # type: ignore[arg-type]


async def test_a_stream_that_was_not_read_has_no_result() -> None:
    with pytest.raises(InputInvalid, match="has not ended"):
        scripted("never").stream("Hello?").result  # noqa: B018
