"""Running the footprint of an agent, or of a flow, again."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..agent import Agent
from ..agent.chart import agent_flow
from ..errors import InputInvalid, JournalInvalid
from ..flow import Flow, Footprint, Run
from ..flow.codec import decode
from .loading import Loaded

__all__ = ["flow_of", "forked", "read", "replayed"]


def read(path: Path, loaded: Loaded | None) -> Footprint:
    """The record, with the words and the types of the code that ran where they can be had."""
    if loaded is not None:
        return Footprint.load(path, _flow(loaded))
    plain = Footprint.load(path)
    known = flow_of(plain)
    return plain if known is None else Footprint.load(path, known)


def flow_of(footprint: Footprint) -> Flow[Any] | None:
    """The flow of an agent's record; None of a record of a flow that is somebody's own."""
    return next((flow for flow in _agent_flows() if flow.chart.hash == footprint.flow_hash), None)


async def replayed(loaded: Loaded, footprint: Footprint) -> Run:
    """Raises `ReplayDiverged` naming the step that did something else, `ReplayRefused` when it cannot be."""
    if isinstance(loaded, Agent):
        return await loaded.replay(footprint)
    return await footprint.replay()


async def forked(
    loaded: Loaded, footprint: Footprint, *, at: str, changes: Mapping[str, Any], live: bool
) -> Run:
    types = _flow(loaded).chart.types
    typed = {key: _typed(key, types.get(key, Any), value) for key, value in changes.items()}
    if isinstance(loaded, Agent):
        return await loaded.fork(footprint, at=at, set=typed, effects="live" if live else "recorded")
    return await footprint.fork(at=at, set=typed, effects="live" if live else "recorded")


def _typed(key: str, kind: Any, value: Any) -> Any:
    try:
        return decode(kind, value)
    except JournalInvalid as error:
        raise InputInvalid(f"--set {key}: {error}") from None


def _flow(loaded: Loaded) -> Flow[Any]:
    return loaded.flow if isinstance(loaded, Agent) else loaded


def _agent_flows() -> list[Flow[Any]]:
    """The few shapes that an agent's loop has."""
    options = list(inspect.signature(agent_flow).parameters)
    return [
        agent_flow(**dict(zip(options, chosen, strict=True)))
        for chosen in itertools.product((False, True), repeat=len(options))
    ]
