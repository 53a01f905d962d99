"""Frames side by side: the branches of a fork, the items of a map."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ..errors import AgentFootprintError, ReplayError, ResumeDiverged
from .chart import Node
from .frame import Frame

__all__ = ["drive_all"]

Drive = Callable[[Frame], Awaitable[bool]]


async def drive_all(drive: Drive, children: list[Frame], node: Node) -> bool:
    """Walks the frames that are not done, as many at a time as the node allows; whether all of them
    came to their end. The first that fails cancels the others; a frame that waits lets them finish."""
    waiting = [child for child in children if not child.done]
    if (
        len(waiting) < 2
        or node.limit == 1
        or (node.kind == "fork" and all(child.name in child.chart.inline for child in waiting))
    ):
        finished = True
        for child in waiting:
            if not await _drive_child(drive, child, node):
                finished = False
        return finished
    gate = None if node.limit is None else asyncio.Semaphore(node.limit)

    async def gated(child: Frame, gate: asyncio.Semaphore) -> bool:
        async with gate:
            return await _drive_child(drive, child, node)

    tasks = [
        asyncio.ensure_future(_drive_child(drive, child, node) if gate is None else gated(child, gate))
        for child in waiting
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        # Whoever is left belongs to a walk that failed or was cancelled.
        for task in tasks:
            task.cancel()
        await _settled(tasks)
    errors = [e for t in tasks if not t.cancelled() and (e := t.exception()) is not None]
    if errors:
        raise errors[0]
    if any(task.cancelled() for task in tasks):
        raise asyncio.CancelledError
    return all(task.result() for task in tasks)


async def _drive_child(drive: Drive, child: Frame, node: Node) -> bool:
    if child.name not in node.optional:
        return await drive(child)
    try:
        return await drive(child)
    except (ReplayError, ResumeDiverged):
        raise  # not the branch failed, its record does not fit
    except AgentFootprintError:
        # Declared optional: its failed step stays in the journal, its writes do not join.
        child.open = child.children = child.pc = None
        child.state = {}
        return True


async def _settled(tasks: Sequence[asyncio.Future[bool]]) -> None:
    """Waits until every task is over, even when the waiting itself is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
