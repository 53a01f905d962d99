"""Checkpoints that must not go on: refused by name, nothing executed, and a right resume still works."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, MemoryIdentity, ToolContext, ask_human, tool
from agentfootprint.agent import checkpoint as checkpoint_module
from agentfootprint.agent import resuming
from agentfootprint.errors import (
    CheckpointExpired,
    CheckpointMismatch,
    CheckpointTampered,
    CheckpointVersion,
    IdentityRequired,
    ResumeRefused,
)
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from agentfootprint.testing.clock import ManualClock

from .desk import Desk, resume_text
from .support import ALICE, call, must_pause, output_of

KEY = "a key of the company"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time as checkpoints and claims see it."""
    clock = ManualClock()
    for module in (checkpoint_module, resuming):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    return clock


# ── changed texts ───────────────────────────────────────────────────────────────────────────────


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        body = json.loads(text)
        change(body)
        return json.dumps(body)

    return edit


def repacked(change: Callable[[str], str]) -> Callable[[str], str]:
    """Changes the run inside its packing."""

    def edit(body: dict[str, Any]) -> None:
        run = zlib.decompress(base64.b64decode(body["run"])).decode()
        changed = change(run)
        assert changed != run
        body["run"] = base64.b64encode(zlib.compress(changed.encode())).decode()

    return edited(edit)


def put(*path: Any) -> Callable[[str], str]:
    """Puts the last item of the path where the others lead."""
    *way, last, value = path

    def edit(body: dict[str, Any]) -> None:
        at: Any = body
        for part in way:
            at = at[part]
        at[last] = value

    return edited(edit)


def both(*edits: Callable[[str], str]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text

    return edit


def flipped(body: dict[str, Any]) -> None:
    middle = len(body["run"]) // 2
    other = "A" if body["run"][middle] != "A" else "B"
    body["run"] = body["run"][:middle] + other + body["run"][middle + 1 :]


CHANGES = {
    "the arguments a person sees": put("asks", 0, "arguments", "amount", 99999),
    "the arguments that run": repacked(lambda run: run.replace("5000", "99999")),
    "both arguments": both(
        put("asks", 0, "arguments", "amount", 99999), repacked(lambda run: run.replace("5000", "99999"))
    ),
    "a further argument": put("asks", 0, "arguments", "to", "mallory"),
    "the question": put("asks", 0, "question", "Send a postcard?"),
    "the id of the question": put("asks", 0, "id", "call_tools#1[0]?0"),
    "the tool of the question": put("asks", 0, "tool", "postcard"),
    "the schema of the answer": put("asks", 0, "schema", None),
    "data beside the question": put("asks", 0, "data", "harmless"),
    "an unknown field of the question": put("asks", 0, "approved", True),
    "no question": put("asks", []),
    "a question more": edited(lambda body: body["asks"].append(body["asks"][0])),
    "another tenant": put("identity", ["globex", "alice", "t-1"]),
    "another conversation": put("identity", 2, "t-2"),
    "no identity": put("identity", None),
    "a part of the identity less": edited(lambda body: body["identity"].pop()),
    "a part of the identity more": edited(lambda body: body["identity"].append("x")),
    "an identity that cannot be": put("identity", 0, "a\x00b"),
    "an identity of letters": put("identity", "abc"),
    "made later": put("created", 4e9),
    "expires later": put("expires", 4e9),
    "expires never": put("expires", None),
    "expires at no time": put("expires", "tomorrow"),
    "no tools": put("tools", {}),
    "another fingerprint": put("tools", "refund", "0" * 32),
    "less usage": put("usage", {}),
    "negative usage": put("usage", "input_tokens", -1000000),
    "a usage of words": put("usage", "input_tokens", "few"),
    "an unknown field": put("approved", True),
    "a field less": edited(lambda body: body.pop("usage")),
    "a letter of the packed run": edited(flipped),
    "the run cut": edited(lambda body: body.update(run=body["run"][: len(body["run"]) // 2])),
    "no run": put("run", ""),
    "a run that is no text": put("run", {"run": "x"}),
    "a text beside the run": put("texts", ["x"]),
    "texts that are none": put("texts", [5]),
    "something behind the run": edited(lambda body: body.update(run=body["run"] + "AAAA")),
    "a run of something else": put("run", base64.b64encode(zlib.compress(b"[1, 2]")).decode()),
    "a signature that is no hash": put("signature", "é\ud800"),
    "a signature that is no text": put("signature", 5),
    "another signature": put("signature", "0" * 64),
}

WAYS: dict[str, dict[str, Any]] = {
    "by its store": {},
    "by its key": {"checkpoint_key": KEY},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_text_is_refused_and_nothing_runs(change: str, way: str) -> None:
    desk = Desk(**WAYS[way])
    text = await desk.paused()
    with pytest.raises(CheckpointTampered) as refused:
        await resume_text(desk.agent, CHANGES[change](text))
    assert isinstance(refused.value, ResumeRefused)
    await desk.still_works(text)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_text_is_refused_where_only_the_key_is_shared(change: str) -> None:
    desk = Desk(checkpoint_key=KEY)
    text = await desk.paused()
    elsewhere = desk.another(state=InMemoryState())
    with pytest.raises(CheckpointTampered):
        await resume_text(elsewhere, CHANGES[change](text))
    assert desk.paid == []
    assert output_of(await resume_text(elsewhere, text)) == "done"
    assert desk.paid == [5000]


@pytest.mark.parametrize("shared", [True, False])
async def test_a_text_without_its_signature_is_refused_by_an_agent_with_a_key(shared: bool) -> None:
    desk = Desk(checkpoint_key=KEY)
    text = await desk.paused()
    agent = desk.agent if shared else desk.another(state=InMemoryState())
    with pytest.raises(CheckpointTampered, match="signature does not fit"):
        await resume_text(agent, edited(lambda body: body.pop("signature"))(text))
    await desk.still_works(text)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_text_signed_with_another_key_is_refused(shared: bool) -> None:
    desk = Desk(checkpoint_key=KEY)
    text = await desk.paused()
    state = desk.state if shared else InMemoryState()
    with pytest.raises(CheckpointTampered, match="signed with another key"):
        await resume_text(desk.another(checkpoint_key="another", state=state), text)
    with pytest.raises(CheckpointTampered, match="signed with another key"):
        await resume_text(desk.another(checkpoint_key=None, state=state), text)
    await desk.still_works(text)


async def test_without_the_store_and_without_a_key_a_text_cannot_be_trusted() -> None:
    desk = Desk()
    text = await desk.paused()
    with pytest.raises(CheckpointTampered, match="same state=, or a checkpoint_key="):
        await resume_text(desk.another(state=InMemoryState()), text)
    await desk.still_works(text)


async def test_a_text_that_was_cut_anywhere_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()
    for length in {*range(0, len(text), max(len(text) // 97, 1)), *range(20), len(text) - 1}:
        with pytest.raises(CheckpointTampered, match=r"cut or changed|no checkpoint"):
            Checkpoint.from_json(text[:length])
    await desk.still_works(text)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "1", '"x"', "NaN", "{", b"\xff\xfe\xfd", "\ud800", b"", None, 5, "[" * 100_000],
)
def test_what_is_no_checkpoint_is_refused(text: Any) -> None:
    with pytest.raises(CheckpointTampered, match="checkpoint"):
        Checkpoint.from_json(text)


@pytest.mark.parametrize("depth", [50, 200, 400, 700, 5_000, 200_000])
@pytest.mark.parametrize("field", ["data", "arguments", "schema"])
async def test_a_deeply_nested_text_is_refused(field: str, depth: int) -> None:
    desk = Desk()
    text = await desk.paused()
    nested = '{"a":' * depth + "1" + "}" * depth
    bombed = put("asks", 0, field, "HERE")(text).replace('"HERE"', nested)
    with pytest.raises(CheckpointTampered):
        await resume_text(desk.agent, bombed)
    await desk.still_works(text)


@pytest.mark.parametrize("version", [0, 2, 99, -1, "1", None, [1], 1.5])
async def test_another_version_of_the_text_is_refused_by_its_number(version: Any) -> None:
    desk = Desk()
    text = await desk.paused()
    with pytest.raises(CheckpointVersion, match="this version reads 1") as refused:
        await resume_text(desk.agent, put("checkpoint", version)(text))
    assert repr(version) in str(refused.value)
    await desk.still_works(text)


async def test_a_run_that_unfolds_to_a_bomb_is_refused_before_it_unfolds() -> None:
    desk = Desk()
    text = await desk.paused()
    size = 64 * 1024 * 1024
    bomb = base64.b64encode(zlib.compress(b"0" * size, 1)).decode()
    tracemalloc.start()
    with pytest.raises(CheckpointTampered):
        await resume_text(desk.agent, put("run", bomb)(text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 8
    await desk.still_works(text)


async def test_even_a_trusted_run_unfolds_to_a_bounded_size_only(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    text = await desk.paused()
    monkeypatch.setattr(checkpoint_module, "MAX_UNPACKED", 1000)
    with pytest.raises(CheckpointTampered, match="unreasonably large"):
        await resume_text(desk.agent, text)
    monkeypatch.undo()
    await desk.still_works(text)


# ── time ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_checkpoint_whose_time_is_over_is_refused(clock: ManualClock) -> None:
    desk = Desk(checkpoint_ttl=60)
    text = await desk.paused()
    clock.advance(60)
    with pytest.raises(CheckpointExpired):
        await resume_text(desk.agent, text)
    clock.advance(-1)
    await desk.still_works(text)


async def test_an_expired_checkpoint_is_called_so_when_the_store_has_forgotten_it(clock: ManualClock) -> None:
    desk = Desk(checkpoint_ttl=60)
    text = await desk.paused()
    clock.advance(30 * 24 * 3600)
    with pytest.raises(CheckpointExpired):
        await resume_text(desk.another(state=InMemoryState()), text)
    assert desk.paid == []


async def test_a_checkpoint_may_wait_for_ever(clock: ManualClock) -> None:
    desk = Desk(checkpoint_ttl=None)
    text = await desk.paused()
    assert json.loads(text)["expires"] is None
    clock.advance(100 * 365 * 24 * 3600)
    await desk.still_works(text)


async def test_an_answer_that_comes_too_late_is_refused(clock: ManualClock) -> None:
    answered: list[Any] = []

    @tool
    async def quick() -> str:
        answered.append(await ask_human("Now?", expires_in=5))
        return "in time"

    agent: Agent[Any, Any] = Agent(MockProvider(replies=[call("quick"), "done"]), tools=[quick])
    checkpoint = must_pause(await agent.run("Go")).checkpoint
    assert checkpoint.asks[0].expires_at == pytest.approx(clock(), abs=60)
    clock.advance(120)
    with pytest.raises(CheckpointExpired):
        await agent.resume(checkpoint, answer="yes")
    clock.advance(-120)
    assert output_of(await agent.resume(checkpoint, answer="yes")) == "done"
    assert answered == ["yes"]


# ── the wrong place ─────────────────────────────────────────────────────────────────────────────


async def test_an_agent_of_another_name_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()
    with pytest.raises(CheckpointMismatch, match=r"'desk'.*'bakery'"):
        await resume_text(desk.another(name="bakery"), text)
    await desk.still_works(text)


async def test_an_agent_without_the_tool_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()
    with pytest.raises(CheckpointMismatch, match="'refund' waits, which this agent does not have"):
        await resume_text(desk.another(tools=[]), text)
    await desk.still_works(text)


async def test_a_tool_whose_arguments_changed_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()

    @tool(approval=True)
    async def refund(amount: int, note: str = "", double: bool = True) -> str:
        desk.paid.append(2 * amount)
        return "refunded twice"

    with pytest.raises(CheckpointMismatch, match="another schema"):
        await resume_text(desk.another(tools=[refund]), text)
    await desk.still_works(text)


async def test_a_flow_of_another_shape_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()
    memory = Memory("notes", scope="principal", store=InMemoryStore())
    with pytest.raises(CheckpointMismatch, match="another shape"):
        await resume_text(desk.another(memory=[memory]), text)
    await desk.still_works(text)


async def test_a_foreign_identity_and_a_missing_one_read_alike() -> None:
    desk = Desk()
    text = await desk.paused()
    said = []
    foreign = [
        MemoryIdentity("globex", "alice", "t-1"),
        MemoryIdentity("acme", "bob", "t-1"),
        MemoryIdentity("acme", "alice", "t-2"),
        MemoryIdentity("acme", "alice"),
        MemoryIdentity(),
    ]
    for identity in foreign:
        with pytest.raises(CheckpointMismatch) as refused:
            await resume_text(desk.agent, text, identity=identity)
        said.append(str(refused.value))
    nobody = must_pause(await desk.agent.run("Refund")).checkpoint
    with pytest.raises(CheckpointMismatch) as refused:
        await desk.agent.resume(nobody, answer=True, identity=ALICE)
    said.append(str(refused.value))
    assert len(set(said)) == 1
    assert "acme" not in said[0]
    assert "alice" not in said[0]
    await desk.still_works(text)


async def test_a_run_without_a_tenant_does_not_go_on_where_tenants_are_required() -> None:
    class Durable(InMemoryState):
        durable = True

    desk = Desk(state=Durable(), allow_anonymous=True)
    checkpoint = must_pause(await desk.agent.run("Refund")).checkpoint
    with pytest.raises(IdentityRequired):
        await desk.agent.replace(allow_anonymous=False).resume(checkpoint, answer=True)
    assert desk.paid == []
    assert output_of(await desk.agent.resume(checkpoint, answer=True)) == "done"


@pytest.mark.parametrize("given", ["text", None, {"checkpoint": 1}])
async def test_what_is_no_checkpoint_object_is_refused(given: Any) -> None:
    desk = Desk()
    with pytest.raises(CheckpointTampered, match=r"Checkpoint\.from_json"):
        await desk.agent.resume(given, answer=True)


# ── half characters ─────────────────────────────────────────────────────────────────────────────


async def test_half_characters_do_not_make_a_checkpoint_unreadable() -> None:
    noted: list[str] = []
    found = "smile " * 100 + "\ud83d"

    async def note(text: str) -> str:
        noted.append(text)
        return text

    @tool(approval=lambda given: f"Write {given['text']}?")
    async def write(ctx: ToolContext[Any], text: str) -> str:
        seen = await ctx.call("note", note, found)
        return text + str(await ask_human(f"Sure of {found}?", data={"text": found, "seen": seen}))

    half: list[Any] = ["\udc00 well", call("write", text=found)]
    agent: Agent[Any, Any] = Agent(MockProvider(replies=[half, "done"]), tools=[write])
    first = must_pause(await agent.run("Go"))
    text = first.checkpoint.to_json().encode()
    second = must_pause(await agent.resume(Checkpoint.from_json(text), answer=True))
    text = second.checkpoint.to_json().encode()
    result = await agent.resume(Checkpoint.from_json(text), answer="\ud83d")
    assert [m.text for m in result.messages if m.role == "tool"] == ["smile " * 100 + "��"]
    assert len(noted) == 1
