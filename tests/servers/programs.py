"""Where the programs are that tests start as servers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SERVERS = ROOT / ".venv-servers"


def program(name: str) -> str:
    """The path of a server's program: from the environment that `make test` makes for servers, from npm's
    packages in it, from the interpreter's own, or from the search path.

    Raises:
        FileNotFoundError: it is nowhere; the message says how to install it.
    """
    packages = _SERVERS / "npm" / "node_modules" / ".bin"
    folders = [_SERVERS / "bin", packages, Path(sys.executable).parent]
    search = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    found = shutil.which(name, path=search)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: run `make test`, or `make .venv-servers/.npm .venv-servers/.promtool`"
        )
    return found
