"""An agent's run in plain sentences: what happened, and what its answer rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..flow import Call, Footprint, StepRecord, Version
from ..flow.again import WITHHELD, Stored
from ..flow.codec import decode
from ..flow.journal import UNANSWERED
from ..flow.nested import Nested, nested_in
from ..flow.redaction import REDACTED, hidden, known_secrets, scrub
from ..flow.slices import backward, origin
from ..flow.telling import short, tell_decision, tell_slice
from ..messages import LLMResponse, Message, ToolCall
from ..quoting import shared_words
from ..retrieval.passages import Passage, passages_of, quotation
from .recalling import Shown
from .spending import Spent

__all__ = ["explain", "narrate"]

_WIDTH = 160
_REFUSED = "CostBudgetExceeded"


# ── the story ───────────────────────────────────────────────────────────────────────────────────


def narrate(footprint: Footprint) -> str:
    """The run from question to answer, one sentence for each thing that happened."""
    lines: list[str] = []
    for step in footprint.steps:
        lines += _STORIES.get(step.node, _nothing)(footprint, step)
        if step.status == "failed" and step.error is not None and not _holds_others(step):
            lines.append(f"{step.id} failed with {step.error[0]}: {_plain(step.error[1])}")
        elif step.status == "cancelled":
            lines.append(f"{step.id} was cancelled.")
    return "\n".join(lines)


def _holds_others(step: StepRecord) -> bool:
    return step.node in ("prepare", "call_tools", "recall") and not step.path.endswith("]")


def _nothing(footprint: Footprint, step: StepRecord) -> list[str]:
    return []


def _question(footprint: Footprint, step: StepRecord) -> list[str]:
    given = _written(step, "input")
    if given is None or given is WITHHELD:
        return ["The question was withheld."]
    lines = []
    if given.history:
        lines.append(f"The conversation so far has {len(given.history)} messages.")
    return [*lines, f"The user asked: {_quote(given.text)}"]


def _recalled(footprint: Footprint, step: StepRecord) -> list[str]:
    if not step.path.endswith("]"):
        return []
    lines = []
    for call in step.calls:
        if passages := passages_of(call):
            places = ", ".join(each.place for each in passages)
            lines.append(f"Corpus {call.key!r} gave {len(passages)} passages: {_plain(places)}.")
        elif call.end:
            lines.append(f"Memory {call.key!r} gave {_shown(call.result)} messages.")
    return lines


_ANSWERED = {
    "content_filter": "The vendor's filter stopped the model's answer",
    "refusal": "The model declined to answer",
}


def _model(footprint: Footprint, step: StepRecord) -> list[str]:
    if refused := [call.error[1] for call in step.calls if call.error and call.error[0] == _REFUSED]:
        return [f"The model was not asked: {_plain(refused[0])}"]
    reply = _written(step, "reply")
    if reply is WITHHELD:
        return ["The model's reply was withheld."]
    if not isinstance(reply, LLMResponse):
        return []
    took = _took(step)
    spent = _written(step, "cost")
    if isinstance(spent, Spent):
        took += ", cost so far unknown" if spent.total is None else f", ${spent.total:f} so far"
    if calls := reply.tool_calls:
        told = ", ".join(_call(call) for call in calls)
        spoke = f", saying {_quote(reply.text)}" if reply.text else ""
        return [f"The model asked for {told}{spoke} ({took})."]
    said = _ANSWERED.get(reply.stop_reason, "The model answered")
    return [f"{said}: {_quote(reply.text)} ({took})."]


def _tool(footprint: Footprint, step: StepRecord) -> list[str]:
    if not step.path.endswith("]"):
        return []
    lines = []
    for record in step.asks:
        asked = f"  A person was asked: {_quote(record.ask.question)}"
        if record.ask.tool is not None:
            asked += f" for {record.ask.tool}({_arguments(record.ask.arguments or {})})"
        if record.answer is UNANSWERED:
            lines.append(f"{asked}. The run waits for the answer.")
        else:
            by = f" by {record.by}" if record.by else ""
            lines.append(f"{asked}. Answered{by}: {short(record.answer)}.")
    if (inner := _within(footprint, step)) is not None:
        lines.append(f"  Within {inner.told['name']}:")
        lines += [f"    {line}" for line in inner.footprint.narrative().splitlines()]
    for version in step.writes:
        if version.key == "history" and version.value is WITHHELD:
            lines.append("  The result of a tool was withheld.")
        elif version.key == "history":
            for message in version.value[version.grown_from() :]:
                verb = "refused or failed" if message.is_error else "returned"
                # The call's own time: the step's holds the time a person took to answer.
                own = (call for call in step.calls if call.key == message.call_id and call.within is None)
                took = "".join(f" ({_took(call)})" for call in own)
                lines.append(f"  {message.name} {verb}: {_quote(message.text)}{took}.")
    return lines


def _within(footprint: Footprint, step: StepRecord) -> Nested | None:
    """The run that a tool's call made; None when there was none, or when it was withheld."""
    call = nested_in(step)
    return None if call is None or call.result is WITHHELD else Nested.of(call.result, footprint.code)


def _limit(footprint: Footprint, step: StepRecord) -> list[str]:
    return [f"The limit {_written(step, 'stop')} was reached; the model is asked for a last answer."]


_KEPT = {
    "conversation": ("The conversation", "written"),
    "remember": ("Memory {!r}", "written"),
    "fold": ("The summary of memory {!r}", "written anew"),
}


def _kept(footprint: Footprint, step: StepRecord) -> list[str]:
    lines = []
    for call in step.calls:
        nothing = call.name == "fold" and getattr(call.result, "data", call.result) == 0
        if call.within is not None or call.name not in _KEPT or nothing:
            continue
        what, done = _KEPT[call.name]
        told = f"{what.format(call.key)} {'could not be' if call.error else 'was'} {done}"
        asked = sum(each.name == "model" and each.within == f"{call.name}:{call.key}" for each in step.calls)
        by = f", by {asked} question{'s' if asked > 1 else ''} to a model" if asked else ""
        lines.append(f"{told}: {call.error[1]}" if call.error else f"{told}{by}.")
    return lines


def _answered_again(footprint: Footprint, step: StepRecord) -> list[str]:
    return ["The answer does not fit; the model is asked to answer again."]


def _settled(footprint: Footprint, step: StepRecord) -> list[str]:
    recovered = [call for call in step.calls if call.name == "recover"]
    lines = [
        f"What was to stand in for the answer failed: {_plain(call.error[1])}"
        if call.error
        else "No answer of the model fits; another stands in for it."
        for call in recovered
    ]
    return [*lines, *_guarded(footprint, step)]


def _guarded(footprint: Footprint, step: StepRecord) -> list[str]:
    said = (
        (call.key, getattr(call.result, "data", call.result))
        for call in step.calls
        if call.name == "guardrail"
    )
    return [
        f"Guardrail {str(key).partition(':')[2]} stopped the run: {_plain(str(reason))}"
        for key, reason in said
        if reason is not None
    ]


_STORIES = {
    "ask_again": _answered_again,
    "settle": _settled,
    "guard_input": _guarded,
    "input": _question,
    "recall": _recalled,
    "call_model": _model,
    "call_tools": _tool,
    "wrap_up": _limit,
    "remember": _kept,
}


def _written(step: StepRecord, key: str) -> Any:
    return next((version.value for version in step.writes if version.key == key), None)


def _shown(result: Any) -> int:
    return len(_messages(result))


def _messages(result: Any) -> Sequence[Message]:
    """What a memory or a corpus showed, also when the record was read from a file."""
    if isinstance(result, Stored):
        messages: tuple[Message, ...] = decode(tuple[Message, ...], result.data["messages"])
        return messages
    return result.messages if isinstance(result, Shown) else ()


def _took(what: StepRecord | Call) -> str:
    seconds = (what.end or what.start) - what.start
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _call(call: ToolCall) -> str:
    return f"{call.name}({_arguments(call.arguments)})"


def _calls(version: Version) -> str | None:
    """What the model asked for, in short; None for any other value."""
    calls = version.value
    if type(calls) is not tuple or not calls or not all(type(call) is ToolCall for call in calls):
        return None
    return ", ".join(map(_call, calls))


def _arguments(arguments: Any) -> str:
    return ", ".join(f"{name}={short(value, 60)}" for name, value in arguments.items())


def _quote(text: str) -> str:
    return f"“{_plain(text)}”"


def _plain(text: str) -> str:
    text = " ".join(hidden(text).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


# ── the reasons ─────────────────────────────────────────────────────────────────────────────────


def explain(footprint: Footprint, version: Version, index: int | None, limit: int) -> str:
    """What an answer rests on: first what it quotes, then what the model had read, then the decisions.

    A quotation is a match of texts, shown as such. That something was read is certain; that it moved
    the model is not known, and not claimed.
    """
    if version.key != "output":
        start = version if index is None else origin(version, index % len(version.value))
        return tell_slice(footprint, backward(footprint.steps, start, prefix=index is None, limit=limit))
    found = backward(footprint.steps, version)
    steps = footprint.steps
    lines = [f"The answer is {_quote(str(version.value))}."]
    secrets = known_secrets(steps)
    # Before anything is cut short: the half of a secret would not be known for one.
    read = scrub([list(each) for each in _read_by_model(found.versions, steps, secrets)], secrets)
    answer = scrub(str(version.value), secrets).replace(REDACTED, "…")
    quotes = [
        f"- {where}: {', '.join(map(_quote, shared))}"
        for where, text in read
        if (shared := shared_words(answer, text))
    ]
    if quotes:
        lines.append("It shares these words with what the model had read (text match):")
        lines += quotes
    lines.append("The model had read:")
    lines += [f"- {where}: {_quote(text)}" for where, text in read]
    asked = [
        f"- {record.ask.question} Answered{f' by {record.by}' if record.by else ''}: {short(record.answer)}"
        for step in steps
        for record in step.asks
        if record.answer is not UNANSWERED
    ]
    rests_on = {version.step for version in found.versions}
    for step in steps:
        inner = _within(footprint, step) if step.number in rests_on else None
        if inner is not None and inner.told["output"] in inner.footprint.state:
            lines.append(f"Within {inner.told['name']} ({step.id}):")
            why = inner.footprint.why(inner.told["output"], limit=limit)
            lines += [f"  {line}" for line in why.splitlines()]
    if asked:
        lines.append("People were asked:")
        lines += asked
    led = [
        f"- {step.id} {tell_decision(step.decision, _calls)}"
        for step in reversed(found.decisions)
        if step.decision is not None and step.node == "route"
    ]
    if led:
        lines.append("The decisions that led here:")
        lines += led
    cut = [f"cut: {one}" for one in found.cut]
    if len(lines) > limit:
        cut.append(f"cut: {len(lines) - limit} more lines, raise limit= to see them")
        lines = lines[:limit]
    if footprint.truncated:
        cut.append("cut: the record's file ends before the run did")
    return "\n".join(lines + cut)


def _found(steps: Sequence[StepRecord], secrets: Sequence[str]) -> Mapping[str, Sequence[Passage]]:
    """The passages that a message quotes, by its text: recalled, or looked up by a tool."""
    calls = (call for step in steps for call in step.calls)
    return {quotation(call): found for call in calls if (found := passages_of(call, secrets))}


def _recalled_from(steps: Sequence[StepRecord]) -> Mapping[str, str]:
    """The memories that recalled messages are from, by their texts."""
    found: dict[str, str] = {}
    for call in (call for step in steps for call in step.calls if call.name == "recall" and call.key):
        shown = decode(Shown, call.result.data) if type(call.result) is Stored else call.result
        if isinstance(shown, Shown):
            found |= {message.text: str(call.key) for message in shown.messages}
    return found


def _longest(versions: Iterable[Version], key: str) -> Sequence[Message]:
    found = (version.value for version in versions if version.key == key and version.value is not WITHHELD)
    return max(found, key=len, default=())


def _read_by_model(
    versions: Iterable[Version], steps: Sequence[StepRecord], secrets: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """Where each text came from that stood in front of the model, in the order it stood there."""
    found, recalled = _found(steps, secrets), _recalled_from(steps)
    said = _longest(versions, "history")
    for version in versions:
        if version.key == "system" and isinstance(version.value, str):
            yield "the instructions", version.value
    for message in _longest(versions, "messages"):
        if passages := found.get(message.text):
            yield from ((each.told, each.text) for each in passages)
        elif message.text in recalled and message not in said:
            by = ", the model" if message.role == "assistant" else ""
            yield f"memory {recalled[message.text]!r}{by}", message.text
        else:
            yield from _told(message)


def _told(message: Message) -> Iterable[tuple[str, str]]:
    if message.role == "tool":
        yield f"the result of {message.name} ({message.call_id})", message.text
    elif message.role == "user":
        yield "the user", message.text
    elif message.text:
        yield "the model, earlier", message.text
