"""Numbers as users give them."""

from __future__ import annotations

import math
from typing import Any

from .errors import ConfigurationError

__all__ = ["check_seconds", "is_number"]


def is_number(value: Any) -> bool:
    """Whether a value can be compared as a number: text from an environment variable cannot."""
    return isinstance(value, (int, float))


def check_seconds(what: str, seconds: Any) -> None:
    """Raises:
    ConfigurationError: it is neither a time that ends nor None.
    """
    if seconds is not None and not (type(seconds) in (int, float) and 0 < seconds < math.inf):
        raise ConfigurationError(f"{what} must be seconds above 0, not {seconds!r}; None: no limit")
