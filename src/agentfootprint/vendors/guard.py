"""No real model is asked by accident: while the guard is on, only this machine is."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from ..errors import ConfigurationError

__all__ = ["allow_real_calls", "check_call", "forbid_real_calls"]

VARIABLE = "AGENTFOOTPRINT_NO_REAL_CALLS"


def forbid_real_calls() -> None:
    """From now on every provider and embedder refuses to ask anything but a loopback address, in this
    process and in those it starts. The pytest plugin does this for a whole session."""
    os.environ[VARIABLE] = "1"


def allow_real_calls() -> None:
    """Takes `forbid_real_calls` back."""
    os.environ.pop(VARIABLE, None)


def check_call(url: str) -> None:
    """Called before every request.

    Raises:
        ConfigurationError: real calls are forbidden and the address is not this machine's.
    """
    if os.environ.get(VARIABLE, "") in ("", "0") or is_local(url):
        return
    raise ConfigurationError(
        f"a real model at {urlsplit(url).hostname} was about to be asked although {VARIABLE} is set: use "
        "a mock or a server on this machine, or call agentfootprint.providers.allow_real_calls()"
    )


def is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
