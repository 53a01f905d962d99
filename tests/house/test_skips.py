"""A skipped test is a failure in CI, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]

SKIPS = {
    "in a test": "import pytest\n\ndef test_one():\n    pytest.skip('no server')\n",
    "by mark": "import pytest\n\n@pytest.mark.skip('no server')\ndef test_one():\n    pass\n",
    "of a module": "import pytest\n\npytest.skip('no server', allow_module_level=True)\n",
    "in a fixture": (
        "import pytest\n\n@pytest.fixture\ndef server():\n    pytest.skip('no server')\n\n"
        "def test_one(server):\n    pass\n"
    ),
}


def run_pytest(folder: Path, source: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "test_it.py").write_text(source)
    env = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Plugins take longer to load than all of this.
    if ci:
        env["CI"] = "true"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind", SKIPS)
def test_a_skip_fails_in_ci_and_says_why(tmp_path: Path, kind: str) -> None:
    run = run_pytest(tmp_path, SKIPS[kind], ci=True)
    assert run.returncode != 0, run.stdout
    assert "nothing may be skipped when CI is set" in run.stdout
    assert "no server" in run.stdout


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPS["in a test"], ci=False)
    assert run.returncode == 0, run.stdout
    assert "1 skipped" in run.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.xfail\ndef test_one():\n    raise ValueError\n"
    run = run_pytest(tmp_path, source, ci=True)
    assert run.returncode == 0, run.stdout
    assert "1 xfailed" in run.stdout
