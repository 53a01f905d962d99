"""Which failures of a model are charged; where vendors' errors are translated is `vendors.failures`."""

from __future__ import annotations

from ..vendors.failures import declined

__all__ = ["declined"]
