"""A run in sentences and pictures, read off its footprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .again import WITHHELD
from .codec import encode
from .journal import UNANSWERED, AskRecord, Decision, StepRecord, Version
from .redaction import REDACTED, hidden, secret
from .slices import Slice

if TYPE_CHECKING:
    from .footprint import Footprint

__all__ = ["short", "tell_decision", "tell_run", "tell_slice", "to_mermaid"]


def short(value: Any, width: int = 80) -> str:
    """A value as a reader wants to see it: one line, at most `width` characters."""
    if value is WITHHELD:
        return REDACTED
    if isinstance(value, str):
        text = repr(hidden(value))
    else:
        try:
            data = encode(value)
        except TypeError:
            data = value
        data = hidden(data)
        if isinstance(data, list) and len(data) > 3:
            text = f"{len(data)} items"
        else:
            text = str(data)
    return text if len(text) <= width else text[: width - 1] + "…"


def _shown(version: Version) -> str:
    if secret(version.labels) or version.value is WITHHELD:
        return REDACTED
    if version.verb == "append":
        items = version.value[version.grown_from() :]
        return short(items[0]) if len(items) == 1 else f"{len(items)} items"
    return short(version.value)


def tell_decision(decision: Decision, show: Callable[[Version], str | None] = lambda version: None) -> str:
    """The rule that matched and the values it compared; then what did not match before it. `show` may
    have words of its own for a value."""
    choice = decision.choice if isinstance(decision.choice, str) else ", ".join(decision.choice)
    if not decision.rule:
        return f"chose {choice}"
    told = f"chose {choice} because {decision.rule}"
    rules = decision.tried
    for tried in rules:
        if tried.rule == decision.rule:
            compared = [
                f"{one.key} is {show(one.version) or _shown(one.version)}, {one.test}"
                for one in tried.compared
                if one.version is not None
            ]
            return f"{told} ({'; '.join(compared)})"
    failed = [
        f"{tried.rule}: {one.key} "
        + (
            f"is {show(one.version) or _shown(one.version)}, not {one.test}"
            if one.version
            else "was never written"
        )
        for tried in rules
        for one in tried.compared
        if not one.held
    ]
    return told + (f" ({'; '.join(failed)})" if failed else "")


def tell_run(footprint: Footprint) -> str:
    lines = []
    for step in footprint.steps:
        indent = "  " * _depth(step)
        lines.append(f"{indent}{step.id}: {_tell_step(footprint, step)}")
    return "\n".join(lines)


def _depth(step: StepRecord) -> int:
    return step.path.count("/") + step.path.endswith("]")


def _tell_step(footprint: Footprint, step: StepRecord) -> str:
    parts = []
    if step.reads:
        parts.append("read " + ", ".join(dict.fromkeys(version.key for version in step.reads)))
    for call in step.calls:
        outcome = f"failed with {call.error[0]}: {call.error[1]}" if call.error else "answered"
        parts.append(f"called {call.name}, which {outcome}")
    parts += [_tell_ask(record) for record in step.asks]
    if step.decision is not None:
        parts.append(tell_decision(step.decision))
    own = [version for version in step.writes if version.step == step.number]
    for version in own:
        verb = {"set": "set", "append": "added to", "merge": "joined", "reduce": "joined"}[version.verb]
        parts.append(f"{verb} {version.key} = {_shown(version)}")
    if step.status not in ("done", "running"):
        parts.append(step.status + (f" with {step.error[0]}: {step.error[1]}" if step.error else ""))
    return "; ".join(parts) or "done"


def _tell_ask(record: AskRecord) -> str:
    given = "waits" if record.answer is UNANSWERED else f"was answered {short(record.answer)}"
    return f"asked {record.ask.question!r}, which {given}"


def tell_slice(footprint: Footprint, found: Slice) -> str:
    """The slice as sentences: each version with what it was made from, decisions beside them."""
    root = found.root
    lines = [f"{root.key} is {_shown(root)}, written by {footprint.steps[root.step].id}"]
    names: dict[int, str] = {}

    def name(version: Version) -> str:
        known = names.get(id(version))
        if known is None:
            known = names[id(version)] = footprint.id_of(version)
        return known

    for version, links in found.links:
        if isinstance(version, StepRecord):
            continue
        step = footprint.steps[version.step]
        rests = "; ".join(
            f"{_RESTS[kind]} {other.key} ({name(other)})"
            for other, kind in links
            if not isinstance(other, StepRecord)
        )
        if not rests:
            rests = "given to the run" if step.node == "input" else "made by the step itself"
        if calls := [call.name for call in step.calls]:
            rests += f"; called {', '.join(calls)}"
        for record in step.asks:
            rests += f"; {_tell_ask(record)}"
        lines.append(f"- {version.key} = {_shown(version)} ({name(version)}): {rests}")
    for step in found.decisions:
        if step.decision is not None:
            lines.append(f"- {step.id} {tell_decision(step.decision)}")
    lines += [f"- cut: {cut}" for cut in found.cut]
    if footprint.truncated:
        lines.append("- the record itself is cut: its file ends before the run did")
    return "\n".join(lines)


_RESTS = {"data": "read", "input": "was given", "prefix": "grew from", "merge": "joined"}


def to_mermaid(footprint: Footprint) -> str:
    """A flowchart of the steps that ran, each once, with how often each way was taken."""
    names: dict[str, str] = {}
    ways: dict[tuple[str, str], int] = {}
    last: dict[str, str] = {}
    shapes: dict[str, str] = {}
    for step in footprint.steps:
        frame, name = step.path, step.node
        node = names.setdefault(name, f"n{len(names)}")
        decided = step.decision is not None and isinstance(step.decision.choice, str)
        shapes.setdefault(node, f'{node}{{"{name}"}}' if decided else f'{node}["{name}"]')
        before = last.get(frame)
        if before is None and frame:
            opener = frame.rstrip("/").rpartition("/")[2].partition("#")[0]
            before = names.get(opener)
        if before is not None and before != node:
            ways[before, node] = ways.get((before, node), 0) + 1
        last[frame] = node
    lines = ["flowchart TD", *(f"  {shape}" for shape in shapes.values())]
    for (source, target), count in ways.items():
        label = f"|{count}×|" if count > 1 else ""
        lines.append(f"  {source} -->{label} {target}")
    return "\n".join(lines)
