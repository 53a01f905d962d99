"""Exit codes of the command, and which error has which."""

from __future__ import annotations

from ..errors import (
    AgentFootprintError,
    AnswerInvalid,
    AnswerRequired,
    ConfigurationError,
    IdentityRequired,
    InputInvalid,
)

__all__ = [
    "COMPLETED",
    "EXIT_CODES",
    "FAILED",
    "INTERRUPTED",
    "PAUSED",
    "STOPPED",
    "USAGE",
    "error_code",
    "exit_code",
]

COMPLETED = 0
FAILED = 1
USAGE = 2
PAUSED = 3
STOPPED = 4
INTERRUPTED = 130

EXIT_CODES = (
    "Exit codes: 0 completed · 1 failed · 2 the command line, or what it names, is wrong: nothing was run · "
    "3 paused, a person is asked · 4 stopped at a limit or by a filter · 130 interrupted"
)

_WRONG = (ConfigurationError, InputInvalid, IdentityRequired, AnswerInvalid, AnswerRequired)


def exit_code(error: Exception) -> int:
    return USAGE if isinstance(error, _WRONG) else FAILED


def error_code(error: Exception) -> str:
    """The stable code of an error of the library, the name of anybody else's."""
    return error.code if isinstance(error, AgentFootprintError) else type(error).__name__
