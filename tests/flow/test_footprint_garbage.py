"""Files of footprints that somebody broke: refused or harmless."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.shop import RESERVED
from tests.flow.support import SETTINGS

from agentfootprint.errors import JournalInvalid
from agentfootprint.flow import SECRET, Decision, Flow, Footprint, Step, decide, ge, rule
from agentfootprint.flow.rows import BLOB


async def everything() -> list[str]:
    """The lines of a record in which every kind of row and entry occurs, always the same."""
    flow: Flow[Any] = Flow("everything")
    inner: Flow[Any] = Flow("inner")

    @inner.step
    async def work(step: Step[Any]) -> None:
        step.set("out", await step.call("c", lambda n: n, step.input, key="k"), labels=frozenset({SECRET}))

    @flow.step(to="split")
    def begin(step: Step[Any]) -> None:
        step["big"] = "x" * (BLOB + 1)
        step["items"] = (1, 2)
        step.append("log", 0)

    @flow.fork(branches=["each", "deep", "fails"], optional=["fails"], to="judge")
    def split(step: Step[Any]) -> list[str]:
        return ["each", "deep", "fails"]

    @flow.map(over="items", to="judge")
    def each(step: Step[Any], item: int) -> None:
        step.append("log", item)

    flow.sub("deep", inner, input=lambda step: 3, outputs={"out": "out"}, to="judge")

    @flow.step(to="judge")
    def fails(step: Step[Any]) -> None:
        step["x"] = step["log"]
        raise ValueError("no")

    @flow.decide(to=["ask"])
    def judge(step: Step[Any]) -> Decision:
        return decide(
            step, [rule("none", "ask", none=ge(1), big=ge("")), rule("some", "ask", out=ge(1))], "ask"
        )

    @flow.step
    async def ask(step: Step[Any]) -> None:
        step.emit("event", {"a": [1]})
        step["log2"] = step["log"]
        step["answer"] = await step.ask("?", data=1)

    run = await flow.start(answers={"ask#0?0": "yes"})
    for step in run.journal:
        step.start = step.end = 1.5
        for call in step.calls:
            call.start = call.end = 1.5
        for event in step.events:
            event.at = 1.5
    footprint = run.footprint
    footprint.started, footprint.run_id = 1.5, "run"
    return footprint.to_jsonl(redact=False).splitlines()


def read_and_use(lines: list[str]) -> None:
    """Whatever the lines are: a footprint that can be asked everything, or JournalInvalid."""
    try:
        footprint = Footprint.from_lines(lines)
    except JournalInvalid:
        return
    footprint.narrative()
    footprint.to_mermaid()
    Footprint.from_lines(footprint.to_jsonl().splitlines())
    for key in footprint.state:
        footprint.why(key)
        footprint.impact(key)
    for step in footprint.steps:
        footprint.at(step.id)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(RESERVED), inner, max_size=3),
    max_leaves=5,
)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    here = [path] if path else []
    if isinstance(data, dict):
        return here + [place for key in data for place in _places(data[key], (*path, key))]
    if isinstance(data, list):
        return here + [place for i, item in enumerate(data) for place in _places(item, (*path, i))]
    return here


def _changed(data: Any, path: tuple[Any, ...], value: Any, how: str) -> None:
    for part in path[:-1]:
        data = data[part]
    if how == "delete":
        del data[path[-1]]
    else:
        data[path[-1]] = copy.deepcopy(value)


@settings(SETTINGS, max_examples=150)
@given(data=st.data())
def test_garbage_in_a_record_is_refused_or_harmless(data: st.DataObject) -> None:
    rows = [json.loads(line) for line in asyncio.run(everything())]
    for _ in range(data.draw(st.integers(1, 2))):
        number = data.draw(st.integers(0, len(rows) - 1))
        kind = data.draw(
            st.sampled_from(["value", "value", "value", "delete", "swap", "row", "lose", "twice"])
        )
        places = _places(rows[number])
        if kind in ("value", "delete", "swap") and places:
            place = data.draw(st.sampled_from(places))
            other = rows[data.draw(st.integers(0, len(rows) - 1))]
            value = data.draw(
                _json if kind == "value" else st.sampled_from([other.get("step"), other.get("writes")])
            )
            _changed(rows[number], place, value, kind)
        elif kind == "row":
            rows[number] = data.draw(_json.filter(lambda row: isinstance(row, dict)))
        elif kind == "twice":
            rows.insert(number, copy.deepcopy(rows[data.draw(st.integers(0, len(rows) - 1))]))
        elif len(rows) > 1:
            del rows[number]
    read_and_use([json.dumps(row) for row in rows])


@pytest.mark.parametrize(
    "where", ["{deep}", '{{"footprint": {deep}}}', '{{"step": "a#0", "events": {deep}}}']
)
async def test_absurdly_deep_lines_are_refused(where: str) -> None:
    head = (await everything())[0]
    with pytest.raises(JournalInvalid) as caught:
        Footprint.from_lines([head, where.format(deep="[" * 100_000), head])
    assert len(str(caught.value)) < 200


@settings(SETTINGS, max_examples=60)
@given(data=st.data())
def test_a_record_torn_or_scribbled_on_anywhere_is_refused_or_harmless(data: st.DataObject) -> None:
    lines = asyncio.run(everything())
    number = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[number:])
    start = data.draw(st.integers(0, len(lines[number])))
    end = data.draw(st.sampled_from([start, start + 1, start + 20, len(text)]))
    torn = text[:start] + data.draw(st.text(max_size=8)) + text[end:]
    read_and_use([*lines[:number], *torn.split("\n")])
