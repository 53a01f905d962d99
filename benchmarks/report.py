"""The measurements of a run as Markdown: each target beside what was measured, then everything else."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["µs", "ms", "s", "KiB", "B", "", "×"]

_SCALES = {"µs": 1e6, "ms": 1e3, "s": 1.0}


@dataclass(frozen=True)
class Target:
    """One row: a measure of this project, and the limit it is held to.

    Attributes:
        text: what is measured, and how.
        measure: its name, or a pair of names whose quotient (of the same framework) is meant.
        unit: how it is shown.
        field: `steady` CPU, `wall` time or a plain `value`.
        most: the highest allowed value, in the unit shown; None where nothing was promised.
        of_peer: the highest allowed ratio to the fastest peer.
    """

    text: str
    measure: str
    unit: Unit
    field: Literal["steady", "wall", "value"] = "steady"
    most: float | None = None
    of_peer: float | None = None


TARGETS = (
    Target("one turn, no tool", "hello", "µs", of_peer=0.7),
    Target("tool loop, each of 10 iterations", "tools10", "µs", of_peer=0.6),
    Target("tool loop, each of 50 iterations", "tools50", "µs"),
    Target("tool loop, each of 200 iterations", "tools200", "µs"),
    Target("an iteration of 51–200 ÷ one of 11–50", "growth", "×", "value", most=1.1),
    Target("20 tools of 10 ms at once, wall", "parallel", "ms", "wall", most=13),
    Target("1,000 runs of 4 model calls of 50 ms, wall", "concurrency", "s", "wall", of_peer=0.6),
    Target("… their CPU", "concurrency", "s"),
    Target("… memory for each run in flight", "kib_per_run", "KiB", "value", most=24),
    Target(
        "… objects of the package alive after batch 3 beyond batch 1", "objects_retained", "", "value", most=0
    ),
    Target("… resident memory after batch 3 beyond batch 1", "kib_retained", "KiB", "value"),
    Target("objects in cycles that a finished run leaves to the collector", "cyclic_garbage", "", "value"),
    Target("streamed chunk, of 1,000", "stream", "µs", most=5),
    Target("building an agent with one tool", "build", "µs"),
    Target("import of Agent in a fresh process", "import", "ms", of_peer=0.5),
    Target("from no import to the first answer, beside asyncio", "first", "ms"),
    Target("modules the import loads", "import_modules", "", "value"),
    Target("distributions of a core install", "distributions", "", "value", most=15),
    Target("empty engine step", "empty_step", "µs", most=10),
    Target("step with a read and a write", "busy_step", "µs"),
    Target("turn of a loop of 10,000", "long_loop", "µs"),
    Target("… ÷ turn of a loop of 1,000", "loop_time", "×", "value", most=2),
    Target(
        "… the same without Python's collector",
        "loop_uncollected",
        "×",
        "value",
        most=1.2,
    ),
    Target("memory of a turn of 10,000 ÷ of 1,000", "loop_memory", "×", "value", most=1.2),
    Target("… its memory", "long_loop_bytes", "B", "value"),
    Target("slice of 100 nodes", "slice100", "µs", most=250),
    Target("… told as text", "why100", "µs", most=250),
    Target('why("output") of ten tool iterations', "why_answer", "µs"),
    Target("narrative of ten tool iterations", "narrative", "µs"),
    Target("replay, each step", "replay", "µs"),
    Target(
        "checkpoint after 30 iterations beyond its conversation's JSON, each",
        "checkpoint_over",
        "B",
        "value",
        most=1024,
    ),
    Target("… the checkpoint", "checkpoint_bytes", "B", "value"),
    Target("… the conversation", "conversation_bytes", "B", "value"),
    Target("running 30 iterations to the pause", "pause", "ms"),
    Target("reading the checkpoint", "checkpoint_read", "ms"),
    Target("resuming it to the end of the run", "resume", "ms"),
    Target("in memory: put and get", "memory_put", "µs", most=10),
    Target("in memory: the newest 20 of 10,000 turns", "memory_list", "µs"),
    Target("in memory: window of 20 from 10,000 turns", "memory_recall", "µs"),
    Target("in memory: window of 10 from 10,000 turns ÷ from 10", "memory_growth", "×", "value", most=1.5),
    Target("in memory: the 10 nearest of 50,000 × 384", "memory_search", "ms"),
    Target("SQLite: put, wall", "sqlite_put", "µs", "wall", most=250),
    Target("SQLite: the newest 20 of 10,000 turns, wall", "sqlite_list", "µs", "wall"),
    Target("SQLite: window of 20 from 10,000 turns, wall", "sqlite_recall", "µs", "wall", most=1000),
    Target("SQLite: window of 10 from 10,000 turns ÷ from 10", "sqlite_growth", "×", "value", most=1.5),
    Target("SQLite: the 10 nearest of 50,000 × 384, wall", "sqlite_search", "ms", "wall", most=25),
    Target("… the first of a process, wall", "sqlite_first_search", "ms", "wall"),
    Target("Redis: put, wall", "redis_put", "µs", "wall"),
    Target("… a bare SET of the same client", "redis_bare", "µs", "wall"),
    Target("… put ÷ bare SET", "redis_put_ratio", "×", "value", most=1.5),
    Target("Redis: window of 20 from 10,000 turns, wall", "redis_recall", "µs", "wall"),
    Target("… its round trips", "redis_trips", "", "value", most=1),
    Target("Redis: window of 10 from 10,000 turns ÷ from 10", "redis_growth", "×", "value", most=1.5),
    Target("Postgres: put, wall", "postgres_put", "µs", "wall"),
    Target("… the same transaction in bare psycopg", "postgres_bare", "µs", "wall"),
    Target("… the same in a pipeline of it", "postgres_pipelined", "µs", "wall"),
    Target("… put ÷ the same transaction", "postgres_put_ratio", "×", "value", most=1.2),
    Target("Postgres: the newest 20 of 10,000 turns, wall", "postgres_list", "µs", "wall"),
    Target("Postgres: window of 20 from 10,000 turns, wall", "postgres_recall", "µs", "wall"),
    Target("Postgres: window of 10 from 10,000 turns ÷ from 10", "postgres_growth", "×", "value", most=1.5),
    Target("pgvector HNSW: the 10 nearest of 50,000 × 384, wall", "pgvector_search", "ms", "wall", most=5),
    Target("… share of the ten that it misses", "pgvector_missed", "", "value", most=0.05),
    Target("… writing and indexing the 50,000, wall", "pgvector_index", "s", "wall"),
    Target("a call through all decorators", "decorated", "µs", most=40),
    Target("… streamed, two chunks", "decorated_stream", "µs", most=40),
    Target("… state in Redis on loopback, wall", "decorated_redis", "ms", "wall", most=1),
    Target("a turn without tools, bare", "turn_bare", "µs"),
    Target("… priced", "turn_priced", "µs"),
    Target("… under a budget per run and per tenant", "turn_budgeted", "µs"),
    Target("a permission policy decides by role", "decided_role", "µs", most=5),
    Target("… by conditions on arguments", "decided_conditions", "µs"),
    Target("… that no rule allows it", "decided_default", "µs"),
    Target("… which of twenty tools are offered", "decided_menu", "µs"),
    Target("iteration of the tool loop, nobody watching, wall", "exporting_none", "µs", "wall"),
    Target("… with all exporters on, wall", "exporting_all", "µs", "wall"),
    Target("… all exporters ÷ none, as the run feels it", "exporting_all_ratio", "×", "value", most=1.5),
    Target("… what building the events is of it", "exporting_events_ratio", "×", "value"),
    Target("… all exporters ÷ none, CPU of their threads too", "exporting_all_cpu_ratio", "×", "value"),
)


class Results:
    """The rows of one run, by framework and measure.

    `steady` CPU is the CPU time × (fastest gauge of the run ÷ gauge of the measurement), the fastest
    being the 5th percentile: it takes most of a shared machine's slow spells out.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.head: dict[str, Any] = {}
        self.errors: list[dict[str, Any]] = []
        self.roles: dict[str, str] = {}
        self.loads: list[float] = []
        self.values: dict[tuple[str, str], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        kept = []
        for row in rows:
            if "machine" in row:
                self.head = row
            elif "error" in row:
                self.errors.append(row)
            else:
                kept.append(row)
        self.gauges = sorted(row["gauge"] for row in kept if "gauge" in row)
        fastest = self.gauges[len(self.gauges) // 20] if self.gauges else 1.0
        for row in kept:
            self.roles[row["framework"]] = row["role"]
            self.loads.append(row["load"])
            found = self.values[row["framework"], row["measure"]]
            for name in ("wall", "cpu", "value"):
                if name in row:
                    found[name].append(row[name])
            if "cpu" in row:
                found["steady"].append(row["cpu"] * fastest / row["gauge"])
        for framework in self.roles:
            self._quotients(framework)

    def _quotients(self, framework: str) -> None:
        """Growth is told from medians: the quotient of two single repetitions would be noise."""

        def put(name: str, over: float | None, under: float | None) -> None:
            if over is not None and under:
                self.values[framework, name]["value"] = [over / under]

        at = {n: self.median(framework, f"tools{n}", "steady") for n in (10, 50, 200)}
        if (ten := at[10]) is not None and (fifty := at[50]) is not None and (most := at[200]) is not None:
            put("growth", (most * 200 - fifty * 50) / 150, (fifty * 50 - ten * 10) / 40)
        for name, of, field in (
            ("loop_time", "loop", "steady"),
            ("loop_uncollected", "loop_uncollected", "steady"),
            ("loop_memory", "loop_bytes", "value"),
        ):
            put(name, *(self.median(framework, f"{length}_{of}", field) for length in ("long", "short")))

    def all(self, framework: str, measure: str, field: str) -> list[Any]:
        known = self.values.get((framework, measure))
        return known[field] if known is not None and field in known else []

    def median(self, framework: str, measure: str, field: str) -> float | None:
        found = self.all(framework, measure, field)
        return float(statistics.median(found)) if found else None

    def spread(self, framework: str, measure: str, field: str) -> float:
        """Half the distance from the smallest to the largest, as a share of the median."""
        found = self.all(framework, measure, field)
        middle = statistics.median(found) if found else 0
        return float((max(found) - min(found)) / 2 / middle) if middle > 0 else 0.0

    def of_role(self, role: str) -> list[str]:
        return sorted(name for name, each in self.roles.items() if each == role)

    def fastest_peer(self, measure: str, field: str) -> str | None:
        found = [(self.median(peer, measure, field), peer) for peer in self.of_role("peer")]
        return min(((value, peer) for value, peer in found if value is not None), default=(0, None))[1]


def report(rows: Sequence[dict[str, Any]]) -> str:
    results = Results(rows)
    parts = ["# Benchmark", _about(results), _targets(results)]
    if others := _everyone(results):
        parts.append(others)
    if results.errors:
        lines = [
            f"- {e['framework']} {e['workload']}: {' '.join(e['error'].split())[:300]}"
            for e in results.errors
        ]
        parts.append("## Not measured\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _about(results: Results) -> str:
    head = results.head
    machine = head.get("machine", {})
    versions = [
        f"{name} {found[0]}"
        for name in sorted(results.roles)
        if (found := results.all(name, "version", "value")) and found[0]
    ]
    gauges, loads = results.gauges, sorted(results.loads)
    lines = [
        f"- {name}: {machine[name]}"
        for name in ("date", "commit", "cpu", "system", "python")
        if name in machine
    ]
    if versions:
        lines.append(f"- versions: {', '.join(versions)}")
    lines.append(f"- repetitions: {head.get('reps')}, in {head.get('seconds', '?')} s")
    if loads:
        load = statistics.median(loads)
        told = f"- load of the machine: median {load:.1f}, highest {loads[-1]:.1f}"
        if load > 1.5:  # what is measured is one process
            told += "; other work was running, so wall times are too high and ratios rough"
        lines.append(told)
    if gauges:
        lines.append(
            f"- gauge: median {statistics.median(gauges):.2f} ms, {gauges[0]:.2f}–{gauges[-1]:.2f} ms"
        )
    if head.get("quick"):
        lines.append("- a quick run: it shows that everything runs, its figures mean nothing")
    return "\n".join(lines)


def _targets(results: Results) -> str:
    ours = next(iter(results.of_role("ours")), None)
    lines = ["| target | measured | peer | ratio | ok? |", "|---|---|---|---|---|"]
    missed = []
    for target in TARGETS:
        row = _row(results, target, ours)
        if row[1] != "–" or not results.head.get("part"):
            lines.append(f"| {' | '.join(row)} |")
        if "no" in row[-1].split(",")[0]:
            missed.append(target.text.removeprefix("… "))
    return "\n".join(lines) + f"\n\nMissed: {'; '.join(missed) or 'none'}."


def _row(results: Results, target: Target, ours: str | None) -> list[str]:
    name = target.text
    if target.of_peer is not None:
        name += f": ≤ {target.of_peer:g} × the fastest peer"
    if target.most is not None:
        name += f": ≤ {target.most:,g}{' ' if target.unit else ''}{target.unit}"
    value = None if ours is None else results.median(ours, target.measure, target.field)
    if ours is None or value is None:
        return [name, "–", "–", "–", "–"]
    spread = results.spread(ours, target.measure, target.field)
    peer = results.fastest_peer(target.measure, target.field)
    theirs = None if peer is None else results.median(peer, target.measure, target.field)
    ratio = value / theirs if theirs and target.unit not in ("×", "") else None
    shown = [_shown(value, target.unit) + _swing(spread)]
    if peer is None or theirs is None:
        shown.append("–")
    else:
        spread += results.spread(peer, target.measure, target.field) if target.of_peer is not None else 0.0
        shown.append(f"{_shown(theirs, target.unit)} ({peer})")
    shown.append("–" if ratio is None else f"{ratio:.2f}")
    held = _scaled(value, target.unit) if target.most is not None else ratio
    limit = target.most if target.most is not None else target.of_peer
    return [name, *shown, _verdict(held, limit, spread)]


def _verdict(held: float | None, limit: float | None, spread: float) -> str:
    if held is None or limit is None:
        return "–"
    word = "yes" if held <= limit else "**no**"
    close = limit > 0 and abs(held / limit - 1) < spread
    return f"{word}, within the noise" if close else word


def _everyone(results: Results) -> str:
    """Every framework on every shared workload."""
    names = [name for role in ("floor", "ours", "peer") for name in results.of_role(role)]
    lines = ["| workload | framework | wall | CPU | steady CPU | spread |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        timed = [name for name in names if results.all(name, target.measure, "cpu")]
        if len(timed) < 2 or (target.measure, target.field) == ("concurrency", "steady"):
            continue
        for name in timed:
            shown = [
                _shown(results.median(name, target.measure, f) or 0, target.unit)
                for f in ("wall", "cpu", "steady")
            ]
            spread = _swing(results.spread(name, target.measure, "steady")).strip()
            lines.append(f"| {target.text} | {name} | {' | '.join(shown)} | {spread or '–'} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _scaled(value: float, unit: str) -> float:
    return value * _SCALES.get(unit, 1.0)


def _shown(value: float, unit: Unit) -> str:
    value = _scaled(value, unit)
    text = (
        f"{value:,.0f}"
        if abs(value) >= 100 or (unit in ("", "B") and value == int(value))
        else f"{value:.3g}"
    )
    return f"{text} {unit}".strip()


def _swing(spread: float) -> str:
    return f" ±{spread:.0%}" if spread >= 0.005 else ""
