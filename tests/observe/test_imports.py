from __future__ import annotations

import os
import subprocess
import sys

import pytest

import agentfootprint.observe as observe


def test_every_exported_name_is_there_and_others_are_not() -> None:
    assert all(getattr(observe, name) is not None for name in observe.__all__)
    assert set(dir(observe)) >= set(observe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        observe.nothing  # noqa: B018


def test_recording_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from agentfootprint.observe import Enable, Recorders, chat_bubble_live_status\n"
        "from agentfootprint.observe import console_observability, jsonl_observability, otel_observability\n"
        "heavy = {'pydantic', 'sqlite3', 'rich', 'typer', 'difflib', 'opentelemetry',"
        " 'prometheus_client', 'structlog', 'logging.handlers'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
