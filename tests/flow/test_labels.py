"""Labels follow what is derived from a value; what is secret does not leave the process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from tests.flow.support import answers_to, loaded, stored, told

from agentfootprint.errors import ReplayRefused, StepFailed
from agentfootprint.flow import (
    SECRET,
    Decision,
    Flow,
    Footprint,
    Label,
    Run,
    Seq,
    Step,
    decide,
    eq,
    rule,
)

SENTINEL = "sentinel-4711"
NUMBER = 987654321
HIDDEN = frozenset({SECRET})
UNTRUSTED = Label("untrusted", "integrity")


def line(*functions: Any, state: type | None = None) -> Flow[Any]:
    flow: Flow[Any] = Flow("line", state=state)
    names = [function.__name__ for function in functions]
    for function, following in zip(functions, [*names[1:], None], strict=True):
        flow.step(to=following)(function)
    return flow


def secret(step: Step[Any]) -> None:
    step.set("secret", SENTINEL, labels=HIDDEN)


def artefacts(run: Run | Footprint) -> dict[str, str]:
    """Everything that tells of a run outside the process."""
    footprint = run if isinstance(run, Footprint) else run.footprint
    told = {
        "jsonl": footprint.to_jsonl(),
        "narrative": footprint.narrative(),
        "mermaid": footprint.to_mermaid(),
    }
    for key in footprint.state:
        told[f"why {key}"] = footprint.why(key)
    return told


def leaks(run: Run | Footprint, *needles: str) -> list[str]:
    return [name for name, text in artefacts(run).items() for needle in needles if needle in text]


# ── following ───────────────────────────────────────────────────────────────────────────────────


async def test_a_label_follows_reads_copies_and_nested_writes() -> None:
    def copies(step: Step[Any]) -> None:
        step["copy"] = step["secret"]
        step["nested"] = {"deep": [{"er": step["secret"]}]}
        step.append("list", step["secret"])

    def derives(step: Step[Any]) -> None:
        step["length"] = len(step["copy"])

    def unrelated(step: Step[Any]) -> None:
        step["free"] = "nothing read"

    run = await line(secret, copies, derives, unrelated).start()
    labels = {key: run.footprint.version(key).labels for key in run.footprint.state}
    assert labels == {
        "input": None,
        "secret": HIDDEN,
        "copy": HIDDEN,
        "nested": HIDDEN,
        "list": HIDDEN,
        "length": HIDDEN,
        "free": None,
    }
    assert not leaks(run, SENTINEL)


async def test_only_what_was_written_after_the_read_is_labelled() -> None:
    def mixed(step: Step[Any]) -> None:
        step["before"] = "free"
        step["after"] = len(step["secret"])

    run = await line(secret, mixed).start()
    assert run.footprint.version("before").labels is None
    assert run.footprint.version("after").labels == HIDDEN


async def test_labels_cross_forks_and_joins() -> None:
    flow: Flow[Any] = Flow("fork")
    flow.step(to="split")(secret)

    @flow.fork(branches=["a", "b"], to="after")
    def split(step: Step[Any]) -> None: ...

    @flow.step(to="after")
    def a(step: Step[Any]) -> None:
        step.append("log", step["secret"])

    @flow.step(to="after")
    def b(step: Step[Any]) -> None:
        step.append("log", "free")
        step["alone"] = "free"

    @flow.step
    def after(step: Step[Any]) -> None:
        step["last"] = step["log"][-1]

    run = await flow.start()
    assert run.footprint.version("log").labels == HIDDEN
    assert run.footprint.version("last").labels == HIDDEN
    assert run.footprint.version("alone").labels is None
    assert not leaks(run, SENTINEL)


class Declared(TypedDict):
    input: Any
    key: Annotated[str, SECRET]
    copy: str
    origin: Annotated[str, UNTRUSTED]


async def test_a_declared_label_is_on_whatever_is_written_to_its_key() -> None:
    def writes(step: Step[Any]) -> None:
        step["key"] = SENTINEL
        step["origin"] = "outside"

    def copies(step: Step[Any]) -> None:
        step["copy"] = step["key"]

    run = await line(writes, copies, state=Declared).start()
    assert run.footprint.version("copy").labels == HIDDEN
    assert run.footprint.version("origin").labels == frozenset({UNTRUSTED})
    assert not leaks(run, SENTINEL)
    assert "outside" in run.footprint.to_jsonl()


async def test_a_declared_label_is_on_the_initial_state_too() -> None:
    def nothing(step: Step[Any]) -> None: ...

    run = await line(nothing, state=Declared).start(state={"key": SENTINEL})
    assert not leaks(run, SENTINEL)


async def test_declassify_drops_what_was_read_but_not_what_the_key_declares() -> None:
    def declassifies(step: Step[Any]) -> None:
        step.set("copy", f"{len(step['key'])} characters", declassify=True)
        step.set("key", "still secret", declassify=True)

    def writes(step: Step[Any]) -> None:
        step["key"] = SENTINEL

    run = await line(writes, declassifies, state=Declared).start()
    assert run.footprint.version("copy").labels is None
    assert run.footprint.version("key").labels == HIDDEN
    assert "13 characters" in run.footprint.to_jsonl()


async def test_forget_labels_forgets_one_kind_from_here_on() -> None:
    def both(step: Step[Any]) -> None:
        step.set("both", 1, labels=HIDDEN | {UNTRUSTED})

    def forgets(step: Step[Any]) -> None:
        step["early"] = step["both"]
        assert step.labels == HIDDEN | {UNTRUSTED}
        step.forget_labels()
        step["late"] = 2
        step.forget_labels("integrity")
        step["last"] = 3

    run = await line(both, forgets).start()
    labels = [run.footprint.version(key).labels for key in ("early", "late", "last")]
    assert labels == [HIDDEN | {UNTRUSTED}, {UNTRUSTED}, None]


# ── leaving the process ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Answer:
    text: str
    number: int


async def test_no_artefact_tells_a_secret_wherever_it_went() -> None:
    """The sentinel goes through everything a step can do."""

    def free(step: Step[Any]) -> None:
        step["unlabelled"] = f"quotes {SENTINEL} by chance"

    def secrets(step: Step[Any]) -> None:
        step.set("secret", SENTINEL, labels=HIDDEN)
        step.set("number", NUMBER, labels=HIDDEN)

    async def uses(step: Step[Any]) -> None:
        text, number = step["secret"], step["number"]
        step.emit("event", {"text": text, "number": number, text: 1})
        await step.call("effect", lambda *a, **k: Answer(text, number), text, number=number, key=text)
        try:
            await step.call("boom", lambda: int(text), raises=(ValueError,))
        except ValueError:
            step["copy"] = {text: Answer(text, number)}
        await step.ask(f"may I use {text}?", arguments={"text": text}, data=number)
        step["again"] = [text, number]

    async def quotes(step: Step[Any]) -> None:
        step.emit("chance", f"<{SENTINEL}>")
        await step.call("effect", lambda: {"result": f"<{SENTINEL}>"})

    flow: Flow[Any] = Flow("everything")
    flow.step(to="secrets")(free)
    flow.step(to="uses")(secrets)
    flow.step(to="quotes")(uses)
    flow.step(to="choose")(quotes)

    @flow.decide(to=["end"])
    def choose(step: Step[Any]) -> Decision:
        return decide(step, [rule("it is", "end", secret=eq(SENTINEL))], "end")

    @flow.step
    def end(step: Step[Any]) -> None:
        raise ValueError(f"bad luck with {step['secret']}")

    paused = await flow.start()
    assert paused.status == "paused"
    assert not leaks(paused, SENTINEL, str(NUMBER))
    with pytest.raises(StepFailed) as caught:
        await flow.resume(stored(paused), answers=answers_to(paused, f"yes, {SENTINEL}"))
    footprint = caught.value.footprint
    assert footprint is not None
    assert not leaks(footprint, SENTINEL, str(NUMBER))
    assert not leaks(Footprint.from_lines(footprint.to_jsonl().splitlines()), SENTINEL, str(NUMBER))
    assert SENTINEL in footprint.to_jsonl(redact=False)


async def test_the_error_of_a_step_that_wrote_a_secret_and_failed_does_not_quote_it() -> None:
    def fails(step: Step[Any]) -> None:
        step.set("secret", SENTINEL, labels=HIDDEN)
        raise ValueError(f"cannot use {SENTINEL}")

    with pytest.raises(StepFailed) as caught:
        await line(fails).start()
    assert SENTINEL not in str(caught.value)
    assert caught.value.footprint is not None
    assert not leaks(caught.value.footprint, SENTINEL)


async def test_secrets_that_are_words_of_the_format_break_nothing() -> None:
    words = ["step", "input", "append", "done", "value", "writes", "label", "end", "start", "kind"]

    def writes(step: Step[Any]) -> None:
        for word in words:
            step.set(word, word, labels=HIDDEN)
        step.append("log", "free append")

    def after(step: Step[Any]) -> None:
        step["end"] = True

    run = await line(writes, after).start()
    again = loaded(run, redact=True)
    assert [step.id for step in again.steps] == ["input#0", "writes#0", "after#0"]
    assert list(again.state["log"]) == ["free [redacted]"]


async def test_integrity_labels_hide_nothing() -> None:
    def writes(step: Step[Any]) -> None:
        step.set("web", "from outside", labels=frozenset({UNTRUSTED}))

    run = await line(writes).start()
    assert "from outside" in run.footprint.to_jsonl()
    assert '"redacted":true' not in run.footprint.to_jsonl()
    assert loaded(run, redact=True).version("web").labels == frozenset({UNTRUSTED})


async def test_a_snapshot_keeps_raw_values_and_labels() -> None:
    async def asks(step: Step[Any]) -> None:
        step["copy"] = step["secret"] + await step.ask("?")

    flow = line(secret, asks)
    paused = await flow.start()
    assert SENTINEL in json.dumps(stored(paused))
    run = await flow.resume(stored(paused), answers=answers_to(paused, "!"))
    assert run["copy"] == f"{SENTINEL}!"
    assert run.footprint.version("copy").labels == HIDDEN
    assert not leaks(run, SENTINEL)


async def test_a_redacted_file_says_so_is_told_and_refuses_replay_by_name() -> None:
    def copies(step: Step[Any]) -> None:
        step.append("log", step["secret"])

    flow = line(secret, copies)
    run = await flow.start()
    again = loaded(run, flow, redact=True)
    assert again.redacted
    assert "secret = [redacted]" in again.narrative()
    assert repr(again.state["secret"]) == "[redacted]"
    assert again.slice("log").ids() == run.footprint.slice("log").ids()
    with pytest.raises(ReplayRefused, match="redacted"):
        await again.replay(flow)
    with pytest.raises(ReplayRefused, match="redacted"):
        await again.fork(flow, at="copies#0", set={"x": 1})
    # Written again, also "unredacted", it stays what it is.
    assert Footprint.from_lines(again.to_jsonl(redact=False).splitlines()).redacted


async def test_an_unredacted_file_of_the_same_run_replays() -> None:
    flow = line(secret)
    run = await flow.start()
    again = loaded(run, flow, redact=False)
    assert not again.redacted
    assert told(await again.replay(flow)) == told(run)


async def test_a_run_without_secrets_is_not_marked_as_redacted() -> None:
    def free(step: Step[Any]) -> None:
        step["x"] = "redacted"

    flow = line(free)
    run = await flow.start({"redacted": True})
    again = loaded(run, flow, redact=True)
    assert not again.redacted
    assert told(await again.replay(flow)) == told(run)


async def test_a_list_with_a_secret_item_hides_the_items_from_there_on() -> None:
    def appends(step: Step[Any]) -> None:
        step.append("log", "free item")

    def more(step: Step[Any]) -> None:
        step.append("log", step["secret"])

    def last(step: Step[Any]) -> None:
        step.append("log", "after it")

    run = await line(secret, appends, more, last).start()
    labels = [v.labels for s in run.journal for v in s.writes if v.key == "log"]
    assert labels == [None, HIDDEN, HIDDEN]
    text = run.footprint.to_jsonl()
    assert "free item" in text
    assert "after it" not in text


async def test_a_secret_inside_a_growing_list_is_scrubbed_where_it_is_quoted() -> None:
    def lists(step: Step[Any]) -> None:
        step.set("log", Seq([SENTINEL]), labels=HIDDEN)

    def quotes(step: Step[Any]) -> None:
        step["free"] = f"quotes {SENTINEL}"

    assert not leaks(await line(lists, quotes).start(), SENTINEL)
