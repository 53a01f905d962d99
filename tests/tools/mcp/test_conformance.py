"""The official conformance suite for clients, in its own network where this machine lets us have one.

Scenarios that the client does not pass are in `NOT_CARRIED`, with the reason.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.programs import ROOT, program
from tests.tools.mcp.conftest import PYTHON

PASSED = {
    "initialize": 1,
    "tools_call": 1,
    "elicitation-sep1034-client-defaults": 5,
    "sse-retry": 3,
    "auth/metadata-default": 14,
    "auth/metadata-var1": 14,
    "auth/metadata-var2": 14,
    "auth/metadata-var3": 14,
    "auth/basic-cimd": 14,
    "auth/scope-from-www-authenticate": 15,
    "auth/scope-from-scopes-supported": 15,
    "auth/scope-omitted-when-undefined": 15,
    "auth/scope-step-up": 21,
    "auth/scope-retry-limit": 16,
    "auth/token-endpoint-auth-basic": 19,
    "auth/token-endpoint-auth-post": 19,
    "auth/token-endpoint-auth-none": 19,
    "auth/pre-registration": 14,
    "auth/2025-03-26-oauth-endpoint-fallback": 8,
    "auth/resource-mismatch": 4,
    "auth/offline-access-scope": 14,
    "auth/offline-access-not-supported": 15,
    "auth/client-credentials-jwt": 9,
    "auth/client-credentials-basic": 9,
}
"""How many checks each has."""

NOT_CARRIED = {
    "auth/2025-03-26-oauth-metadata-backcompat": (
        "the provider of the SDK refuses metadata that name another issuer (RFC 8414)"
    ),
    "auth/cross-app-access-complete-flow": (
        "the provider of the SDK exchanges no tokens of another company's identity provider"
    ),
}

CLIENT = Path(__file__).with_name("conformance_client.py")


def isolated(command: list[str]) -> list[str]:
    """The command where nothing but this machine can be reached."""
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        return command
    if shutil.which("ip") is None:
        return command
    return [*alone, "sh", "-c", f"ip link set lo up && exec {shlex.join(command)}"]


def judged(*which: str) -> str:
    """What the suite says of our client."""
    script = Path(program("conformance")).resolve()
    client = shlex.join([PYTHON, str(CLIENT)])
    command = [program("node"), str(script), "client", "--command", client, *which, "--timeout", "280000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        isolated(command), capture_output=True, text=True, env=environment, timeout=290, check=False
    )
    return done.stdout + done.stderr


# The judge is a program beside the library, whose client the tests around this one try on every Python.
pytestmark = [pytest.mark.timeout(300), pytest.mark.one_python]


@pytest.mark.parametrize("scenario", PASSED)
def test_the_client_passes_the_official_scenarios(scenario: str) -> None:
    said = judged("--scenario", scenario)
    checks = PASSED[scenario]
    assert f"Passed: {checks}/{checks}, 0 failed, 0 warnings" in said, said


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=why))
        for name, why in NOT_CARRIED.items()
    ],
)
def test_what_the_client_does_not_pass_is_known(scenario: str) -> None:
    assert ", 0 failed, 0 warnings" in judged("--scenario", scenario)


def test_the_suite_has_no_other_scenarios() -> None:
    said = subprocess.run(
        [program("node"), str(Path(program("conformance")).resolve()), "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = re.findall(r"^  - (\S+)", said[said.index("Client scenarios") :], re.MULTILINE)
    assert sorted(listed) == sorted([*PASSED, *NOT_CARRIED])
