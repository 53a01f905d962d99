"""Sessions are of one tenant each, bounded, and closed when nobody uses them; secrets stay secret."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.errors import ConfigurationError
from agentfootprint.tools import MCPClient, MockMCPClient, RunContext, ToolServerError, ToolServerUnavailable
from agentfootprint.tools.mcp.sdk import _declared, _question
from agentfootprint.tools.mcp.secrets import Secrets
from tests.tools.mcp.calling import called, caller, until
from tests.tools.mcp.conftest import PROGRAM, PYTHON, HTTPServer

SENTINEL = "sk-sentinel-0123456789"


def hello(name: str) -> str:
    """Says hello."""
    return f"hello {name}"


def of(tenant: str | None, principal: str | None = None) -> MemoryIdentity:
    return MemoryIdentity(tenant, principal, "c")


async def test_each_tenant_has_a_session_of_its_own() -> None:
    mock = MockMCPClient([hello])
    for identity in (of("a", "alice"), of("a", "bob"), of("b", "alice"), of(None, "alice"), None, of("")):
        await called(mock, "hello", identity, name="x")
    # The tenant alone: no session knows a person or a conversation.
    tenants = [of_session for of_session, _, _ in mock.calls]
    assert tenants == [
        MemoryIdentity("a"),
        MemoryIdentity("a"),
        MemoryIdentity("b"),
        MemoryIdentity(),
        None,
        MemoryIdentity(""),
    ]


@pytest.mark.parametrize(
    ("session_per", "opened"),
    [
        ("tenant", [MemoryIdentity("a"), MemoryIdentity("b")]),
        (
            "principal",
            [MemoryIdentity("a", "alice"), MemoryIdentity("a", "bob"), MemoryIdentity("b", "alice")],
        ),
        ("agent", [None]),
    ],
)
async def test_whose_calls_share_a_session_is_said(session_per: Any, opened: list[Any]) -> None:
    async with MockMCPClient([hello], session_per=session_per) as mock:
        for identity in (of("a", "alice"), of("a", "bob"), of("b", "alice"), of("a", "alice")):
            await called(mock, "hello", identity, name="x")
        assert mock.opened == opened


async def test_concurrent_runs_of_many_tenants_never_cross() -> None:
    async with MockMCPClient([hello]) as mock:
        agent = caller(mock, calls=[("hello", {"name": "x"})])
        await asyncio.gather(*(agent.run("Go.", identity=of(f"t{i % 7}", f"p{i}")) for i in range(70)))
        assert len(mock.opened) == 7
        await agent.aclose()


async def test_sessions_are_bounded_and_the_longest_unused_makes_room() -> None:
    async with MockMCPClient([hello], max_sessions=2) as mock:
        for tenant in ("a", "b", "a", "c", "a", "b"):
            await called(mock, "hello", of(tenant), name="x")
        assert [identity.tenant for identity in mock.opened if identity] == ["a", "b", "c", "b"]
        assert len(mock._live) == 2


async def test_when_every_session_is_in_use_another_tenant_is_told() -> None:
    going = asyncio.Event()

    async def wait(key: str) -> str:
        going.set()
        await asyncio.Event().wait()
        return key

    async with MockMCPClient([wait], max_sessions=1) as mock:
        busy = asyncio.create_task(called(mock, "wait", of("a"), key="k"))
        await going.wait()
        with pytest.raises(ToolServerUnavailable, match="all 1 sessions are in use: raise max_sessions="):
            await called(mock, "wait", of("b"), key="k")
        busy.cancel()
        await asyncio.wait({busy})


async def test_a_session_that_nobody_uses_is_closed() -> None:
    async with MockMCPClient([hello], idle_timeout=0.05) as mock:
        await called(mock, "hello", of("a"), name="x")
        await until(lambda: not mock._live)
        await called(mock, "hello", of("a"), name="x")
        assert len(mock.opened) == 2


# ── headers and tokens ─────────────────────────────────────────────────────────────────────────


async def test_a_token_is_asked_for_before_each_request_for_the_tenant_alone(http_server: HTTPServer) -> None:
    asked: list[Any] = []

    async def token(identity: MemoryIdentity | None) -> str:
        asked.append(identity)
        return f"token-{identity.tenant if identity else None}-{len(asked)}"

    async with MCPClient.http(http_server.url, token=token, headers={"x-app": "desk"}) as mcp:
        await called(mcp, "add", of("a", "alice"), a=1, b=1)
        await called(mcp, "add", of("b", "bob"), a=1, b=1)
    assert set(asked) == {MemoryIdentity("a"), MemoryIdentity("b")}
    sent = [headers["authorization"] for headers in http_server.headers]
    assert len(set(sent)) == len(sent), "a token was kept"
    assert {each.split("-")[1] for each in sent} == {"a", "b"}
    assert {headers["x-app"] for headers in http_server.headers} == {"desk"}


async def test_an_own_auth_is_passed_through(http_server: HTTPServer) -> None:
    class Own(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["x-signed"] = "yes"
            yield request

    async with MCPClient.http(http_server.url, auth=Own()) as mcp:
        await called(mcp, "add", a=1, b=1)
    assert {headers.get("x-signed") for headers in http_server.headers} == {"yes"}


async def test_an_auth_can_be_made_for_a_tenant(http_server: HTTPServer) -> None:
    class Own(httpx2.Auth):
        def __init__(self, whose: str | None) -> None:
            self.whose = whose

        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["x-signed"] = str(self.whose)
            yield request

    def own(identity: MemoryIdentity | None) -> Own:
        return Own(identity.tenant if identity else None)

    async with MCPClient.http(http_server.url, auth=own) as mcp:
        for tenant in ("a", "b"):
            before = len(http_server.headers)
            await called(mcp, "add", of(tenant, "p"), a=1, b=1)
            sent = http_server.headers[before:]
            assert tenant in {headers["x-signed"] for headers in sent}
        assert {headers["x-signed"] for headers in http_server.headers} == {"a", "b"}


async def test_a_token_function_that_fails_is_told_without_its_text(http_server: HTTPServer) -> None:
    def token(identity: MemoryIdentity | None) -> str:
        raise RuntimeError(f"the vault has no {SENTINEL}")

    mcp = MCPClient.http(http_server.url, token=token)
    with pytest.raises(
        ToolServerError, match="the function for its headers failed with RuntimeError"
    ) as error:
        await mcp.tools(RunContext(None, None, "r"))
    assert SENTINEL not in "".join(traceback.format_exception(error.value))


async def test_secrets_are_in_no_error_event_footprint_or_log(
    http_server: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "agentfootprint")
    url = http_server.url.replace("//", f"//user:{SENTINEL}@") + f"?key={SENTINEL}"
    mcp = MCPClient.http(url, headers={"x-key": SENTINEL})
    said = [repr(mcp), mcp.name]
    events: list[Any] = []
    agent: Agent[Any] = caller(
        mcp, calls=[("add", {"a": 1, "b": 1}), ("fail", {"why": "x"}), ("drop", {"key": "k"})]
    )
    agent.on("*", events.append)
    result = await agent.run("Go.", identity=of("a"))
    said += [result.footprint.narrative(), str(list(result.footprint.rows())), repr(events)]
    await agent.aclose()
    await http_server.stop()
    with pytest.raises(ToolServerUnavailable) as away:
        await mcp.tools(RunContext(None, None, "r"))
    said.append("".join(traceback.format_exception(away.value)))
    assert SENTINEL not in "".join(said) + caplog.text


async def test_what_a_server_says_of_the_secrets_it_was_given_is_taken_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "agentfootprint")
    env = {"API_KEY": SENTINEL}
    async with MCPClient.stdio(PYTHON, str(PROGRAM), "stdio", env=env) as mcp:
        answer = await called(mcp, "secret", name="API_KEY")
    assert answer.text == "[secret]"

    code = "import os, sys; sys.exit('bad key ' + os.environ['API_KEY'])"
    with pytest.raises(ToolServerUnavailable, match=r"bad key \[secret\]") as error:
        await MCPClient.stdio(PYTHON, "-c", code, env=env, max_sessions=1).tools(RunContext(None, None, "r"))
    assert SENTINEL not in "".join(traceback.format_exception(error.value)) + caplog.text


async def test_what_a_server_says_of_its_tools_and_asks_holds_no_secret() -> None:
    token = "tok-0123456789"
    secrets = Secrets()
    secrets.learn([f"Bearer {token}"])
    tool = types.Tool(name="t", description=f"uses {token}", input_schema={"type": "object", "title": token})
    declared = _declared(tool, secrets)
    asked = types.ElicitRequestFormParams(message=f"Is {token} yours?", requested_schema={"type": "object"})
    assert token not in f"{declared} {_question(asked, secrets)}"


def test_of_secrets_that_are_new_for_each_request_the_last_are_known() -> None:
    secrets = Secrets()
    secrets.learn(["the-password-of-all"])
    for number in range(5000):
        secrets.learn([f"Bearer token-{number:09}", "the-password-of-all"])
    assert secrets.hide("token-000004999 token-000004800 the-password-of-all").count("[secret]") == 2 + 1
    assert secrets.hide("token-000000001") == "token-000000001"
    assert len(secrets._values) <= 1000


async def test_an_environment_can_be_made_for_a_tenant() -> None:
    mcp = MCPClient.stdio(
        PYTHON, str(PROGRAM), "stdio", env=lambda identity: {"WHO": identity.tenant if identity else ""}
    )
    async with mcp:
        answers = await asyncio.gather(
            *(called(mcp, "secret", of(tenant), name="WHO") for tenant in ("a", "b"))
        )
    assert [answer.text for answer in answers] == ["a", "b"]


# ── what cannot be ─────────────────────────────────────────────────────────────────────────────


anything: Any = MCPClient


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: anything.stdio("ls -la | cat", *["a", 1]), "each of its arguments as a string, not int"),
        (lambda: anything.stdio(["npx", "server"]), "as a string, not list"),
        (lambda: anything.stdio(""), "needs a program"),
        (lambda: anything.http("ftp://host/mcp"), "begins with https://"),
        (lambda: anything.http("https://h/mcp", token="t", auth=object()), "token= or auth="),
        (lambda: anything.http("https://h/mcp", start_timeout=0), "start_timeout must be seconds above 0"),
        (lambda: anything.http("https://h/mcp", session_per="user"), "session_per='user': it is one of"),
        (lambda: anything.http("https://h/mcp", protocol="2024-01-01"), "'2024-01-01': it is one of 'auto'"),
        (lambda: anything.http("https://h/mcp", max_sessions=0), "max_sessions must be a whole number"),
        (lambda: anything.http("https://h/mcp", pins={}), "no option pins"),
        (lambda: anything.http("https://h/mcp", pin=["add"]), "pin= maps names"),
        (lambda: anything.http("https://h/mcp", idempotent="add"), "idempotent= is one string"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


async def test_a_command_is_no_shell(tmp_path: Path) -> None:
    """What a shell would read as more than an argument is one argument."""
    odd = ["; touch", "$(id)", "`id`", "*", "a b", ""]
    code = "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"
    mcp = MCPClient.stdio(PYTHON, "-c", code, str(tmp_path / "given"), *odd)
    with pytest.raises(ToolServerUnavailable):
        await mcp.tools(RunContext(None, None, "r"))
    assert json.loads((tmp_path / "given").read_text()) == odd


# ── how long ───────────────────────────────────────────────────────────────────────────────────


async def test_who_opened_it_closes_it_although_an_agent_was_left_open() -> None:
    async with MockMCPClient([hello]) as mock:
        agent = caller(mock.prefixed("a_"), calls=[("a_hello", {"name": "x"})])
        await agent.run("Go.")
        assert mock._live
    assert not mock._live
    await agent.aclose()


async def test_what_stands_in_async_with_outlives_the_agents_that_use_it() -> None:
    async with MockMCPClient([hello]) as mock:
        for _ in range(3):
            await called(mock, "hello", name="x")
        assert len(mock.opened) == 1


async def test_the_last_of_several_agents_closes_it() -> None:
    mock = MockMCPClient([hello])
    first = caller(mock, calls=[("hello", {"name": "x"})])
    second = first.replace(name="second")
    await first.run("Go.")
    await second.run("Go.")
    await first.aclose()
    assert mock._live
    await second.aclose()
    assert not mock._live


async def test_one_session_for_all_is_opened_with_the_agent() -> None:
    mock = MockMCPClient([hello], session_per="agent")
    async with caller(mock, calls=[("hello", {"name": "x"})]):
        assert mock.opened == [None]
    nobody = MCPClient.stdio("no-such-program-anywhere", session_per="agent")
    with pytest.raises(ToolServerError, match="No such file"):
        async with caller(nobody, calls=[]):
            pass
