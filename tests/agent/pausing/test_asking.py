"""Ways a tool asks a person, and what the model reads in the end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agentfootprint import ToolContext, ask_human, pause_here, tool
from agentfootprint.errors import AnswerInvalid, ConfigurationError, ResumeDiverged

from .asking import agent_of, asked_of
from .support import go_on, must_pause, output_of, results_of

# ── approval ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("approval", "question"),
    [
        (True, "Approve refund?"),
        ("Pay it back?", "Pay it back?"),
        (lambda given: f"Refund {given['amount']}?", "Refund 40?"),
        (lambda given: given["amount"] > 10, "Approve refund?"),
    ],
)
async def test_an_approval_is_asked_before_the_body_runs(approval: Any, question: str) -> None:
    done: list[int] = []

    @tool(approval=approval)
    async def refund(amount: int) -> str:
        done.append(amount)
        return f"refunded {amount}"

    agent = agent_of(refund, arguments={"amount": 40})
    paused = must_pause(await agent.run("Refund it"))
    (ask,) = paused.asks
    assert (ask.question, ask.tool, ask.arguments, done) == (question, "refund", {"amount": 40}, [])
    result = await go_on(agent, paused, {"approved": True})
    assert (output_of(result), done) == ("done", [40])
    assert results_of(result.messages) == {"refund": "refunded 40"}


@pytest.mark.parametrize("approval", [False, None, lambda given: False, lambda given: None])
async def test_without_an_approval_wanted_nobody_is_asked(approval: Any) -> None:
    @tool(approval=approval)
    async def refund(amount: int) -> str:
        return "refunded"

    assert output_of(await agent_of(refund, arguments={"amount": 1}).run("Refund it")) == "done"


@pytest.mark.parametrize(
    ("answer", "reads"),
    [
        (False, "A person declined this call to refund."),
        ({"approved": False}, "A person declined this call to refund."),
        ({"approved": False, "reason": "too late"}, "A person declined this call to refund: too late"),
    ],
)
async def test_a_denied_call_does_not_run_and_the_model_reads_why(answer: Any, reads: str) -> None:
    done: list[int] = []

    @tool(approval=True)
    async def refund(amount: int) -> str:
        done.append(amount)
        return "refunded"

    agent = agent_of(refund, arguments={"amount": 40})
    await go_on(agent, must_pause(await agent.run("Refund it")), answer)
    told = asked_of(agent)[-1].messages[-1]
    assert (told.text, told.is_error, done) == (reads, True, [])


async def test_an_approval_may_come_with_a_reason() -> None:
    @tool(approval=True)
    async def refund(amount: int) -> str:
        return "refunded"

    agent = agent_of(refund, arguments={"amount": 40})
    paused = must_pause(await agent.run("Refund it"))
    result = await go_on(agent, paused, {"approved": True, "reason": "known customer"}, by="bob")
    assert results_of(result.messages) == {"refund": "refunded"}
    assert "known customer" in result.footprint.narrative()


async def test_arguments_that_do_not_fit_are_sent_back_without_asking_anybody() -> None:
    @tool(approval=True)
    async def refund(amount: int) -> str:
        return "refunded"

    result = await agent_of(refund, arguments={"amount": "a lot"}).run("Refund it")
    assert output_of(result) == "done"
    assert "amount" in results_of(result.messages)["refund"]


async def test_a_denial_holds_although_the_tool_would_no_longer_ask() -> None:
    limit = [10]
    done: list[int] = []

    @tool(approval=lambda given: given["amount"] > limit[0])
    async def refund(amount: int) -> str:
        done.append(amount)
        return "refunded"

    agent = agent_of(refund, arguments={"amount": 40})
    paused = must_pause(await agent.run("Refund it"))
    limit[0] = 100
    result = await go_on(agent, paused, False)
    assert done == []
    assert "declined" in results_of(result.messages)["refund"]


# ── questions from inside a body ────────────────────────────────────────────────────────────────


async def test_an_async_tool_gets_the_answer_where_it_asked() -> None:
    entered: list[str] = []

    @tool
    async def book(city: str) -> str:
        entered.append(city)
        day = await ask_human(f"Which day in {city}?", data={"city": city})
        return f"booked {city} on {day}"

    agent = agent_of(book, arguments={"city": "Rome"})
    paused = must_pause(await agent.run("Book it"))
    (ask,) = paused.asks
    assert (ask.question, ask.data, ask.tool) == ("Which day in Rome?", {"city": "Rome"}, "book")
    result = await go_on(agent, paused, "Monday")
    assert results_of(result.messages) == {"book": "booked Rome on Monday"}
    assert entered == ["Rome", "Rome"], "the body runs again from its first line"


async def test_a_plain_tool_asks_from_its_thread() -> None:
    threads: list[str] = []

    @tool
    def book(ctx: ToolContext[Any], city: str) -> str:
        threads.append(threading.current_thread().name)
        first = ctx.ask(f"Which day in {city}?")
        second = ctx.ask("Which hour?", answer=int)
        return f"{city}, {first}, {second}"

    agent = agent_of(book, arguments={"city": "Rome"})
    again = must_pause(await go_on(agent, must_pause(await agent.run("Book it")), "Monday"))
    assert [ask.question for ask in again.asks] == ["Which hour?"]
    result = await go_on(agent, again, 9)
    assert results_of(result.messages) == {"book": "Rome, Monday, 9"}
    assert len(threads) == 3
    assert "MainThread" not in threads


async def test_pause_here_makes_the_answer_the_result_and_runs_nothing_again() -> None:
    entered: list[str] = []

    @tool
    async def escalate(topic: str) -> Any:
        entered.append(topic)
        return pause_here({"topic": topic}, question="What shall the customer hear?")

    agent = agent_of(escalate, arguments={"topic": "refund"})
    paused = must_pause(await agent.run("Help"))
    assert [(ask.question, ask.data) for ask in paused.asks] == [
        ("What shall the customer hear?", {"topic": "refund"})
    ]
    result = await go_on(agent, paused, {"say": "sorry"})
    assert results_of(result.messages) == {"escalate": '{"say":"sorry"}'}
    assert entered == ["refund"]


async def test_pause_here_in_a_plain_tool_after_an_approval() -> None:
    entered: list[int] = []

    @tool(approval=True)
    def pay(amount: int) -> Any:
        entered.append(amount)
        return pause_here(answer=str)

    agent = agent_of(pay, arguments={"amount": 3})
    second = must_pause(await go_on(agent, must_pause(await agent.run("Pay")), True))
    assert second.asks[0].schema == {"type": "string"}
    with pytest.raises(AnswerInvalid):
        await go_on(agent, second, 3)
    result = await go_on(agent, second, "paid by hand")
    assert (results_of(result.messages), entered) == ({"pay": "paid by hand"}, [3])


async def test_the_type_of_an_answer_is_checked_and_given_back_as_that_type() -> None:
    got: list[Any] = []

    @tool
    async def choose() -> str:
        got.append(await ask_human("How many?", answer=int))
        return "chosen"

    agent = agent_of(choose)
    paused = must_pause(await agent.run("Choose"))
    assert paused.asks[0].schema == {"type": "integer"}
    with pytest.raises(AnswerInvalid, match="How many"):
        await go_on(agent, paused, "three")
    assert got == []
    await go_on(agent, paused, 3)
    assert got == [3]


@pytest.mark.parametrize("answer", [None, False, 0, "", [], {}])
async def test_an_empty_answer_is_an_answer(answer: Any) -> None:
    got: list[Any] = []

    @tool
    async def choose() -> str:
        got.append(await ask_human("What?"))
        return "chosen"

    agent = agent_of(choose)
    await go_on(agent, must_pause(await agent.run("Choose")), answer)
    assert got == [answer]


async def test_outside_of_a_tool_there_is_nobody_to_ask() -> None:
    with pytest.raises(ConfigurationError, match="inside a tool"):
        await ask_human("Anybody?")
    with pytest.raises(ConfigurationError, match="inside a tool"):
        pause_here()


# ── again and again ─────────────────────────────────────────────────────────────────────────────


async def test_an_approval_can_be_followed_by_questions_one_pause_each() -> None:
    done: list[str] = []

    @tool(approval="Send it?")
    async def send(to: str) -> str:
        subject = await ask_human("Subject?")
        greeting = await ask_human("Greeting?")
        done.append(f"{greeting} {to}: {subject}")
        return "sent"

    agent = agent_of(send, arguments={"to": "Ann"})
    result = await agent.run("Write")
    ids = []
    for question, answer in [("Send it?", True), ("Subject?", "Tea"), ("Greeting?", "Dear")]:
        (ask,) = must_pause(result).asks
        assert ask.question == question
        ids.append(ask.id)
        result = await go_on(agent, result, answer)
    assert (output_of(result), done) == ("done", ["Dear Ann: Tea"])
    assert len(set(ids)) == 3


async def test_effects_through_the_context_are_not_repeated() -> None:
    charged: list[int] = []
    reserved: list[str] = []

    async def charge(amount: int) -> str:
        charged.append(amount)
        return f"charge-{len(charged)}"

    @tool
    async def checkout(ctx: ToolContext[Any], amount: int) -> str:
        reserved.append("again")
        receipt = await ctx.call("charge", charge, amount)
        extra = await ctx.call("charge", charge, amount + 1)
        note = await ask_human("Note?")
        late = await ctx.call("charge", charge, amount + 2)
        return f"{receipt} {extra} {late} {note}"

    agent = agent_of(checkout, arguments={"amount": 5})
    result = await go_on(agent, must_pause(await agent.run("Buy")), "thanks")
    assert results_of(result.messages) == {"checkout": "charge-1 charge-2 charge-3 thanks"}
    assert charged == [5, 6, 7]
    assert reserved == ["again", "again"], "what does not go through the context is repeated"


async def test_an_effect_may_have_the_name_of_its_tool() -> None:
    charged: list[int] = []

    async def charge_card(amount: int) -> str:
        charged.append(amount)
        return "receipt"

    @tool
    async def charge(ctx: ToolContext[Any], amount: int) -> str:
        receipt = await ctx.call("charge", charge_card, amount)
        return f"{receipt}, {await ask_human('Note?')}"

    agent = agent_of(charge, arguments={"amount": 5})
    result = await go_on(agent, must_pause(await agent.run("Buy")), "thanks")
    assert (results_of(result.messages), charged) == ({"charge": "receipt, thanks"}, [5])


async def test_an_effect_that_failed_before_the_pause_fails_the_same_way_after_it() -> None:
    class Declined(Exception):
        pass

    tried: list[int] = []

    async def charge(amount: int) -> str:
        tried.append(amount)
        raise Declined("no money")

    @tool
    async def checkout(ctx: ToolContext[Any], amount: int) -> str:
        try:
            await ctx.call("charge", charge, amount, raises=(Declined,))
        except Declined as error:
            return f"{error}, so {await ask_human('What now?')}"
        return "paid"

    agent = agent_of(checkout, arguments={"amount": 5})
    result = await go_on(agent, must_pause(await agent.run("Buy")), "by bill")
    assert (results_of(result.messages), tried) == ({"checkout": "no money, so by bill"}, [5])


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_question_that_differs_on_the_second_run_is_an_error(swallows: bool) -> None:
    questions = iter(["Pay 5?", "Pay 6?"])
    paid: list[str] = []

    @tool
    async def pay() -> str:
        try:
            await ask_human(next(questions))
        except Exception:
            if not swallows:
                raise
        paid.append("paid")
        return "paid"

    agent = agent_of(pay)
    paused = must_pause(await agent.run("Pay"))
    with pytest.raises(ResumeDiverged, match="asked 'Pay 5\\?' before it paused and asks 'Pay 6\\?' now"):
        await go_on(agent, paused, True)
    assert len(asked_of(agent)) == 1, "the model never hears of it"
    assert paid == (["paid"] if swallows else [])


async def test_an_effect_that_differs_on_the_second_run_is_an_error() -> None:
    amounts = iter([5, 6])
    charged: list[int] = []

    @tool
    async def pay(ctx: ToolContext[Any]) -> str:
        await ctx.call("charge", charged.append, next(amounts))
        await ask_human("Sure?")
        return "paid"

    agent = agent_of(pay)
    paused = must_pause(await agent.run("Pay"))
    with pytest.raises(ResumeDiverged, match="'charge' with other arguments"):
        await go_on(agent, paused, True)
    assert charged == [5]


# ── several questions, groups, threads ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["gather", "group"])
async def test_one_tool_may_ask_several_things_at_once(way: str) -> None:
    async def two() -> list[Any]:
        if way == "gather":
            return list(await asyncio.gather(ask_human("Left?"), ask_human("Right?")))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask_human(side)) for side in ("Left?", "Right?")]
        return [task.result() for task in tasks]

    @tool
    async def both() -> str:
        left, right = await two()
        return f"{left}-{right}"

    agent = agent_of(both)
    paused = must_pause(await agent.run("Ask"))
    asks = {ask.question: ask.id for ask in paused.asks}
    result = await go_on(agent, paused, answers={asks["Right?"]: "R", asks["Left?"]: "L"})
    assert results_of(result.messages) == {"both": "L-R"}


# ── seeing it ───────────────────────────────────────────────────────────────────────────────────


async def test_the_footprint_tells_who_was_asked_what_and_who_answered() -> None:
    @tool(approval="Refund it?")
    async def refund(amount: int) -> str:
        return "refunded"

    agent = agent_of(refund, arguments={"amount": 40})
    paused = must_pause(await agent.run("Please refund"))
    waiting = paused.footprint.narrative()
    assert "“Refund it?” for refund(amount=40). The run waits for the answer." in waiting
    result = await go_on(agent, paused, True, by="bob")
    told = result.footprint.narrative()
    assert "Answered by bob: True" in told
    assert told.index("Please refund") < told.index("Refund it?") < told.index("refund returned")
    assert "by bob" in result.footprint.why("output")


async def test_the_record_of_answered_questions_is_replayed_without_asking_or_doing_anything() -> None:
    done: list[str] = []

    @tool(approval=True)
    async def pay(ctx: ToolContext[Any]) -> str:
        receipt = await ctx.call("pay", lambda: "receipt")
        note = await ask_human("Note?", expires_in=600)
        done.append(note)
        return f"{receipt}, {note}"

    agent = agent_of(pay)
    second = must_pause(await go_on(agent, await agent.run("Pay"), True, by="bob"))
    result = await go_on(agent, second, "thanks", by="bob")
    again = await agent.replay(result.footprint)
    assert (again["output"], done) == ("done", ["thanks"])
    assert len(asked_of(agent)) == 2


async def test_what_was_done_before_the_call_was_handed_over_stays_in_the_record() -> None:
    charged: list[str] = []

    @tool
    async def escalate(ctx: ToolContext[Any]) -> Any:
        await ctx.call("reserve", charged.append, "reserved")
        ctx.emit("reserved", {"seats": 2})
        return pause_here(expires_in=600)

    agent = agent_of(escalate)
    result = await go_on(agent, await agent.run("Go"), "handled")
    step = result.footprint.step("call_tools#0[0]")
    assert "reserve" in [one.name for one in step.calls]
    assert charged == ["reserved"]
    again = await agent.replay(result.footprint)
    assert (again["output"], charged) == ("done", ["reserved"])
