"""The shape of the source tree."""

from __future__ import annotations

from pathlib import Path

import agentfootprint

SOURCE = Path(agentfootprint.__file__).parent
MAX_LINES = 450


def test_no_module_is_too_long_to_read() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    too_long = {str(path.relative_to(SOURCE)): count for path, count in lines.items() if count > MAX_LINES}
    assert lines, f"no source found in {SOURCE}"
    assert not too_long, f"over {MAX_LINES} lines, split them: {too_long}"
