"""Who a run is for: tenant, principal and conversation, and the one encoding of them into keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .errors import IdentityInvalid

__all__ = ["MAX_PART_BYTES", "MemoryIdentity", "Scope", "check_part", "namespace", "namespace_prefix"]

MAX_PART_BYTES = 256
"""Longest part of an identity, in bytes of UTF-8. Longer ones are refused, never hashed or cut."""

Scope = Literal["conversation", "principal", "tenant"]

_ABSENT = "~"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


@dataclass(frozen=True, slots=True)
class MemoryIdentity:
    """Names whose data a call may touch. It goes into every call of every store.

    A part that is `None` is *absent*: a namespace of its own, distinct from the empty string and
    from every present value. Parts are compared exactly: case, spaces and combining characters count.

    Raises:
        IdentityInvalid: a part is no string, longer than 256 bytes of UTF-8, or holds a NUL or a
            lone surrogate.
    """

    tenant: str | None = None
    principal: str | None = None
    conversation_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("tenant", "principal", "conversation_id"):
            part = getattr(self, name)
            if part is not None:
                check_part(name, part)

    @property
    def parts(self) -> tuple[str | None, str | None, str | None]:
        return (self.tenant, self.principal, self.conversation_id)

    def scoped(self, scope: Scope) -> MemoryIdentity:
        """This identity truncated to a scope: what a memory with that scope may see."""
        if scope == "conversation":
            return self
        if scope == "principal":
            return MemoryIdentity(self.tenant, self.principal)
        if scope == "tenant":
            return MemoryIdentity(self.tenant)
        raise IdentityInvalid(f"scope {scope!r} is unknown: use 'conversation', 'principal' or 'tenant'")


def namespace(identity: MemoryIdentity | None) -> str:
    """The identity as a key part: injective, printable ASCII, `tenant/principal/conversation/`.

    Letters, digits and `-` stand for themselves, every other byte of the UTF-8 is `=XX`, an absent
    part is `~`, and each part ends with `/`, so that no namespace starts another by accident. No
    identity at all is `~~~` and equals no other namespace. No wildcard or glob character of any
    store survives the encoding.
    """
    if identity is None:
        return "~~~"
    return _joined(identity.parts)


def namespace_prefix(identity: MemoryIdentity) -> str:
    """What the namespaces of this identity and its descendants, and no others, start with.

    For `MemoryIdentity("acme", "alice")` it is `acme/alice/`: every conversation of that person. An
    identity with a conversation has no descendants. An absent tenant is a tenant like any other:
    `MemoryIdentity()` reaches what has no tenant, and no tenant's data.
    """
    parts = list(identity.parts)
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return _joined(parts)


def check_part(name: str, part: object) -> None:
    """Refuses what cannot be part of a key: of an identity, a state key or a memory entry's id.

    Raises:
        IdentityInvalid: `part` is no string, longer than 256 bytes of UTF-8, or holds a NUL or a
            lone surrogate. The message names it by `name`.
    """
    if not isinstance(part, str):
        raise IdentityInvalid(f"{name} must be a string, not {type(part).__name__}")
    if "\x00" in part:
        raise IdentityInvalid(f"{name} holds a NUL character: stores would cut or confuse it")
    try:
        size = len(part) if part.isascii() else len(part.encode("utf-8"))
    except UnicodeEncodeError:
        raise IdentityInvalid(f"{name} holds a lone surrogate: it has no UTF-8 form") from None
    if size > MAX_PART_BYTES:
        raise IdentityInvalid(
            f"{name} is {size} bytes of UTF-8, at most {MAX_PART_BYTES} are allowed: "
            "pass a shorter stable id; cutting or hashing could make two tenants one"
        )


def _joined(parts: Iterable[str | None]) -> str:
    return "".join((_ABSENT if part is None else _encode(part)) + "/" for part in parts)


def _encode(part: str) -> str:
    if _PLAIN.issuperset(part):
        return part
    out = []
    for byte in part.encode("utf-8"):
        char = chr(byte)
        out.append(char if char in _PLAIN else f"={byte:02X}")
    return "".join(out)
