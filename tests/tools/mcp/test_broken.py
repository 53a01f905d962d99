"""Servers that do not start, hang, restart and vanish: what was not done is done again, and nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.retry import RetryPolicy
from agentfootprint.tools import MCPClient, RunContext, StaticToolset, ToolServerError, ToolServerUnavailable
from tests.tools.mcp.calling import called
from tests.tools.mcp.conftest import PROGRAM, PYTHON, HTTPServer

CONTEXT = RunContext(None, None, "r")
AT_ONCE = RetryPolicy(max_attempts=3, initial_delay=0.01, max_delay=0.01)
ONCE = RetryPolicy(max_attempts=1)


def processes(mark: Path) -> list[int]:
    """Processes of this machine that have a path among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(mark).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


HANGS = """
import sys, time, signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
time.sleep(600)
"""


async def test_a_program_that_does_not_become_ready_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "hanging"
    mcp = MCPClient.stdio(PYTHON, "-c", HANGS, str(mark), start_timeout=1.0, retry=ONCE)
    with pytest.raises(ToolServerUnavailable, match=r"was not ready within 1 s and was given up"):
        await mcp.tools(CONTEXT)
    assert processes(mark) == []


async def test_a_program_that_is_not_there_is_told_at_once() -> None:
    mcp = MCPClient.stdio("no-such-program-anywhere")
    with pytest.raises(
        ToolServerError, match=r"MCP server no-such-program-anywhere cannot be used: No such file"
    ):
        await mcp.tools(CONTEXT)


async def test_what_a_program_wrote_before_it_died_is_told() -> None:
    code = "import sys; sys.exit('the database is missing')"
    mcp = MCPClient.stdio(PYTHON, "-c", code, retry=ONCE)
    with pytest.raises(ToolServerUnavailable, match=r"It wrote: the database is missing"):
        await mcp.tools(CONTEXT)


async def test_an_address_where_nobody_listens_is_told_by_name() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        mcp = MCPClient.http(f"http://127.0.0.1:{port}/mcp", retry=AT_ONCE)
        with pytest.raises(
            ToolServerUnavailable, match=rf"http://127.0.0.1:{port}/mcp cannot be used: it cannot be reached"
        ):
            await mcp.tools(CONTEXT)


async def test_an_address_that_accepts_and_says_nothing_is_given_up() -> None:
    writers = []
    server = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mcp = MCPClient.http(f"http://127.0.0.1:{port}/mcp", start_timeout=0.5, retry=ONCE)
    with pytest.raises(ToolServerUnavailable, match=r"was not ready within 0\.5 s"):
        await mcp.tools(CONTEXT)
    server.close()
    for writer in writers:
        writer.transport.abort()


async def test_what_is_no_mcp_server_is_told(http_server: HTTPServer) -> None:
    mcp = MCPClient.http(http_server.url.replace("/mcp", "/other"), retry=AT_ONCE)
    with pytest.raises(ToolServerError, match=r"HTTP 404"):
        await mcp.tools(CONTEXT)


async def test_all_who_wait_for_a_session_hear_why_there_is_none() -> None:
    mcp = MCPClient.stdio(PYTHON, "-c", "raise SystemExit('no')", retry=ONCE)
    results = await asyncio.gather(*(mcp.tools(CONTEXT) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {ToolServerUnavailable}


@pytest.mark.parametrize("protocol", ["2025-11-25", "2026-07-28"])
async def test_after_a_restart_of_the_server_calls_go_on(http_server: HTTPServer, protocol: Any) -> None:
    """The session of the older revision has ended, which its server says with 404 (or 400)."""
    async with MCPClient.http(http_server.url, protocol=protocol, retry=AT_ONCE) as mcp:
        assert (await called(mcp, "add", a=1, b=1)).text == "2"
        await http_server.restart()
        assert (await called(mcp, "add", a=2, b=2)).text == "4"
        assert (await called(mcp, "add", a=3, b=3)).text == "6"


async def test_a_call_waits_for_a_server_that_is_away_for_a_moment(http_server: HTTPServer) -> None:
    patient = RetryPolicy(max_attempts=50, initial_delay=0.02, max_delay=0.05)
    async with MCPClient.http(http_server.url, protocol="2025-11-25", retry=patient) as mcp:
        assert (await called(mcp, "add", a=1, b=1)).text == "2"
        await http_server.stop()
        answer = asyncio.create_task(called(mcp, "add", a=2, b=2))
        await asyncio.sleep(0.1)
        await http_server.start()
        assert (await answer).text == "4"


async def test_a_server_that_stays_away_is_what_the_model_reads(http_server: HTTPServer) -> None:
    async with MCPClient.http(http_server.url, retry=AT_ONCE) as mcp:
        [tool] = [t for t in await mcp.tools(CONTEXT) if t.name == "add"]
        await http_server.stop()
        answer = await called(StaticToolset([tool]), "add", a=1, b=1)
        assert answer.is_error
        assert answer.text.startswith("add was not run: MCP server http://127.0.0.1")


@pytest.mark.parametrize("protocol", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_call_that_broke_off_is_not_made_again(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with connected(way, protocol, http_server, journal) as mcp:
        answer = await called(mcp, "drop", key="k")
        assert answer.is_error
        assert "whether it took effect is not known" in answer.text
        assert journal.read_text().splitlines().count("drop k") == 1
        assert (await called(mcp, "add", a=1, b=1)).text == "2"


@pytest.mark.parametrize("protocol", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_call_of_an_idempotent_tool_is_made_again(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with connected(way, protocol, http_server, journal) as mcp:
        answer = await called(mcp, "drop_once", key="k")
        assert answer.text == "the second time"
        assert journal.read_text().splitlines().count("drop_once k") == 2


async def test_a_tool_is_idempotent_when_the_application_says_so(
    http_server: HTTPServer, journal: Path
) -> None:
    async with MCPClient.http(http_server.url, idempotent=("drop",), retry=AT_ONCE) as mcp:
        answer = await called(mcp, "drop", key="k")
        assert answer.is_error
        assert journal.read_text().splitlines().count("drop k") == AT_ONCE.max_attempts


def connected(way: str, protocol: Any, http_server: HTTPServer, journal: Path) -> MCPClient:
    if way == "http":
        return MCPClient.http(http_server.url, protocol=protocol, retry=AT_ONCE)
    env = {"JOURNAL": str(journal)}
    return MCPClient.stdio(PYTHON, str(PROGRAM), "stdio", env=env, protocol=protocol, retry=AT_ONCE)


async def test_one_broken_call_breaks_no_other(http_server: HTTPServer, journal: Path) -> None:
    """Calls that share a session over HTTP have connections of their own."""
    async with MCPClient.http(http_server.url, protocol="2026-07-28", retry=ONCE) as mcp:
        assert (await called(mcp, "add", a=1, b=1)).text == "2"
        broken = asyncio.create_task(called(mcp, "drop", key="k"))
        answers = [await called(mcp, "add", a=i, b=i) for i in range(10)]
        assert (await broken).is_error
        assert sum(not answer.is_error for answer in answers) >= 9


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (401, {}, "HTTP 401: it does not let this client in"),
        (403, {}, "HTTP 403: it does not let this client in"),
        (302, {"location": "https://elsewhere.example/mcp"}, "elsewhere"),
    ],
)
async def test_a_server_that_refuses_is_asked_once(
    http_server: HTTPServer, status: int, headers: dict[str, str], says: str
) -> None:
    http_server.refuse = (status, headers)
    mcp = MCPClient.http(http_server.url, retry=AT_ONCE)
    with pytest.raises(ToolServerError, match=says) as caught:
        await mcp.tools(CONTEXT)
    assert not isinstance(caught.value, ToolServerUnavailable) or status == 302


async def test_a_server_that_asks_to_wait_is_waited_for(http_server: HTTPServer) -> None:
    http_server.refuse = (503, {"retry-after": "90"})
    mcp = MCPClient.http(http_server.url, retry=RetryPolicy(max_attempts=5, max_retry_after=60))
    with pytest.raises(ToolServerUnavailable) as caught:
        await mcp.tools(CONTEXT)
    assert caught.value.retry_after == 90


async def test_a_loop_that_ends_ends_the_programs_of_its_sessions(tmp_path: Path) -> None:
    mark = tmp_path / "served"
    mcp = MCPClient.stdio(PYTHON, str(PROGRAM), "stdio", str(mark))

    async def use() -> int:
        await mcp.tools(CONTEXT)
        return len(processes(mark))

    assert await asyncio.to_thread(asyncio.run, use()) == 1
    assert processes(mark) == []


async def test_a_program_gets_no_variables_that_were_not_given(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFOOTPRINT_TEST_TOKEN", "of-this-process")
    async with MCPClient.stdio(PYTHON, str(PROGRAM), "stdio") as mcp:
        assert (await called(mcp, "secret", name="AGENTFOOTPRINT_TEST_TOKEN")).text == "nothing"
        assert (await called(mcp, "secret", name="PATH")).text == os.environ["PATH"]
