"""Development checks: values changed in place are found and named."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agentfootprint.errors import MutatedInPlace, UnsupportedValue
from agentfootprint.flow import Flow, Step
from agentfootprint.flow.guard import development


def flow_of(first: Any, second: Any = lambda step: None) -> Flow[Any]:
    flow: Flow[Any] = Flow("guarded")
    flow.step(to="second", name="first")(first)
    flow.step(name="second")(second)
    return flow


def writes_and_changes(step: Step[Any]) -> None:
    value = [1]
    step["x"] = value
    value.append(2)


def writes(step: Step[Any]) -> None:
    step["x"] = {"deep": [1]}


def reads_and_changes(step: Step[Any]) -> None:
    step["x"]["deep"].append(2)


async def test_a_value_changed_after_it_was_written_is_named_with_its_step() -> None:
    with pytest.raises(MutatedInPlace, match="'x' was changed in place, seen in step 'first#0'"):
        await flow_of(writes_and_changes).start()


async def test_a_value_changed_by_a_reader_is_named_with_the_reader() -> None:
    with pytest.raises(MutatedInPlace, match="'x' was changed in place, seen in step 'second#0'"):
        await flow_of(writes, reads_and_changes).start()


async def test_the_input_is_guarded_too() -> None:
    with pytest.raises(MutatedInPlace, match="'input'"):
        await flow_of(lambda step: step.input.append(1)).start([])


async def test_a_value_that_cannot_be_recorded_is_refused_where_it_is_written() -> None:
    with pytest.raises(UnsupportedValue, match=r"builtins.object cannot be recorded"):
        await flow_of(lambda step: step.set("x", object())).start()


async def test_reading_and_writing_new_values_is_no_change() -> None:
    def replaces(step: Step[Any]) -> None:
        step["x"] = {**step["x"], "more": 1}

    assert (await flow_of(writes, replaces).start())["x"] == {"deep": [1], "more": 1}


async def test_switched_off_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFOOTPRINT_DEV", "0")
    run = await flow_of(writes, reads_and_changes).start()
    assert run.guard is None
    assert run["x"] == {"deep": [1, 2]}


@pytest.mark.parametrize(("setting", "on"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, setting: str, on: bool) -> None:
    monkeypatch.setenv("AGENTFOOTPRINT_DEV", setting)
    assert development() is on


@pytest.mark.parametrize(("flags", "on"), [([], "False"), (["-X", "dev"], "True")])
def test_without_a_setting_python_s_development_mode_decides(flags: list[str], on: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "AGENTFOOTPRINT_DEV"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    code = "from agentfootprint.flow.guard import development; print(development())"
    command = [sys.executable, *flags, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == on
