"""Measures this project beside its fastest peer and prints the targets with what was measured.

python benchmarks/run.py                                  five repetitions, about fifteen minutes
python benchmarks/run.py --only hello,tools10 --reps 9    a part of it, for longer
python benchmarks/run.py --quick                          shows that everything runs; figures mean nothing
python benchmarks/run.py --out results.jsonl              keeps every measurement
python benchmarks/run.py --report results.jsonl           the tables of a kept run, nothing measured

README.md says what is measured, how, and how to add a framework.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from report import report  # noqa: E402

SHARED = ("hello", "tools10", "tools50", "tools200", "parallel", "concurrency", "stream", "build", "import")
STORED = ("stores", "servers", "searches", "vectors")
OWN = ("steps", "loops", "why", "replay", "checkpoint", "decorators", "costs", "exporters", "permissions")
EVERY = (*SHARED, *OWN, *STORED)
ONCE = ("vectors",)
"""Of which one repetition is enough, for it is long."""
LIMIT_SECONDS = 300


@dataclass
class Framework:
    """A file in frameworks/, and the interpreter it runs in."""

    path: Path
    python: str | None = None
    facts: dict[str, Any] = field(init=False)
    borrowed: bool = field(init=False)

    def __post_init__(self) -> None:
        self.facts = constants(self.path)
        self.borrowed = self.python is not None

    @property
    def key(self) -> str:
        return self.path.stem

    @property
    def takes(self) -> Sequence[str]:
        """The workloads that it takes part in."""
        if self.facts["ROLE"] == "ours":
            return EVERY
        found: Sequence[str] = self.facts.get("TAKES", SHARED)
        return found

    def environment(self) -> None:
        """Makes benchmarks/.envs/<key> unless it is there, holding what the file asks for now."""
        if self.borrowed:
            return
        folder = HERE / ".envs" / self.key
        self.python = str(folder / "bin" / "python")
        packages = [item.format(root=ROOT) for item in self.facts["INSTALL"]]
        wanted = json.dumps([sys.version, packages])
        if self.facts["ROLE"] == "ours":
            wanted += (ROOT / "pyproject.toml").read_text()
        stamp = folder / "made-from"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say(f"making an environment for {self.key} ...")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)])
        if packages:
            run([self.python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages])
        stamp.write_text(wanted)

    def measure(self, workload: str, quick: bool) -> dict[str, dict[str, Any]]:
        """One workload in a fresh interpreter: its measures by name."""
        assert self.python is not None
        # Nothing of this process's settings may reach the measured one: development checks, for one.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "AGENTFOOTPRINT", "OTEL_"))}
        env |= {name: value.format(root=ROOT) for name, value in self.facts["ENV"].items()}
        if workload == "import":
            command = [self.python, str(HERE / "importing.py"), self.facts["IMPORT"]]
            run(command, env)  # leaves the files compiled and in the page cache
        else:
            command = [self.python, str(HERE / "worker.py"), str(self.path), workload, *["quick"] * quick]
        found: dict[str, dict[str, Any]] = json.loads(run(command, env).rstrip().rpartition("\n")[2])
        if self.borrowed or "TAKES" in self.facts:
            # Such an environment holds more than the framework needs.
            found.pop("distributions", None)
        return found


def constants(path: Path) -> dict[str, Any]:
    """The constants of a framework's file, read without importing it."""
    import ast

    out: dict[str, Any] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            out[node.targets[0].id] = ast.literal_eval(node.value)
    return out


def run(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-800:])
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Where and of what this run is."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass
    try:
        commit = run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]).strip()
    except (RuntimeError, OSError):
        commit = "unknown"
    return {
        "cpu": f"{os.cpu_count()} × {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def measured(frameworks: list[Framework], only: list[str], reps: int, quick: bool) -> list[dict[str, Any]]:
    """Every workload of every framework once per repetition, the frameworks side by side in random order."""
    part = set(only) != set(EVERY)
    rows: list[dict[str, Any]] = [{"machine": machine(), "reps": reps, "quick": quick, "part": part}]
    lost: set[tuple[str, str]] = set()

    def take(framework: Framework, workload: str, rep: int) -> None:
        row = {"framework": framework.key, "role": framework.facts["ROLE"], "workload": workload, "rep": rep}
        load = os.getloadavg()[0]
        try:
            found = framework.measure(workload, quick)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired, OSError) as error:
            rows.append({**row, "error": str(error)})
            lost.add((framework.key, workload))
            say(f"{framework.key} {workload}: {error}")
            return
        rows.extend({**row, "load": load, "measure": name, **values} for name, values in found.items())

    for framework in list(frameworks):
        try:
            framework.environment()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            rows.append({"framework": framework.key, "workload": "environment", "error": str(error)})
            say(f"{framework.key} is left out, its environment could not be made: {error}")
            frameworks.remove(framework)
            continue
        take(framework, "about", 0)
    for rep in range(reps):
        for workload in only:
            if rep and workload in ONCE:
                continue
            say(f"repetition {rep + 1} of {reps}: {workload}")
            for framework in random.sample(frameworks, len(frameworks)):
                if workload in framework.takes and (framework.key, workload) not in lost:
                    take(framework, workload, rep)
    return rows


def chosen(name: str) -> Path:
    path = HERE / "frameworks" / f"{name}.py" if not name.endswith(".py") else Path(name).resolve()
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in (HERE / "frameworks").glob("*.py")))
        raise SystemExit(f"there is no framework {name!r}; there is: {known}")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--only", metavar="A,B", help=f"workloads: {', '.join(EVERY)}")
    parser.add_argument("--frameworks", metavar="A,B", help="names in frameworks/, or paths; default: all")
    parser.add_argument("--python", metavar="NAME=PATH", action="append", default=[], help="its interpreter")
    parser.add_argument("--quick", action="store_true", help="one repetition with the smallest counts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every measurement as JSON Lines")
    parser.add_argument("--report", type=Path, metavar="FILE", help="only print the tables of such a file")
    args = parser.parse_args()
    if args.report:
        print(report([json.loads(line) for line in args.report.read_text().splitlines()]))
        return
    only = args.only.split(",") if args.only else list(EVERY)
    if unknown := set(only) - set(EVERY):
        parser.error(f"unknown workloads: {', '.join(sorted(unknown))}")
    everyone = sorted(path.stem for path in (HERE / "frameworks").glob("*.py"))
    names = args.frameworks.split(",") if args.frameworks else everyone
    pythons = dict(given.split("=", 1) for given in args.python)
    frameworks = [Framework(path, pythons.get(path.stem)) for path in map(chosen, names)]
    begun = time.monotonic()
    rows = measured(frameworks, only, 1 if args.quick else args.reps, args.quick)
    rows[0]["seconds"] = round(time.monotonic() - begun)
    if args.out:
        args.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(report(rows))
    if any("error" in row for row in rows):
        raise SystemExit("something could not be measured; see above")


if __name__ == "__main__":
    main()
