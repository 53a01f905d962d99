"""How things are timed: in batches of about 10 ms, with a gauge of the machine's speed in between."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from statistics import fmean
from typing import Any

from gauge import Stopwatch, gauge

Measures = dict[str, dict[str, Any]]
"""By name: `wall`, `cpu` (seconds) and `gauge` (milliseconds) of something timed, or `value`."""

SECONDS = 0.4
"""CPU seconds that something is repeated for, at least."""


async def timed(
    once: Callable[[], Awaitable[Any]], calls: int, *, per: float = 1, quick: bool = False
) -> dict[str, float]:
    """The mean of one call of `once`, over at least so many calls, divided by `per`."""
    wall = cpu = 0.0
    done, batch, gauges = 0, 1, [gauge()]
    gc.collect()
    while done < calls or (cpu < SECONDS and not quick):
        with Stopwatch() as watch:
            for _ in range(batch):
                await once()
        done += batch
        wall += watch.wall
        cpu += watch.cpu
        gauges.append(gauge())
        if watch.wall < 0.01:
            batch *= 2
    return {"wall": wall / done / per, "cpu": cpu / done / per, "gauge": fmean(gauges)}


async def timed_now(
    once: Callable[[], Any], calls: int, *, per: float = 1, quick: bool = False
) -> dict[str, float]:
    """The same for a plain function."""

    async def awaited() -> None:
        once()

    return await timed(awaited, calls, per=per, quick=quick)


def memory(field: str) -> float:
    """A field of this process's memory in KiB: `VmRSS` now, `VmHWM` at its highest; NaN without /proc."""
    try:
        with open("/proc/self/status") as file:
            return float(next(line for line in file if line.startswith(field + ":")).split()[1])
    except (OSError, StopIteration):
        return float("nan")


def alive(package: str) -> int:
    """How many objects of a package's own classes this process holds."""
    return sum(_package(type(one)) == package for one in gc.get_objects())


def _package(kind: type) -> str:
    module = getattr(kind, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""
