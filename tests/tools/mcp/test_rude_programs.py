"""Programs that say what they should not: their calls end, other calls go on, and nothing grows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.events import ToolProgress
from agentfootprint.tools import MCPClient, RunContext, ToolServerError
from tests.tools.mcp.calling import called, caller
from tests.tools.mcp.conftest import PYTHON
from tests.tools.mcp.rude_server import STORM
from tests.tools.mcp.test_broken import processes

RUDE = Path(__file__).with_name("rude_server.py")
CONTEXT = RunContext(None, None, "r")


def rude(manners: str, journal: Path, **options: Any) -> MCPClient:
    return MCPClient.stdio(PYTHON, str(RUDE), manners, str(journal), protocol="2025-11-25", **options)


def programs(journal: Path) -> int:
    """How many were started."""
    return journal.read_text().count("initialize ")


async def test_garbage_between_the_answers_breaks_nothing(journal: Path) -> None:
    async with rude("garbage", journal) as mcp:
        for _ in range(3):
            answer = await called(mcp, "t")
            assert (answer.text, answer.is_error) == ("fine", False)
    assert programs(journal) == 1


@pytest.mark.parametrize("manners", ["id first", "id last"])
async def test_a_result_of_100_mb_is_not_kept_and_its_call_is_told(manners: str, journal: Path) -> None:
    async with rude(manners, journal, max_data_bytes=1_000_000) as mcp:
        await called(mcp, "t")
        tracemalloc.start()
        answer = await called(mcp, "t", size=100_000_000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.is_error
        assert "its answer cannot be read: its 100,000," in answer.text
        assert most < 40_000_000
        # The session goes on.
        assert (await called(mcp, "t")).text == "fine"
    assert programs(journal) == 1


async def test_a_large_result_is_read_whole(journal: Path) -> None:
    async with rude("id first", journal) as mcp:
        answer = await called(mcp, "t", size=15_000_000)
        assert not answer.is_error
        assert "of 15,000,000" in answer.text


async def test_a_storm_of_notifications_is_heard_and_asks_for_no_list(journal: Path) -> None:
    async with rude("storm", journal, refresh=3600) as mcp:
        agent = caller(mcp, calls=[("t", {})])
        heard: list[ToolProgress] = []
        agent.on(ToolProgress, heard.append)
        result = await agent.run("Go.")
        assert result.messages[2].text == "fine"
        assert 0 < len(heard) <= STORM
        await agent.aclose()
        assert journal.read_text().count("tools/list ") == 1
        await mcp.tools(CONTEXT)
        assert journal.read_text().count("tools/list ") == 2


async def test_of_a_thousand_tools_those_of_use_are_offered(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rude("thousand", journal) as mcp:
        assert len(await mcp.tools(CONTEXT)) == 900
        assert caplog.text.count("is left out, its schema is of no use") == 100
        assert (await called(mcp, "t999")).text == "fine"


async def test_more_tools_than_there_can_be_are_refused(journal: Path) -> None:
    async with rude("endless", journal) as mcp:
        with pytest.raises(ToolServerError, match="its list does not end: more than 10,000 entries"):
            await mcp.tools(CONTEXT)


async def test_what_is_wrong_with_a_list_is_told(journal: Path) -> None:
    async with rude("no mcp", journal) as mcp:
        with pytest.raises(
            ToolServerError, match=r"not one of MCP: tools\.1\.inputSchema\.properties: .*valid"
        ):
            await mcp.tools(CONTEXT)


async def test_a_tool_that_is_listed_twice_is_offered_once(journal: Path) -> None:
    async with rude("twice", journal) as mcp:
        assert [each.name for each in await mcp.tools(CONTEXT)] == ["t", "u"]
        assert (await called(mcp, "t")).text == "fine"


async def test_an_odd_schema_that_is_one_is_checked_and_told(journal: Path) -> None:
    async with rude("odd", journal) as mcp:
        wrong = await called(mcp, "t", a=1, b=2, c=3)
        assert wrong.is_error
        assert "c: 3 is not of types" in wrong.text
        assert (await called(mcp, "t", a=[1], c=None)).text == "fine"


async def test_a_program_that_hung_up_and_stays_is_ended_when_the_client_is_closed(journal: Path) -> None:
    """Although another one serves already."""
    mcp = rude("stubborn", journal)
    async with mcp:
        assert "whether it took effect is not known" in (await called(mcp, "t")).text
        assert await mcp.resources() == []
        assert programs(journal) == 2
    assert processes(journal) == []
