"""How a decorator tells what it did: to the run around it, wherever it stands in a chain."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from ..events import Event
from ..flow.current import tell_run

__all__ = ["Hook", "report"]

Hook: TypeAlias = Callable[[Event], None]

_log = logging.getLogger("agentfootprint.resilience")


def report(kind: type[Event], *fields: object, hook: Hook | None = None) -> None:
    """Tells an event of `kind` with its own `fields`.

    During a run it goes into the journal of the step that calls the provider and to whoever watches
    the run; no decorator between can hold it back. Outside a run `run_id` and `step` are None. The
    `hook` of the decorator gets it in both cases; one that raises is logged and changes nothing.
    """
    event = tell_run(kind, *fields)
    if hook is not None:
        try:
            hook(event)
        except Exception as error:
            _log.warning("a hook of a provider's decorator raised %s", type(error).__name__)
