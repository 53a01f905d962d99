"""The file of a footprint: what comes back, what is torn, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.flow.shop import RESERVED, Item, State, bought, shop
from tests.flow.support import answers_to, loaded, stored, told

from agentfootprint.errors import JournalInvalid
from agentfootprint.flow import Flow, Footprint, Seq, Step
from agentfootprint.flow.rows import BLOB


async def test_a_file_reads_without_the_flow_and_with_it_types_come_back(tmp_path: Path) -> None:
    run = await bought()
    path = tmp_path / "run.footprint.jsonl"
    run.footprint.save(path)
    plain, typed = Footprint.load(path), Footprint.load(path, shop())
    assert plain.state["items"][0] == {"name": "pen", "price": 2.5}
    assert typed.state["items"][0] == Item("pen", 2.5)
    for again in (plain, typed):
        assert told(again) == told(run)
        assert again.narrative() == run.footprint.narrative()
        assert again.why("verdict") == run.footprint.why("verdict")
        assert again.to_mermaid() == run.footprint.to_mermaid()
        assert (again.run_id, again.flow, again.status) == (run.id, "shop", "done")
        assert not again.truncated


async def test_what_is_read_back_and_written_again_is_the_same_text() -> None:
    run = await bought()
    text = run.footprint.to_jsonl()
    assert Footprint.from_lines(text.splitlines()).to_jsonl() == text


@pytest.mark.parametrize("steps", range(1, 9))
async def test_a_run_that_stands_still_anywhere_reads_back(steps: int) -> None:
    run = await bought(stop_after=steps)
    again = loaded(run)
    assert told(again) == told(run)
    assert again.narrative() == run.footprint.narrative()


async def test_a_torn_last_line_is_dropped_and_the_rest_reads(tmp_path: Path) -> None:
    run = await bought()
    path = tmp_path / "run.footprint.jsonl"
    run.footprint.save(path)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    last = len(lines[-1])
    for cut in (1, 5, last - 2):
        path.write_bytes(data[: len(data) - last + cut])
        again = Footprint.load(path)
        assert again.truncated
        assert again.status == "running"
        assert told(again) == told(run)
        assert "the record itself is cut" in again.why("verdict")


async def test_a_file_torn_inside_a_character_reads(tmp_path: Path) -> None:
    flow: Flow[Any] = Flow("letters")

    @flow.step
    def only(step: Step[Any]) -> None:
        step["x"] = "żółć" * 3

    path = tmp_path / "run.footprint.jsonl"
    (await flow.start()).footprint.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex("ć".encode()) + 1])
    assert Footprint.load(path).truncated


async def test_a_file_cut_after_any_line_reads_and_says_that_it_is_cut() -> None:
    run = await bought()
    lines = run.footprint.to_jsonl().splitlines()
    for length in range(1, len(lines)):
        again = Footprint.from_lines(lines[:length])
        assert again.truncated
        again.narrative()
        for key in again.state:
            again.why(key)
            again.impact(key)
        for step in again.steps:
            again.at(step.id)


async def test_a_broken_line_in_the_middle_is_refused_by_number() -> None:
    lines = (await bought()).footprint.to_jsonl().splitlines()
    lines[3] = lines[3][:-5]
    with pytest.raises(JournalInvalid, match="line 4 is no JSON"):
        Footprint.from_lines(lines)


async def test_empty_lines_are_nothing() -> None:
    lines = (await bought()).footprint.to_jsonl().splitlines()
    assert not Footprint.from_lines([*lines, "", "\n"]).truncated


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "no footprint"),
        (["[1, 2]"], "line 1 is no row"),
        (['{"step": "a#0"}'], "first line is not the header"),
        (['{"footprint": 2}'], "form 2, this version reads 1"),
        (['{"footprint": 1}'], "header of this footprint has no 'flow'"),
        (["not json", "{}"], "line 1 is no JSON"),
    ],
)
def test_what_is_no_footprint_is_refused_and_says_why(lines: list[str], says: str) -> None:
    with pytest.raises(JournalInvalid, match=says):
        Footprint.from_lines(lines)


async def test_large_values_stand_once_in_a_row_of_their_own() -> None:
    large = "x" * (BLOB + 1)
    flow: Flow[Any] = Flow("large")

    @flow.step
    async def only(step: Step[Any]) -> None:
        step["a"] = large
        step["b"] = large
        step.append("log", {"text": large})
        await step.call("fetch", lambda: large)
        step["small"] = "x" * 10

    run = await flow.start()
    text = run.footprint.to_jsonl(redact=False)
    assert text.count(large) == 2  # the text, and the item that holds it
    assert [list(row) for row in map(json.loads, text.splitlines()) if "blob" in row] == [
        ["blob", "value"]
    ] * 2
    again = loaded(run)
    assert (again.state["a"], again.state["log"][0]) == (large, {"text": large})
    assert told(again) == told(run)
    edited = text.replace("x" * 100, "y" * 100).splitlines()
    with pytest.raises(JournalInvalid, match="is another one"):
        Footprint.from_lines(edited)


async def test_user_data_with_the_format_s_own_words_survives() -> None:
    nasty = {name: {name: [name, {name: None}]} for name in RESERVED} | {"blob": "0" * 32, "redacted": True}
    flow: Flow[Any] = Flow("nasty")

    @flow.step(to="second")
    async def first(step: Step[Any]) -> None:
        for name in RESERVED:
            step[name] = {name: nasty}
        step.append("log", nasty)
        step.emit("blob", nasty)
        assert await step.call("redacted", lambda value: value, nasty) == nasty

    @flow.step
    async def second(step: Step[Any]) -> None:
        step["answer"] = await step.ask("blob", data=nasty, arguments=nasty)

    paused = await flow.start(nasty)
    run = await flow.resume(stored(paused), answers=answers_to(paused, nasty))
    for again in (loaded(run), loaded(run, redact=True)):
        assert not again.redacted
        assert told(again) == told(run)
        assert again.state == run.footprint.state
        assert again.state["blob"] == {"blob": nasty}
        assert again.step("first#0").events[0].data == nasty


async def test_text_that_strict_utf8_refuses_survives_the_file(tmp_path: Path) -> None:
    flow: Flow[Any] = Flow("text")
    texts = ["\ud800", "a\x00b", "\u2028", "\x85", "é\u0301", "line\nbreak", '"quotes"', ""]

    @flow.step
    def only(step: Step[Any]) -> None:
        step["x"] = texts

    path = tmp_path / "run.footprint.jsonl"
    (await flow.start()).footprint.save(path)
    assert Footprint.load(path).state["x"] == texts


async def test_an_undeclared_growing_list_stays_one_and_grows_on_after_a_resume() -> None:
    flow: Flow[Any] = Flow("lists")

    @flow.step(to="second")
    def first(step: Step[Any]) -> None:
        step["log"] = Seq(["a"])

    @flow.step(to="third")
    def second(step: Step[Any]) -> None:
        step.append("log", "b")

    @flow.step
    def third(step: Step[Any]) -> None:
        step.append("log", "c")
        step["copy"] = step["log"]

    unbroken = await flow.start()
    for steps in (1, 2):
        run = await flow.resume(stored(await flow.start(stop_after=steps)))
        assert run["log"] == Seq(["a", "b", "c"])
        assert told(run) == told(unbroken)
    again = loaded(unbroken)
    assert again.state["copy"] == again.state["log"] == Seq(["a", "b", "c"])
    assert [step.id for step in again.who_wrote("log")] == ["first#0", "second#0", "third#0"]


async def test_whole_numbers_where_floats_are_declared_are_told_alike() -> None:
    flow: Flow[Any] = Flow("numbers", state=State)

    @flow.step(to="second")
    def first(step: Step[Any]) -> None:
        step["total"] = 5
        step.append("items", Item("pen", 3))

    @flow.step
    async def second(step: Step[Any]) -> None:
        await step.call("pay", lambda *a: None, step["items"][0].price, step["total"])
        await step.ask("?")

    paused = await flow.start()
    run = await flow.resume(stored(paused), answers=answers_to(paused))
    assert told(run) == told(await flow.start(answers={"second#0?0": True}))
    assert told(await loaded(run, flow).replay(flow)) == told(run)
