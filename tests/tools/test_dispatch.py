"""The one way from a call to its result: found, checked, approved, run, and told as text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint.flow import Flow, Run, Step
from agentfootprint.messages import Message, ToolCall
from agentfootprint.tools import ToolContext, tool
from agentfootprint.tools.dispatch import APPROVAL_SCHEMA, Dispatched, Dispatcher


async def dispatched(*tools: Any, call: ToolCall, run: dict[str, Any] | None = None, **options: Any) -> Any:
    """The outcome of one call, or the run that waits for a person."""
    dispatcher = Dispatcher({each.name: each for each in tools}, **options)
    flow: Flow[Any] = Flow("one_call")

    async def dispatch(step: Step[Any]) -> None:
        step["done"] = await dispatcher.dispatch(step, call)

    flow.step(dispatch)
    walked = await flow.start(None, **(run or {}))
    return walked["done"] if walked.status == "done" else walked


RAN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@tool
async def pay(amount: int) -> str:
    """Pays."""
    RAN.append(amount)
    return f"paid {amount}"


@tool(approval=True)
async def guarded(amount: int) -> str:
    """Pays after a person agreed."""
    RAN.append(amount)
    return f"paid {amount}"


async def test_a_result_answers_its_call() -> None:
    done = await dispatched(pay, call=ToolCall("c1", "pay", {"amount": 5}))
    assert done == Dispatched(Message.tool("c1", "pay", "paid 5"), "ok")


async def test_values_are_converted_where_nothing_is_lost() -> None:
    done = await dispatched(pay, call=ToolCall("c1", "pay", {"amount": "5"}))
    assert (done.outcome, RAN) == ("ok", [5])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("paym", "There is no tool named 'paym'. Did you mean pay? Available: pay, guarded."),
        ("zzz", "There is no tool named 'zzz'. Available: pay, guarded."),
    ],
)
async def test_an_unknown_tool_is_answered_with_those_there_are(asked: str, told: str) -> None:
    done = await dispatched(pay, guarded, call=ToolCall("c", asked))
    assert done == Dispatched(Message.tool("c", asked, told, is_error=True), "unknown_tool")


async def test_without_any_tool_the_model_is_sent_on_its_way() -> None:
    done = await dispatched(call=ToolCall("c", "pay"))
    assert "no tools are available" in done.message.text


async def test_arguments_that_do_not_fit_run_nothing_and_ask_nobody() -> None:
    done = await dispatched(guarded, call=ToolCall("c", "guarded", {"amount": "lots"}))
    assert (done.outcome, done.message.is_error, RAN) == ("invalid_arguments", True, [])


# ── approval ────────────────────────────────────────────────────────────────────────────────────


async def asked(each: Any, arguments: dict[str, Any]) -> Run:
    run = await dispatched(each, call=ToolCall("c", each.name, arguments))
    assert isinstance(run, Run), "nobody was asked"
    assert RAN == []
    return run


async def answered(each: Any, arguments: dict[str, Any], answer: Any) -> Dispatched:
    (record,) = (await asked(each, arguments)).asks
    call = ToolCall("c", each.name, arguments)
    done: Dispatched = await dispatched(each, call=call, run={"answers": {record.ask.id: answer}})
    return done


async def test_a_guarded_call_asks_with_its_arguments_before_it_runs() -> None:
    (record,) = (await asked(guarded, {"amount": 5})).asks
    assert (record.kind, record.ask.question, record.ask.tool) == ("approval", "Approve guarded?", "guarded")
    assert record.ask.arguments == {"amount": 5}
    assert record.ask.schema == APPROVAL_SCHEMA


@pytest.mark.parametrize("yes", [True, {"approved": True}, {"approved": True, "reason": "fine"}])
async def test_a_yes_runs_it(yes: Any) -> None:
    done = await answered(guarded, {"amount": 5}, yes)
    assert (done.outcome, done.message.text, RAN) == ("ok", "paid 5", [5])


@pytest.mark.parametrize(
    ("no", "told"),
    [
        (False, "A person declined this call to guarded."),
        ({"approved": False}, "A person declined this call to guarded."),
        ({"approved": False, "reason": "too much"}, "A person declined this call to guarded: too much"),
        # Whatever is no clear yes is a no.
        (None, "declined"),
        ("yes", "declined"),
        (1, "declined"),
        ({}, "declined"),
        ({"approved": "true"}, "declined"),
        ([True], "declined"),
    ],
)
async def test_a_no_is_told_to_the_model_and_nothing_runs(no: Any, told: str) -> None:
    done = await answered(guarded, {"amount": 5}, no)
    assert (done.outcome, done.message.is_error, RAN) == ("denied", True, [])
    assert told in done.message.text


async def test_a_rule_decides_by_the_arguments_whether_and_what_is_asked() -> None:
    def rule(arguments: Any) -> bool | str:
        amount = arguments["amount"]
        return f"Really {amount}?" if amount > 100 else amount > 10

    @tool(approval=rule)
    async def pay_by_rule(amount: int) -> str:
        """Pays."""
        return "paid"

    free = await dispatched(pay_by_rule, call=ToolCall("c", "pay_by_rule", {"amount": 10}))
    assert free.outcome == "ok"
    assert (await asked(pay_by_rule, {"amount": 11})).asks[0].ask.question == "Approve pay_by_rule?"
    assert (await asked(pay_by_rule, {"amount": 101})).asks[0].ask.question == "Really 101?"


async def test_a_rule_that_fails_lets_nothing_run() -> None:
    @tool(approval=lambda arguments: arguments["missing"])
    async def ruled(amount: int) -> str:
        """Pays."""
        RAN.append(amount)
        return "paid"

    done = await dispatched(ruled, call=ToolCall("c", "ruled", {"amount": 5}))
    assert (done.outcome, RAN) == ("error", [])
    assert "approval rule failed with KeyError" in done.message.text


# ── errors and time ─────────────────────────────────────────────────────────────────────────────


async def test_an_error_names_its_kind_and_says_its_text_in_one_line() -> None:
    @tool
    async def fails() -> str:
        """Fails."""
        raise LookupError("no\n  such   order" + " and more" * 200)

    done = await dispatched(fails, call=ToolCall("c", "fails"))
    assert done.message.text.startswith("fails failed with LookupError: no such order and more")
    assert len(done.message.text) < 600


async def test_an_error_without_a_text_is_its_kind() -> None:
    @tool
    async def fails() -> str:
        """Fails."""
        raise LookupError

    done = await dispatched(fails, call=ToolCall("c", "fails"))
    assert done.message.text == "fails failed with LookupError."


async def test_a_tool_error_is_told_in_its_own_words() -> None:
    from agentfootprint.errors import ToolError

    @tool
    async def fails() -> str:
        """Fails."""
        raise ToolError("Ask for the order's number first.")

    done = await dispatched(fails, call=ToolCall("c", "fails"))
    assert (done.outcome, done.message.text) == ("error", "Ask for the order's number first.")


@pytest.mark.parametrize(("own", "general", "told"), [(0.01, 60.0, "0.01"), (None, 0.02, "0.02")])
async def test_a_call_that_takes_too_long_is_stopped(own: float | None, general: float, told: str) -> None:
    stopped = asyncio.Event()

    @tool(timeout=own)
    async def hangs() -> str:
        """Hangs."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    done = await dispatched(hangs, call=ToolCall("c", "hangs"), timeout=general)
    assert done.outcome == "timeout"
    assert f"longer than {told} s" in done.message.text
    assert stopped.is_set()


async def test_a_cancellation_from_outside_ends_the_run_and_is_no_result() -> None:
    started = asyncio.Event()

    @tool
    async def hangs() -> str:
        """Hangs."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    task = asyncio.create_task(dispatched(hangs, call=ToolCall("c", "hangs"), timeout=60.0))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("timeout", [None, 60.0])
async def test_a_cancellation_from_inside_is_an_error_of_the_tool(timeout: float | None) -> None:
    @tool
    async def lets_go() -> str:
        """Waits for work that was cancelled."""
        work = asyncio.ensure_future(asyncio.sleep(60))
        work.cancel()
        await work
        return "never"

    done = await dispatched(lets_go, call=ToolCall("c", "lets_go"), timeout=timeout)
    assert (done.outcome, done.message.is_error) == ("error", True)


async def test_ctrl_c_is_no_result() -> None:
    @tool
    async def interrupted() -> str:
        """Is interrupted."""
        raise KeyboardInterrupt

    # In a task of its own KeyboardInterrupt would leave the event loop; here the coroutine is driven by hand.
    work = dispatched(interrupted, call=ToolCall("c", "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        work.send(None)


async def test_a_caught_pause_fails_loudly() -> None:
    from agentfootprint.errors import FlowInvalid

    @tool
    async def greedy(ctx: ToolContext[Any]) -> str:
        """Catches everything."""
        try:
            return str(ctx.ask("Sure?"))
        except BaseException:
            return "nobody asked"

    with pytest.raises(FlowInvalid, match="caught the pause"):
        await dispatched(greedy, call=ToolCall("c", "greedy"))


async def test_what_may_run_again_is_known_by_name() -> None:
    @tool(idempotent=True)
    async def safe() -> str:
        """Safe."""
        return "ok"

    dispatcher = Dispatcher({"safe": safe, "pay": pay})
    assert [dispatcher.idempotent(name) for name in ("safe", "pay", "gone")] == [True, False, False]
    assert (dispatcher.get("pay"), dispatcher.get("gone")) == (pay, None)
