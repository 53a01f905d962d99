from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings

from agentfootprint.identity import MemoryIdentity
from agentfootprint.testing.identities import HOSTILE_PAIRS, different_identities, different_keys, identities


def test_the_known_pairs_are_pairs_of_different_identities() -> None:
    assert all(first != second for first, second in HOSTILE_PAIRS)
    assert len(set(HOSTILE_PAIRS)) == len(HOSTILE_PAIRS)


@given(different_identities())
def test_drawn_pairs_differ(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
    assert pair[0] != pair[1]


@given(different_keys())
def test_drawn_keys_differ_and_have_a_kind(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    assert pair[0] != pair[1]
    assert all(kind for kind, _ in pair)


def test_what_is_drawn_is_hostile() -> None:
    seen: set[str | None] = set()

    @settings(max_examples=500)
    @given(identities())
    def collect(identity: MemoryIdentity) -> None:
        seen.update(identity.parts)

    collect()
    assert {None, ""} <= seen
    joined = "".join(part for part in seen if part)
    assert set("/|:%_*?[{~ ") <= set(joined)


def test_without_hypothesis_the_error_names_the_extra() -> None:
    script = "import sys; sys.modules['hypothesis'] = None; import agentfootprint.testing.state_store"
    source = str(Path(__file__).parents[2] / "src")
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": source}
    )
    assert "MissingExtra" in shown.stderr
    assert "pip install 'agentfootprint[testing]'" in shown.stderr
