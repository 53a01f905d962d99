"""Secrets stay where they are: every artefact of runs is searched for a sentinel."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from agentfootprint import Agent, MemoryIdentity, Paused, ToolContext, tool
from agentfootprint.errors import AgentFootprintError, Overloaded, StepFailed
from agentfootprint.flow import SECRET, Footprint, Seq
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.observe import console_observability, jsonl_observability
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, call, completed, scripted

SENTINEL = "sk-5entine1-4a7f"
ME = MemoryIdentity("acme", "alice", "t-1")


class Client:
    """A dependency that holds a secret and shows it to whoever prints it."""

    def __init__(self) -> None:
        self.key = SENTINEL

    def __repr__(self) -> str:
        return f"<Client {self.key}>"


@tool
async def use(ctx: ToolContext[Client]) -> str:
    """Uses the client."""
    assert ctx.deps.key == SENTINEL
    return "used"


@tool
async def chained(ctx: ToolContext[Client]) -> str:
    """Fails with the secret in the chain of its error."""
    try:
        raise ConnectionError(f"401 for key {ctx.deps.key}")
    except ConnectionError as error:
        raise RuntimeError("the shop did not answer") from error


@tool
async def in_context(ctx: ToolContext[Client]) -> str:
    """Fails while it handles an error with the secret."""
    try:
        raise ConnectionError(f"401 for key {ctx.deps.key}")
    except ConnectionError:
        raise RuntimeError("the shop did not answer")  # noqa: B904


@tool
def chained_in_a_thread(ctx: ToolContext[Client]) -> str:
    """The same in a thread."""
    try:
        raise ConnectionError(f"401 for key {ctx.deps.key}")
    except ConnectionError as error:
        raise RuntimeError("the shop did not answer") from error


@tool(approval=True)
async def pay(ctx: ToolContext[Client]) -> str:
    """Pays."""
    return "paid"


class Watched:
    """Every artefact that runs leave behind, collected."""

    def __init__(self, folder: Path) -> None:
        self.console = io.StringIO()
        self.jsonl = folder / "events.jsonl"
        self.seen = Events()
        self.texts: dict[str, str] = {}
        self.recorders: list[Any] = [
            console_observability(file=self.console, verbosity="verbose"),
            jsonl_observability(self.jsonl),
            self.seen,
        ]

    def footprint(self, footprint: Footprint, folder: Path) -> None:
        path = folder / "run.footprint.jsonl"
        footprint.save(path)
        self.texts |= {
            "the file": path.read_text(),
            "to_jsonl": footprint.to_jsonl(),
            "the story": footprint.narrative(),
            "the picture": footprint.to_mermaid(),
            "its repr": repr(footprint),
        }
        for key in footprint.state:
            self.texts[f"why {key}"] = footprint.why(key)

    def leaks(self) -> list[str]:
        self.texts |= {
            "the console": self.console.getvalue(),
            "the events file": self.jsonl.read_text(),
            "the events": repr(self.seen.seen),
        }
        assert all(self.texts.values())
        return [name for name, text in self.texts.items() if SENTINEL in text]


@pytest.fixture
def watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.DEBUG)
    return Watched(tmp_path)


async def test_dependencies_and_causes_of_errors_are_nowhere(
    watched: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tools: list[Any] = [use, chained, in_context, chained_in_a_thread, pay]
    everything = [call(one.name) for one in tools if one is not pay]
    agent = Agent(
        MockProvider(replies=[everything, call("pay"), "Done."]),
        tools=tools,
        system=lambda run: "Be brief." if run.deps.key else "Be long.",
        state=InMemoryState(),
        memory=[Memory("m", scope="principal", store=InMemoryStore())],
        checkpoint_key=SENTINEL,
        recorders=watched.recorders,
    )
    paused = await agent.run("Go.", identity=ME, deps=Client())
    assert isinstance(paused, Paused)
    watched.texts["the checkpoint"] = paused.checkpoint.to_json()
    watched.texts["the checkpoint's run"] = repr(paused.checkpoint.run)
    watched.texts["the paused result"] = repr(paused)
    result = completed(await agent.resume(paused.checkpoint, answer=True, deps=Client()))
    watched.footprint(result.footprint, tmp_path)
    watched.texts |= {
        "the agent": repr(agent),
        "the provider": repr(agent.provider),
        "the messages": repr(list(result.messages)),
        "the result": repr(result),
        "the requests": repr(agent.provider.requests),  # type: ignore[attr-defined]
        "the log": caplog.text or "empty",
    }
    assert watched.leaks() == []


async def test_the_cause_of_a_broken_run_is_on_the_error_alone(
    watched: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(run: Any) -> str:
        try:
            raise ConnectionError(f"401 for key {run.deps.key}")
        except ConnectionError as error:
            raise RuntimeError("the template is missing") from error

    agent = scripted("never", system=broken, recorders=watched.recorders)
    with pytest.raises(StepFailed) as caught:
        await agent.run("Go.", deps=Client())
    error = caught.value
    assert SENTINEL not in str(error)
    assert error.__cause__ is not None
    assert SENTINEL in str(error.__cause__.__cause__), "who handles the error finds all of it"
    assert error.footprint is not None
    assert error.checkpoint is not None
    watched.texts["the checkpoint"] = error.checkpoint.to_json() + repr(error.checkpoint.run)
    watched.footprint(error.footprint, tmp_path)
    watched.texts["the log"] = caplog.text or "empty"
    assert watched.leaks() == []


async def test_a_vendors_error_is_told_without_its_cause(watched: Watched, tmp_path: Path) -> None:
    def busy(request: Any) -> Any:
        try:
            raise ConnectionError(f"Authorization: Bearer {SENTINEL}")
        except ConnectionError as error:
            raise Overloaded("the vendor is overloaded", provider="mock") from error

    agent = Agent(MockProvider(respond=busy), recorders=watched.recorders)
    with pytest.raises(AgentFootprintError) as caught:
        await agent.run("Go.")
    assert caught.value.footprint is not None
    watched.footprint(caught.value.footprint, tmp_path)
    assert watched.leaks() == []


SAID = {
    "input": [f"My key is {SENTINEL}."],
    "system": [f"The key is {SENTINEL}."],
    "history": [f"My key is {SENTINEL}.", f"You said {SENTINEL}", f"It was {SENTINEL}.", SENTINEL],
    "reply": [f"It was {SENTINEL}.", SENTINEL],
}


@pytest.mark.parametrize("place", sorted(SAID))
async def test_a_labelled_version_is_withheld_from_all_that_leaves(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @tool
    async def echo(text: str) -> str:
        """Says it again."""
        return f"You said {text}"

    agent = scripted(
        call("echo", text=SENTINEL), f"It was {SENTINEL}.", tools=[echo], system=f"The key is {SENTINEL}."
    )
    monkeypatch.setitem(cast(Any, agent.flow.chart.labels), place, frozenset({SECRET}))
    footprint = (await agent.run(f"My key is {SENTINEL}.")).footprint
    told = [footprint.to_jsonl(), footprint.narrative(), footprint.why("output"), footprint.to_mermaid()]
    told += [footprint.why(key) for key in footprint.state]
    path = tmp_path / "run.footprint.jsonl"
    footprint.save(path)
    told.append(path.read_text())
    # Whatever quotes a secret text in full is scrubbed; what the model made of it is its own.
    for text in told:
        assert not [secret for secret in SAID[place] if secret in text]
    assert "[redacted]" in "".join(told)
    loaded = Footprint.load(path, agent.flow)
    assert loaded.redacted
    assert loaded.narrative()
    assert loaded.why("output")
    assert loaded.to_mermaid()


async def test_an_unredacted_record_is_written_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = scripted("ok", system=f"The key is {SENTINEL}.")
    monkeypatch.setitem(cast(Any, agent.flow.chart.labels), "system", frozenset({SECRET}))
    footprint = (await agent.run("Hi.")).footprint
    assert SENTINEL not in footprint.to_jsonl()
    assert SENTINEL in footprint.to_jsonl(redact=False)
    from agentfootprint.errors import ReplayRefused

    path = tmp_path / "run.footprint.jsonl"
    footprint.save(path)
    with pytest.raises(ReplayRefused, match="redacted"):
        await agent.replay(Footprint.load(path, agent.flow))


async def test_another_tenants_data_is_in_no_refusal() -> None:
    agent = scripted(call("pay"), "Paid.", tools=[pay])
    paused = await agent.run("Pay.", identity=MemoryIdentity("acme", SENTINEL), deps=Client())
    assert isinstance(paused, Paused)
    with pytest.raises(AgentFootprintError) as caught:
        await agent.resume(paused.checkpoint, answer=True, identity=MemoryIdentity("evil", "eve"))
    assert SENTINEL not in str(caught.value)


def test_seq_is_no_place_to_look_for_secrets() -> None:
    assert SENTINEL not in repr(Seq(["text"]))
