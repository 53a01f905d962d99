"""Forks: branches on views of their own, joined in the order declared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.flow.forking import Joined, appends, forking, writes
from tests.flow.support import answers_to, loaded, stored, told

from agentfootprint.errors import FlowInvalid, JoinConflict
from agentfootprint.flow import Flow, Seq, Step


async def test_what_one_branch_wrote_is_taken_over_as_that_branch_s_version() -> None:
    run = await forking({"a": writes("x", 1), "b": writes("base", 2)}).start()
    assert (run["x"], run["base"]) == (1, 2)
    version = run.footprint.version("x")
    assert run.footprint.id_of(version) == "split#0.a/a#0:x"
    assert [v.key for v in run.footprint.step("after#0").reads] == ["x"]
    assert run.footprint.step("after#0").reads[0] is version


async def test_a_branch_does_not_see_what_its_siblings_write() -> None:
    seen: dict[str, Any] = {}

    def branch(name: str) -> Any:
        async def work(step: Step[Any]) -> None:
            step.append("log", name)
            await asyncio.sleep(0)
            seen[name] = (list(step["log"]), step.get("x"))
            if name == "a":
                step["x"] = 1

        return work

    await forking({"a": branch("a"), "b": branch("b")}).start()
    assert seen == {"a": (["a"], None), "b": (["b"], None)}


async def test_a_reducer_folds_in_the_order_declared_whatever_ends_first() -> None:
    branches = {
        "a": writes("order", "a", slow=5),
        "b": writes("order", "b"),
        "c": writes("order", "c", slow=2),
    }
    run = await forking(branches).start()
    assert run["order"] == "abc"
    joined = run.footprint.version("order")
    assert joined.verb == "reduce"
    assert run.footprint.slice("order").ids() == [
        "split#0:order",
        "split#0.a/a#0:order",
        "split#0.b/b#0:order",
        "split#0.c/c#0:order",
    ]


async def test_appends_of_branches_stand_behind_the_list_in_the_order_declared() -> None:
    def before(step: Step[Any]) -> None:
        step.append("log", "base")

    run = await forking({"a": appends("a1", "a2", slow=4), "b": appends("b1")}, before=before).start()
    assert list(run["log"]) == ["base", "a1", "a2", "b1"]
    assert run.footprint.slice("log", 3).ids() == ["split#0.b/b#0:log"]
    assert run.footprint.slice("log", 1).ids() == ["split#0.a/a#0:log"]
    assert run.footprint.slice("log", 0).ids() == ["before#0:log"]


async def test_appends_of_branches_join_also_without_a_declared_state() -> None:
    run = await forking({"a": appends("a"), "b": appends("b")}, state=None).start()
    assert list(run["log"]) == ["a", "b"]


async def test_two_writers_without_a_reducer_are_both_named() -> None:
    with pytest.raises(JoinConflict) as caught:
        await forking({"a": writes("x", 1), "b": writes("x", 2)}).start()
    assert "'x' was written by 'split#0.a/a#0' and 'split#0.b/b#0'" in str(caught.value)
    assert "Reduce" in str(caught.value)
    assert caught.value.footprint is not None
    assert caught.value.footprint.step("split#0").status == "failed"
    assert "x" not in caught.value.footprint.state


async def test_equal_values_conflict_too() -> None:
    with pytest.raises(JoinConflict):
        await forking({"a": writes("x", 1), "b": writes("x", 1)}).start()


async def test_a_reducer_that_rearranges_survives_the_file() -> None:
    branches = {"a": writes("sorted", Seq([1])), "b": writes("sorted", Seq([2]))}
    flow = forking(branches)
    run = await flow.start()
    assert list(run["sorted"]) == [2, 1]
    assert list(loaded(run, flow).state["sorted"]) == [2, 1]


async def test_a_reducer_also_joins_lists_that_the_branches_started_anew() -> None:
    def anew(number: int) -> Any:
        def branch(step: Step[Any]) -> None:
            step["sorted"] = Seq([number])
            step.append("sorted", number + 1)

        return branch

    run = await forking({"a": anew(1), "b": anew(3)}).start()
    assert list(run["sorted"]) == [4, 3, 2, 1]


async def test_a_list_that_a_nested_fork_reduced_did_not_just_grow() -> None:
    """An outer join must not take the tail of a list that an inner reducer put together anew."""
    flow: Flow[Any] = Flow("nested", state=Joined)

    @flow.step(to="outer")
    def before(step: Step[Any]) -> None:
        step["sorted"] = Seq([5])

    @flow.fork(branches=["inner", "c"])
    def outer(step: Step[Any]) -> None: ...

    @flow.fork(branches=["a", "b"])
    def inner(step: Step[Any]) -> None: ...

    @flow.step
    def a(step: Step[Any]) -> None:
        step["sorted"] = Seq([9])

    @flow.step
    def b(step: Step[Any]) -> None:
        step["sorted"] = Seq([7, 8])

    @flow.step
    def c(step: Step[Any]) -> None:
        step.append("sorted", 6)

    run = await flow.start()
    assert list(run["sorted"]) == [9, 8, 7, 6, 5]
    assert list(loaded(run, flow).state["sorted"]) == [9, 8, 7, 6, 5]


async def test_nested_forks_join_their_appends_from_the_inside_out() -> None:
    flow: Flow[Any] = Flow("nested", state=Joined)

    @flow.step(to="outer")
    def before(step: Step[Any]) -> None:
        step.append("log", "0")

    @flow.fork(branches=["inner", "c"])
    async def outer(step: Step[Any]) -> None: ...

    @flow.fork(branches=["a", "b"], to="later")
    async def inner(step: Step[Any]) -> None: ...

    for name in ("a", "b"):
        flow.step(to="later", name=name)(appends(name, slow=ord("c") - ord(name[0])))
    flow.step(name="later")(appends("later"))
    flow.step(name="c")(appends("c"))
    run = await flow.start()
    assert list(run["log"]) == ["0", "a", "b", "later", "c"]
    again = loaded(run, flow)
    assert told(again) == told(run)
    assert again.narrative() == run.footprint.narrative()


async def test_what_the_fork_itself_wrote_is_seen_by_its_branches() -> None:
    def choose(step: Step[Any]) -> None:
        step["base"] = 20

    def a(step: Step[Any]) -> None:
        step["x"] = step["base"] + 1

    flow = forking({"a": a, "b": writes("total", 1)}, choose=choose)
    run = await flow.start()
    assert run["x"] == 21
    assert run.footprint.at("split#0.a/a#0")["base"] == 20
    assert told(loaded(run, flow)) == told(run)


async def test_the_choice_of_branches_is_evidence_and_leads_to_their_steps() -> None:
    def choose(step: Step[Any]) -> list[str]:
        return ["c", "a"] if step.get("base") else []

    def before(step: Step[Any]) -> None:
        step["base"] = 1

    branches = {"a": writes("order", "a"), "b": writes("order", "b"), "c": writes("order", "c")}
    run = await forking(branches, before=before, choose=choose).start()
    assert run["order"] == "ac"  # in the order declared, not in the order chosen
    split = run.footprint.step("split#0")
    assert split.decision is not None
    assert split.decision.choice == ("c", "a")
    assert run.footprint.step("split#0.a/a#0").because is split
    assert "before#0:base" in run.footprint.slice("order").ids()


async def test_no_branch_may_be_chosen() -> None:
    run = await forking({"a": writes("x", 1)}, choose=lambda step: []).start()
    assert run.status == "done"
    assert run.get("x") is None


async def test_choosing_something_that_is_no_branch_is_refused() -> None:
    with pytest.raises(FlowInvalid, match=r"split#0.*chose \['z'\]"):
        await forking({"a": writes("x", 1)}, choose=lambda step: ["a", "z"]).start()


async def test_branches_that_never_wait_run_in_the_order_declared() -> None:
    order = []

    def branch(name: str) -> Any:
        def work(step: Step[Any]) -> None:
            order.append(name)

        return work

    await forking({name: branch(name) for name in "cab"}).start()
    assert order == ["c", "a", "b"]


async def test_branches_that_wait_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def meets(step: Step[Any]) -> None:
        async with asyncio.timeout(10):
            await both.wait()

    assert (await forking({"a": meets, "b": meets}).start()).status == "done"


async def test_a_branch_may_be_a_walk_of_its_own_with_loops_and_decisions() -> None:
    flow: Flow[Any] = Flow("walks")

    @flow.fork(branches=["count", "other"], to="after")
    def split(step: Step[Any]) -> None: ...

    @flow.step(to="again")
    async def count(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    @flow.decide(to={"more": "count", "enough": "after"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 3 else "enough"

    flow.step(to="after", name="other")(writes("base", 1))

    @flow.step
    def after(step: Step[Any]) -> None:
        step["sum"] = step["n"] + step["base"]

    run = await flow.start()
    assert run["sum"] == 4
    assert run.footprint.step("split#0.count/count#2").because is run.footprint.step("split#0.count/again#1")
    assert run.footprint.step("after#0").because is None


async def test_at_a_branch_s_step_the_state_is_what_the_branch_saw_not_what_was_joined() -> None:
    def before(step: Step[Any]) -> None:
        step.append("log", "base")

    run = await forking({"a": appends("a"), "b": appends("b")}, before=before).start()
    assert list(run.footprint.at("split#0.b/b#0")["log"]) == ["base"]
    assert list(run.footprint.at("after#0")["log"]) == ["base", "a", "b"]


async def test_concurrent_branches_with_flows_inside_read_back() -> None:
    inner: Flow[Any] = Flow("inner")

    @inner.step(to="two")
    async def one(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        step["a"] = step.input

    @inner.step
    async def two(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        step["b"] = step["a"] + 1

    flow: Flow[Any] = Flow("outer")

    @flow.fork(branches=["left", "right"])
    def split(step: Step[Any]) -> None: ...

    flow.sub("left", inner, input=lambda step: 1, outputs={"b": "left"})
    flow.sub("right", inner, input=lambda step: 2, outputs={"b": "right"})
    run = await flow.start()
    again = loaded(run, flow)
    assert (again.state["left"], again.state["right"]) == (2, 3)
    assert told(again) == told(run)


async def test_what_the_fork_s_function_called_stays_in_the_record_after_a_pause() -> None:
    called = []

    async def choose(step: Step[Any]) -> None:
        await step.call("lookup", lambda: called.append(1))

    async def asks(step: Step[Any]) -> None:
        step["x"] = await step.ask("how many?")

    flow = forking({"a": asks, "b": writes("base", 1)}, choose=choose)
    paused = await flow.start()
    run = await flow.resume(stored(paused), answers=answers_to(paused, 5))
    assert run["x"] == 5
    assert called == [1]
    assert [call.name for call in run.footprint.step("split#0").calls] == ["lookup"]
