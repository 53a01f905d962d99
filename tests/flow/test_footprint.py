"""Footprints: what can be asked of a run, and the file it is kept in."""

from __future__ import annotations

from typing import Any

import pytest
from tests.flow.shop import Item, bought

from agentfootprint.errors import InputInvalid
from agentfootprint.flow import Flow, Seq, Step


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
