"""Who may call which tool, and on what condition."""

from __future__ import annotations

from .base import PermissionChecker, PermissionRequest, Verdict
from .policy import Allow, Ask, Deny, Halt, PermissionPolicy

__all__ = [
    "Allow",
    "Ask",
    "Deny",
    "Halt",
    "PermissionChecker",
    "PermissionPolicy",
    "PermissionRequest",
    "Verdict",
]
