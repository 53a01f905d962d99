"""The benchmark runs, and its report says what was measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.report import TARGETS, report

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def table(text: str) -> dict[str, list[str]]:
    """The rows of the first table: its first column, up to the limit, to its other columns."""
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:2] == "| "
    ]
    return {row[0].partition(": ≤")[0]: row[1:] for row in cells if len(row) == 5}


@pytest.mark.slow
@pytest.mark.one_python
def test_a_quick_run_measures_every_target(tmp_path: Path) -> None:
    # The hand-written loop stands in for a peer: peers come from PyPI.
    peer = tmp_path / "peer.py"
    peer.write_text((BENCHMARKS / "frameworks" / "raw.py").read_text().replace('"floor"', '"peer"'))
    pythons = [f"--python={name}={sys.executable}" for name in ("agentfootprint", "peer")]
    kept = tmp_path / "results.jsonl"
    command: list[str | Path] = [sys.executable, BENCHMARKS / "run.py", "--quick", *pythons, "--out", kept]
    ran = subprocess.run(
        [*command, "--frameworks", f"agentfootprint,{peer}"], capture_output=True, text=True, timeout=110
    )
    assert ran.returncode == 0, ran.stderr
    rows = table(ran.stdout)
    for target in TARGETS:
        measured, theirs, ratio, held = rows[target.text]
        if target.measure == "distributions":
            assert measured == "–"  # only an environment of the framework's own can be counted
            continue
        assert measured != "–", target.text
        if target.of_peer is not None:
            assert theirs.endswith("(peer)")
            assert float(ratio) > 0
        limited = target.most is not None or target.of_peer is not None
        assert held.strip("*").partition(",")[0] in ({"yes", "no"} if limited else {"–"})
    again = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--report", kept], capture_output=True, text=True, timeout=60
    )
    assert again.stdout == ran.stdout


def test_a_framework_that_cannot_be_measured_is_named_and_fails_the_run(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    source = (BENCHMARKS / "frameworks" / "raw.py").read_text()
    broken.write_text(source.replace('"content": FINAL}', '"content": "something else"}'))
    command: list[str | Path] = [
        sys.executable,
        BENCHMARKS / "run.py",
        "--quick",
        "--only",
        "hello",
        "--frameworks",
        broken,
    ]
    ran = subprocess.run(
        [*command, f"--python=broken={sys.executable}"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode != 0
    assert "- broken hello: wrong run: text 'something else'" in ran.stdout


@pytest.mark.parametrize("option", [["--only", "helo"], ["--frameworks", "nobody"]])
def test_an_unknown_name_is_refused_before_anything_is_measured(option: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *option], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode != 0
    assert option[1] in ran.stderr
    assert "Traceback" not in ran.stderr


# ── the report ──────────────────────────────────────────────────────────────────────────────────


def timing(
    framework: str, role: str, cpu: float, *, gauge: float = 1.0, measure: str = "hello"
) -> dict[str, Any]:
    values = {"wall": cpu, "cpu": cpu, "gauge": gauge}
    return {"framework": framework, "role": role, "measure": measure, "load": 0.1, **values}


def value(measure: str, of: float) -> dict[str, Any]:
    return {"framework": "we", "role": "ours", "measure": measure, "load": 0.1, "value": of}


def row(rows: list[dict[str, Any]], text: str) -> list[str]:
    return table(report(rows))[text]


HELLO = "one turn, no tool"


def test_a_ratio_is_to_the_fastest_peer_and_never_to_the_floor() -> None:
    rows = [
        timing("we", "ours", 50e-6),
        timing("slow", "peer", 900e-6),
        timing("fast", "peer", 100e-6),
        timing("floor", "floor", 1e-6),
    ]
    assert row(rows, HELLO) == ["50 µs", "100 µs (fast)", "0.50", "yes"]


def test_a_missed_target_says_no_and_is_summed_up() -> None:
    rows = [timing("we", "ours", 90e-6), timing("other", "peer", 100e-6)]
    assert row(rows, HELLO)[2:] == ["0.90", "**no**"]
    assert "Missed: one turn, no tool." in report(rows)


def test_a_verdict_within_the_spread_says_so() -> None:
    ours = [timing("we", "ours", cpu) for cpu in (60e-6, 68e-6, 76e-6)]
    assert row([*ours, timing("other", "peer", 100e-6)], HELLO)[2:] == ["0.68", "yes, within the noise"]


def test_a_slow_spell_of_the_machine_is_taken_out() -> None:
    rows = [timing("we", "ours", 100e-6, gauge=2.0), timing("other", "peer", 100e-6, gauge=1.0)]
    assert row(rows, HELLO) == ["50 µs", "100 µs (other)", "0.50", "yes"]


def test_the_middle_of_the_repetitions_counts() -> None:
    rows = [timing("we", "ours", cpu) for cpu in (10e-6, 20e-6, 900e-6)]
    assert row(rows, HELLO)[0].startswith("20 µs ±")


def test_growth_compares_late_iterations_with_early_ones() -> None:
    # 10 iterations of 100 µs; 50 of 100 µs; 200 whose last 150 cost twice as much.
    each = {"tools10": 100e-6, "tools50": 100e-6, "tools200": 175e-6}
    rows = [timing("we", "ours", cpu, measure=name) for name, cpu in each.items()]
    assert row(rows, "an iteration of 51–200 ÷ one of 11–50") == ["2 ×", "–", "–", "**no**"]


def test_without_a_peer_there_is_no_verdict_on_a_ratio() -> None:
    assert row([timing("we", "ours", 50e-6)], HELLO) == ["50 µs", "–", "–", "–"]


def test_nothing_may_be_retained() -> None:
    text = "… objects of the package alive after batch 3 beyond batch 1"
    assert row([value("objects_retained", 0)], text)[3] == "yes"
    assert row([value("objects_retained", 1)], text)[3] == "**no**"


def test_what_failed_is_listed() -> None:
    rows = [{"framework": "we", "workload": "stream", "error": "it broke"}]
    assert "- we stream: it broke" in report(rows)


def test_the_frameworks_share_one_face() -> None:
    for path in (BENCHMARKS / "frameworks").glob("*.py"):
        source = path.read_text()
        for name in ("NAME", "ROLE", "INSTALL", "PACKAGE", "IMPORT", "ENV"):
            assert f"\n{name} = " in source, f"{path.name} has no {name}"
        if "\nTAKES = " in source:
            assert "def keeper(kind, folder):" in source
        else:
            assert "def prepare(plan: Plan) -> Subject:" in source
