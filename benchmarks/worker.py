"""Runs one workload of one framework in this interpreter and prints its measures as a line of JSON.

python worker.py FRAMEWORK_FILE WORKLOAD [quick]

Started by run.py, always in a fresh interpreter of the framework's own environment.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import importlib.util
import json
import logging
import re
import sys
import warnings
from collections.abc import Awaitable, Callable
from statistics import fmean
from types import ModuleType

import stored
from gauge import Stopwatch, gauge, gauged
from measuring import Measures, alive, memory, timed, timed_now
from plan import FINAL, Plan, Subject

Workload = Callable[[ModuleType, bool], Awaitable[Measures]]


async def checked(subject: Subject, plan: Plan) -> None:
    """One run that must have called every tool and ended with the final text."""
    before = plan.ran
    text = await subject.run()
    ran = plan.ran - before
    if text != FINAL or ran != plan.turns * plan.width:
        raise SystemExit(f"wrong run: text {text!r}, {ran} tool calls of {plan.turns * plan.width}")


async def hello(framework: ModuleType, quick: bool) -> Measures:
    """One message in, one text out; and the first of these, which pays for what was put off till then."""
    plan = Plan()
    before = gauged()
    with Stopwatch() as watch:
        subject = framework.prepare(plan)
        await checked(subject, plan)
    first = {"wall": watch.wall, "cpu": watch.cpu, "gauge": (before + gauged()) / 2}
    for _ in range(2 if quick else 100):
        await checked(subject, plan)
    return {"first": first, "hello": await timed(subject.run, 5 if quick else 2000, quick=quick)}


def tools(turns: int, runs: int) -> Workload:
    async def work(framework: ModuleType, quick: bool) -> Measures:
        plan = Plan(turns=turns)
        subject = framework.prepare(plan)
        for _ in range(1 if quick else max(1, runs // 6)):
            await checked(subject, plan)
        before = plan.ran
        measure = await timed(subject.run, 1 if quick else runs, per=turns, quick=quick)
        if (plan.ran - before) % turns:
            raise SystemExit("wrong runs: tool calls are missing")
        return {f"tools{turns}": measure}

    return work


async def parallel(framework: ModuleType, quick: bool) -> Measures:
    """One turn with 20 calls of a tool that waits 10 ms; the median of the runs."""
    plan = Plan(turns=1, width=20, tool_seconds=0.01)
    subject = framework.prepare(plan)
    await checked(subject, plan)
    walls, cpus, gauges = [], [], []
    for _ in range(2 if quick else 40):
        with Stopwatch() as watch:
            await subject.run()
        walls.append(watch.wall)
        cpus.append(watch.cpu)
        gauges.append(gauge())
    middle = len(walls) // 2
    return {"parallel": {"wall": sorted(walls)[middle], "cpu": sorted(cpus)[middle], "gauge": fmean(gauges)}}


async def concurrency(framework: ModuleType, quick: bool) -> Measures:
    """Three batches of 1,000 runs at once, three tool turns each, 50 ms a model call."""
    runs = 10 if quick else 1000
    plan = Plan(turns=3, latency=0.001 if quick else 0.05)
    subject = framework.prepare(plan)
    await checked(subject, plan)
    for _ in range(2 if quick else 20):
        await subject.run()
    gc.collect()
    before = memory("VmRSS")
    batches, left, gauges = [], [], [gauged()]
    for _ in range(3):
        ran = plan.ran
        with Stopwatch() as watch:
            texts = await asyncio.gather(*(subject.run() for _ in range(runs)))
        if set(texts) != {FINAL} or plan.ran - ran != plan.turns * runs:
            raise SystemExit("wrong runs: a text is wrong, or tool calls are missing")
        del texts
        gc.collect()
        batches.append((watch.wall, watch.cpu))
        left.append((memory("VmRSS"), alive(framework.PACKAGE)))
        gauges.append(gauged())
    wall, cpu = sorted(batches)[1]
    gc.disable()
    await subject.run()
    return {
        "concurrency": {"wall": wall, "cpu": cpu, "gauge": fmean(gauges)},
        "kib_per_run": {"value": (memory("VmHWM") - before) / runs},
        "kib_retained": {"value": left[2][0] - left[0][0]},
        "objects_retained": {"value": left[2][1] - left[0][1]},
        "cyclic_garbage": {"value": gc.collect()},
    }


async def stream(framework: ModuleType, quick: bool) -> Measures:
    plan = Plan(chunks=1000)
    subject = framework.prepare(plan)
    pieces = [piece async for piece in subject.stream()]
    if "".join(pieces).split() != "".join(plan.pieces()).split() or len(pieces) < plan.chunks:
        raise SystemExit(f"wrong stream: {len(pieces)} chunks of {plan.chunks}")

    async def consume() -> None:
        async for _ in subject.stream():
            pass

    return {"stream": await timed(consume, 1 if quick else 10, per=plan.chunks, quick=quick)}


async def build(framework: ModuleType, quick: bool) -> Measures:
    subject = framework.prepare(Plan(turns=1))
    if subject.build is None:
        return {}
    for _ in range(5):
        subject.build()
    return {"build": await timed_now(subject.build, 5 if quick else 100, quick=quick)}


async def about(framework: ModuleType, quick: bool) -> Measures:
    """The version, and how many distributions a core install brings, itself included: without extras."""
    wanted, seen = [framework.PACKAGE], set[str]()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # It is for another system or an older Python.
        if name not in seen:
            seen.add(name)
            wanted += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs if "extra ==" not in need]
    if not seen:
        return {}
    version = importlib.metadata.version(framework.PACKAGE)
    return {"distributions": {"value": len(seen)}, "version": {"value": version}}


WORKLOADS: dict[str, Workload] = {
    "about": about,
    "hello": hello,
    "tools10": tools(10, 60),
    "tools50": tools(50, 12),
    "tools200": tools(200, 3),
    "parallel": parallel,
    "concurrency": concurrency,
    "stream": stream,
    "build": build,
}


def load(path: str) -> ModuleType:
    """The framework's file, under a name that shadows no package."""
    spec = importlib.util.spec_from_file_location("bench_framework", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(path: str, name: str, *flags: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    work = (WORKLOADS | stored.WORKLOADS).get(name)
    if work is None:
        import own

        work = own.WORKLOADS[name]

    async def measured() -> Measures:
        return await work(load(path), "quick" in flags)

    print("\n" + json.dumps(asyncio.run(measured())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
