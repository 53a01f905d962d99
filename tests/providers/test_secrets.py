"""The key of a vendor stays where it is: all that a call leaves behind is searched for it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Paused, tool
from agentfootprint.errors import ProviderError
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.observe import console_observability, jsonl_observability
from agentfootprint.providers import HTTPAnthropicProvider, HTTPOpenAIProvider
from agentfootprint.resilience import with_fallback, with_retry, with_timeout
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed
from tests.providers.dialects import KEY, Dialect
from tests.providers.server import Exchange, Script, ScriptedServer, breaks, says, stays_silent, streams
from tests.providers.test_inputs import HTTP
from tests.providers.test_reasoning import both_ways, run
from tests.providers.test_wires import REQUEST, every_dialect, read

LOGGERS = ("", "httpx2", "httpcore2", "anthropic", "openai", "botocore", "asyncio", "agentfootprint")

OURS = ("agentfootprint.embedders", "agentfootprint.providers", "agentfootprint.vendors")

ECHO = f"the key {KEY} (Bearer {KEY}) is wrong"


@tool(approval=True)
async def look(order: str) -> str:
    """Where an order is."""
    return f"{order}: shipped"


# ── how a key is given ──────────────────────────────────────────────────────────────────────────


def by_argument(dialect: Dialect, url: str, patch: pytest.MonkeyPatch) -> Any:
    return dialect.make(url)


def by_environment(dialect: Dialect, url: str, patch: pytest.MonkeyPatch) -> Any:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        patch.setenv(name, KEY)
    return _made(dialect, url, None)


def by_function(dialect: Dialect, url: str, patch: pytest.MonkeyPatch) -> Any:
    async def key() -> str:
        return KEY

    return _made(dialect, url, key)


def by_client(dialect: Dialect, url: str, patch: pytest.MonkeyPatch) -> Any:
    """A client of the SDK that holds the key itself; where there is no SDK, as by argument."""
    if dialect.name.startswith("http-"):
        return dialect.make(url)
    kind: Any = type(dialect.make(url))
    if dialect.name == "anthropic":
        import anthropic

        return kind("m", client=anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0))
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    return kind("m", api=dialect.name, client=client)


def _made(dialect: Dialect, url: str, key: Any) -> Any:
    kind: Any = type(dialect.make(url))
    if "anthropic" in dialect.name:
        return kind("m", api_key=key, base_url=url)
    return kind("m", api=dialect.name.removeprefix("http-"), api_key=key, base_url=f"{url}/v1")


WAYS: list[Any] = [by_argument, by_environment, by_function, by_client]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda each: each.__name__)


# ── what can happen ─────────────────────────────────────────────────────────────────────────────


def echoing_event(dialect: Dialect) -> Any:
    return json.loads(json.dumps(dialect.error_event).replace("Overloaded", ECHO))


def failures(dialect: Dialect) -> Mapping[str, Script]:
    begun = dialect.stream("A whole answer.")[:3]
    other: Any = {"type": "other", "key": KEY, "choices": [{"key": KEY}], "content": KEY, "output": KEY}
    return {
        "401": says({"error": {"message": ECHO, "type": "authentication_error", "param": KEY}}, 401),
        "401 as a page": says(f"<html><title>{ECHO}</title></html>".encode(), 401, content_type="text/html"),
        "400 as text": says(ECHO.encode(), 400, content_type="text/plain"),
        "200 with an error": says({"error": {"message": ECHO}}),
        "an error event": streams([*begun, echoing_event(dialect)]),
        "an error event at once": streams([echoing_event(dialect)]),
        "a page": says(f"<html>{ECHO}</html>".encode(), content_type="text/html"),
        "another form": says(other),
        "events of another form": streams([other, {**other, "type": "content_block_delta", "index": KEY}]),
        "an event that is no JSON": streams([*begun, f'data: {{"error": "{ECHO}\n\n'.encode()]),
        "reset": breaks,
        "reset within the answer": streams(begun, 1000, breaks),
        "cut off": streams(begun),
        "silent": stays_silent,
    }


KINDS = list(failures(HTTP["chat"]))


# ── where it could be ───────────────────────────────────────────────────────────────────────────


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all behind it, suppressed or not."""
    found, seen = [error], set[int]()
    while found:
        each = found.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        found += [more for more in (each.__cause__, each.__context__) if more is not None]
        found += getattr(each, "errors", ())


def held(value: Any, depth: int = 5) -> Iterator[str]:
    """The texts in a value and in what it holds; a run and its record are looked at on their own."""
    if isinstance(value, (str, bytes, int, float, type(None), type)) or depth == 0:
        yield str(value)
    elif isinstance(value, Mapping) or hasattr(value, "multi_items"):
        yield from (text for pair in value.items() for each in pair for text in held(each, depth - 1))
    elif isinstance(value, (list, tuple, set)):
        yield from (text for each in value for text in held(each, depth - 1))
    elif not type(value).__module__.startswith("agentfootprint.flow"):
        yield repr(value)
        yield from held(getattr(value, "__dict__", {}), depth - 1)


def told_by(error: BaseException) -> str:
    texts = []
    for each in chain(error):
        kind = type(each)
        # Those of HTTP libraries and SDKs hold the request, and so the key.
        assert kind.__module__.split(".")[0] in ("agentfootprint", "asyncio", "builtins"), kind
        fields = {key: value for key, value in vars(each).items() if key not in ("footprint", "checkpoint")}
        texts += [str(each), repr(each), *held(each.args), *held(fields), *getattr(each, "__notes__", ())]
        texts += traceback.format_exception(each)
    return "\n".join(texts)


def locals_in(error: BaseException) -> str:
    """The variables of our own functions, as tracebacks that show variables print them."""
    shown = []
    for each in chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_globals.get("__name__", "").startswith(OURS):
                shown += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
    return "\n".join(shown)


@dataclass
class Watched:
    """A run's observers and logs, and all that they were told."""

    folder: Path
    log: pytest.LogCaptureFixture

    def __post_init__(self) -> None:
        for name in LOGGERS:
            self.log.set_level(logging.DEBUG, logger=name)
        self.console = io.StringIO()
        self.events = Events()
        self.recorders: list[Any] = [
            console_observability(file=self.console, verbosity="verbose"),
            jsonl_observability(self.folder / "events.jsonl"),
            self.events,
        ]

    def texts(self, *more: Any, footprint: Any) -> dict[str, str]:
        path = self.folder / "run.footprint.jsonl"
        footprint.save(path)
        records = [f"{vars(record)} {record.getMessage()}" for record in self.log.records]
        return {
            "the footprint's file": path.read_text(),
            "the narrative": footprint.narrative(),
            "why": "\n".join(footprint.why(key) for key in footprint.state),
            "the picture": footprint.to_mermaid(),
            "the console": self.console.getvalue(),
            "the events file": (self.folder / "events.jsonl").read_text(),
            "the events": repr(self.events.seen),
            "the log": self.log.text + "\n".join(records),
            **{f"text {number}": str(text) for number, text in enumerate(more)},
        }


def leaks(texts: Mapping[str, str]) -> list[str]:
    assert all(texts.values()), "nothing was looked at"
    return [name for name, text in texts.items() if KEY in text]


@pytest.fixture
def watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(tmp_path, caplog)


# ── the tests ───────────────────────────────────────────────────────────────────────────────────


@every_dialect
@every_way
@both_ways
async def test_a_run_that_succeeds_leaves_the_key_nowhere(
    dialect: Dialect, way: Any, streamed: bool, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Any = [("c1", "look", {"order": "A-1"})]
    first = streams(dialect.stream("", calls)) if streamed else says(dialect.answer("", calls))
    async with (
        ScriptedServer([first, says(dialect.answer("Shipped."))]) as server,
        way(dialect, server.url, monkeypatch) as provider,
    ):
        decorated = with_retry(with_fallback(with_timeout(provider, total=60), provider))
        agent = Agent(decorated, tools=[look], state=InMemoryState(), recorders=watched.recorders)
        paused = await run(agent, streamed)
        assert isinstance(paused, Paused)
        result = completed(await agent.resume(paused.checkpoint, answer=True))
        texts = watched.texts(
            paused.checkpoint.to_json(),
            repr(paused),
            repr(result),
            repr(list(result.messages)),
            repr(provider) + str(provider) + repr(decorated) + repr(agent),
            repr(vars(provider)),
            footprint=result.footprint,
        )
    assert all(KEY in str(exchange.headers) for exchange in server.seen), "the key was not used"
    assert "DEBUG" in texts["the log"]
    assert leaks(texts) == []


async def failed(provider: Any, watched: Watched, streamed: bool) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await run(Agent(provider, recorders=watched.recorders), streamed)
    return caught.value


async def failed_of_silence(
    provider: Any, server: ScriptedServer, watched: Watched, streamed: bool
) -> ProviderError:
    """On a busy machine a short time is over before anything is asked: then once more, with a longer one."""
    for seconds in (0.3, 3.0, 30.0):
        error = await failed(with_timeout(provider, total=seconds), watched, streamed)
        if server.seen:
            return error
    raise AssertionError("nothing was asked")


@every_dialect
@pytest.mark.parametrize("kind", KINDS)
@both_ways
async def test_a_run_that_fails_leaves_the_key_nowhere(
    dialect: Dialect, kind: str, streamed: bool, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = WAYS[KINDS.index(kind) % len(WAYS)]
    async with (
        ScriptedServer([failures(dialect)[kind]]) as server,
        way(dialect, server.url, monkeypatch) as provider,
    ):
        if kind == "silent":
            error = await failed_of_silence(provider, server, watched, streamed)
        else:
            error = await failed(provider, watched, streamed)
    assert KEY in str(server.seen[0].headers)
    assert error.checkpoint is not None
    texts = watched.texts(
        told_by(error), error.checkpoint.to_json(), repr(error.checkpoint), footprint=error.footprint
    )
    if kind in ("reset", "reset within the answer", "cut off", "silent"):
        # Where the vendor quotes the key, it stands in what was received.
        texts["variables"] = locals_in(error)
    assert leaks(texts) == []
    if "401" in kind or ("event" not in kind and "error" in kind):
        assert "[key]" in str(error), "the vendor's words are told, but for the key"


@every_dialect
@both_ways
async def test_a_chain_of_failures_leaves_the_key_nowhere(
    dialect: Dialect, streamed: bool, watched: Watched
) -> None:
    scripts = [failures(dialect)["401"], breaks, failures(dialect)["200 with an error"], breaks]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        chained = with_retry(with_fallback(provider, provider), max_attempts=2, initial_delay=0.001)
        with pytest.raises(ProviderError) as caught:
            await run(Agent(chained, recorders=watched.recorders), streamed)
    assert len(server.seen) == 4
    assert leaks(watched.texts(told_by(caught.value), footprint=caught.value.footprint)) == []


@every_dialect
@both_ways
async def test_a_cancelled_call_leaves_the_key_nowhere(
    dialect: Dialect, streamed: bool, watched: Watched
) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await stays_silent(exchange)

    async with ScriptedServer([silent]) as server, dialect.make(server.url) as provider:
        task = asyncio.create_task(read(provider) if streamed else provider.complete(REQUEST))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert KEY in str(server.seen[0].headers)
    assert KEY not in told_by(caught.value)
    assert KEY not in watched.log.text
    assert KEY not in "".join(str(vars(record)) for record in watched.log.records)


@every_dialect
async def test_what_a_model_says_is_left_as_it_is(dialect: Dialect) -> None:
    text = f"You wrote {KEY} none"
    async with (
        ScriptedServer([says(dialect.answer(text)), streams(dialect.stream(text), 10_000)]) as server,
        dialect.make(server.url) as provider,
    ):
        whole, streamed = await provider.complete(REQUEST), (await read(provider))[0]
    assert whole.text == streamed.text == text


async def test_a_word_that_stands_for_a_key_is_no_secret() -> None:
    answer = says({"error": {"message": "none of the models is loaded"}}, 404)
    async with ScriptedServer([answer]) as server, HTTPOpenAIProvider("m", base_url=server.url) as provider:
        with pytest.raises(ProviderError, match="none of the models"):
            await provider.complete(REQUEST)


async def test_a_password_in_the_address_is_not_told() -> None:
    async with ScriptedServer([breaks]) as server:
        url = server.url.replace("127.0.0.1", f"user:{KEY}@127.0.0.1")
        async with HTTPAnthropicProvider("m", api_key="k" * 20, base_url=url) as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.complete(REQUEST)
    async with HTTPAnthropicProvider("m", api_key="k" * 20, base_url=url) as provider:
        with pytest.raises(ProviderError, match=r"http://127\.0\.0\.1:\d+ cannot be reached") as unreachable:
            await provider.complete(REQUEST)
    assert KEY not in str(caught.value) + str(unreachable.value)


@every_dialect
async def test_every_request_shows_the_key_it_asked_for_however_many_are_made_at_once(
    dialect: Dialect,
) -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    async with ScriptedServer([says(dialect.answer("Yes."))]) as server:
        provider = _made(dialect, server.url, lambda: f"sk-sentinel-of-{tenant.get()}")

        async def ask(name: str) -> None:
            tenant.set(name)
            await provider.complete(LLMRequest((Message.user(f"I am {name}"),)))

        await asyncio.gather(*(ask(f"tenant-{number}") for number in range(4)))
        await provider.aclose()
    for exchange in server.seen:
        asked = re.search(rb"I am (tenant-\d)", exchange.raw)
        assert asked is not None
        shown = re.search(r"sk-sentinel-of-(tenant-\d)", str(exchange.headers))
        assert shown is not None
        assert shown[1] == asked[1].decode()
