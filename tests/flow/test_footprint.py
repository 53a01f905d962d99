"""Footprints: what can be asked of a run, and the file it is kept in."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.support import SETTINGS, answers_to, loaded, stored, told

from agentfootprint.errors import InputInvalid, JournalInvalid
from agentfootprint.flow import SECRET, Decision, Flow, Footprint, Run, Seq, Step, decide, ge, rule
from agentfootprint.flow.rows import BLOB


@dataclass(frozen=True)
class Item:
    name: str
    price: float = 0


class State(TypedDict):
    input: Any
    items: Seq[Item]
    total: float
    log: Seq[str]
    verdict: str
    approved: Any


def shop() -> Flow[Any]:
    """A fork, a map, a loop, decisions, calls, events and a question: something of everything."""
    flow: Flow[Any] = Flow("shop", state=State)

    @flow.step(to="each")
    async def fill(step: Step[Any]) -> None:
        step.append("items", Item("pen", 2.5))
        step.append("items", Item("book", 10.0))
        step.emit("filled", {"items": 2})

    @flow.map(over="items", to="split")
    async def each(step: Step[Any], item: Item) -> None:
        step.append("log", await step.call("name", lambda name: name.upper(), item.name))

    @flow.fork(branches=["sum", "note"], to="judge")
    def split(step: Step[Any]) -> list[str]:
        return ["sum", "note"]

    @flow.step(to="judge")
    def sum(step: Step[Any]) -> None:  # noqa: A001
        step["total"] = 12.5

    @flow.step(to="judge")
    async def note(step: Step[Any]) -> None:
        step.append("log", "noted")

    @flow.decide(to={"dear": "ask", "cheap": "end"})
    def judge(step: Step[Any]) -> Decision:
        return decide(step, [rule("over ten", "dear", total=ge(10))], "cheap")

    @flow.step(to="end")
    async def ask(step: Step[Any]) -> None:
        step["approved"] = await step.ask("pay?", arguments={"total": step["total"]})

    @flow.step
    def end(step: Step[Any]) -> None:
        step["verdict"] = f"{step['log'][-1]}: {step.get('approved')}"

    return flow


async def bought(**options: Any) -> Run:
    return await shop().start({"who": "Ada"}, answers={"ask#0?0": True}, **options)


# ── asking ──────────────────────────────────────────────────────────────────────────────────────


async def test_steps_are_found_by_id_and_a_wrong_id_lists_the_near_ones() -> None:
    footprint = (await bought()).footprint
    assert footprint.step("each#0[1]").node == "each"
    with pytest.raises(InputInvalid, match=r"no step 'each#1'.*there is: each#0, each#0\[0\], each#0\[1\]"):
        footprint.step("each#1")
    with pytest.raises(InputInvalid, match=r"no step 'nowhere'.*input#0, fill#0"):
        footprint.step("nowhere")


async def test_state_is_the_final_value_of_every_key_and_at_is_what_a_step_saw() -> None:
    run = await bought()
    footprint = run.footprint
    assert footprint.state == {
        "input": {"who": "Ada"},
        "items": Seq([Item("pen", 2.5), Item("book", 10.0)]),
        "log": Seq(["PEN", "BOOK", "noted"]),
        "total": 12.5,
        "approved": True,
        "verdict": "noted: True",
    }
    assert footprint.at("fill#0") == {"input": {"who": "Ada"}}
    assert "log" not in footprint.at("each#0[1]")
    assert set(footprint.at("judge#0")) == {"input", "items", "log", "total"}
    assert footprint.at("input#0") == {}


async def test_a_version_is_found_by_key_at_the_end_or_as_a_step_saw_it() -> None:
    footprint = (await bought()).footprint
    assert list(footprint.version("log").value) == ["PEN", "BOOK", "noted"]
    assert list(footprint.version("log", at="split#0").value) == ["PEN", "BOOK"]
    with pytest.raises(InputInvalid, match="nothing has written 'verdict' there; there is: input, items"):
        footprint.version("verdict", at="judge#0")
    with pytest.raises(InputInvalid, match="nothing has written 'nothing' there; there is: input, items"):
        footprint.version("nothing")


async def test_who_wrote_names_every_writer_oldest_first() -> None:
    footprint = (await bought()).footprint
    ids = [step.id for step in footprint.who_wrote("log")]
    assert ids == ["each#0", "each#0[0]", "each#0[1]", "split#0.note/note#0"]
    assert footprint.who_wrote("nothing") == []


async def test_a_slice_of_one_item_leaves_the_other_items_out() -> None:
    footprint = (await bought()).footprint
    assert footprint.slice("log", 0).ids() == ["each#0[0]:log", "fill#0:items@1", "fill#0:items"]
    assert footprint.slice("log", -1).ids()[0] == "split#0.note/note#0:log"
    with pytest.raises(InputInvalid, match="'log' has 3 items, there is no item 3"):
        footprint.slice("log", 3)
    with pytest.raises(InputInvalid, match="'total' is no growing list"):
        footprint.slice("total", 0)


async def test_a_slice_that_was_cut_says_so() -> None:
    footprint = (await bought()).footprint
    whole = footprint.slice("verdict")
    assert not whole.cut
    cut = footprint.slice("verdict", limit=2)
    assert len(cut.versions) + len(cut.decisions) == 2
    assert "left out after the first 2" in cut.cut[0]
    assert "cut:" in footprint.why("verdict", limit=2)


async def test_impact_is_what_rests_on_a_version() -> None:
    footprint = (await bought()).footprint
    assert footprint.impact("verdict").ids() == ["end#0:verdict"]
    reached = footprint.impact(footprint.version("total"))
    assert set(reached.ids()) == {"split#0.sum/sum#0:total", "ask#0:approved", "end#0:verdict"}
    assert [step.id for step in reached.decisions] == ["judge#0"]


async def test_the_narrative_names_values_rules_calls_and_questions() -> None:
    text = (await bought()).footprint.narrative()
    for part in (
        "called name, which answered",
        "chose dear because over ten (total is 12.5, >= 10)",
        "asked 'pay?', which was answered True",
        "  split#0.note/note#0: added to log = 'noted'",
        "end#0: read log, approved; set verdict = 'noted: True'",
    ):
        assert part in text


async def test_why_names_the_values_and_the_rule() -> None:
    why = (await bought()).footprint.why("approved")
    assert why.startswith("approved is True, written by ask#0")
    assert "judge#0 chose dear because over ten (total is 12.5, >= 10)" in why


async def test_the_picture_shows_every_step_once_and_how_often_each_way_was_taken() -> None:
    flow: Flow[Any] = Flow("loop")

    @flow.step(to="again")
    def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 3 else "enough"

    @flow.step
    def end(step: Step[Any]) -> None: ...

    picture = (await flow.start()).footprint.to_mermaid()
    assert picture.splitlines() == [
        "flowchart TD",
        '  n0["input"]',
        '  n1["work"]',
        '  n2{"again"}',
        '  n3["end"]',
        "  n0 --> n1",
        "  n1 -->|3×| n2",
        "  n2 -->|2×| n1",
        "  n2 --> n3",
    ]


# ── files ───────────────────────────────────────────────────────────────────────────────────────


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


RESERVED = ["blob", "redacted", "step", "end", "footprint", "items", "value", "writes", "copy", "of", "opens"]


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


# ── garbage ─────────────────────────────────────────────────────────────────────────────────────


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
