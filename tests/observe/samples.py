"""One made-up event of every kind, and any number of random ones."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from hypothesis import strategies as st

from agentfootprint import events as e
from agentfootprint.identity import MemoryIdentity
from agentfootprint.messages import Usage

RUN = "run-3f9a2c"
AT = 1_700_000_000.25

SAMPLES: tuple[e.Event, ...] = (
    e.RunStarted(RUN, AT, None, "support", MemoryIdentity("acme", "alice", "t-42"), "Where is order A-1?"),
    e.RunResumed(RUN, AT, "accept#0", "support", None, "bob"),
    e.RunPaused(RUN, AT, "call_tools#1[0]", ("ask-1", "ask-2"), ("Refund $299?", "Really?")),
    e.RunEnded(RUN, AT, None, "completed", None, Usage(120, 30), 0.0125, 1.24),
    e.RunFailed(RUN, AT, "call_model#2", "unavailable", "the vendor could not be reached"),
    e.ContextPrepared(RUN, AT, "loop#1", 1, ("system", "messages", "tools")),
    e.ModelStarted(RUN, AT, "call_model#0", "mock", "mock-1", 3, 2, False),
    e.TextDelta(RUN, AT, "call_model#0", "It has "),
    e.ReasoningDelta(RUN, AT, "call_model#0", "The user wants"),
    e.ToolCallDrafted(RUN, AT, "call_model#0", 0, "call-1", None, '{"order'),
    e.ModelEnded(RUN, AT, "call_model#0", "mock", "mock-1", Usage(100, 20, 50), "tool_calls", 1, 4, 0.2, 0.9),
    e.ModelFailed(RUN, AT, "call_model#0", "mock", "mock-1", "rate_limited", "too many requests"),
    e.ModelRetried(RUN, AT, "call_model#0", "mock", "mock-1", 1, 0.42, "overloaded", "too many requests"),
    e.ModelGaveUp(RUN, AT, "call_model#0", "mock", "mock-1", 3, "attempts", "overloaded"),
    e.ModelFellBack(
        RUN, AT, "call_model#0", "mock", "mock-1", "other", "other-1", "unavailable", "cannot be reached"
    ),
    e.CircuitOpened(RUN, AT, "call_model#0", "mock:mock-1", 5, 30.0, False),
    e.CircuitProbed(RUN, AT, "call_model#0", "mock:mock-1"),
    e.CircuitClosed(None, AT, None, "mock:mock-1"),
    e.RateLimitWaited(RUN, AT, "call_model#0", "mock:mock-1", 0.25),
    e.StateDegraded(None, AT, None, "circuit breaker mock:mock-1", "the store cannot be reached"),
    e.StateRecovered(None, AT, None, "circuit breaker mock:mock-1"),
    e.CostTicked(RUN, AT, "call_model#0", "model", "mock", "mock-1", Usage(100, 20), "0.0004", None),
    e.RouteDecided(RUN, AT, "route#0", "tools", "model asked for tools"),
    e.ToolStarted(
        RUN, AT, "call_tools#0[0]", "lookup_order", "call-1", {"order_id": "A-1", "deep": [1, None]}
    ),
    e.ToolProgress(RUN, AT, "call_tools#0[0]", "lookup_order", "call-1", "page 2", 0.4),
    e.ToolEnded(RUN, AT, "call_tools#0[0]", "lookup_order", "call-1", "ok", "Order A-1: shipped", 0.031),
    e.LimitReached(RUN, AT, None, "max_iterations", 20.0),
    e.MemoryRecalled(RUN, AT, "recall#0", "customer", 5, 0.002),
    e.MemoryWritten(RUN, AT, "remember#0", "customer", "entry-1", 0.003),
    e.MemoryFailed(RUN, AT, "remember#0", "customer", "remember", "the store is full", 1.5),
    e.MemoryFolded(RUN, AT, "remember#0", "customer", 6, 0.8),
    e.HistoryHealed(RUN, AT, "accept#0", 1, 0),
    e.ConversationSaved(RUN, AT, "answer#0", 7),
    e.ConversationFailed(RUN, AT, "answer#0", "the store could not be written"),
    e.PermissionDecided(RUN, AT, "call_tools#0[0]", "refund", "call-1", "deny", "default", "no rule"),
    e.OutputRejected(RUN, AT, "answer#0", 1, ("amount: missing, it is required",)),
    e.OutputFellBack(RUN, AT, "settle#0", "recover", "ValueError: no"),
    e.GuardrailTripped(RUN, AT, "guard_input#0", "no_cards", "input", "a card number"),
    e.StepEnded(RUN, AT, "route#0", "route", "done", 0.0001),
    e.RetrievalEnded(RUN, AT, "recall#0[1]", "handbook", 3, 5, 0.012),
    e.EmbeddingEnded(RUN, AT, "recall#0[1]", "openai", "text-embedding-3-small", 1, 1536, Usage(9), 0.008),
    e.Emitted(RUN, AT, "tool#0", "parsed", {"rows": 3, "names": ["a", "ü"], "ok": True}),
)

_text = st.text(max_size=40)
_number = st.floats(0, 4e9, allow_nan=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_identity = st.builds(
    MemoryIdentity,
    *[st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)] * 3,
)
_usage = st.builds(Usage, *[st.integers(0, 10**9)] * 6)


def events_of(kind: type[e.Event]) -> st.SearchStrategy[e.Event]:
    """Random events of one kind, built from the declared types of its fields."""
    special: dict[Any, st.SearchStrategy[Any]] = {
        str: _text,
        str | None: st.none() | _text,
        float: _number,
        float | None: st.none() | _number,
        MemoryIdentity | None: st.none() | _identity,
        Usage: _usage,
        Usage | None: st.none() | _usage,
        tuple[str, ...]: st.lists(_text, max_size=3).map(tuple),
    }
    fields: dict[str, st.SearchStrategy[Any]] = {}
    hints = get_type_hints(kind)
    for name in (field.name for field in dataclasses.fields(kind)):
        hint = hints[name]
        if name == "arguments" and hint is not str:
            fields[name] = st.dictionaries(_text, _json, max_size=3)
        elif name == "data":
            fields[name] = _json
        else:
            fields[name] = special[hint] if hint in special else st.from_type(hint)
    return st.builds(kind, **fields)


any_event: st.SearchStrategy[e.Event] = st.one_of([events_of(kind) for kind in e.CATALOGUE.values()])


def text(value: str, run_id: str = RUN) -> e.TextDelta:
    return e.TextDelta(run_id, AT, None, value)
