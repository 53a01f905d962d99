"""What must not leave a run within does not reach the run around it: answers that were not let through,
secrets; nor do its steps ask in the name of the tool that runs it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest

from agentfootprint import Agent, OutputFallback, Stopped, ask_human, tool
from agentfootprint.flow import SECRET, Flow, Footprint, Step
from agentfootprint.providers import MockProvider
from tests.agent.pausing.support import go_on, must_pause
from tests.agent.support import completed, result_of

from .support import billing, call, desk

STEP = "call_tools#0[0]"
PASSWORD = "correct horse battery"


async def never(about: Any) -> Any:
    await asyncio.Event().wait()


async def test_an_answer_that_guardrails_have_not_let_through_in_time_is_none() -> None:
    inner = billing("The secret recipe.", output_guardrails=[never], timeout=0.5)
    message = result_of(completed(await desk(inner).run("Well?")).messages)
    assert (message.is_error, message.text) == (True, "billing gave no answer: it was stopped by deadline.")


async def test_nor_is_it_one_when_the_time_around_it_is_over() -> None:
    inner = billing("The secret recipe.", output_guardrails=[never])
    result = await desk(inner).run("Well?", timeout=0.5)
    assert isinstance(result, Stopped)
    assert not any("recipe" in message.text for message in result.messages)


async def test_an_answer_that_does_not_fit_is_none_when_its_time_is_over() -> None:
    fallback: Any = OutputFallback(recover=never)
    inner = billing("no json", "nor this", output=dict[str, int], output_fallback=fallback, timeout=0.5)
    message = result_of(completed(await desk(inner).run("Well?")).messages)
    assert (message.is_error, message.text) == (True, "billing gave no answer: it was stopped by deadline.")


async def test_what_stands_in_for_an_answer_is_one() -> None:
    fallback: Any = OutputFallback(canned={"amount": 0})
    inner = billing("no json", "nor this", output=dict[str, int], output_fallback=fallback)
    message = result_of(completed(await desk(inner).run("Well?")).messages)
    assert (message.is_error, message.text) == (False, '{"amount":0}')


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────


class Secretive(TypedDict, total=False):
    input: str
    password: Annotated[str, SECRET]
    output: str


def login(*, fails: bool = False) -> Flow[Secretive]:
    """Reads a password, and asks about it."""
    flow: Flow[Secretive] = Flow("login", state=Secretive, doc="Logs in.")

    @flow.step(to="use")
    def read(c: Step[Secretive]) -> None:
        c["password"] = PASSWORD

    @flow.step
    async def use(c: Step[Secretive]) -> None:
        if fails:
            raise ValueError(f"no login with {c['password']}")
        said = await c.ask(f"Use {c['password']}?", data=c["password"][::-1])
        c["output"] = f"{said}: logged in"

    return flow


def assert_kept(footprint: Footprint) -> None:
    """That nothing that may be shown to others tells the password, nor what was made of it for a question."""
    for text in (footprint.to_jsonl(), footprint.narrative(), footprint.why("output")):
        assert PASSWORD not in text
        assert PASSWORD[::-1] not in text


@pytest.mark.parametrize("deep", [False, True])
async def test_a_secret_in_a_question_stays_one_in_the_records_around_it(deep: bool) -> None:
    def asking() -> Agent[Any, Any]:
        replies: list[Any] = [call("login", input="?"), f"I used {PASSWORD}."]
        return Agent(MockProvider(replies=replies), name="clerk", tools=[login().as_tool()])

    agent = desk(asking()) if deep else asking()
    paused = must_pause(await agent.run("Log in"))
    assert PASSWORD not in paused.footprint.to_jsonl()
    assert PASSWORD[::-1] not in paused.footprint.to_jsonl()
    assert PASSWORD not in paused.footprint.narrative()
    result = completed(await go_on(agent, paused, f"yes, {PASSWORD}"))
    assert_kept(result.footprint)
    lines = result.footprint.to_jsonl(redact=False).splitlines()
    read = Footprint.from_lines(lines, agent.flow)
    assert_kept(read)
    await agent.replay(read)
    # A redacted record can be read, and written again.
    redacted = Footprint.from_lines(result.footprint.to_jsonl().splitlines(), agent.flow)
    assert_kept(redacted)


async def test_a_secret_in_a_failure_stays_one_in_the_record_around_it() -> None:
    agent = Agent(
        MockProvider(replies=[call("login", input="?"), "Done."]), tools=[login(fails=True).as_tool()]
    )
    result = completed(await agent.run("Log in"))
    assert "no login with" in result_of(result.messages).text
    assert_kept(result.footprint)


def finding() -> Flow[Secretive]:
    """Gives the password away."""
    flow: Flow[Secretive] = Flow("login", state=Secretive, doc="Finds the password.")

    @flow.step(to="use")
    def read(c: Step[Secretive]) -> None:
        c["password"] = PASSWORD

    @flow.step
    def use(c: Step[Secretive]) -> None:
        c["output"] = c["password"]

    return flow


async def test_a_secret_of_the_run_around_stays_one_in_the_record_of_the_run_within() -> None:
    asked = [call("login", input="?"), call("billing", input=f"Use {PASSWORD}"), "Done."]
    agent = desk(billing(f"I used {PASSWORD}."), replies=asked, tools=[finding().as_tool()])
    assert_kept(completed(await agent.run("Log in")).footprint)


async def test_no_half_of_a_secret_is_told_where_a_text_is_cut_short() -> None:
    for before in range(20, 165, 6):
        text = "x" * before + PASSWORD
        asked = [call("login", input="?"), call("billing", input=text), text]
        agent = desk(billing(text), replies=asked, tools=[finding().as_tool()])
        footprint = completed(await agent.run("Log in")).footprint
        for told in (footprint.narrative(), footprint.why("output")):
            assert PASSWORD[:7] not in told


# ── questions from elsewhere ────────────────────────────────────────────────────────────────────


async def test_a_step_within_a_tool_is_no_tool_that_may_ask() -> None:
    flow: Flow[Any] = Flow("sign", doc="Has something signed.")

    @flow.step
    async def only(c: Step[Any]) -> None:
        c["output"] = await ask_human("Who signs?")

    agent = Agent(MockProvider(replies=[call("sign", input="?"), "Done."]), tools=[flow.as_tool()])
    message = result_of(completed(await agent.run("Go")).messages)
    assert message.is_error
    assert "ask_human" in message.text


async def test_nor_are_the_instructions_of_an_agent_within() -> None:
    async def system(ctx: Any) -> str:
        return str(await ask_human("Which?"))

    message = result_of(completed(await desk(billing("Never.", system=system)).run("Go")).messages)
    assert message.is_error
    assert "ask_human" in message.text


async def test_a_tool_that_runs_an_agent_by_itself_has_its_result_also_when_that_waits() -> None:
    @tool(approval=True)
    async def pay() -> str:
        """Pays."""
        return "paid"

    other = billing(call("pay"), "Never.", tools=[pay])

    @tool
    async def delegate() -> str:
        """Has it done by another."""
        return (await other.run("Pay")).status

    @tool
    def delegate_plainly() -> str:
        """Has it done by another, without waiting."""
        return str(desk(billing("Yes."), name="sub").run_sync("Well?").output)

    replies: list[Any] = [[call("delegate"), call("delegate_plainly")], "Done."]
    agent = Agent(MockProvider(replies=replies), tools=[delegate, delegate_plainly])
    result = completed(await agent.run("Go"))
    assert [m.text for m in result.messages if m.role == "tool"] == ["paused", "That is all."]
    assert not result.footprint.nested
