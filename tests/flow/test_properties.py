"""What holds for every flow: random programs against an oracle, random timing, stops everywhere."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from tests.flow.generator import LISTS, SORTED, Program, World, answer_to, build, program_of, programs
from tests.flow.oracle import Oracle
from tests.flow.support import SETTINGS, loaded, stored, told

from agentfootprint.flow import Run, Seq
from agentfootprint.flow.journal import version_id
from agentfootprint.flow.slices import backward, forward

GIVEN = 3


def examples(count: int) -> settings:
    return settings(SETTINGS, max_examples=count)


async def unbroken(program: Program, *, seed: int = 0) -> tuple[Run, World, Oracle]:
    """The run in one go, all questions answered the moment they are asked."""
    oracle = Oracle(program, GIVEN)
    world = World(random.Random(seed))
    answers = {ask: answer_to(ask) for ask in oracle.asked}
    run = await build(program, world).start(GIVEN, answers=answers)
    assert run.status == "done"
    return run, world, oracle


async def gone_on_with(program: Program, run: Run, timing: random.Random, **options: Any) -> Run:
    """The run from its stored form, on a flow built anew, as in another process."""
    answers = {record.ask.id: answer_to(record.ask.id) for record in run.asks}
    return await build(program, World(timing)).resume(stored(run), answers=answers, **options)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, Seq) else value


# ── values, evidence ────────────────────────────────────────────────────────────────────────────


@examples(100)
@given(programs())
async def test_a_run_computes_what_its_program_says(program: Program) -> None:
    run, _, oracle = await unbroken(program)
    assert {key: plain(value) for key, value in run.footprint.state.items()} == {
        key: value.data for key, value in oracle.final.items()
    }
    ids = {
        version_id(step, v): plain(v.value)
        for step in run.journal
        for v in step.writes
        if v.step == step.number
    }
    failed = {step.id for step in run.journal if step.status == "failed"}
    assert ids == {name: v.data for name, v in oracle.values.items() if name.rpartition(":")[0] not in failed}


@examples(100)
@given(programs())
async def test_slices_are_what_brute_force_finds_and_impact_is_their_inverse(program: Program) -> None:
    run, _, oracle = await unbroken(program)
    versions = {version_id(step, v): v for step in run.journal for v in step.writes if v.step == step.number}
    rests_on: dict[str, set[str]] = {}
    for name, version in versions.items():
        found = backward(run.journal, version)
        values, decisions = oracle.slice(oracle.values[name])
        note(name)
        assert set(found.ids()) == values
        assert {step.id for step in found.decisions} == decisions
        rests_on[name] = values
    for name, version in versions.items():
        assert set(forward(run.journal, version).ids()) == {one for one in versions if name in rests_on[one]}


@examples(60)
@given(programs())
async def test_the_slice_of_an_item_is_that_of_who_put_it_there(program: Program) -> None:
    run, _, oracle = await unbroken(program)
    for footprint in (run.footprint, loaded(run)):
        for key in {*LISTS, SORTED} & set(oracle.final):
            for index, maker in enumerate(oracle.final[key].items_made_by()):
                note(f"{key}[{index}]")
                found = footprint.slice(key, index)
                values, decisions = oracle.slice(maker, prefix=False)
                assert set(found.ids()) == values
                assert {step.id for step in found.decisions} == decisions


@examples(60)
@given(programs())
async def test_at_a_step_the_state_is_what_the_step_saw(program: Program) -> None:
    run, world, oracle = await unbroken(program)
    for footprint in (run.footprint, loaded(run)):
        for name, saw in world.saw.items():
            note(name)
            assert _as_json(footprint.at(name)) == _as_json(saw)
    for name in world.saw:
        assert {key: plain(value) for key, value in world.saw[name].items()} == oracle.saw[name]


def _as_json(state: Any) -> Any:
    return json.loads(json.dumps({key: plain(value) for key, value in state.items()}))


# ── order, files, replay ────────────────────────────────────────────────────────────────────────


@examples(60)
@given(programs())
async def test_timing_changes_nothing(program: Program) -> None:
    first, _, _ = await unbroken(program)
    for seed in range(1, 8):
        again, _, _ = await unbroken(program, seed=seed)
        assert told(again) == told(first)


@examples(60)
@given(programs())
async def test_a_file_tells_the_same_as_the_run(program: Program) -> None:
    run, _, _ = await unbroken(program)
    flow = build(program, World())
    for again in (loaded(run), loaded(run, flow), loaded(run, flow, redact=True)):
        assert told(again) == told(run)
        assert again.to_mermaid() == run.footprint.to_mermaid()
        assert [step.id for step in again.steps] == [step.id for step in run.journal]
    assert loaded(run).narrative() == run.footprint.narrative()


@examples(60)
@given(programs(), st.integers(1, 40))
async def test_a_replay_is_equal_and_touches_nothing_wherever_the_record_ends(
    program: Program, steps: int
) -> None:
    whole, _, oracle = await unbroken(program)
    answers = {ask: answer_to(ask) for ask in oracle.asked}
    stopped = await build(program, World()).start(GIVEN, answers=answers, stop_after=steps)
    paused = await build(program, World()).start(GIVEN)
    for run in (whole, stopped, paused):
        closed = World(random.Random(9), closed=True)
        again = await run.footprint.replay(build(program, closed))
        assert told(again) == told(run)
        flow = build(program, closed)
        from_file = await loaded(run, flow).replay(flow)
        assert told(from_file) == told(run)


# ── stopping and going on ───────────────────────────────────────────────────────────────────────


@examples(25)
@given(programs(), st.integers(0, 99))
async def test_a_run_stopped_at_any_step_boundary_and_resumed_is_the_unbroken_run(
    program: Program, seed: int
) -> None:
    whole, _, oracle = await unbroken(program)
    expected, count = told(whole), len(whole.journal)
    assume(count <= 60)
    answers = {ask: answer_to(ask) for ask in oracle.asked}
    for boundary in range(1, count):
        timing = random.Random(seed + boundary)
        run = await build(program, World(timing)).start(GIVEN, answers=answers, stop_after=boundary)
        while run.status != "done":
            run = await gone_on_with(program, run, timing)
        note(f"stopped after {boundary}")
        assert told(run) == expected


@examples(25)
@given(programs(), st.integers(0, 99))
async def test_a_run_stopped_at_every_step_boundary_in_turn_is_the_unbroken_run(
    program: Program, seed: int
) -> None:
    whole, _, _ = await unbroken(program)
    assume(len(whole.journal) <= 60)
    timing = random.Random(seed)
    run = await build(program, World(timing)).start(GIVEN, stop_after=1)
    resumes = 0
    while run.status != "done":
        run = await gone_on_with(program, run, timing, stop_after=1)
        resumes += 1
        assert resumes < 200
    assert told(run) == told(whole)


@examples(25)
@given(programs())
async def test_effects_that_a_pause_interrupts_are_not_touched_again(program: Program) -> None:
    whole, _, oracle = await unbroken(program)
    assume(oracle.asked)
    world = World(random.Random(1))
    run = await build(program, world).start(GIVEN)
    while run.status != "done":
        answers = {record.ask.id: answer_to(record.ask.id) for record in run.asks}
        run = await build(program, world).resume(stored(run), answers=answers)
    assert told(run) == told(whole)
    assert world.touched == sum(len(step.calls) for step in run.journal)


SEED = 12

CHILD = """
import asyncio, json, sys
sys.path[:0] = json.loads(sys.argv[1])
from tests.flow.test_properties import go_on_here
asyncio.run(go_on_here())
"""


def in_a_new_process(paths: str, order: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, paths],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_run_handed_from_process_to_process_is_the_unbroken_run() -> None:
    paths = json.dumps([str(Path(__file__).parents[2]), *sys.path])
    program = program_of(SEED, 20, 3)
    whole, _, oracle = await unbroken(program)
    assert len(whole.journal) > 50
    assert oracle.asked
    first = await build(program, World()).start(GIVEN, stop_after=2)
    state: dict[str, Any] = {"status": first.status, "snapshot": stored(first), "asks": [], "told": ""}
    boundaries = iter([20])
    while state["status"] != "done":
        answers = {ask: answer_to(ask) for ask in state["asks"]}
        order = {"stop_after": next(boundaries, None), "answers": answers}
        state = in_a_new_process(paths, order | {"snapshot": state["snapshot"]})
    assert state["told"] == told(whole)


async def go_on_here() -> None:
    data = json.load(sys.stdin)
    program = program_of(SEED, 20, 3)
    flow = build(program, World(random.Random(5)))
    run = await flow.resume(data["snapshot"], answers=data["answers"], stop_after=data["stop_after"])
    asks = [record.ask.id for record in run.asks]
    print(json.dumps({"status": run.status, "snapshot": run.snapshot(), "asks": asks, "told": told(run)}))
