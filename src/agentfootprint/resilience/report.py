"""How a decorator tells what it did: to the run around it, wherever it stands in a chain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import fields as fields_of
from typing import TypeAlias

from ..events import Event
from ..flow.codec import encode
from ..flow.current import calling

__all__ = ["Hook", "report"]

Hook: TypeAlias = Callable[[Event], None]

_log = logging.getLogger("agentfootprint.resilience")


def report(kind: type[Event], *fields: object, hook: Hook | None = None) -> None:
    """Tells an event of `kind` with its own `fields`.

    During a run it goes into the journal of the step that calls the provider and to whoever watches
    the run; no decorator between can hold it back. Outside a run `run_id` and `step` are None. The
    `hook` of the decorator gets it in both cases; one that raises is logged and changes nothing.
    """
    now = calling.get()
    step = None if now is None or not now[0].running else now[0]
    event = kind(
        None if step is None else step.run.id, time.time(), None if step is None else step.id, *fields
    )
    if step is not None and now is not None:
        call = now[1]
        step.emit(kind.type, _own_fields(event), within=f"{call.name}:{call.key}")
    if hook is not None:
        try:
            hook(event)
        except Exception as error:
            _log.warning("a hook of a provider's decorator raised %s", type(error).__name__)


def _own_fields(event: Event) -> dict[str, object]:
    return {
        field.name: encode(getattr(event, field.name))
        for field in fields_of(event)
        if field.name not in _COMMON
    }


_COMMON = frozenset(("run_id", "at", "step"))
