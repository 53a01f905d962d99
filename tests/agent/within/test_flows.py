"""A flow as a tool of an agent: typed input, its record, its questions, its secrets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.errors import ConfigurationError
from agentfootprint.flow import SECRET, Flow, Footprint, Step
from agentfootprint.providers import MockProvider
from tests.agent.pausing.support import go_on, must_pause
from tests.agent.support import completed, mock_of, result_of

from .support import call

STEP = "call_tools#0[0]"


@dataclass(frozen=True)
class Order:
    id: str
    amount: int


class Checked(TypedDict, total=False):
    input: Order
    total: int
    output: str


def checking() -> Flow[Checked]:
    """Adds a fee and says so."""
    flow: Flow[Checked] = Flow("check_order", state=Checked, doc="Checks an order.")

    @flow.step(to="tell")
    def add(c: Step[Checked]) -> None:
        c["total"] = c["input"].amount + 1

    @flow.step
    def tell(c: Step[Checked]) -> None:
        c["output"] = f"{c['input'].id} costs {c['total']}"

    return flow


def asking(tool: Any, *replies: Any, **options: Any) -> Agent[Any, str]:
    return Agent(MockProvider(replies=list(replies)), tools=[tool], **options)


async def test_its_input_has_the_type_that_its_state_declares() -> None:
    flow = checking()
    agent = asking(flow.as_tool(), call("check_order", input={"id": "A-1", "amount": 3}), "Done.")
    result = completed(await agent.run("Check A-1"))
    assert result_of(result.messages).text == "A-1 costs 4"
    [spec] = mock_of(agent).requests[0].tools
    assert spec.description == "Checks an order."
    assert set(spec.schema["$defs"]["Order"]["properties"]) == {"id", "amount"}
    inner = result.footprint.nested[STEP]
    assert inner.flow == "check_order"
    assert inner.state["total"] == 4
    assert f"Within check_order ({STEP}):" in result.footprint.why("output")
    assert "total" in result.footprint.narrative()


async def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    agent = asking(checking().as_tool(), call("check_order", input={"id": "A-1"}), "Done.")
    result = completed(await agent.run("Check A-1"))
    assert result_of(result.messages).is_error
    assert not result.footprint.nested


async def test_any_key_of_its_end_may_be_the_result() -> None:
    agent = asking(
        checking().as_tool(output="total"), call("check_order", input={"id": "A", "amount": 3}), "."
    )
    assert result_of(completed(await agent.run("Check")).messages).text == "4"


def test_a_key_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'sum'"):
        checking().as_tool(output="sum")


def test_without_a_description_it_is_no_tool() -> None:
    flow: Flow[Any] = Flow("silent")
    flow.step(name="only")(lambda c: None)
    with pytest.raises(ConfigurationError, match="description="):
        flow.as_tool()


async def test_its_steps_get_the_deps_of_the_run_or_what_is_made_of_its_context() -> None:
    seen: list[Any] = []
    flow: Flow[Any] = Flow("look", doc="Looks.")

    @flow.step
    def only(c: Step[Any]) -> None:
        seen.append(c.deps)
        c["output"] = "seen"

    alice = MemoryIdentity("acme", "alice", "t-1")
    for tool in (flow.as_tool(), flow.as_tool(deps=lambda ctx: (ctx.identity, ctx.deps))):
        await asking(tool, call("look", input="?"), "Done.").run("Look", identity=alice, deps="db")
    assert seen == ["db", (alice, "db")]


async def test_its_question_pauses_the_run_and_the_answer_reaches_it() -> None:
    done: list[str] = []
    flow: Flow[Any] = Flow("sign", doc="Has something signed.")

    @flow.step(to="ask")
    async def first(c: Step[Any]) -> None:
        await c.call("stamp", lambda: done.append("stamped"))

    @flow.step
    async def ask(c: Step[Any]) -> None:
        c["output"] = f"signed by {await c.ask('Who signs?')}"

    agent = asking(flow.as_tool(), call("sign", input="contract"), "Done.")
    paused = must_pause(await agent.run("Have it signed"))
    assert [ask.question for ask in paused.asks] == ["Who signs?"]
    result = completed(await go_on(agent, paused, "Ada", by="bob"))
    assert result_of(result.messages).text == "signed by Ada"
    assert done == ["stamped"]
    [record] = result.footprint.nested[STEP].step("ask#0").asks
    assert (record.answer, record.by) == ("Ada", "bob")
    assert (await agent.replay(result.footprint))["output"] == "Done."


async def test_a_question_that_nobody_answered_in_time_ends_it_and_not_the_run() -> None:
    done: list[Any] = []
    flow: Flow[Any] = Flow("sign", doc="Has something signed.")

    @flow.step
    async def ask(c: Step[Any]) -> None:
        done.append(await c.ask("Who signs?", expires_at=1.0))
        c["output"] = "signed"

    agent = asking(flow.as_tool(), call("sign", input="contract"), "Nobody signed.")
    paused = must_pause(await agent.run("Have it signed"))
    result = completed(await go_on(agent, paused, answers={}))
    assert done == []
    message = result_of(result.messages)
    assert message.is_error
    assert message.text == "sign asked 'Who signs?', and nobody answered in time."


async def test_what_it_fails_with_is_told_to_the_model() -> None:
    flow: Flow[Any] = Flow("breaks", doc="Breaks.")

    @flow.step
    def only(c: Step[Any]) -> None:
        raise ValueError("no such order")

    agent = asking(flow.as_tool(), call("breaks", input="?"), "Done.")
    result = completed(await agent.run("Go"))
    message = result_of(result.messages)
    assert message.is_error
    assert "breaks failed with" in message.text
    assert "no such order" in message.text
    assert result.footprint.nested[STEP].status == "failed"


async def test_where_it_would_end_the_process_it_ends_alone() -> None:
    flow: Flow[Any] = Flow("leaves", doc="Leaves.")

    @flow.step
    def only(c: Step[Any]) -> None:
        raise SystemExit("enough")

    agent = asking(flow.as_tool(), call("leaves", input="?"), "Done.")
    result = completed(await agent.run("Go"))
    assert result_of(result.messages).text == "leaves failed with SystemExit: enough"
    assert result.footprint.nested[STEP].status == "failed"


async def test_it_has_no_more_time_than_the_run_around_it() -> None:
    flow: Flow[Any] = Flow("waits", doc="Waits.")

    @flow.step
    async def only(c: Step[Any]) -> None:
        await asyncio.Event().wait()

    agent = asking(flow.as_tool(), call("waits", input="?"), "Done.")
    result = await agent.run("Go", timeout=0.5)
    assert result.status == "stopped"
    assert result.footprint.nested[STEP].status in ("cancelled", "failed")


async def test_what_comes_to_nothing_is_said_to() -> None:
    flow: Flow[Any] = Flow("nothing", doc="Does nothing.")
    flow.step(name="only")(lambda c: None)
    agent = asking(flow.as_tool(), call("nothing", input="?"), "Done.")
    assert result_of(completed(await agent.run("Go")).messages).text == "nothing gave no answer."


class Secretive(TypedDict, total=False):
    input: str
    password: Annotated[str, SECRET]
    output: str


async def test_its_secrets_stay_secret_in_the_record_around_it() -> None:
    flow: Flow[Secretive] = Flow("login", state=Secretive, doc="Logs in.")

    @flow.step(to="use")
    def read(c: Step[Secretive]) -> None:
        c["password"] = "correct horse battery"

    @flow.step
    def use(c: Step[Secretive]) -> None:
        c["output"] = f"logged in with {c['password']}"

    agent = asking(flow.as_tool(), call("login", input="?"), "Logged in.")
    result = completed(await agent.run("Log in"))
    footprint = result.footprint
    # What rests on a secret is one, also where the run around it keeps it.
    for text in (footprint.to_jsonl(), footprint.narrative(), footprint.why("output")):
        assert "correct horse" not in text
    assert "correct horse" in footprint.to_jsonl(redact=False)
    read_back = Footprint.from_lines(footprint.to_jsonl(redact=False).splitlines(), agent.flow)
    assert "correct horse" not in read_back.to_jsonl()
    assert (await agent.replay(read_back))["output"] == "Logged in."
