"""`python -m agentfootprint.demo` from its first line to its last, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import agentfootprint
from agentfootprint import Checkpoint, MemoryIdentity
from agentfootprint.flow import Footprint

README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Told:
    """What the demo printed, and where it wrote."""

    text: str
    data: Path

    def chapter(self, title: str) -> str:
        """What was printed below the heading that starts with `title`."""
        (found,) = [part for part in self.text.split("\n── ") if part.startswith(title)]
        return found.partition("\n")[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("demo")
    ran = python("-W", "error", "-m", "agentfootprint.demo", folder=folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    return Told(ran.stdout, folder / "demo-data")


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "AGENTFOOTPRINT_DEV"}
    source = str(Path(agentfootprint.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env | {"PYTHONPATH": source, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=110,
    )


def database(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_two_shops_are_served_at_the_same_time(told: Told) -> None:
    chapter = told.chapter("Two shops")
    assert "Order A-2444 (Two-person tent, 249.00 EUR, Ines Weber) was delivered" in chapter
    assert "J-2499, Studio headphones, shipped" in chapter
    together = re.search(r"under way together for (-?\d+) ms", chapter)
    assert together is not None
    assert int(together[1]) > 0


def test_a_shop_finds_neither_the_orders_nor_the_customers_of_the_other(told: Told) -> None:
    assert "There is no order A-2444." in told.chapter("Each sees")
    assert " A-" not in told.chapter("Two shops").partition("ben of juno")[2]


def test_memory_carries_the_order_from_one_conversation_to_the_next(told: Told) -> None:
    chapter = told.chapter("Another conversation")
    question, _, asked = chapter.partition("A person is asked:")
    assert "A-2444" not in question
    assert "Refund order A-2444 (249.00 EUR)?" in asked


def test_the_refund_is_approved_in_another_process(told: Told) -> None:
    (paused,) = re.findall(r"Process (\d+) writes the checkpoint", told.text)
    (approved,) = re.findall(r"Process (\d+): dana says yes", told.text)
    assert paused != approved
    assert "Done. Refund R-1: 249.00 EUR for order A-2444" in told.chapter("A second process")
    checkpoint = Checkpoint.from_json((told.data / "refund.checkpoint.json").read_text())
    assert checkpoint.identity == MemoryIdentity("alpine", "alice", "tuesday")


def test_the_same_approval_is_refused_and_pays_nothing(told: Told) -> None:
    chapter = told.chapter("The same approval")
    assert "CheckpointUsed: the checkpoint was resumed before" in chapter
    assert "Done." not in chapter
    refunds = database(told.data / "orders.db", "SELECT tenant, order_id FROM refunds")
    assert refunds == [("alpine", "A-2444")]


def test_the_conversation_goes_on_where_the_other_process_left_it(told: Told) -> None:
    assert "A-2444" not in told.chapter("The first process").partition("\n")[0]
    assert told.chapter("The first process").rstrip().endswith("is refunded.")


def test_the_narrative_names_the_memory_the_person_and_the_refund(told: Told) -> None:
    narrative = told.text.partition("footprint.narrative()")[2].partition('footprint.why("output")')[0]
    said = ["Memory 'desk' gave 2 messages.", "Answered by dana: True.", "refund_order returned"]
    places = [narrative.find(each) for each in said]
    assert -1 not in places
    assert places == sorted(places)


def test_why_cites_the_result_of_the_refund(told: Told) -> None:
    why = told.text.partition('footprint.why("output")')[2].partition("The model had read:")[0]
    assert "the result of refund_order" in why
    assert "“Refund R-1: 249.00 EUR for order A-2444, paid back to Ines Weber”" in why


def test_the_footprint_is_written_and_reads(told: Told) -> None:
    footprint = Footprint.load(told.data / "refund.footprint.jsonl")
    assert (footprint.status, footprint.truncated) == ("done", False)
    asked = [record for step in footprint.steps for record in step.asks]
    assert [(record.answer, record.by) for record in asked] == [(True, "dana")]
    assert footprint.state["output"].startswith("Done. Refund R-1")


def test_the_footprint_runs_again_without_model_memory_or_orders(told: Told) -> None:
    before = database(told.data / "orders.db", "SELECT count(*) FROM refunds")
    file, app = "demo-data/refund.footprint.jsonl", "agentfootprint.demo.app:agent"
    ran = python("-m", "agentfootprint.cli", "replay", file, app, folder=told.data.parent)
    assert ran.returncode == 0, ran.stderr
    assert "did what is recorded" in ran.stderr
    assert database(told.data / "orders.db", "SELECT count(*) FROM refunds") == before


def test_memory_conversations_and_claims_are_in_one_file(told: Told) -> None:
    file = told.data / "support.db"
    conversations = database(file, "SELECT DISTINCT key FROM agentfootprint_log ORDER BY key")
    assert conversations == [
        ("alpine/alice/monday/|conversation/turns",),
        ("alpine/alice/tuesday/|conversation/turns",),
        ("juno/ben/monday/|conversation/turns",),
    ]
    remembered = database(file, "SELECT DISTINCT namespace FROM agentfootprint_memory ORDER BY namespace")
    assert remembered == [("alpine/alice/~/",), ("juno/ben/~/",)]


def test_it_says_how_to_use_a_real_model(told: Told) -> None:
    assert "AnthropicProvider(" in told.chapter("With a real model")


def test_the_readme_shows_what_the_demo_prints(told: Told) -> None:
    shown = README.read_text(encoding="utf-8").partition("<!-- output of the demo -->\n```text\n")[2]
    # On a difference: run `make demo` and paste what it prints.
    assert lasting(shown.partition("\n```")[0]) == lasting(told.text)


def lasting(text: str) -> str:
    """The text without what differs from run to run: times, processes, and where lines break for them."""
    text = " ".join(text.split())
    text = re.sub(r"\b[\d.]+ (?:ms|s)\b", "TIME", text)
    return re.sub(r"\bProcess \d+", "Process ID", text)
