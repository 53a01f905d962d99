"""A real language model for tests: that of the demo, run by the servers' environment."""

from __future__ import annotations

import atexit
import functools
from pathlib import Path

from agentfootprint.demo import local_model

from .programs import program

__all__ = ["local_model_url", "server_python"]


def server_python() -> str:
    """The interpreter of the environment that holds the server and the model."""
    return str(Path(program("llmock")).with_name("python"))


@functools.cache
def local_model_url() -> str:
    """The address of a server with a real model; each test process has one."""
    model = local_model.serve(server_python())
    atexit.register(model.stop)
    return model.url
