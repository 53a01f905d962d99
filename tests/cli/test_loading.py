"""From the name on the command line to the agent, and what is said when there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfootprint import Agent
from agentfootprint.cli.loading import as_agent, find, make
from agentfootprint.errors import ConfigurationError
from agentfootprint.flow import Flow


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The tests stand in the folder, and what they import is forgotten."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


async def load(target: str) -> Agent[object, str]:
    return as_agent(target, await make(target, find(target)))


@pytest.mark.parametrize(
    "target", ["app:agent", "app.py:agent", "./app.py:agent", "app:make", "app:make_later"]
)
async def test_an_agent_is_found_by_module_by_file_and_by_the_function_that_makes_it(target: str) -> None:
    assert (await load(target)).name == "desk"


async def test_a_file_elsewhere_imports_what_stands_beside_it(inside: Path) -> None:
    there = inside / "elsewhere"
    there.mkdir()
    (there / "parts.py").write_text("NAME = 'other'\n")
    (there / "other.py").write_text(
        "from agentfootprint import Agent\n"
        "from agentfootprint.providers import MockProvider\n"
        "from parts import NAME\n"
        "agent = Agent(MockProvider(reply='x'), name=NAME)\n"
    )
    assert (await load("elsewhere/other.py:agent")).name == "other"


@pytest.mark.parametrize("target", ["app", "app:", ":agent", ""])
async def test_a_target_without_both_halves_says_how_to_write_it(target: str) -> None:
    with pytest.raises(ConfigurationError, match="write module:attribute, such as app:agent"):
        await load(target)


async def test_a_missing_module_is_named_with_where_it_was_looked_for(inside: Path) -> None:
    with pytest.raises(ConfigurationError, match="no module 'nothing_here'") as told:
        await load("nothing_here:agent")
    assert str(inside) in str(told.value)


async def test_a_missing_module_of_a_package_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no module 'json\.nothing_here'"):
        await load("json.nothing_here:agent")


async def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no file nothing\.py"):
        await load("nothing.py:agent")


@pytest.mark.parametrize("target", ["uses:agent", "uses.py:agent"])
async def test_a_module_that_misses_something_itself_shows_its_own_error(inside: Path, target: str) -> None:
    (inside / "uses.py").write_text("import os\nimport not_installed_here\n")
    with pytest.raises(ConfigurationError) as told:
        await load(target)
    assert "ModuleNotFoundError: No module named 'not_installed_here'" in str(told.value)
    assert "uses.py, line 2" in str(told.value)


async def test_a_module_that_raises_shows_the_error_and_its_line(inside: Path) -> None:
    (inside / "raises.py").write_text("def prepare():\n    return 1 / 0\n\nprepare()\n")
    with pytest.raises(ConfigurationError, match=r"ZeroDivisionError: .*raises\.py, line 2"):
        await load("raises:agent")


async def test_a_module_that_is_no_python_shows_the_line(inside: Path) -> None:
    (inside / "wrong.py").write_text("x = 1\nagent = = 2\n")
    with pytest.raises(ConfigurationError, match=r"SyntaxError: .*wrong\.py, line 2"):
        await load("wrong:agent")


async def test_a_file_that_failed_is_not_half_imported(inside: Path) -> None:
    (inside / "later.py").write_text("1 / 0\n")
    with pytest.raises(ConfigurationError):
        await load("later.py:agent")
    assert "later" not in sys.modules


async def test_a_missing_attribute_lists_the_agents_there_are() -> None:
    with pytest.raises(ConfigurationError, match="app has no 'agnet'; it has: agent, stored") as told:
        await load("app:agnet")
    assert "make_later" in str(told.value)
    assert "asyncio" not in str(told.value)


@pytest.mark.parametrize(
    ("target", "what"),
    [("app:motto", "a str"), ("app:lookup_order", "a Tool"), ("app:Gated", "the class Gated")],
)
async def test_something_else_is_told_apart_from_an_agent(target: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{target} is {what}, not an Agent"):
        await load(target)


async def test_a_function_that_needs_arguments_is_refused_uncalled() -> None:
    with pytest.raises(ConfigurationError, match="app:make_for is a function that cannot be called without"):
        await load("app:make_for")


async def test_a_function_that_raises_shows_its_error() -> None:
    with pytest.raises(ConfigurationError, match=r"app:broken\(\) raised RuntimeError: no database"):
        await load("app:broken")


async def test_a_flow_cannot_be_asked() -> None:
    flow: Flow[object] = Flow("loan")
    with pytest.raises(ConfigurationError, match="is a flow, not an Agent"):
        as_agent("app:flow", flow)
